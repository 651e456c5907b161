"""The loop's promises: the order of a step, conflicts, modes, seeds, and going on bit for bit."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import toys
from toy_methods import (
    L2SP,
    Contrast,
    CoTuning,
    Ema,
    FixMatch,
    GroupDRO,
    HeadOnly,
    Lora,
    MaskedPatches,
    Mixup,
    Pairs,
    PCGrad,
    Sam,
    Watch,
    named,
    tune,
)
from torch import distributed, nn
from toys import Classes, Numbers, Several, Tags, Toy, model_of, resume_from, same, stage_of, train, weights

from graft import checkpoint
from graft.data import Data
from graft.errors import DataError, UsageError
from graft.methods import Method
from graft.methods.probe import Probe
from graft.model import Batch, Model, Output
from graft.tasks import Task
from graft.train import states
from graft.train.loop import check, steps
from graft.train.step import Record
from graft.train.streams import shuffled

SOURCE = str(Path(states.__file__).parents[2])
HERE = str(Path(__file__).parent)


# -------------------------------------------------------------------------------- order and finish


class Told(Classes):
    """Says when its loss is asked."""

    def __init__(self, said: list[str]) -> None:
        super().__init__()
        self.said = said

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        self.said.append("task")
        return super().loss(output, batch)


def test_a_step_asks_in_order_and_the_tuner_frames_the_stage() -> None:
    said: list[str] = []

    class Tuner(HeadOnly):
        def prepare(self, model: Model, task: Task, data: Data) -> None:
            super().prepare(model, task, data)
            said.append("tuner.prepare")

        def finish(self, model: Model) -> None:
            said.append("tuner.finish")

    task, data = Told(said), toys.rows()
    methods = [named("a", Watch(said)), named("tuner", Tuner())]
    train(model_of(task, data), task, data, methods, stop=2)
    step = ["batch", "weigh", "task", "loss", "gradients", "after_step"]
    assert said == ["tuner.prepare", "a.prepare", *step, *step, "a.finish", "tuner.finish"]


def test_the_optimizer_moves_between_gradients_and_after_step() -> None:
    task, data, found = Classes(), toys.rows(), []

    class Peek(Method):
        def gradients(self, step: Any, terms: dict[str, torch.Tensor]) -> None:
            sum(terms.values()).backward()
            found.append(weights(step.model.head))

        def after_step(self, step: Any) -> None:
            found.append(weights(step.model.head))
            assert step.model.head.linear.weight.grad is not None

    model = model_of(task, data)
    run = steps(model, task, stage_of(), data, [tune(), named("peek", Peek())])
    next(run)
    assert not same(found[0], found[1])
    assert same(found[1], weights(model.head))
    assert all(p.grad is None for p in model.parameters()), "what a caller sees has no gradients left"


def test_stop_ends_properly_and_a_bare_break_does_not() -> None:
    task, data = Classes(), toys.rows()
    for proper in (True, False):
        model = model_of(task, data, classes=5)
        run = steps(model, task, stage_of(), data, [named("lora", Lora()), named("co", CoTuning())])
        for record in run:
            if record.step == 2:
                if not proper:
                    break
                record.stop = True
        assert record.step == 2
        assert ("backbone.trunk.first.weight" in weights(model)) is proper
        assert (len(model.aux) == 0) is proper


def test_stage_stop_ends_early_with_the_schedule_unchanged() -> None:
    task, data = Classes(), toys.rows()
    whole, short = (
        [r.lr for r in train(model_of(task, data), task, data, [tune()], epochs=4, stop=stop, warmup=0.25)]
        for stop in (0, 5)
    )
    assert len(whole) == 12
    assert short == whole[:5]
    assert whole[0] < whole[1]
    assert 0 < whole[-1] < whole[3]


def test_aux_is_trained_and_checkpointed() -> None:
    task, data = Classes(), toys.rows()
    model = model_of(task, data, dropout=0.2)
    found = []
    for record in steps(model, task, stage_of(), data, [tune(), named("contrast", Contrast())]):
        state = record.state()
        found.append(state["model"]["aux.project.weight"].clone())
        assert "aux.project.weight/exp_avg" in state["optimizer"]
    assert not torch.equal(found[0], found[-1])
    assert not model.aux


# --------------------------------------------------------------------------------------- conflicts


class Two(Pairs):
    pass


class Labelled(Method):
    labelled = True


class BoxesOnly(Method):
    outputs = frozenset({"boxes"})


class OddView(Method):
    views = ("sideways",)


CONFLICTS: dict[str, tuple[list[Method], str]] = {
    "two tuners": ([tune(), named("lora", Lora())], "exactly one tuning method"),
    "no tuner": ([named("ema", Ema())], "has none"),
    "two samplers": ([tune(), named("a", Pairs()), named("b", Two())], "a and b both own the sampler"),
    "two owners": ([tune(), named("sam", Sam()), named("pc", PCGrad())], "sam and pc both own the gradient"),
    "labels": ([tune(), named("contrast", Contrast()), named("x", Labelled())], "x needs labels"),
    "outputs": ([tune(), named("x", BoxesOnly())], "serves boxes; this task answers classes"),
    "solve": ([named("probe", Probe()), named("ema", Ema())], "stands alone"),
    "view": ([tune(), named("x", OddView())], "no view 'sideways'"),
    "twice": ([tune(), named("ema", Ema()), named("ema", Ema())], "twice"),
    "solver in the loop": ([named("probe", Probe())], "no weight that moves"),
    "unlabelled": ([tune(), named("fixmatch", FixMatch())], "fixmatch: looks at unlabelled samples"),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_conflicts_are_said_before_compute(case: str) -> None:
    methods, match = CONFLICTS[case]
    task, data, said = Classes(), toys.rows(), []
    model = model_of(task, data)
    before = weights(model)
    model.backbone.register_forward_hook(lambda *_: said.append("forward"))
    with pytest.raises(UsageError, match=match):
        next(steps(model, task, stage_of(), data, methods))
    assert not said
    assert same(before, weights(model))


def test_a_single_solver_passes_the_check() -> None:
    check(stage_of(), Classes(), [named("probe", Probe())])


@pytest.mark.parametrize("wrong", [{"view": "sideways"}, {"lr": None}, {"schedule": "cosin"}, {"batch": 0}, {"epochs": -1.0}])
def test_a_stage_that_cannot_be_meant_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        train(model_of(Classes(), toys.rows()), Classes(), toys.rows(), [tune()], **wrong)


def test_one_sample_is_not_enough() -> None:
    data = toys.rows()
    with pytest.raises(DataError, match="at least two"):
        train(model_of(Classes(), data), Classes(), replace(data, train=data.train[:1]), [tune()])


def test_terms_that_cannot_be_added_are_refused() -> None:
    class Wide(Classes):
        def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
            return {"wide": output.pred}

    class Same(Method):
        def loss(self, step: Any) -> torch.Tensor:
            return step.out.pred.mean()

    data = toys.rows()
    with pytest.raises(UsageError, match=r"'wide' is \[8, 3\]"):
        train(model_of(Wide(), data), Wide(), data, [tune()])
    with pytest.raises(UsageError, match="a term 'cross_entropy' already"):
        train(model_of(Classes(), data), Classes(), data, [tune(), named("cross_entropy", Same())])


def test_a_sampler_gives_equally_many_batches() -> None:
    class Fewer(Method):
        calls = 0

        def sampler(self, samples: Any, batch: int, rng: Any) -> list[list[int]]:
            self.calls += 1
            return [[0, 1], [2, 3], [4, 5]][: 3 if self.calls == 1 else 2]

    data = toys.rows()
    with pytest.raises(UsageError, match="equally many"):
        train(model_of(Classes(), data), Classes(), data, [tune(), named("fewer", Fewer())], epochs=2)


# ------------------------------------------------------------------------------- modes and weights


@pytest.mark.parametrize("norms_from", [0, 1000])
def test_batch_norm_stands_still_with_its_weights(norms_from: int) -> None:
    task, data = Classes(), toys.rows()
    model = model_of(task, data, norm=True)
    before = weights(model.backbone.trunk.norm)
    for record in steps(model, task, stage_of(), data, [tune(norms_from=norms_from)]):
        assert model.training
        assert model.backbone.trunk.norm.training is (norms_from == 0)
        model.eval()  # as a validation between steps leaves it
        assert record.epoch == pytest.approx(record.step / 3)
    after = weights(model.backbone.trunk.norm)
    for name in before:
        assert torch.equal(before[name], after[name]) is (norms_from > 0), name


def test_again_repeats_the_draws_and_leaves_statistics_and_passes_alone() -> None:
    task, data = Classes(), toys.rows()

    class Twice(Method):
        def gradients(self, step: Any, terms: dict[str, torch.Tensor]) -> None:
            first, kept = step.out, weights(step.model)
            more = step.again()
            assert same(kept, weights(step.model))
            assert {k: v.item() for k, v in more.items()} == {k: v.item() for k, v in terms.items()}
            assert step.out is first
            (sum(terms.values()) + sum(more.values())).backward()

    methods = [tune(norms_from=0), named("mixup", Mixup()), named("twice", Twice())]
    train(model_of(task, data, norm=True, dropout=0.4), task, data, methods)


def test_weights_below_the_depth_stay_bit_for_bit() -> None:
    task, data = Classes(), toys.rows()
    model = model_of(task, data, norm=True)
    before = weights(model)
    train(model, task, data, [tune(depth=1)], epochs=5, weight_decay=0.1)
    moved = {n for n, t in weights(model).items() if not torch.equal(t, before[n])}
    assert moved == {"backbone.trunk.second.weight", "backbone.trunk.second.bias", "head.linear.weight", "head.linear.bias"}


def test_rates_fall_from_stage_to_stage() -> None:
    task, data = Classes(), toys.rows()
    model = model_of(task, data)
    nn.init.normal_(model.head.linear.weight)
    before = weights(model)
    options: dict[str, Any] = {"warmup": 0.0, "schedule": "constant", "weight_decay": 0.0, "stop": 1, "lr": 1e-3, "clip": 0.0}
    train(model, task, data, [tune(decay=0.5, head=3.0)], **options)
    gone = {n: (t - before[n]).abs().max().item() for n, t in weights(model).items()}  # Adam's first step: the rate
    assert gone["head.linear.weight"] == pytest.approx(3e-3, rel=1e-2)
    assert gone["backbone.trunk.second.weight"] == pytest.approx(1e-3, rel=1e-2)
    assert gone["backbone.trunk.first.weight"] == pytest.approx(5e-4, rel=1e-2)
    assert gone["backbone.stem.weight"] == pytest.approx(2.5e-4, rel=1e-2)


# ------------------------------------------------------------------------------------- non-finite


class Bad(Method):
    """Gives NaN at some steps."""

    def __init__(self, at: set[int]) -> None:
        self.at, self.moved = at, 0

    def batch(self, batch: Batch, rng: Any) -> Batch:
        return batch

    def loss(self, step: Any) -> torch.Tensor | None:
        return step.out.pred.sum() * float("nan") if step.number in self.at else None

    def after_step(self, step: Any) -> None:
        self.moved += 1


def test_a_step_that_is_not_finite_is_skipped() -> None:
    task, data, bad = Classes(), toys.rows(), named("bad", Bad({1, 2}))
    model = model_of(task, data, norm=True)
    held = weights(model)
    for record in steps(model, task, stage_of(epochs=4), data, [tune(norms_from=0), bad]):
        assert record.skipped is (record.step in (2, 3))
        assert same(held, weights(model)) is record.skipped, "weights and statistics stay"
        held = weights(model)
    assert bad.moved == 10
    assert all(torch.isfinite(t).all() for t in held.values())


def test_six_steps_in_a_row_that_are_not_finite_end_the_stage_also_over_a_resume() -> None:
    task, data = Classes(), toys.rows()
    for at, fails in (({*range(1, 6)}, False), ({*range(1, 7)}, True)):
        run = steps(model_of(task, data), task, stage_of(epochs=4), data, [tune(), named("bad", Bad(at))])
        resumed = None
        for record in run:
            if record.step == 4:
                resumed = clone(record.state())
                break
        assert resumed is not None
        model = model_of(task, data)
        more = steps(model, task, stage_of(epochs=4), data, [tune(), named("bad", Bad(at))], resume=resume_from(resumed))
        if fails:
            with pytest.raises(UsageError, match="6 steps in a row"):
                list(more)
        else:
            assert list(more)[-1].step == 12


def clone(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: clone(v) for k, v in value.items()}
    return [clone(v) for v in value] if isinstance(value, list) else value


# --------------------------------------------------------------------------------- order and seeds


@pytest.mark.parametrize(("n", "size", "sizes"), [(25, 8, [8, 8, 9]), (24, 8, [8, 8, 8]), (3, 2, [3]), (5, 8, [5]), (26, 8, [2, 8, 8, 8])])
def test_no_batch_holds_one_sample_alone(n: int, size: int, sizes: list[int]) -> None:
    made = shuffled(toys.rows(n).train, size, np.random.default_rng(0))
    assert sorted(len(rows) for rows in made) == sizes
    assert sorted(i for rows in made for i in rows) == list(range(n))


def test_texts_of_like_length_share_a_batch() -> None:
    samples = toys.texts(64)
    spread = [np.ptp([len(samples[i].x) for i in rows]) for rows in shuffled(samples, 8, np.random.default_rng(0))]
    assert np.mean(spread) < 0.5 * np.ptp([len(s.x) for s in samples])


def everything() -> list[Method]:
    return [tune(norms_from=0), named("mixup", Mixup()), named("fixmatch", FixMatch()), named("sam", Sam())]


def test_the_seed_decides_everything_and_callers_between_steps_nothing() -> None:
    task, data = Classes(), toys.rows(unlabelled=20)
    found = []
    for seed, noisy in ((3, False), (3, True), (4, False)):
        model = model_of(task, data, norm=True, dropout=0.3)
        torch.manual_seed(seed + noisy)
        for _ in steps(model, task, stage_of(), data, everything(), seed=seed):
            if noisy:
                torch.rand(3)
                model.predict(data.valid, task)
        found.append(weights(model))
    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def global_state() -> dict[str, Any]:
    return {
        "random": random.getstate(),
        "numpy": str(np.random.get_state()),  # noqa: NPY002
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "filters": list(warnings.filters),
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "logging": logging.getLogger().level,
        "path": list(sys.path),
    }


def test_the_loop_leaves_global_state_alone() -> None:
    task, data = Classes(), toys.rows(unlabelled=20)
    before = global_state()
    for _ in steps(model_of(task, data, dropout=0.3), task, stage_of(), data, everything()):
        assert global_state() == before
    assert global_state() == before


@pytest.mark.parametrize("kind", ["row", "text"])
def test_prediction_depends_on_neither_batch_nor_order(kind: str) -> None:
    data = toys.rows() if kind == "row" else toys.whole(toys.texts())
    task: Task = Classes() if kind == "row" else Tags()
    model = model_of(task, data, kind, norm=kind == "row", dropout=0.5)
    train(model, task, data, [tune(norms_from=0)], stop=3)
    samples = data.train
    whole = model.predict(samples, task, size=32)
    assert not model.training
    for size, order in ((1, range(len(samples))), (5, np.random.default_rng(0).permutation(len(samples)))):
        found = model.predict([samples[i] for i in order], task, size=size)
        for i, answer in zip(order, found, strict=True):
            assert np.allclose(answer, whole[i], atol=1e-6)


# ------------------------------------------------------------------------------------------ resume


@dataclass
class Scenario:
    """One stage, built anew whenever asked."""

    methods: Callable[[], list[Method]]
    task: Callable[[], Task] = Classes
    kind: str = "row"
    data: Callable[[], Data] = lambda: toys.rows(unlabelled=20)
    norm: bool = True

    def start(self, resume: Any = None, **options: Any) -> tuple[Model, Iterator[Record]]:
        task, data = self.task(), self.data()
        model = model_of(task, data, self.kind, norm=self.norm, dropout=0.2 if self.norm else 0.0, classes=5)
        stage = stage_of(**{"epochs": 4.0, "view": "strong", "stop": 9, **options})

        def origin() -> Toy:
            return Toy(self.kind, norm=self.norm)

        return model, steps(model, task, stage, data, self.methods(), seed=2, index=1, origin=origin, resume=resume)

    def straight(self, **options: Any) -> dict[str, torch.Tensor]:
        model, run = self.start(**options)
        list(run)
        return weights(model)


def joint() -> Data:
    a, b = toys.rows(14, task="a"), toys.rows(13, seed=5, task="b")
    return replace(a, train=a.train + b.train)


SCENARIOS = {
    "lora+flexmatch+l2_head": Scenario(lambda: [named("lora", Lora()), named("flexmatch", FixMatch(flexible=True))]),
    "ema+mixup+sam": Scenario(
        lambda: [tune(norms_from=0), named("ema", Ema()), named("mixup", Mixup()), named("sam", Sam())]
    ),
    "dro+l2_sp+co_tuning": Scenario(
        lambda: [tune(norms_from=0), named("dro", GroupDRO()), named("l2_sp", L2SP()), named("co_tuning", CoTuning())]
    ),
    "contrast+masked+ema": Scenario(
        lambda: [
            tune(norms_from=0),
            named("contrast", Contrast()),
            named("masked", MaskedPatches()),
            named("ema", Ema()),
        ],
        kind="picture",
        data=lambda: toys.whole(toys.masked(18)),
        task=toys.Masks,
    ),
    "pcgrad+pairs": Scenario(lambda: [tune(), named("pcgrad", PCGrad()), named("pairs", Pairs()), named("l2_sp", L2SP())]),
    "tags": Scenario(lambda: [tune()], Tags, "text", lambda: toys.whole(toys.texts())),
}


def stop_at(scenario: Scenario, k: int, folder: Path) -> None:
    """Train to step k, write a checkpoint, and stop as a killed process would."""
    _, run = scenario.start()
    for record in run:
        if record.step == k:
            tensors, plain = states.split(record.state())
            checkpoint.save(folder, k, tensors, {"state": plain})
            return


def go_on(scenario: Scenario, folder: Path) -> dict[str, torch.Tensor]:
    found = checkpoint.latest(folder, print)
    assert found is not None
    state = states.join({group: found.tensors(group) for group in found.files}, found.state["state"])
    model, run = scenario.start(resume_from(state))
    numbers = [record.step for record in run]
    assert numbers == list(range(found.step + 1, 10))
    return weights(model)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_stage_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    straight = SCENARIOS[name].straight()
    for k in (1, 5):
        stop_at(SCENARIOS[name], k, tmp_path / str(k))
        torch.rand(7)
        assert same(straight, go_on(SCENARIOS[name], tmp_path / str(k))), f"stopped at {k}"


def child(code: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((SOURCE, HERE))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_another_process_goes_on_bit_for_bit(tmp_path: Path) -> None:
    names = ["lora+flexmatch+l2_head", "ema+mixup+sam"]
    for name in names:
        stop_at(SCENARIOS[name], 4, tmp_path / name)
    code = (
        "import sys, pathlib, torch, safetensors.torch, test_loop as t\n"
        "torch.set_num_threads(2)\n"
        "for name in sys.argv[2:]:\n"
        "    found = t.go_on(t.SCENARIOS[name], pathlib.Path(sys.argv[1]) / name)\n"
        "    safetensors.torch.save_file(found, pathlib.Path(sys.argv[1]) / f'{name}.safetensors')\n"
    )
    process = child(code, tmp_path, *names)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0, out
    for name in names:
        assert same(SCENARIOS[name].straight(), safetensors.torch.load_file(tmp_path / f"{name}.safetensors"))


def test_a_checkpoint_of_another_recipe_is_refused() -> None:
    scenario = SCENARIOS["pcgrad+pairs"]
    _, run = scenario.start()
    state = clone(next(run).state())
    for group in ("model", "optimizer"):
        _, run = scenario.start(resume_from({**state, group: {**state[group], "strange/step": torch.zeros(1)}}))
        with pytest.raises(DataError):
            next(run)


def test_states_come_back_exactly() -> None:
    held = {
        "x": torch.tensor([1.0, -0.0]), "n": 3, "f": 0.1 + 0.2, "best": float("inf"), "low": float("-inf"), "s": "ü",
        "b": True, "none": None, "list": [torch.arange(2), 1.5, {"tensor": torch.zeros(0)}], "pair": (1, torch.ones(1)),
        "dict": {"a/b": torch.ones(2, 2), "float": 2.0}, "empty": {}, "tuple": [],
    }  # fmt: skip
    state = {"loop": {"step": 3}, "model": {"w": torch.ones(2)}, "optimizer": {}, "methods": {"m": held, "none": {}}}
    tensors, plain = states.split(state)
    back = states.join(tensors, json.loads(json.dumps(plain, allow_nan=False)))
    assert equal(back, state)
    with pytest.raises(TypeError, match="methods/m/x is a ndarray"):
        states.split({**state, "methods": {"m": {"x": np.ones(2)}}})
    with pytest.raises(TypeError, match="key 3"):
        states.split({**state, "methods": {"m": {3: 1}}})


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b) and a.dtype == b.dtype
    if isinstance(a, dict):
        return type(b) is dict and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return bool(type(a) is type(b) and a == b)


# --------------------------------------------------------------------------------------- processes


class ByTask(Method):
    """Each process gets rows of one task, so the other's head is unused there; the last batch is uneven."""

    def sampler(self, samples: Any, batch: int, rng: Any) -> list[list[int]]:
        a, b = ([i for i, s in enumerate(samples) if s.task == task] for task in "ab")
        rows = [i for pair in zip(a, b, strict=False) for i in pair] + a[len(b) :]
        return [rows[i : i + batch] for i in range(0, len(rows), batch)]


def weighted() -> Data:
    data = toys.rows(27, unlabelled=21)
    return replace(data, train=[replace(s, weight=0.5 + (i % 3) / 2) for i, s in enumerate(data.train)])


SHARED = {
    "composite": Scenario(
        lambda: [tune(), named("by_task", ByTask())], lambda: Several({"a": Classes(), "b": Classes()}), data=joint, norm=False
    ),
    "dro+fixmatch+l2_sp": Scenario(
        lambda: [named("finetune", tune()), named("dro", GroupDRO()), named("fixmatch", FixMatch(flexible=True)), named("l2_sp", L2SP())],
        data=weighted, norm=False,
    ),
    "scalar": Scenario(lambda: [tune()], lambda: Numbers(scalar=True), data=lambda: toys.rows(27), norm=False),
}  # fmt: skip


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for name, scenario in SHARED.items():
        model, run = scenario.start(view="none")
        terms = [r.terms for r in run]
        safetensors.torch.save_file(weights(model), f"{folder}/{name}-{rank}.safetensors")
        Path(f"{folder}/{name}-{rank}.json").write_text(json.dumps(terms))
    distributed.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    code = "import sys, test_loop; test_loop.run_rank(int(sys.argv[1]), sys.argv[2])"
    processes = [child(code, rank, tmp_path) for rank in range(2)]
    for process in processes:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, out
    for name, scenario in SHARED.items():
        model, run = scenario.start(view="none")
        terms = [r.terms for r in run]
        one = weights(model)
        first, second = (safetensors.torch.load_file(tmp_path / f"{name}-{rank}.safetensors") for rank in range(2))
        assert same(first, second)
        assert max((one[n] - first[n]).abs().max().item() for n in one) < 2e-6, name
        for mine, theirs in zip(terms, json.loads((tmp_path / f"{name}-0.json").read_text()), strict=True):
            assert mine == pytest.approx(theirs, abs=1e-5), name

"""The loop's promises: the order of a step, conflicts, modes, seeds, and going on bit for bit."""

from __future__ import annotations

import logging
import os
import random
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toys
from torch import nn
from toy_methods import (
    Contrast,
    CoTuning,
    Ema,
    FixMatch,
    HeadOnly,
    Lora,
    Mixup,
    Pairs,
    PCGrad,
    Sam,
    Watch,
    named,
    tune,
)
from toy_tasks import Classes, Masks, Tags
from toys import held, model_of, resume_from, same, stage_of, train, weights

from graft.data import Data
from graft.errors import DataError, UsageError
from graft.methods import Method
from graft.methods.probe import Probe
from graft.model import Batch, Model, Output
from graft.tasks import Task
from graft.train import states
from graft.train.loop import check, steps
from graft.train.streams import Streams, shuffled

SOURCE = str(Path(states.__file__).parents[2])
HERE = str(Path(__file__).parent)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Toys are too small to share out: on a busy machine two threads wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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


@pytest.mark.parametrize(
    "wrong", [{"view": "sideways"}, {"lr": None}, {"schedule": "cosin"}, {"batch": 0}, {"epochs": -1.0}]
)
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
    assert moved == {
        "backbone.trunk.second.weight",
        "backbone.trunk.second.bias",
        "head.linear.weight",
        "head.linear.bias",
    }


def test_rates_fall_from_stage_to_stage() -> None:
    task, data = Classes(), toys.rows()
    model = model_of(task, data)
    nn.init.normal_(model.head.linear.weight)
    before = weights(model)
    options: dict[str, Any] = {
        "warmup": 0.0,
        "schedule": "constant",
        "weight_decay": 0.0,
        "stop": 1,
        "lr": 1e-3,
        "clip": 0.0,
    }
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
    before = weights(model)
    for record in steps(model, task, stage_of(epochs=4), data, [tune(norms_from=0), bad]):
        assert record.skipped is (record.step in (2, 3))
        assert same(before, weights(model)) is record.skipped, "weights and statistics stay"
        before = weights(model)
    assert bad.moved == 10
    assert all(torch.isfinite(t).all() for t in before.values())


def test_six_steps_in_a_row_that_are_not_finite_end_the_stage_also_over_a_resume() -> None:
    task, data = Classes(), toys.rows()
    for at, fails in (({*range(1, 6)}, False), ({*range(1, 7)}, True)):
        run = steps(model_of(task, data), task, stage_of(epochs=4), data, [tune(), named("bad", Bad(at))])
        resumed = None
        for record in run:
            if record.step == 4:
                resumed = held(record.state())
                break
        assert resumed is not None
        model = model_of(task, data)
        more = steps(
            model,
            task,
            stage_of(epochs=4),
            data,
            [tune(), named("bad", Bad(at))],
            resume=resume_from(resumed),
        )
        if fails:
            with pytest.raises(UsageError, match="6 steps in a row"):
                list(more)
        else:
            assert list(more)[-1].step == 12


# --------------------------------------------------------------------------------- order and seeds


@pytest.mark.parametrize(
    ("n", "size", "sizes"),
    [(25, 8, [8, 8, 9]), (24, 8, [8, 8, 8]), (3, 2, [3]), (5, 8, [5]), (26, 8, [2, 8, 8, 8])],
)
def test_no_batch_holds_one_sample_alone(n: int, size: int, sizes: list[int]) -> None:
    made = shuffled(toys.rows(n).train, size, np.random.default_rng(0))
    assert sorted(len(rows) for rows in made) == sizes
    assert sorted(i for rows in made for i in rows) == list(range(n))


def test_every_epoch_has_an_order_of_its_own_and_may_be_asked_again() -> None:
    streams = Streams(toys.rows(20, unlabelled=7), stage_of(), [tune(), named("fixmatch", FixMatch())], (0, 0))
    orders = [streams.order(epoch) for epoch in (0, 1, 2, 0)]
    assert all(sorted(i for rows in order for i in rows) == list(range(20)) for order in orders)
    assert orders[0] == orders[3]
    assert orders[0] != orders[1] != orders[2]
    seen = [row for number in range(7) for row in streams.unlabelled(number)[1]]
    assert len(seen) == 56
    assert all(sorted(seen[k : k + 7]) == list(range(7)) for k in range(0, 56, 7)), "whole shuffled passes"
    assert seen[:7] != seen[7:14]


def test_texts_of_like_length_share_a_batch() -> None:
    samples = toys.texts(64)
    spread = [np.ptp([len(samples[i].x) for i in rows]) for rows in shuffled(samples, 8, np.random.default_rng(0))]
    assert np.mean(spread) < 0.5 * np.ptp([len(s.x) for s in samples])


class Noise(Method):
    """Draws from torch itself, outside every pass."""

    def batch(self, batch: Batch, rng: Any) -> Batch:
        return replace(batch, x=batch.x + 0.01 * torch.randn_like(batch.x))


def everything() -> list[Method]:
    others = {"mixup": Mixup(), "fixmatch": FixMatch(), "sam": Sam(), "noise": Noise()}
    return [tune(norms_from=0), *(named(n, m) for n, m in others.items())]


def test_views_are_drawn_anew_each_epoch() -> None:
    task, data, seen = Masks(), toys.whole(toys.masked(8)), []

    class Keeps(Method):
        def batch(self, batch: Batch, rng: Any) -> Batch:
            seen.append(dict(zip(batch.id, batch.x, strict=True)))
            return batch

    methods = [tune(), named("keeps", Keeps())]
    train(model_of(task, data, "picture"), task, data, methods, batch=4, epochs=3, view="weak")
    epochs = [{**seen[k], **seen[k + 1]} for k in (0, 2, 4)]
    for a, b in ((0, 1), (1, 2)):
        assert all(not torch.equal(epochs[a][i], epochs[b][i]) for i in epochs[0])


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
        "numpy": str(np.random.get_state()),
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

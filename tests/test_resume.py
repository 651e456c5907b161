"""A stage goes on bit for bit from any step, in any process, and two processes equal one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import toys
from torch import distributed
from toy_methods import (
    L2SP,
    Contrast,
    CoTuning,
    Ema,
    FixMatch,
    GroupDRO,
    Lora,
    MaskedPatches,
    Mixup,
    Pairs,
    PCGrad,
    Sam,
    named,
    tune,
)
from toy_tasks import Classes, Masks, Numbers, Several, Tags
from toys import Toy, held, model_of, resume_from, same, stage_of, weights

from graft import checkpoint
from graft.data import Data
from graft.errors import DataError
from graft.methods import Method
from graft.model import Model
from graft.tasks import Task
from graft.train import states
from graft.train.loop import steps
from graft.train.step import Record

SOURCE = str(Path(states.__file__).parents[2])
HERE = str(Path(__file__).parent)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Toys are too small to share out: on a busy machine two threads wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
        lambda: [
            tune(norms_from=0),
            named("dro", GroupDRO()),
            named("l2_sp", L2SP()),
            named("co_tuning", CoTuning()),
        ]
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
        task=Masks,
    ),
    "pcgrad+pairs": Scenario(
        lambda: [tune(), named("pcgrad", PCGrad()), named("pairs", Pairs()), named("l2_sp", L2SP())]
    ),
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
@pytest.mark.slow
def test_a_stage_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    straight = SCENARIOS[name].straight()
    for k in (1, 5):
        stop_at(SCENARIOS[name], k, tmp_path / str(k))
        torch.rand(7)
        assert same(straight, go_on(SCENARIOS[name], tmp_path / str(k))), f"stopped at {k}"


def test_a_later_stage_goes_on_after_its_finished_stages_are_replayed() -> None:
    task, data = Classes(), toys.rows()
    first, second = stage_of(epochs=1), stage_of(epochs=3)
    model, last = model_of(task, data), None
    list(steps(model, task, first, data, [named("lora", Lora()), named("ema", Ema())]))
    for record in steps(model, task, second, data, [named("lora", Lora())], index=1):
        if record.step == 4:
            last = held(record.state())
    assert last is not None
    again, lora = model_of(task, data), Lora()
    lora.prepare(again, task, data)
    lora.finish(again)
    list(steps(again, task, second, data, [named("lora", Lora())], index=1, resume=resume_from(last)))
    assert same(weights(model), weights(again))


def child(code: str, *args: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((SOURCE, HERE))},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.slow
def test_another_process_goes_on_bit_for_bit(tmp_path: Path) -> None:
    names = ["lora+flexmatch+l2_head", "ema+mixup+sam"]
    for name in names:
        stop_at(SCENARIOS[name], 4, tmp_path / name)
    code = (
        "import sys, pathlib, torch, safetensors.torch, test_resume as t\n"
        "torch.set_num_threads(1)\n"
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
    state = held(next(run).state())
    for group in ("model", "optimizer"):
        _, run = scenario.start(resume_from({**state, group: {**state[group], "strange/step": torch.zeros(1)}}))
        with pytest.raises(DataError):
            next(run)


def test_states_come_back_exactly() -> None:
    mixed = {
        "x": torch.tensor([1.0, -0.0]),
        "n": 3,
        "f": 0.1 + 0.2,
        "best": float("inf"),
        "low": float("-inf"),
        "s": "ü",
        "b": True,
        "none": None,
        "list": [torch.arange(2), 1.5, {"tensor": torch.zeros(0)}],
        "pair": (1, torch.ones(1)),
        "dict": {"a/b": torch.ones(2, 2), "float": 2.0},
        "empty": {},
        "tuple": [],
    }
    state = {
        "loop": {"step": 3},
        "model": {"w": torch.ones(2)},
        "optimizer": {},
        "methods": {"m": mixed, "none": {}},
    }
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
        lambda: [tune(), named("by_task", ByTask())],
        lambda: Several({"a": Classes(), "b": Classes()}),
        data=joint,
        norm=False,
    ),
    "dro+fixmatch+l2_sp": Scenario(
        lambda: [
            named("finetune", tune()),
            named("dro", GroupDRO()),
            named("fixmatch", FixMatch(flexible=True)),
            named("l2_sp", L2SP()),
        ],
        data=weighted,
        norm=False,
    ),
    "scalar": Scenario(lambda: [tune()], lambda: Numbers(scalar=True), data=lambda: toys.rows(27), norm=False),
}


def run_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    for name, scenario in SHARED.items():
        model, run = scenario.start(view="none")
        terms = [r.terms for r in run]
        safetensors.torch.save_file(weights(model), f"{folder}/{name}-{rank}.safetensors")
        Path(f"{folder}/{name}-{rank}.json").write_text(json.dumps(terms))
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path) -> None:
    code = "import sys, test_resume; test_resume.run_rank(int(sys.argv[1]), sys.argv[2])"
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

"""A machine that fails: memory, numbers, terminals, clocks, neighbours (rows 71-74, 81-83 and 86 of the faults)."""

from __future__ import annotations

import itertools
import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
import toys
from command import environment, python, refused, run, start
from toy_methods import FixMatch, Mixup, PCGrad, named, tune
from toy_tasks import Classes
from toys import Toy, held, model_of, resume_from, same, stage_of, weights

from graft import features, files, recipe, registry, train, workplace
from graft.data import Data, Sample
from graft.errors import SetupError, Stopped, UsageError
from graft.methods import Method
from graft.model import Batch, Features, Model, Output
from graft.recipe import Stage
from graft.train import memory
from graft.train.loop import Resume, steps
from graft.train.step import Record
from graft.voice import Voice
from graft.workplace import Workplace

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fault is made with Linux means")
HERE = str(Path(__file__).parent)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ------------------------------------------------------------------------------- memory (rows 73, 74)

SHORT: list[Callable[[], Exception]] = [
    lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    lambda: RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"),
    lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    lambda: MemoryError(),
]


class Tight(Toy):
    """A backbone for which `room` rows are the most; what it tried with is in `tried`."""

    def __init__(self, room: int, error: Callable[[], Exception] = SHORT[0], **options: Any) -> None:
        super().__init__("row", **options)
        self.room, self.error = room, error
        self.tried: list[int] = []

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        if self.training:
            self.tried.append(len(x))
        found = super().forward(x, embedded, mask)  # the statistics of a BatchNorm have moved when memory runs out
        if self.training and len(x) > self.room:
            raise self.error()
        return found


def tight(room: int, error: Callable[[], Exception] = SHORT[0], **options: Any) -> Model:
    task, data = Classes(), toys.rows(32)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        backbone = Tight(room, error, **options)
        return Model(backbone, task.head(backbone, data))


def go(
    model: Model, methods: list[Method] | None = None, resume: Resume | None = None, **options: Any
) -> Iterator[Record]:
    stage = stage_of(**{"epochs": 2.0, "batch": 16, **options})
    return steps(model, Classes(), stage, toys.rows(32), methods or [tune()], seed=3, resume=resume)


def near(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.allclose(a[n], b[n], atol=2e-5) for n in a)


@pytest.mark.parametrize("error", SHORT)
@pytest.mark.parametrize("mixed", [False, True])
def test_a_batch_too_large_goes_through_in_pieces_that_add_up(error: Callable[[], Exception], mixed: bool) -> None:
    """The step stays the same: its samples, also mixed ones, and their weights, also where pieces differ in size."""
    made: list[dict[str, torch.Tensor]] = []
    for room in (99, 6):
        model = tight(room, error)
        records = list(go(model, [tune(), *([named("mixup", Mixup())] if mixed else [])]))
        made.append(weights(model))
    plain, cut = made
    assert near(plain, cut)
    assert not same(plain, weights(tight(99))), "it trained"
    first, *others = records
    assert first.pieces == 4
    assert "out of memory at step 1 (peak " in first.note
    assert "in 4 pieces whose gradients are added" in first.note
    assert all(r.pieces == 4 and not r.note for r in others)
    assert model.backbone.tried[:6] == [16, 8, 4, 4, 4, 4]  # type: ignore[index]
    assert max(model.backbone.tried[2:]) <= 4  # type: ignore[type-var]


def test_terms_and_weights_of_samples_are_those_of_the_whole_batch() -> None:
    data = toys.rows(32)
    for i, sample in enumerate(data.train):
        sample.weight = 0.25 + i % 4 / 2
    stage = stage_of(epochs=1.0, batch=11)
    said = []
    for room in (99, 4):
        found = list(steps(tight(room), Classes(), stage, data, [tune()], seed=1))
        said.append([(r.terms["cross_entropy"], r.norm) for r in found])
    assert np.allclose(said[0], said[1], atol=1e-5)


def test_a_failed_pass_leaves_nothing_behind() -> None:
    """BatchNorm's statistics and the draws are those of a run that was cut from the start, bit for bit."""
    model = tight(8, norm=True, dropout=0.3)
    list(go(model, [tune(norms_from=0)]))
    from_start = tight(99, norm=True, dropout=0.3)
    state = held(next(iter(go(from_start, [tune(norms_from=0)]))).start)
    from_start = tight(99, norm=True, dropout=0.3)
    state["loop"]["pieces"] = 2
    list(go(from_start, [tune(norms_from=0)], resume_from(state)))
    assert same(weights(model), weights(from_start))


def test_pieces_survive_a_resume() -> None:
    straight = tight(6)
    list(go(straight))
    broken = tight(6)
    for record in go(broken):
        if record.step == 3:
            state = held(record.state())
            break
    model = tight(99)  # where there is more memory now, the run goes on as it was begun
    records = list(go(model, resume=resume_from(state)))
    assert [r.pieces for r in records] == [4] * len(records)
    assert same(weights(straight), weights(model))


class Coupled(Method):
    """Looks at all samples of a batch at once."""

    def loss(self, step: Any) -> torch.Tensor:
        return step.out.pred.var(0).sum()


class Single(Classes):
    """One number a batch."""

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return {name: value.mean() for name, value in super().loss(output, batch).items()}


@pytest.mark.parametrize(
    ("methods", "says"),
    [
        ([tune(), named("coupled", Coupled())], "coupled looks at whole batches (its 'loss')"),
        ([tune(), named("pcgrad", PCGrad()), named("coupled", Coupled())], "pcgrad looks at whole batches"),
    ],
)
def test_batches_that_cannot_be_split_end_the_run_with_the_reason(methods: list[Method], says: str) -> None:
    with pytest.raises(SetupError) as e:
        list(go(tight(6), methods))
    assert says in str(e.value)
    assert "out of memory at step 1 (peak " in str(e.value)
    assert "--set stage.0.batch=8" in str(e.value)
    assert "--resume" in str(e.value)


def test_one_number_a_batch_cannot_be_split() -> None:
    with pytest.raises(SetupError, match="'cross_entropy' comes as one number a batch"):
        list(steps(tight(6), Single(), stage_of(batch=16), toys.rows(32), [tune()]))


def test_views_of_unlabelled_samples_cannot_be_split() -> None:
    assert "looks at whole batches" in memory.cannot_split([named("fixmatch", FixMatch())], True, 1)
    assert "views of unlabelled samples" in memory.cannot_split([tune()], True, 1)
    assert "2 processes" in memory.cannot_split([tune()], False, 2)
    assert memory.cannot_split([tune()], False, 1) == ""


@pytest.mark.parametrize(("norm", "least"), [(False, 1), (True, 2)])
def test_where_the_smallest_pieces_do_not_fit_the_machine_is_to_blame(norm: bool, least: int) -> None:
    model = tight(0, norm=norm)
    with pytest.raises(SetupError, match=f"batches of 16 went through in {16 // least} pieces already"):
        list(go(model, [tune(norms_from=0)]))
    assert min(model.backbone.tried) == least  # type: ignore[type-var]


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        list(go(tight(6, lambda: RuntimeError("mat1 and mat2 shapes cannot be multiplied"))))
    assert not memory.ran_out(ValueError("out of memory"))


SQUEEZE = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
from test_faults_machine import Hungry, hungry
from graft.train.loop import steps
from graft.errors import SetupError
from toy_tasks import Classes
import toys
from toy_methods import tune

stage = toys.stage_of(epochs=1.0, batch=32)
list(steps(hungry(1000), Classes(), stage, toys.rows(64), [tune()]))  # threads and libraries are there from now on
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 300_000_000,) * 2)
try:
    records = list(steps(hungry(int(sys.argv[2])), Classes(), stage, toys.rows(64), [tune()]))
    print(records[0].note, [r.pieces for r in records])
except SetupError as e:
    print(e.code, e)
"""


class Hungry(Toy):
    """Needs `numbers` floats for each row of a batch, for a moment."""

    numbers = 0

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        found = super().forward(x, embedded, mask)
        return Features(found.pooled + 0 * torch.ones(len(x), self.numbers).mean(), found.tokens)


def hungry(numbers: int) -> Model:
    task, data = Classes(), toys.rows(64)
    backbone = Hungry("row")
    backbone.numbers = numbers
    return Model(backbone, task.head(backbone, data))


@linux
@pytest.mark.slow
@pytest.mark.parametrize(
    ("numbers", "says"),
    [(4_000_000, r"out of memory at step 1 \(peak [0-9.]+ GB\).* in 2 pieces .*\[2, 2\]"), (10**9, r"^4 .*already")],
)
def test_a_host_that_runs_out_of_memory(numbers: int, says: str) -> None:
    """A limit on the address space of a child: 32 rows of 4 million floats take 512 MB where 300 are left."""
    said = python(SQUEEZE, HERE, numbers)
    assert said.code == 0, said.err
    assert re.search(says, said.out, re.DOTALL), said.out


NARROW = '''"""Memory for eight rows at a time, in training."""
import torch
from dataclasses import dataclass
from graft.methods import Method
from graft.model import Model

forward = Model.forward


def narrow(self, batch):
    if self.training and len(batch) > 8:
        raise torch.OutOfMemoryError("CUDA out of memory.")
    return forward(self, batch)


Model.forward = narrow


@dataclass
class Narrow(Method):
    """Does nothing."""
'''


def narrow_words(bert: Path, reviews: Path, tmp_path: Path, recipe: str) -> list[object]:
    (tmp_path / "narrow.py").write_text(NARROW)
    return [
        "fit", reviews, "--backbone", f"local:{bert}", "--recipe", recipe, "--plugin", tmp_path / "narrow.py", "--set",
        "stage.0.epochs=1", "--set", "stage.0.batch=16", "--out", tmp_path / "run", "--json",
    ]  # fmt: skip


@pytest.mark.slow
def test_a_run_that_ran_out_of_memory_says_so_and_is_finished(bert: Path, reviews: Path, tmp_path: Path) -> None:
    said = run(*narrow_words(bert, reviews, tmp_path, "finetune:depth=1"))
    assert said.code == 0, said.err
    assert "graft: recipe, stage 0: out of memory at step 1 (peak" in said.err
    noted = [n for n in train.notes(tmp_path / "run" / "log.jsonl") if n.startswith("recipe")]
    assert len(noted) == 1  # training from scratch has one of its own
    assert "in 2 pieces" in noted[0]
    lines = train.read_log(tmp_path / "run" / "log.jsonl")
    assert all("terms" in x or "valid" in x for x in lines)


@pytest.mark.slow
def test_a_run_without_memory_ends_with_4_and_can_go_on(bert: Path, reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "coupled.py").write_text(
        '"""All samples at once."""\nfrom dataclasses import dataclass\nfrom graft.methods import Method\n\n\n'
        '@dataclass\nclass Coupled(Method):\n    """All."""\n\n    def loss(self, step):\n'
        "        return step.out.pred.var(0).sum()\n"
    )
    words = narrow_words(bert, reviews, tmp_path, "finetune:depth=1 + coupled")
    refused(run(*words, "--plugin", tmp_path / "coupled.py"), 4, "out of memory", "coupled", "--set stage.0.batch=8")
    assert (tmp_path / "run.partial").exists()


# --------------------------------------------------------------------- numbers that are none (row 86)


@dataclass
class Grows(Method):
    """Drives a bias up at the full rate; beyond `limit` nothing is finite any more, as where training explodes."""

    limit: float = 0.1

    def loss(self, step: Any) -> torch.Tensor:
        bias = step.model.head.linear.bias
        return -100 * bias.sum() + (float("nan") if float(bias.detach().max()) > self.limit else 0.0)


CONSTANT: dict[str, Any] = {"epochs": 6.0, "lr": 1e-2, "schedule": "constant", "warmup": 0.0, "clip": 0.0}


def test_a_stage_that_explodes_begins_again_at_half_the_rate() -> None:
    """As if it had been asked for half the rate from the start, bit for bit."""
    task, data = Classes(), toys.rows()
    model = model_of(task, data)
    records = list(steps(model, task, stage_of(**CONSTANT), data, [tune(head=1.0), named("grows", Grows())]))
    bad = [r for r in records if r.skipped]
    assert [r.bad for r in bad] == [1, 2, 3, 4, 5, 6]
    assert all(len(r.ids) == 8 and set(r.ids) <= {s.id for s in data.train} for r in bad)
    first = records.index(bad[-1]) + 1
    again = records[first:]
    assert [r.step for r in again] == list(range(1, 19))
    assert {r.halved for r in again} == {1}
    assert again[0].lr == records[0].lr / 2
    assert "not finite in 6 steps in a row" in again[0].note
    assert "0.5 of the rate" in again[0].note
    assert again[0].note.rpartition("held ")[2].split(",")[0] in bad[-1].ids
    half = model_of(task, data)
    slow = {**CONSTANT, "lr": CONSTANT["lr"] / 2}
    list(steps(half, task, stage_of(**slow), data, [tune(head=1.0), named("grows", Grows())]))
    assert same(weights(half), weights(model))


def test_it_begins_again_twice_and_then_gives_up_naming_the_samples() -> None:
    task, data = Classes(), toys.rows()
    model = model_of(task, data)
    seen: list[Record] = []
    with pytest.raises(UsageError) as e:
        seen.extend(steps(model, task, stage_of(**CONSTANT), data, [tune(head=1.0), named("grows", Grows(limit=-1.0))]))
    last = seen[-1]
    assert (last.halved, last.bad) == (2, 6)
    for part in ("6 steps in a row", "0.25 of the rate", "--set stage.0.lr=0.001", last.ids[0]):
        assert part in str(e.value)


def test_a_skipped_step_leaves_weights_moments_and_methods_alone() -> None:
    task, data = Classes(), toys.rows()
    model, before = model_of(task, data, norm=True), None
    grows = named("grows", Grows(limit=0.025))
    for record in steps(model, task, stage_of(**CONSTANT), data, [tune(norms_from=0), grows]):
        state = held(record.state())
        if record.skipped and before is not None:
            assert same(state["model"], before["model"])
            assert same(state["optimizer"], before["optimizer"])
        before = state
        if record.bad == 5:
            return
    raise AssertionError("nothing exploded")


class Halts(Voice):
    """A voice that remembers its warnings."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.said: list[str] = []

    def warn(self, text: str) -> None:
        self.said.append(text)


def rung_of(folder: Path, stage: Stage, voice: Voice) -> train.Rung:
    return train.Rung("toy", (stage,), folder / "checkpoints", folder / "log.jsonl", 0, voice, lambda: Toy("row"))


def trained(
    folder: Path, data: Data, monkeypatch: pytest.MonkeyPatch, limit: float = 0.1, halt: int = 0
) -> tuple[Model, Halts]:
    """`train.fit` of a stage with Grows; with `halt` it is stopped after so many steps and resumed in a new model."""
    task, voice = Classes(), Halts()
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(train, "methods_of", lambda stage: [tune(head=1.0), named("grows", Grows(limit=limit))])
    if halt:
        stopped(folder, data, monkeypatch, voice, halt)
    model = model_of(task, data)
    train.fit(model, task, data, rung_of(folder, stage_of(**CONSTANT), voice))
    return model, voice


def stopped(folder: Path, data: Data, monkeypatch: pytest.MonkeyPatch, voice: Voice, halt: int) -> None:
    """One life that is stopped after so many steps."""
    own, count = train.Log.step, itertools.count(1)

    def counted(self: train.Log, record: Record) -> None:
        own(self, record)
        voice.stop.asked = "a test" if next(count) == halt else ""

    with monkeypatch.context() as m:
        m.setattr(train.Log, "step", counted)
        with pytest.raises(Stopped):
            train.fit(model_of(Classes(), data), Classes(), data, rung_of(folder, stage_of(**CONSTANT), voice))
    voice.stop.asked = ""


def losses(folder: Path) -> list[Any]:
    return [
        (x["step"], x["lr"], x["terms"], x["skipped"]) for x in train.read_log(folder / "log.jsonl") if "terms" in x
    ]


@pytest.mark.parametrize("halt", [1, 9, 13, 16, 17, 18, 24])
def test_a_run_that_begins_again_and_is_resumed_equals_the_straight_one(
    halt: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = toys.rows()
    straight, voice = trained(tmp_path / "a", data, monkeypatch)
    assert any("begins again at 0.5 of the rate" in s for s in voice.said)
    resumed, _ = trained(tmp_path / "b", data, monkeypatch, halt=halt)
    assert same(weights(straight), weights(resumed))
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert [x[0] for x in losses(tmp_path / "a")] == list(range(1, 19)), "the first try is not in the log"
    assert train.notes(tmp_path / "a" / "log.jsonl") == train.notes(tmp_path / "b" / "log.jsonl") != []


@pytest.mark.parametrize("halt", [0, 7, 14, 15, 18])
def test_a_run_that_gives_up_keeps_the_samples(halt: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = toys.rows()
    with pytest.raises(UsageError, match=r"not_finite\.json") as e:
        trained(tmp_path, data, monkeypatch, limit=-1.0, halt=halt)
    assert "0.25 of the rate" in str(e.value)
    said = json.loads((tmp_path / "not_finite.json").read_text())
    assert (said["rung"], said["stage"]) == ("toy", 0)
    assert [x["step"] for x in said["steps"]] == [1, 2, 3, 4, 5, 6]
    assert all(len(x["ids"]) == 8 and set(x["ids"]) <= {s.id for s in data.train} for x in said["steps"])


def test_without_the_stages_beginning_it_cannot_go_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy of the beginning is a checkpoint like any other: damaged, it is set aside and not used."""
    data = toys.rows()
    monkeypatch.setattr(train, "methods_of", lambda stage: [tune(head=1.0), named("grows", Grows())])
    voice, task = Halts(), Classes()
    stopped(tmp_path, data, monkeypatch, voice, 3)
    begun = tmp_path / "checkpoints" / "stage-0" / "start" / "step-000000000" / "model.safetensors"
    begun.write_bytes(begun.read_bytes()[:-4])
    with pytest.raises(UsageError, match="6 steps in a row"):
        train.fit(model_of(task, data), task, data, rung_of(tmp_path, stage_of(**CONSTANT), voice))
    assert any("is damaged" in s for s in voice.said)


# ------------------------------------------------------------------------------------ signals (row 72)


@pytest.fixture
def long_words(bert: Path, tmp_path: Path) -> list[object]:
    data = models.write_csv(tmp_path / "t.csv", models.texts(160))
    return [
        "fit", data, "--backbone", f"local:{bert}", "--recipe", "finetune:depth=2", "--set", "stage.0.epochs=60",
        "--out", tmp_path / "run",
    ]  # fmt: skip


@linux
@pytest.mark.slow
def test_a_closed_terminal_is_a_stop_that_resumes(long_words: list[object], tmp_path: Path) -> None:
    """The kernel sends SIGHUP, and every further word to the terminal fails: the run is saved all the same."""
    pid, master = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "graft", *map(str, long_words)], environment(TERM="xterm"))
    seen, end = b"", time.monotonic() + 90
    while not re.search(rb"training.*[3-9]/\d\d", seen, re.DOTALL) and time.monotonic() < end:
        seen += os.read(master, 4096)  # until some steps are done
    os.close(master)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == Stopped.code, seen
    owner = json.loads((tmp_path / "run.partial" / "owner.json").read_text())
    assert owner["pid"] == 0, "it left in good order"
    said = run(*long_words, "--resume")
    assert said.code == 0, said.err
    assert "goes on from step" in said.err


@linux
def test_a_hangup_stops_and_under_nohup_it_does_not(bert: Path, reviews: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom graft.voice import listening\n"
        "with listening(print) as stop:\n    os.kill(os.getpid(), signal.SIGHUP)\n    print(repr(stop.asked))"
    )
    assert python(code).out == "SIGHUP: stopping at the next safe place; once more ends at once\n'SIGHUP'\n"
    nohup = f"import signal\nsignal.signal(signal.SIGHUP, signal.SIG_IGN)\n{code}"
    assert python(nohup).out == "''\n"


@linux
@pytest.mark.slow
def test_nobody_reading_the_progress_is_no_reason_to_stop(bert: Path, reviews: Path, tmp_path: Path) -> None:
    """As in `graft fit ... 2>&1 >result.json | head -1`."""
    words = ["fit", reviews, "--backbone", f"local:{bert}", "--recipe", "probe:l2=0.1", "--out", tmp_path / "run"]
    process = start(*words, "--json")
    assert process.stderr
    assert process.stdout
    process.stderr.close()
    with process.stdout as pipe:
        said = pipe.read()
    assert process.wait(120) == 0
    assert json.loads(said)["value"] >= 0


# --------------------------------------------------------------------- neighbours and clocks (81 to 83)


def test_a_lock_of_another_host_is_broken_only_when_asked(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with Workplace(out) as place:
        (place.path / "half").write_text("half")
    owner = tmp_path / "run.partial" / "owner.json"
    told = {**workplace._identity(), "host": "elsewhere", "pid": 1, "beat": time.time()}
    owner.write_text(json.dumps(told))
    begun = time.monotonic()
    with pytest.raises(SetupError, match=r"elsewhere .*--break-lock"):
        Workplace(out, resume=True).__enter__()
    assert time.monotonic() - begun < 10, "said at once, not waited for"
    with Workplace(out, resume=True, break_lock=True) as place:
        assert place.state == "continued"
        assert files.read_json(owner)["host"] != "elsewhere"
        with pytest.raises(SetupError, match=f"pid {os.getpid()}"):  # who lives here is not broken
            Workplace(out, resume=True, break_lock=True).__enter__()


@linux
def test_the_lock_of_a_living_process_here_is_never_broken(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with Workplace(out) as place:
        (place.path / "half").write_text("half")
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        told = {**workplace._identity(), "pid": sleeper.pid, "started": workplace._started(sleeper.pid)}
        (tmp_path / "run.partial" / "owner.json").write_text(json.dumps({**told, "beat": time.time()}))
        with pytest.raises(SetupError, match=f"pid {sleeper.pid}"):
            Workplace(out, resume=True, break_lock=True).__enter__()
    finally:
        sleeper.kill()
        sleeper.wait()


CACHE = """
import sys
sys.path.insert(0, sys.argv[1])
import torch
torch.set_num_threads(1)
import toys
from graft import features
from graft.data import Sample
data = toys.rows(200).train
for round in range(20):
    some = data[: 100 + round]
    table = features.extract(toys.Toy("row").eval(), some, size=16)
    print(float(table.pooled.double().sum()))
"""


@pytest.mark.slow
def test_eight_processes_share_one_cold_cache(tmp_path: Path) -> None:
    """All give the same numbers, and what they leave behind is whole."""
    env = environment(GRAFT_CACHE=str(tmp_path / "cache"))
    command = [sys.executable, "-c", CACHE, HERE]
    processes = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    said = {p.communicate()[0] for p in processes}
    assert [p.returncode for p in processes] == [0] * 8
    assert len(said) == 1
    assert len(said.pop().splitlines()) == 20
    left = list((tmp_path / "cache" / "features").iterdir())
    assert not [p.name for p in left if p.name.startswith(".")], "nothing half written stays"


def extracted(data: list[Sample]) -> features.Table:
    return features.extract(Toy("row").eval(), data, size=16)


@pytest.mark.parametrize("when", [0, 4102444800])  # 1970, 2100
def test_a_clock_that_lies_spoils_neither_cache_nor_data(
    when: int, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys are contents: what is new is computed however old its file claims to be, what is known is found again."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    data = toys.rows(30, seed=5).train
    first = extracted(data)
    assert not first.cached
    for path in [tmp_path / "cache", *(tmp_path / "cache").rglob("*")]:
        os.utime(path, (when, when))
    again = extracted(data)
    assert again.cached
    assert torch.equal(first.pooled, again.pooled)
    changed = toys.rows(30, seed=6).train
    assert not extracted(changed).cached
    before = fingerprint(photos)
    for path in photos.rglob("*.png"):
        os.utime(path, (when, when))
    assert fingerprint(photos) == before


def fingerprint(folder: Path) -> str:
    task = registry.load("tasks", "image_classification")()
    found: Data = task.read(folder, recipe.Recipe(data=str(folder)))
    return found.fingerprint()

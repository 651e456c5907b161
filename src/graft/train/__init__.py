"""Train a recipe's stages: the caller of the one loop, with checkpoints, log, validation and time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from graft import checkpoint, features, registry
from graft.data import Data, Sample, subset
from graft.errors import DataError, SetupError, UsageError
from graft.files import because, flush_file, remove, write_json, write_whole
from graft.methods import Method, owns
from graft.model import Backbone, Batch, Model
from graft.precision import Precision
from graft.recipe import Spec, Stage, build_options, check_stage, plain_stage
from graft.tasks import Task
from graft.train import loop, memory, states
from graft.train.step import Record
from graft.train.streams import Streams
from graft.voice import Voice

EVERY = 15.0  # seconds between checkpoints
START = "start"  # beside a stage's checkpoints: the state it began with
NOT_FINITE = "not_finite.json"  # beside the log: the samples of the steps that ended a run


class Watcher(Protocol):
    """What hears of every step and validation while a rung trains: a `graft.board.Board`, or a stopwatch."""

    def step(
        self,
        rung: str,
        stage: int,
        step: int,
        terms: Mapping[str, float | None],
        rate: float | None,
        norm: float | None,
    ) -> None:
        """Loss terms after `step` steps of a stage, its learning rate and the gradient's norm."""

    def valid(self, rung: str, stage: int, step: int, value: float | None, measure: str) -> None:
        """The measure on the validation part after `step` steps of a stage."""


@dataclass
class Rung:
    """What the training of a rung needs, and what it tells."""

    name: str
    stages: tuple[Stage, ...]
    folder: Path  # for checkpoints
    log: Path
    seed: int
    voice: Voice
    origin: Callable[[], Backbone]
    deadline: float | None = None  # monotonic time after which the stage is ended
    beat: Callable[[], None] = lambda: None
    precision: Precision | None = None  # of frozen passes
    board: Watcher | None = None
    every: int = 1  # epochs between two validations of a stage that no validation ends (patience 0)
    known: Callable[[Sequence[Sample]], features.Table | None] = lambda samples: None
    """Features of training samples by the backbone that the rung starts from, frozen, where they are at hand."""
    stopped: dict[int, int] = field(default_factory=dict)  # stage -> steps, where the deadline ended it

    def done(self) -> tuple[Stage, ...]:
        """The stages as they really ran."""
        return tuple(replace(s, stop=self.stopped.get(i, s.stop)) for i, s in enumerate(self.stages))


def methods_of(stage: Stage) -> list[Method]:
    """Fresh methods of a stage; raises UsageError for unknown names, options or values."""
    check_stage(stage)
    made = []
    for spec in stage.specs():
        made.append(method_of(spec))
    return made


def method_of(spec: Spec) -> Method:
    """A fresh method from its spec."""
    kind = registry.load("methods", spec.name)
    method: Method = build_options(kind, spec.options, spec.name)
    method.name = spec.name
    return method


def spelled_out(spec: Spec) -> Spec:
    """The spec with every option of its method, so that a later default changes no old recipe."""
    method = method_of(spec)
    if not is_dataclass(method):
        return spec
    values = {f.name: getattr(method, f.name) for f in fields(method) if f.init}
    return Spec(spec.name, {k: v for k, v in values.items() if isinstance(v, str | int | float)})


def solves(stage: Stage) -> bool:
    """Whether a stage is solved on cached features instead of by gradient steps."""
    return any(owns(m, "solve") for m in methods_of(stage))


def fit(model: Model, task: Task, data: Data, rung: Rung) -> None:
    """Run a rung's stages over the model, in place; goes on from the newest whole checkpoint.

    Raises Stopped after saving a checkpoint when a stop was asked for, SetupError where memory does not
    suffice, UsageError where the loss stays non-finite.
    """
    with memory.told(rung.name, next(model.parameters()).device):
        _fit(model, task, data, rung)


def _fit(model: Model, task: Task, data: Data, rung: Rung) -> None:
    frozen, whole = True, data
    for index, stage in enumerate(rung.stages):
        methods = methods_of(stage)
        data = limited(whole, stage, rung.seed)
        if any(owns(m, "solve") for m in methods):
            loop.check(stage, task, methods)
            _solve(model, task, data, methods[0], rung, keep=frozen, skip=_passed(rung, index))
            continue
        frozen = False
        if _passed(rung, index):
            _replay(model, task, data, methods)
            continue
        _descend(model, task, data, stage, index, methods, rung)


def limited(data: Data, stage: Stage, seed: int) -> Data:
    """The data as a stage sees them: all of the training part, or `limit` samples of it."""
    if not stage.limit or stage.limit >= len(data.train):
        return data
    return replace(data, train=subset(data.train, stage.limit, seed, "limit"))


def _passed(rung: Rung, index: int) -> bool:
    """Whether a later stage already has a whole checkpoint, which holds all that this one would give."""
    # A folder alone is no proof: a kill may have come while its first checkpoint was being written.
    return any(checkpoint.latest(_place(rung, i), rung.voice.warn) for i in range(index + 1, len(rung.stages)))


def _place(rung: Rung, index: int) -> Path:
    return rung.folder / f"stage-{index}"


def _replay(model: Model, task: Task, data: Data, methods: list[Method]) -> None:
    """Give the model the shape that a finished stage left: its tuner's `prepare` and `finish`."""
    tuner = next(m for m in methods if m.tunes)
    tuner.prepare(model, task, data)
    tuner.finish(model)
    model.aux.clear()


def _solve(model: Model, task: Task, data: Data, method: Method, rung: Rung, keep: bool, skip: bool) -> None:
    method.prepare(model, task, data)
    if not skip:
        table = rung.known(data.train) if keep else None
        if table is None:
            with rung.voice.bar(f"{rung.name}: features", len(data.train)) as tick:
                how = rung.precision if keep else None  # a backbone that was trained here answers in fp32
                table = features.extract(model.backbone, data.train, keep=keep, precision=how, tick=tick)
        method.solve(model, task, table, targets(task, data))
    method.finish(model)


def targets(task: Task, data: Data) -> Batch:
    """The training part as one batch without x: y, ids, domains and weights."""
    train = data.train
    return Batch(
        x=torch.empty(len(train), 0),
        y=task.collate([task.target(s, None) for s in train]),
        id=[s.id for s in train],
        domain=[s.domain for s in train],
        task=[s.task for s in train],
        weight=torch.tensor([s.weight for s in train], dtype=torch.float32),
    )


def _descend(model: Model, task: Task, data: Data, stage: Stage, index: int, methods: list[Method], rung: Rung) -> None:
    """One stage by gradient steps, with everything that a caller of the loop does."""
    place = _place(rung, index)
    found = checkpoint.latest(place, rung.voice.warn) if place.exists() else None
    resume = _resume(found, place, stage, rung) if found else None
    log = Log(rung.log, rung.name, index, *((resume.loop["step"], resume.loop.get("halved", 0)) if resume else ()))
    per_epoch = Streams(data, stage, methods, (rung.seed, index)).per_epoch
    between = per_epoch * (1 if stage.patience else rung.every)
    total = min(stage.stop or loop.steps_of(stage, per_epoch), loop.steps_of(stage, per_epoch))
    saved = time.monotonic()
    records = loop.steps(
        model, task, stage, data, methods, seed=rung.seed, index=index, origin=rung.origin, resume=resume
    )
    with rung.voice.bar(f"{rung.name}: training", total) as tick, log:
        tick(log.start)
        for record in records:
            last = record.step >= total
            if rung.deadline is not None and time.monotonic() > rung.deadline and not last:
                record.stop, rung.stopped[index] = True, record.step
            if record.note:
                rung.voice.warn(f"{rung.name}, {record.note}")
                saved = _noted(place, record, log) or saved
            log.step(record)
            if rung.board is not None:
                rung.board.step(rung.name, index, record.step, record.terms, record.lr, record.norm)
            due = record.step % between == 0 and not last and not record.stop
            # Before the checkpoint of this step, so that a resumed stage knows the value.
            if due and _validated(model, task, data, record, log, rung, stage.patience):
                record.stop, rung.stopped[index] = True, record.step
            due = time.monotonic() - saved > EVERY
            if (due and not last and not record.stop) or rung.voice.stop.asked:
                _save(place, stage, record, log)
                saved = time.monotonic()
                rung.beat()
            tick(1)


def _validated(model: Model, task: Task, data: Data, record: Record, log: Log, rung: Rung, patience: int) -> bool:
    """Measure on validation, tell the log and the board, and say whether the stage has stopped getting better."""
    value = _validate(model, task, data)
    log.valid(record, value)
    if rung.board is not None:
        measure = task.measures[0] if task.measures else "measure"
        rung.board.valid(rung.name, log.stage, record.step, value, measure)
    values = log.validations()
    best = (np.nanargmin if task.lower() else np.nanargmax)(values) if np.isfinite(values).any() else len(values) - 1
    return bool(patience and len(values) - 1 - int(best) >= patience)


def _noted(place: Path, record: Record, log: Log) -> float | None:
    """Write down what was out of the ordinary; where the stage began again, what came of its first try goes.

    Returns the time of the last checkpoint where there is none any more: long ago.
    """
    again = record.halved > log.halved
    if again:
        log.again(record.halved)
        for path in place.glob("step-*"):  # newer by number than any that the second try will soon make
            remove(path)
    log.note(record)
    return float("-inf") if again else None


def _validate(model: Model, task: Task, data: Data) -> float:
    truth = [task.truth(s) for s in data.valid]
    return next(iter(task.measure(np.asarray(model.predict(data.valid, task)), truth).values()))


def _save(place: Path, stage: Stage, record: Record, log: Log) -> None:
    log.flush(lasting=True)
    if record.start is not None and not any((place / START).glob("step-*")):
        _store(place / START, 0, stage, record.start)
    _store(place, record.step, stage, record.state())


def _store(place: Path, step: int, stage: Stage, state: dict[str, dict[str, Any]]) -> None:
    tensors, plain = states.split(state)
    checkpoint.save(place, step, tensors, {"stage": plain_stage(stage), "state": plain})


def _resume(found: checkpoint.Checkpoint, place: Path, stage: Stage, rung: Rung) -> loop.Resume:
    state = _joined(found, stage)
    rung.voice.say(f"  {rung.name}: goes on from step {state['loop']['step']}")
    begun = checkpoint.latest(place / START, rung.voice.warn)
    start = _joined(begun, stage) if begun else None
    return loop.Resume(state["loop"], state["model"], state["optimizer"], state["methods"], start)


def _joined(found: checkpoint.Checkpoint, stage: Stage) -> dict[str, Any]:
    """The state that a checkpoint holds. Raises DataError where it is of another recipe."""
    if found.state["stage"] != plain_stage(stage):
        raise DataError(f"{found.path}: belongs to another recipe than the one to resume; --overwrite starts anew")
    return states.join({group: found.tensors(group) for group in found.files}, found.state["state"])


@dataclass
class Log:
    """log.jsonl: a line a step, a validation and a note; what a resumed stage repeats is dropped first.

    As a context it writes what is pending, whatever ended the work, and names the samples of a run that
    ended because nothing was finite.
    """

    path: Path
    rung: str
    stage: int
    start: int = 0
    halved: int = 0
    pending: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._keep(lambda line: line["step"] <= self.start and line.get("halved", 0) <= self.halved)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, SetupError):  # a full disk has said all there is to say
            self.flush(lasting=True)
        last = [x for x in self._own() if "terms" in x][-loop.MAX_SKIPPED - 1 :]
        if isinstance(error, UsageError) and len(last) > loop.MAX_SKIPPED and all(x["skipped"] for x in last):
            file = self.path.with_name(NOT_FINITE)
            steps = [{"step": x["step"], "ids": x["ids"]} for x in last]
            write_json(file, {"rung": self.rung, "stage": self.stage, "steps": steps})
            raise UsageError(f"{error}; all samples of these steps are in {file}") from error

    def step(self, record: Record) -> None:
        ids = {"ids": list(record.ids)} if record.skipped else {}
        self._add(record, lr=record.lr, norm=record.norm, terms=record.terms, skipped=record.skipped, **ids)

    def valid(self, record: Record, value: float) -> None:
        self._add(record, valid=value)
        self.flush()

    def validations(self) -> list[float]:
        """What the stage was worth on validation so far, in order; NaN where that is not defined."""
        return [float("nan") if x["valid"] is None else float(x["valid"]) for x in self._own() if "valid" in x]

    def note(self, record: Record) -> None:
        """What was out of the ordinary: memory, or a loss that was not finite."""
        self._add(record, note=record.note, pieces=record.pieces, halved=record.halved)

    def again(self, halved: int) -> None:
        """The stage begins again: only its notes stay."""
        self.halved = halved
        self.flush()
        self._keep(lambda line: "note" in line)

    def _keep(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        lines = [x for x in _lines(self.path) if not self._is_own(x) or wanted(x)]
        write_whole(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def _own(self) -> list[dict[str, Any]]:
        return [line for line in _lines(self.path) if self._is_own(line)]

    def _is_own(self, line: dict[str, Any]) -> bool:
        return bool(line["rung"] == self.rung and line["stage"] == self.stage)

    def _add(self, record: Record, **said: Any) -> None:
        place = {"rung": self.rung, "stage": self.stage, "step": record.step, "epoch": round(record.epoch, 4)}
        self.pending.append(json.dumps(_finite({**place, **said})) + "\n")

    def flush(self, lasting: bool = False) -> None:
        """Write what is pending; with `lasting` it is on the disk before a checkpoint or a result builds on it."""
        try:
            with self.path.open("a", encoding="utf-8") as f:
                f.writelines(self.pending)
            if lasting:
                flush_file(self.path)
        except OSError as e:
            raise SetupError(f"could not write {self.path}: {because(e)}; --resume goes on from here") from e
        self.pending.clear()


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of a log; a line cut short by a kill is left out."""
    if not path.exists():
        return
    for line in path.read_text("utf-8").splitlines():
        try:
            found = json.loads(line)
        except ValueError:
            continue
        if isinstance(found, dict) and {"rung", "stage", "step"} <= set(found):
            yield found


def read_log(path: Path) -> list[dict[str, Any]]:
    """The steps and validations of a run's log."""
    return [line for line in _lines(path) if "note" not in line]


def notes(path: Path) -> list[str]:
    """What was out of the ordinary in training, in words: batches cut for want of memory, stages begun again."""
    return [f"{line['rung']}, {line['note']}" for line in _lines(path) if "note" in line]


def _finite(value: Any) -> Any:
    """JSON has no NaN: a number that is not finite becomes null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value

"""Train a recipe's stages: the caller of the one loop, with checkpoints, log, validation and time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft import checkpoint, features, registry
from graft.data import Data, subset
from graft.errors import DataError
from graft.files import write_whole
from graft.methods import Method, owns
from graft.model import Backbone, Batch, Model
from graft.recipe import Spec, Stage, build_options, check_stage, plain_stage
from graft.tasks import Task
from graft.train import loop, states
from graft.train.step import Record
from graft.train.streams import Streams
from graft.voice import Voice

EVERY = 15.0  # seconds between checkpoints


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

    Raises Stopped after saving a checkpoint when a stop was asked for.
    """
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
        with rung.voice.bar(f"{rung.name}: features", len(data.train)) as tick:
            table = features.extract(model.backbone, data.train, keep=keep, tick=tick)
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
    resume = _resume(found, stage, rung) if found else None
    log = Log(rung.log, rung.name, index, resume.loop["step"] if resume else 0)
    per_epoch = Streams(data, stage, methods, (rung.seed, index)).per_epoch
    total = min(stage.stop or loop.steps_of(stage, per_epoch), loop.steps_of(stage, per_epoch))
    saved = time.monotonic()
    records = loop.steps(
        model, task, stage, data, methods, seed=rung.seed, index=index, origin=rung.origin, resume=resume
    )
    with rung.voice.bar(f"{rung.name}: training", total) as tick:
        tick(resume.loop["step"] if resume else 0)
        for record in records:
            last = record.step >= total
            if rung.deadline is not None and time.monotonic() > rung.deadline and not last:
                record.stop, rung.stopped[index] = True, record.step
            log.step(record)
            due = time.monotonic() - saved > EVERY
            if (due and not last and not record.stop) or rung.voice.stop.asked:
                _save(place, stage, record, log)
                saved = time.monotonic()
                rung.beat()
            tick(1)
            if record.step % per_epoch == 0 and not last and not record.stop:
                log.valid(record, _validate(model, task, data))
    log.flush()


def _validate(model: Model, task: Task, data: Data) -> float:
    truth = [task.target(s, None) for s in data.valid]
    return next(iter(task.measure(np.asarray(model.predict(data.valid, task)), truth).values()))


def _save(place: Path, stage: Stage, record: Record, log: Log) -> None:
    log.flush()
    tensors, plain = states.split(record.state())
    checkpoint.save(place, record.step, tensors, {"stage": plain_stage(stage), "state": plain})


def _resume(found: checkpoint.Checkpoint, stage: Stage, rung: Rung) -> loop.Resume:
    if found.state["stage"] != plain_stage(stage):
        raise DataError(f"{found.path}: belongs to another recipe than the one to resume; --overwrite starts anew")
    tensors = {group: found.tensors(group) for group in found.files}
    state = states.join(tensors, found.state["state"])
    rung.voice.say(f"  {rung.name}: goes on from step {state['loop']['step']}")
    return loop.Resume(state["loop"], state["model"], state["optimizer"], state["methods"])


@dataclass
class Log:
    """log.jsonl: a line a step and a line a validation; what a resumed stage repeats is dropped first."""

    path: Path
    rung: str
    stage: int
    start: int
    pending: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        kept = [
            line
            for line in _lines(self.path)
            if not (line["rung"] == self.rung and line["stage"] == self.stage and line["step"] > self.start)
        ]
        write_whole(self.path, "".join(json.dumps(line) + "\n" for line in kept))

    def step(self, record: Record) -> None:
        self._add(record, lr=record.lr, norm=record.norm, terms=record.terms, skipped=record.skipped)

    def valid(self, record: Record, value: float) -> None:
        self._add(record, valid=value)
        self.flush()

    def _add(self, record: Record, **said: Any) -> None:
        place = {"rung": self.rung, "stage": self.stage, "step": record.step, "epoch": round(record.epoch, 4)}
        self.pending.append(json.dumps(_finite({**place, **said})) + "\n")

    def flush(self) -> None:
        with self.path.open("a", encoding="utf-8") as f:
            f.writelines(self.pending)
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
    """All lines of a run's log."""
    return list(_lines(path))


def _finite(value: Any) -> Any:
    """JSON has no NaN: a number that is not finite becomes null."""
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value

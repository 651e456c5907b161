"""A finished run opened again, and one training of it: an arm on some of its labels, measured on its test part."""

from __future__ import annotations

import copy
import io
import json
import math
import shutil
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft import backbones, constant, defaults, evaluate, features, recipe, scratch, sources, storage, train
from graft.arms import steps_of
from graft.data import Data, Sample, nested, scale_weights
from graft.errors import DataError, UsageError
from graft.features import Table
from graft.files import read_json, write_json, write_whole
from graft.methods import freeze
from graft.model import Backbone, Model, fingerprint
from graft.precision import asked_for
from graft.recipe import Recipe, Rung, Stage
from graft.run import Run
from graft.seeds import seed_of
from graft.tasks import Task
from graft.voice import Voice

WITH, WITHOUT = "with", "without"
EACH_CLASS = 2  # samples of every class that come first, so that the smallest subset has them
LOOKS = 12  # validations, at most, of a training that none of them ends
TIMED = 64  # training samples that a frozen pass is timed on


@dataclass(frozen=True)
class Point:
    """One training: an arm ("with" or "without" pretrained knowledge), labels seen, the seed, and what came of it.

    `value` is the deciding measure on the test part and `answers` [n, ...] what it was measured on; `seconds` are
    those of training alone; `trace` has (seconds, measure on validation) as training went on, the last at its end.
    """

    arm: str
    n: int
    seed: int
    value: float
    seconds: float
    wall: float
    steps: int
    trace: tuple[tuple[float, float | None], ...]
    answers: np.ndarray = field(repr=False, compare=False)

    def plain(self) -> dict[str, Any]:
        """As JSON has it, without the answers."""
        return {k: v for k, v in vars(self).items() if k != "answers"}


# ------------------------------------------------------------------------------------------ files


def point_file(folder: Path, arm: str, n: int, seed: int) -> Path:
    """Where a point lies."""
    return folder / "points" / f"{arm}-{n:07d}-{seed}.npz"


def save_point(folder: Path, point: Point) -> None:
    """Write a point, whole or not at all."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, answers=point.answers, said=np.array(json.dumps(point.plain())))
    file = point_file(folder, point.arm, point.n, point.seed)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, buffer.getvalue())


def load_point(file: Path) -> Point | None:
    """A point from its file; None where there is none or it is damaged."""
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as found:
            said, answers = json.loads(str(found["said"])), found["answers"]
        trace = tuple((float(a), None if b is None else float(b)) for a, b in said.pop("trace"))
        return Point(**said, trace=trace, answers=answers)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
        return None


# ------------------------------------------------------------------------------------------ the run


@dataclass
class Lab:
    """A finished run with its data and backbone at hand; see `reopen`."""

    run: Run
    recipe: Recipe
    task: Task
    data: Data
    kept: Rung  # the best arm with pretrained knowledge, as it ran
    pattern: Rung  # what training from scratch follows
    given: Mapping[str, Sequence[Stage]]  # rungs as they were asked for: None for what was left open
    passes: float  # epochs from scratch, as a multiple of the recipe's
    voice: Voice
    _tables: dict[str, Table] = field(default_factory=dict)

    @cached_property
    def origin(self) -> Backbone:
        """The pretrained backbone, frozen. Raises SetupError where it is not at hand, DataError where it differs."""
        said = self.run.meta["backbone"]
        found = backbones.load(self.recipe.backbone, self.data.schema).to(self.run.device)
        if fingerprint(found) != said["fingerprint"]:
            raise DataError(f"{self.recipe.backbone} is not what {self.run.folder} started from (SHA-256 differs)")
        freeze(found)
        return found.eval()

    @property
    def precision(self) -> Any:
        """Of frozen passes, as the run computed them."""
        return asked_for(self.recipe.precision)

    @cached_property
    def truth(self) -> dict[str, np.ndarray]:
        """Targets of the validation and test parts as measures take them."""
        parts = {"valid": self.data.valid, "test": self.data.test}
        return {name: np.asarray(evaluate.truth_of(self.task, part)) for name, part in parts.items()}

    def table(self, name: str) -> Table:
        """Frozen features of a part, extracted once."""
        if name not in self._tables:
            part = {"train": self.data.train, "valid": self.data.valid, "test": self.data.test}[name]
            with self.voice.bar(f"features of {name}", len(part)) as tick:
                self._tables[name] = features.extract(self.origin, part, precision=self.precision, tick=tick)
        return self._tables[name]

    @cached_property
    def pass_seconds(self) -> float:
        """Seconds that a frozen pass takes a sample: what the cache saves is still what the features cost."""
        some = self.data.train[:TIMED]
        features.extract(self.origin, some[:8], keep=False, precision=self.precision)
        start = time.monotonic()
        features.extract(self.origin, some, keep=False, precision=self.precision)
        return (time.monotonic() - start) / len(some)

    @cached_property
    def _row(self) -> dict[int, int]:
        return {id(s): i for i, s in enumerate(self.data.train)}

    def stages(self, arm: str, n: int) -> tuple[Stage, ...]:
        """The stages of an arm on n labels: numbers that the request left open follow the size, as in `fit`."""
        modality = self.task.modality
        if arm == WITH:
            return self._sized(self.kept, n)
        found = scratch.stages_from(self._sized(self.pattern, n), modality)
        return tuple(replace(s, epochs=round((s.epochs or 1) * self.passes, 4), patience=0) for s in found)

    def _sized(self, rung: Rung, n: int) -> tuple[Stage, ...]:
        asked = self.given.get(rung.name) or ()
        found = []
        for i, stage in enumerate(rung.stages):
            epochs, batch = (asked[i].epochs, asked[i].batch) if i < len(asked) else (None, None)
            whole = replace(stage, epochs=epochs, batch=batch, stop=0, limit=0)
            found.append(defaults.resolve(whole, self.task.modality, n))
        return tuple(found)

    def steps(self, arm: str, n: int) -> int:
        """Steps of an arm on n labels; 0 where it is solved."""
        return sum(steps_of(s, n) for s in self.stages(arm, n) if not train.solves(s))

    def baseline(self) -> tuple[str, np.ndarray]:
        """(name, answers on the test part) of what looks at nothing but the training targets."""
        return constant.always(self.task, self.data.train, len(self.data.test))

    def order(self, seed: int) -> list[int]:
        """Rows of the training part so that every prefix is a stratified subset, and holds all shorter ones.

        Of classes the first EACH_CLASS samples of each come first.
        """
        assert self.task.answer is not None
        samples = self.data.train
        of = [f"{s.domain}\0{k}" for s, k in zip(samples, self.task.answer.strata(samples), strict=True)]
        return nested(of, EACH_CLASS if self.task.outputs == "classes" else 0, seed, "labels saved")

    def subset(self, n: int, seed: int) -> list[Sample]:
        """n training samples, in the order of the data; the samples are those of `data.train` themselves."""
        return [self.data.train[i] for i in sorted(self.order(seed)[:n])]


def reopen(run: str | Path, passes: float, device: str, voice: Voice, data: Any = None) -> Lab:
    """Open a finished run with its data and backbone, as it was asked for.

    `data` is what was handed over, where that was no path. Raises UsageError where no run is, DataError where its
    data are gone or are not what they were, SetupError where the backbone is not at hand.
    """
    done = Run(run, device)
    asked = recipe.load_toml(done.folder / "recipe.toml")
    kept = (done.report.get("transfer") or {}).get("with")
    if not kept:
        raise DataError(f"{done.folder}: its report does not name the arm that was kept; fit again with this graft")
    source, chosen = _source(done, asked, data)
    task = sources.make(chosen.task)
    found = task.read(source, chosen)
    if found.fingerprint() != (done.report.get("data") or {}).get("fingerprint"):
        raise DataError(
            f"{asked.data}: changed since {done.folder} was made of it; restore the data as they were, or fit again"
        )
    rung = next(r for r in asked.rungs if r.name == kept)
    lab = Lab(done, chosen, task, found, rung, _pattern(asked, rung), _given(done), passes, voice)
    if task.answer is None or rung.start != "pretrained":
        raise UsageError(f"{done.folder}: {task.name} has no arm with pretrained knowledge to compare")
    _ = lab.origin  # missing weights are said before any work
    return lab


def _source(done: Run, asked: Recipe, data: Any) -> tuple[Any, Recipe]:
    if data is not None:
        return sources.resolve(data)[0], asked
    if asked.data.startswith("<"):
        raise DataError(
            f"{done.folder} was made of {asked.data}, which no file holds: in Python, hand it over again with data="
        )
    try:
        return sources.resolve(asked.data)[0], asked
    except UsageError as e:
        raise DataError(f"{asked.data}: the data of {done.folder} are not there any more; restore them") from e


def _pattern(asked: Recipe, kept: Rung) -> Rung:
    """What training from scratch follows: the kept arm where it trains, else the run's last that did, else
    fine-tuning."""
    trained = [r for r in (*asked.rungs, kept) if any(not train.solves(s) for s in r.stages)]
    return trained[-1] if trained else Rung("finetune", recipe.parse_stages("finetune"))


def _given(done: Run) -> dict[str, tuple[Stage, ...]]:
    """Every rung's stages as they were asked for, with None for what was left open."""
    rungs = [recipe.rung_from(r) for r in (done.report.get("request") or {}).get("rungs") or []]
    return {r.name: r.stages for r in rungs}


# --------------------------------------------------------------------------------------- a training


class Watch:
    """A stopwatch of training alone, and the measure on validation as the seconds went by; survives a kill."""

    def __init__(self, file: Path) -> None:
        self.file = file
        kept = read_json(file) if file.exists() else {}
        self.seconds: float = kept.get("seconds", 0.0)
        self.steps: int = kept.get("steps", 0)
        self.trace: list[tuple[float, float | None]] = [(float(a), b) for a, b in kept.get("trace", [])]
        self._last = time.monotonic()

    def lap(self) -> None:
        """Count the time since the last event as training."""
        now = time.monotonic()
        self.seconds, self._last = self.seconds + now - self._last, now

    def step(
        self,
        rung: str,
        stage: int,
        step: int,
        terms: Mapping[str, float | None],
        rate: float | None,
        norm: float | None,
    ) -> None:
        """A step was made."""
        self.lap()
        self.steps += 1

    def valid(self, rung: str, stage: int, step: int, value: float | None, measure: str) -> None:
        """Validation was measured: its own time does not count."""
        self._last = time.monotonic()
        self.trace.append((round(self.seconds, 3), None if value is None or value != value else value))

    def keep(self) -> None:
        """Write down what a resumed training goes on from; called when a checkpoint was saved."""
        write_json(self.file, {"seconds": self.seconds, "steps": self.steps, "trace": self.trace})
        self._last = time.monotonic()


def measure(lab: Lab, arm: str, n: int, seed: int, work: Path) -> Point:
    """Train an arm on n labels and measure it on the test part; `work` holds checkpoints, and goes when it is done.

    A training that was cut goes on from its checkpoint. Raises Stopped where a stop was asked for.
    """
    began = time.monotonic()
    work.mkdir(parents=True, exist_ok=True)
    rows = lab.subset(n, seed)
    data, stages = replace(lab.data, train=scale_weights(rows)), lab.stages(arm, n)
    base = lab.origin if arm == WITH else scratch.same_network(lab.origin, data.train, seed)
    torch.manual_seed(seed_of(seed, "labels saved", arm, n))
    backbone = copy.deepcopy(base)
    model = Model(backbone, lab.task.head(backbone, data)).to(lab.run.device)
    quiet = Voice(quiet=True)
    quiet.stop = lab.voice.stop
    frozen = all(train.solves(s) for s in stages)
    known = _rows_of(lab, rows) if arm == WITH and any(train.solves(s) for s in stages) else None
    watch = Watch(work / "watch.json")
    rung = train.Rung(
        f"{arm} {n}", stages, work / "checkpoints", work / "log.jsonl", seed, quiet, lambda: base, beat=watch.keep,
        precision=lab.precision, board=watch, known=lambda samples: known,
        every=_between(stages, n, len(lab.data.valid)),
    )  # fmt: skip
    train.fit(model, lab.task, data, rung)
    watch.lap()
    valid, test = (_answers(lab, model, part, frozen and arm == WITH) for part in ("valid", "test"))
    seconds = watch.seconds + (n * lab.pass_seconds if known is not None else 0.0)
    head = seconds - watch.seconds  # a frozen pass comes before everything else
    trace = [(round(s + head, 3), v) for s, v in watch.trace]
    trace.append((round(seconds, 3), _value(lab, valid, "valid")))
    wall, value = time.monotonic() - began, _value(lab, test, "test")
    if value is None:
        raise DataError(f"{lab.task.measures[0]} has no value on the test part: choose another with fit --measure")
    shutil.rmtree(work, ignore_errors=True)
    return Point(arm, n, seed, value, round(seconds, 3), round(wall, 3), watch.steps, tuple(trace), test)


def _between(stages: Sequence[Stage], n: int, valid: int) -> int:
    """Epochs between two validations, so that all of them see no more samples than the training does."""
    epochs = max((s.epochs or 1.0 for s in stages), default=1.0)
    looks = min(max(epochs * n / max(valid, 1), 1.0), LOOKS)
    return max(1, math.ceil(epochs / looks))


def _rows_of(lab: Lab, rows: Sequence[Sample]) -> Table:
    """Frozen features of some training samples, from the one pass over all of them."""
    places = [lab._row[id(s)] for s in rows]
    return Table(lab.table("train").pooled[places], True)


def _answers(lab: Lab, model: Model, part: str, frozen: bool) -> np.ndarray:
    if frozen:
        return np.asarray(features.answers(model, lab.task, lab.table(part)))
    samples = lab.data.valid if part == "valid" else lab.data.test
    return np.asarray(model.predict(samples, lab.task, tick=lambda n: lab.voice.stop.check()))


def _value(lab: Lab, answers: np.ndarray, part: str) -> float | None:
    value = float(next(iter(lab.task.measure(answers, lab.truth[part]).values())))
    return value if np.isfinite(value) else None


def study_of(lab: Lab) -> dict[str, Any]:
    """What every point of a study rests on: another one is another study."""
    largest = len(lab.data.train)
    return {
        "run": lab.run.meta["files"][storage.WEIGHTS]["sha256"],
        "data": lab.data.fingerprint(),
        "backbone": lab.recipe.backbone,
        "arm": lab.kept.name,
        "with": [asdict(s) for s in lab.stages(WITH, largest)],
        "without": [asdict(s) for s in lab.stages(WITHOUT, largest)],
    }

"""What lives as long as one fit: the folder, the clock, the decisions, the data and the backbone."""

from __future__ import annotations

import copy
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from graft import backbones, features, scratch
from graft.data import Data, Sample
from graft.errors import SetupError, UsageError
from graft.features import Table
from graft.files import read_json, write_json
from graft.methods import freeze
from graft.model import Backbone, Model
from graft.precision import Precision, asked_for, choose, from_plain
from graft.recipe import Recipe
from graft.tasks import Task
from graft.voice import Voice
from graft.workplace import Workplace

if TYPE_CHECKING:
    from graft.board import Board


class Decisions:
    """What was decided once and holds for every resume and repeat: a JSON file, written whole each time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.made: dict[str, Any] = read_json(path) if path.exists() else {}

    def once(self, key: str, decide: Callable[[], Any]) -> Any:
        """The decision under `key`, made now where it was not made before."""
        if key not in self.made:
            self.set(key, decide())
        return self.made[key]

    def set(self, key: str, value: Any) -> None:
        self.made[key] = value
        write_json(self.path, self.made)


@dataclass
class Clock:
    """Seconds spent, over all lives of a run, and what is left of the budget (None: no clock decides)."""

    budget: float | None
    spent_before: float = 0.0
    started: float = field(default_factory=time.monotonic)

    def spent(self) -> float:
        return self.spent_before + time.monotonic() - self.started

    def left(self) -> float:
        return float("inf") if self.budget is None else self.budget - self.spent()


@dataclass
class Session:
    """One fit in progress."""

    place: Workplace
    voice: Voice
    recipe: Recipe
    task: Task
    data: Data
    clock: Clock
    decisions: Decisions
    device: str
    board: Board | None = None
    own_ladder: bool = False  # no recipe was given: rungs may be adapted to the data
    timeline: dict[str, float] = field(default_factory=dict)
    _origin: Backbone | None = None
    _random: Backbone | None = None
    _precision: Precision | None = None
    _tables: dict[str, Table] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.place.path

    def origin(self) -> Backbone:
        """The pretrained backbone, frozen, loaded once."""
        if self._origin is None:
            self._origin = backbones.load(self.recipe.backbone, self.data.schema).to(self.device)
            freeze(self._origin)
            self._origin.eval()
        return self._origin

    def base(self, start: str = "pretrained") -> Backbone:
        """What a rung starts from, frozen: the pretrained backbone, or the same network with random weights."""
        if start == "pretrained":
            return self.origin()
        if self._random is None:
            self._random = scratch.same_network(self.origin(), self.data.train, self.recipe.seed)
        return self._random

    def fresh(self, start: str = "pretrained") -> Model:
        """A model that starts from the pretrained (or random) weights, with a fresh head."""
        backbone = copy.deepcopy(self.base(start))
        torch.manual_seed(self.recipe.seed)
        return Model(backbone, self.task.head(backbone, self.data)).to(self.device)

    def precision(self) -> Precision:
        """How frozen passes compute: as asked, else measured once where a clock may decide, else fp32."""
        if self._precision is None:
            asked = self.recipe.precision
            if asked == "auto" and self.clock.budget is not None:
                made = self.decisions.once(
                    "precision", lambda: choose(self.origin(), self.data.train, self.device).plain()
                )
                self._precision = from_plain(made)
            else:
                self._precision = asked_for(asked)
        return self._precision

    def part(self, name: str) -> list[Sample]:
        return {"train": self.data.train, "valid": self.data.valid, "test": self.data.test}[name]

    def table(self, name: str, start: str = "pretrained") -> Table:
        """Frozen features of a part of the data, by the pretrained backbone or the random one."""
        key = f"{start} {name}"
        if key not in self._tables:
            samples, base = self.part(name), self.base(start)
            with self.voice.bar(f"features of {name}", len(samples)) as tick:
                self._tables[key] = features.extract(base, samples, precision=self.precision(), tick=tick)
        return self._tables[key]

    def timed(self, what: str, work: Callable[[], Any]) -> Any:
        """Run a piece of work and add its seconds to the timeline; the clock's state is kept on disk."""
        start = time.monotonic()
        try:
            return work()
        finally:
            self.timeline[what] = self.timeline.get(what, 0.0) + time.monotonic() - start
            self.remember()

    def remember(self) -> None:
        """Note the seconds spent, so that a resumed run does not get its budget anew."""
        self.decisions.set("spent", round(self.clock.spent(), 2))
        self.place.beat()


def pick_device(wanted: str) -> str:
    """`auto` to cuda, mps or cpu; raises SetupError for a device that is not there."""
    if wanted in ("", "auto"):
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", wanted):
        raise UsageError(f"--device {wanted}: possible are auto, cpu, cuda, cuda:N, mps")
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as e:
        raise SetupError(f"--device {wanted}: not usable here ({str(e).splitlines()[0]}); cpu always is") from e
    return wanted

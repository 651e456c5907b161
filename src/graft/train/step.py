"""One step as methods see it: shared lazy passes, terms, and the same again at other weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import distributed

from graft.errors import UsageError
from graft.methods import Method
from graft.model import Backbone, Batch, Model, Output, batch_norms
from graft.seeds import rng, seed_of
from graft.tasks import Task

Statistics = list[tuple[torch.Tensor, torch.Tensor]]  # buffers, each with a copy


@dataclass
class Place:
    """Where a stage is, beside its weights."""

    step: int = 0  # steps done
    skipped: int = 0  # the last of them in a row that were not finite
    halved: int = 0
    pieces: int = 1
    ids: list[str] = field(default_factory=list)  # samples of the last step, where that was skipped
    note: str = ""


@dataclass
class Resume:
    """Where a stage goes on: what `Record.state` gave."""

    loop: Mapping[str, Any]
    model: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, torch.Tensor]
    methods: Mapping[str, dict[str, Any]]
    start: dict[str, Any] | None = None  # the stage's beginning (`Record.start`), to go back to


@dataclass
class Record:
    """What the loop says after a step. Set `stop` to end the stage properly; never break out of it."""

    step: int  # steps done in this stage
    epoch: float  # passes over the training part done in this stage
    terms: dict[str, float]
    lr: float
    norm: float  # of the gradient, before clipping
    skipped: bool  # loss or gradient was not finite: weights stayed
    state: Callable[[], dict[str, dict[str, Any]]]  # for a checkpoint; valid until the next step
    stop: bool = False
    bad: int = 0  # steps skipped in a row, this one included
    ids: tuple[str, ...] = ()  # the samples of a skipped step
    pieces: int = 1  # in which a batch goes through since memory ran out
    halved: int = 0  # how often the rate was halved, and the stage begun again
    note: str = ""  # what was out of the ordinary before this step
    start: dict[str, Any] | None = None  # the state that the stage began with, as `state` would give it


def world() -> tuple[int, int]:
    """(rank, processes) of this process."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


@dataclass
class Step:
    """The present step: its batch, its passes (made when first asked for, then shared) and its terms."""

    model: Model
    task: Task
    batch: Batch
    methods: Sequence[Method]
    supervised: bool
    number: int
    progress: float  # of the stage, 0 to 1
    key: tuple[object, ...]  # seed, stage and step: what randomness may depend on
    first_view: str = ""
    total_rows: int = 0  # rows of the global batch
    pretrained: Callable[[], Backbone] | None = None
    _passes: dict[str, Output] = field(default_factory=dict)
    _losses: dict[str, torch.Tensor] = field(default_factory=dict)

    @property
    def out(self) -> Output:
        """The pass over `batch`."""
        return self._pass("out", self.batch)

    @property
    def out_u(self) -> Output:
        """The pass over the first view of the unlabelled stream."""
        if not self.first_view:
            raise UsageError("no method of this stage names a view of unlabelled data")
        return self.see(self.first_view, 0)

    def see(self, spec: str, k: int = 0) -> Output:
        """The pass over draw k of a view of the unlabelled stream."""
        if spec not in self.batch.views or k >= len(self.batch.views[spec]):
            raise UsageError(f"view {spec!r}, draw {k}, was asked for, but no method's `views` names it")
        return self._pass(f"{spec}/{k}", self.batch.views[spec][k])

    @property
    def losses(self) -> dict[str, torch.Tensor]:
        """The task's terms before weights, [b] each or scalar."""
        if not self._losses:
            self._losses = self.task.loss(self.out, self.batch)
        return self._losses

    @property
    def origin(self) -> Backbone:
        """The pretrained backbone as it was loaded, frozen; not the start of this stage."""
        if self.pretrained is None:
            raise UsageError("this stage was started without access to the pretrained backbone")
        return self.pretrained()

    def rng(self, method: Method) -> np.random.Generator:
        """Random numbers of a method at this step."""
        return rng(*self.key, "method", method.name)

    def sum(self, x: torch.Tensor) -> torch.Tensor:
        """Sum of x over all processes."""
        if world()[1] == 1:
            return x
        total = x.detach().clone()
        distributed.all_reduce(total)
        return total

    def terms(self) -> dict[str, torch.Tensor]:
        """The task's weighted terms and every method's own, as scalars to be added."""
        found: dict[str, torch.Tensor] = {}
        if self.supervised:
            weight = self._weight()
            for name, value in self.losses.items():
                found[name] = self._reduce(name, value, weight)
        for method in self.methods:
            # Seeded for passes that a method makes itself; `again` then meets the same draws.
            torch.manual_seed(seed_of(*self.key, "loss", method.name, world()[0]))
            own = method.loss(self)
            if own is None:
                continue
            if method.name in found:
                raise UsageError(f"the task has a term {method.name!r} already: give the method's file another name")
            found[method.name] = own
        return found

    def again(self) -> dict[str, torch.Tensor]:
        """All terms once more at the present weights: same batch, same draws, BatchNorm untouched.

        Afterwards `out`, `see` and `losses` are again those of the step's first passes, so that
        `after_step` never counts what a perturbed model said.
        """
        first = self._passes, self._losses
        self._passes, self._losses = {}, {}
        try:
            with kept_statistics(self.model):
                return self.terms()
        finally:
            self._passes, self._losses = first

    def _weight(self) -> torch.Tensor:
        weight = self.batch.weight
        for method in self.methods:
            weight = weight * method.weigh(self)
        return weight

    def _reduce(self, name: str, value: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """mean(weight x loss) over the global batch, not divided by the weights' sum."""
        share = len(self.batch) * world()[1] / self.total_rows if self.total_rows else 1.0
        if value.ndim == 0:
            if not bool((weight == 1).all()):
                raise UsageError(f"the term {name!r} comes as one number a batch, so samples cannot be weighted")
            return value * share if share != 1 else value
        if value.shape != (len(self.batch),):
            wanted = f"[{len(self.batch)}] or one number"
            raise UsageError(f"the term {name!r} is {list(value.shape)}; a task gives {wanted}")
        return (weight * value).mean() * share

    def _pass(self, name: str, batch: Batch) -> Output:
        if name not in self._passes:
            torch.manual_seed(seed_of(*self.key, "pass", name, world()[0]))
            self._passes[name] = self.model(batch)
        return self._passes[name]


def statistics(model: Model) -> Statistics:
    """Buffers of the BatchNorms that are in training mode, each with a copy."""
    return [(b, b.clone()) for m in batch_norms(model) if m.training for b in m.buffers()]


def put_back(kept: Statistics) -> None:
    """Set buffers to what `statistics` copied."""
    with torch.no_grad():
        for buffer, before in kept:
            buffer.copy_(before)


@contextmanager
def kept_statistics(model: Model) -> Iterator[None]:
    """Let passes run in training mode without moving BatchNorm's running statistics.

    Copies stand in for the buffers meanwhile: written back instead, autograd would refuse the backward.
    """
    own = [(m, name, b) for m in batch_norms(model) if m.training for name, b in m.named_buffers(recurse=False)]
    for m, name, buffer in own:
        setattr(m, name, buffer.clone())
    try:
        yield
    finally:
        for m, name, buffer in own:
            setattr(m, name, buffer)

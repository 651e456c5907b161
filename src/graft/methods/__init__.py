"""How knowledge is carried over: the questions that the one loop asks a technique."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

if TYPE_CHECKING:
    import numpy as np

    from graft.data import Data, Sample
    from graft.features import Table
    from graft.model import Backbone, Batch, Model
    from graft.tasks import Task
    from graft.train.step import Step


class Method:
    """A technique, as one file: override the hooks it needs, leave the rest.

    Options are dataclass fields. Hooks that only look (`loss`, `weigh`, `gradients`) never change the
    method's state; `after_step` does. Owning a hook means overriding it.
    """

    name: str = ""
    """Set by whoever builds the method: the file's name. A loss is logged under it."""
    tunes: ClassVar[bool] = False
    """Decides which weights move; a stage has exactly one such method."""
    supervised: ClassVar[bool] = True
    """False makes a stage without the task's loss."""
    labelled: ClassVar[bool] = False
    """Needs y; refused in a stage without the task's loss."""
    views: ClassVar[tuple[str, ...]] = ()
    """Views of the unlabelled stream; a spec that stands twice asks for two draws."""
    outputs: ClassVar[frozenset[str] | None] = None
    """Kinds of answer (`Task.outputs`) it can serve; None: any."""

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        """Before the first step: choose weights, add modules to `model.aux`, copy what is needed."""

    def encoders(self) -> Mapping[str, Backbone]:
        """Other encoders that see the same view of each sample; it comes in `batch.extra[name]`."""
        return {}

    def sampler(self, samples: Sequence[Sample], batch: int, rng: np.random.Generator) -> list[list[int]]:
        """The rows of each batch of one epoch over `samples` (train; without the task's loss the unlabelled part).

        Equally many batches every epoch. One owner a stage.
        """
        raise NotImplementedError

    def batch(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Change a batch before the pass (mixing, masking)."""
        return batch

    def lr_scale(self, name: str) -> float:
        """Factor on the rate of the parameter called `name` in the model."""
        return 1.0

    def weigh(self, step: Step) -> torch.Tensor | float:
        """Weights [b] of the samples' task losses."""
        return 1.0

    def loss(self, step: Step) -> torch.Tensor | None:
        """A scalar term of the method's own, its factor included."""
        return None

    def gradients(self, step: Step, terms: dict[str, torch.Tensor]) -> None:
        """Replace the one backward of the terms' sum: leave `.grad` on the weights. One owner a stage.

        `terms` are those that depend on a weight that moves. Change weights only to restore copies.
        """
        raise NotImplementedError

    def after_step(self, step: Step) -> None:
        """After the optimizer moved: update averages, thresholds, counters."""

    def finish(self, model: Model) -> None:
        """After the last step: merge, swap in averaged weights."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint must hold: tensors, numbers, texts and lists of them, by name."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take back what `state` gave."""

    def solve(self, model: Model, task: Task, features: Table, batch: Batch) -> None:
        """Fit on the cached pass instead of by gradient steps; features [n, d], batch.y for n samples."""
        raise NotImplementedError


def owns(method: Method, hook: str) -> bool:
    """Whether a method overrides a hook."""
    return getattr(type(method), hook) is not getattr(Method, hook)


def freeze(module: nn.Module) -> None:
    """Stop every weight below a module."""
    for p in module.parameters():
        p.requires_grad_(False)

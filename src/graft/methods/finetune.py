"""Fine-tune the backbone, all of it or its last stages, with lower rates for earlier layers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from graft.data import Data
from graft.errors import UsageError
from graft.heads import NeighbourHead
from graft.methods import Method, freeze
from graft.model import Model, batch_norms
from graft.recipe import note
from graft.tasks import Task


@dataclass
class Finetune(Method):
    """Gradient descent from the pretrained weights.

    Rates fall by `decay` from each stage to the one before it (ULMFiT, Howard and Ruder 2018, section
    3.2, "discriminative fine-tuning"). With fewer than `norms_from` training samples BatchNorm weights
    and statistics stay as they were: batch statistics of few data are noise.
    """

    tunes: ClassVar[bool] = True
    depth: int = field(default=0, metadata=note("stages that move, counted from the output; 0: all"))
    decay: float = field(default=0.8, metadata=note("factor on the rate from a stage to the one before it"))
    head: float = field(default=10.0, metadata=note("factor on the head's rate, which starts from nothing"))
    norms_from: int = field(default=2000, metadata=note("training samples from which BatchNorm adapts too"))

    def __post_init__(self) -> None:
        if self.depth < 0 or self.norms_from < 0 or not 0 < self.decay <= 1 or self.head <= 0:
            raise UsageError(
                f"finetune: depth and norms_from are 0 or more, decay is in (0, 1], head above 0; got {self}"
            )

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        stages = model.backbone.stages()
        if not 0 <= self.depth <= len(stages):
            raise UsageError(f"finetune:depth={self.depth}: this backbone has {len(stages)} stages; 0 means all")
        if isinstance(model.head, NeighbourHead):
            model.set_head(task.head(model.backbone, data))
        moving = stages[-self.depth :] if self.depth else stages
        named = dict(model.backbone.named_parameters())
        self._scale: dict[str, float] = {}
        for height, (_, names) in enumerate(reversed(moving)):
            for name in names:
                named[name].requires_grad_(True)
                self._scale[f"backbone.{name}"] = self.decay**height
        if len(data.train) < self.norms_from:
            for norm in batch_norms(model.backbone):
                freeze(norm)
        for p in model.head.parameters():
            p.requires_grad_(True)

    def lr_scale(self, name: str) -> float:
        if name.startswith("head."):
            return self.head
        return self._scale.get(name, 1.0)

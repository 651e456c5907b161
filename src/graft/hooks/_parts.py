"""What a hook takes from a run: its network and linear head on the CPU, and a check of equal numbers."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from torch import nn

from graft import registry
from graft.errors import UsageError
from graft.heads import LinearHead
from graft.model import Backbone
from graft.seeds import rng

if TYPE_CHECKING:
    from graft.run import Run

TOLERANCE = 1e-5  # relative to the largest number, where that is above 1
HOOKS = ("timm", "transformers", "torchvision")

B = TypeVar("B", bound=Backbone)


@dataclass(frozen=True)
class Parts(Generic[B]):
    """A run's backbone and, where its head is linear, that layer [d] -> [n]; labels are one an output, or none."""

    backbone: B
    linear: nn.Linear | None
    labels: tuple[str, ...]
    outputs: str  # of the task: classes, labels, numbers
    licence: str

    @property
    def outs(self) -> int:
        """Outputs of the linear head; 0 without one."""
        return self.linear.out_features if self.linear is not None else 0


def parts(run: Run, library: str, kind: type[B]) -> Parts[B]:
    """Copies on the CPU, in evaluation mode, float32. Raises UsageError where the backbone is of another library."""
    said = run.meta["backbone"]
    source = said["description"]["source"]
    if source != library:
        way = f"use run.to_{source}()" if source in HOOKS else "run.model is a torch module in any case"
        raise UsageError(f"{said['name']}: this run's backbone is one of {source}, not of {library}; {way}")
    if "stages" in said["description"]:
        raise UsageError(f"{said['name']}: the first parts of a network have no form in {library}; run.model has them")
    backbone = copy.deepcopy(run.model.backbone).cpu().float().eval()
    if not isinstance(backbone, kind):
        raise UsageError(f"{said['name']}: {type(backbone).__name__} has no form in {library}")
    head = run.model.head
    linear = copy.deepcopy(head.linear).cpu().float() if isinstance(head, LinearHead) else None
    labels = run.labels if linear is not None and len(run.labels) == linear.out_features else ()
    outputs = registry.load("tasks", run.meta["task"]["name"]).outputs
    return Parts(backbone, linear, labels, str(outputs), str(said["card"].get("license", "unknown")))


def noise(*shape: int) -> torch.Tensor:
    """The same standard normal numbers each time, to compare two networks on."""
    return torch.from_numpy(rng("hooks", *shape).standard_normal(shape, dtype="float32"))


def same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Whether two answers are equal to `TOLERANCE`."""
    if ours.shape != theirs.shape:
        return False
    scale = max(1.0, float(ours.abs().max()))
    return float((ours - theirs).abs().max()) <= TOLERANCE * scale


@torch.no_grad()
def answers(own: Parts[B], x: torch.Tensor) -> torch.Tensor:
    """What graft gives for a batch: scores [b, n] with a linear head, else pooled features [b, d]."""
    pooled: torch.Tensor = own.backbone(x).pooled
    return pooled if own.linear is None else own.linear(pooled)

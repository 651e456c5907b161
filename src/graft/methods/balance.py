"""Balance: every class counts alike in the task's loss, however rare it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch

from graft.data import Data
from graft.errors import UsageError
from graft.methods import Method
from graft.model import Model
from graft.recipe import note
from graft.tasks import Task
from graft.train.step import Step


@dataclass
class Balance(Method):
    """Weights by the inverse frequency of a sample's class (King and Zeng 2001, section 4.1), scaled to mean 1.

    `power` 0.5 is the square root of it, a milder form (Mahajan et al. 2018, section 2.2).
    """

    labelled: ClassVar[bool] = True
    outputs: ClassVar[frozenset[str] | None] = frozenset({"classes"})
    power: float = field(default=1.0, metadata=note("of the inverse frequency; 0 changes nothing"))

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 1:
            raise UsageError(f"balance:power={self.power:g}: a number from 0 to 1 is expected")

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        y = task.collate([task.target(s, None) for s in data.train])  # [n, classes]
        counts = y.sum(dim=0)
        each = torch.where(counts > 0, counts.clamp_min(1e-9) ** -self.power, torch.zeros_like(counts))
        self._each = each / (y @ each).mean()

    def weigh(self, step: Step) -> torch.Tensor:
        y: torch.Tensor = step.batch.y  # [b, classes], mixed or not
        weights: torch.Tensor = y @ self._each.to(y.device)
        return weights

    def state(self) -> dict[str, Any]:
        return {"each": self._each}

    def load_state(self, state: dict[str, Any]) -> None:
        self._each = state["each"]

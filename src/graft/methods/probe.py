"""Probe: a linear classifier on frozen features, its regularisation chosen by cross-validation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch

from graft import linear
from graft.errors import UsageError
from graft.features import Table
from graft.heads import LinearHead
from graft.methods import Method
from graft.model import Batch, Model
from graft.recipe import note
from graft.tasks import Task


@dataclass
class Probe(Method):
    """Multinomial logistic regression by L-BFGS on features [n, d] (linear probing; Alain and Bengio 2016)."""

    tunes: ClassVar[bool] = True
    outputs: ClassVar[frozenset[str] | None] = frozenset({"classes"})
    l2: float = field(default=0.0, metadata=note("penalty on the weights; 0: chosen by cross-validation"))

    def __post_init__(self) -> None:
        if self.l2 < 0:
            raise UsageError(f"probe:l2={self.l2:g}: a penalty above 0, or 0 for cross-validation, is expected")

    def solve(self, model: Model, task: Task, features: Table, batch: Batch) -> None:
        classes = batch.y.shape[1]
        fitted = linear.fit(features.pooled, batch.y, batch.weight, self.l2 or None)
        head = LinearHead(features.pooled.shape[1], classes)
        with torch.no_grad():
            head.linear.weight.copy_(fitted.weight)
            head.linear.bias.copy_(fitted.bias)
        model.set_head(head)

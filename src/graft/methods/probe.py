"""Probe: a linear classifier on frozen features, its regularisation chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import ClassVar

import torch

from graft import linear
from graft.data import Data, split_key
from graft.errors import UsageError
from graft.features import Table
from graft.heads import LinearHead
from graft.methods import Method
from graft.model import Batch, Model
from graft.recipe import note
from graft.tasks import Task

LOSSES = {"classes": "softmax", "labels": "sigmoid", "numbers": "square"}


@dataclass
class Probe(Method):
    """A linear model by L-BFGS on features [n, d] (linear probing; Alain and Bengio 2016).

    Multinomial logistic regression for classes, one-vs-rest for labels, ridge regression for numbers.
    `balance` weighs samples by the inverse frequency of their class (King and Zeng 2001, section 4.1).
    Folds of the cross-validation keep groups and exact copies together.
    """

    tunes: ClassVar[bool] = True
    outputs: ClassVar[frozenset[str] | None] = frozenset({"classes", "labels", "numbers"})
    l2: float = field(default=0.0, metadata=note("penalty on the weights; 0: chosen by cross-validation"))
    balance: bool = field(default=False, metadata=note("count every class alike, however rare"))

    def __post_init__(self) -> None:
        self._keys: list[Hashable] | None = None  # what ties training samples together, known from `prepare` on
        if self.l2 < 0:
            raise UsageError(f"probe:l2={self.l2:g}: a penalty above 0, or 0 for cross-validation, is expected")

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        self._keys = [split_key(s) for s in data.train]

    def solve(self, model: Model, task: Task, features: Table, batch: Batch) -> None:
        if self.balance and task.outputs != "classes":
            raise UsageError(f"probe:balance=true weighs classes; {task.name} has {task.outputs}")
        weight = batch.weight * class_weights(batch.y) if self.balance else batch.weight
        loss = LOSSES.get(task.outputs, "softmax")
        fitted = linear.fit(features.pooled, batch.y, weight, self.l2 or None, loss, groups=self._keys)
        head = LinearHead(features.pooled.shape[1], batch.y.shape[1])
        with torch.no_grad():
            head.linear.weight.copy_(fitted.weight)
            head.linear.bias.copy_(fitted.bias)
        model.set_head(head)


def class_weights(y: torch.Tensor) -> torch.Tensor:
    """Weights [n] of mean 1 under which every class that occurs counts alike; y are probabilities [n, c]."""
    counts = y.sum(dim=0)
    each = torch.where(counts > 0, len(y) / (counts * (counts > 0).sum()).clamp_min(1e-9), torch.zeros_like(counts))
    return y @ each

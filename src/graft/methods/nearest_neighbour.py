"""Nearest neighbours: the vote of the most similar training samples, by cosine of frozen features."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch.nn import functional as F

from graft.data import Data, split_key
from graft.errors import UsageError
from graft.features import Table
from graft.heads import NeighbourHead, neighbour_scores
from graft.methods import Method
from graft.model import Batch, Model
from graft.recipe import note
from graft.tasks import Task

CHOICES = (1, 3, 5, 10, 20)
MOST_QUERIES = 2000  # samples on which k is chosen: the table of similarities stays in memory


@dataclass
class NearestNeighbour(Method):
    """k nearest neighbours (Cover and Hart 1967) with k chosen by leave-one-out on the training part.

    A sample's group and its exact copies are left out with it.
    """

    tunes: ClassVar[bool] = True
    outputs: ClassVar[frozenset[str] | None] = frozenset({"classes", "labels", "numbers"})
    k: int = field(default=0, metadata=note("neighbours that vote; 0: chosen by leave-one-out"))

    def __post_init__(self) -> None:
        self._keys: list[Hashable] | None = None  # what ties training samples together, known from `prepare` on
        if self.k < 0:
            raise UsageError(f"nearest_neighbour:k={self.k}: a number above 0, or 0 for leave-one-out, is expected")

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        self._keys = [split_key(s) for s in data.train]

    def solve(self, model: Model, task: Task, features: Table, batch: Batch) -> None:
        bank, votes = F.normalize(features.pooled, dim=1), batch.y  # [n, d], [n, classes]
        k = self.k or best_k(bank, votes, answers=task.outputs, groups=self._keys)
        head = NeighbourHead(len(bank), bank.shape[1], votes.shape[1], min(k, len(bank)), answers=task.outputs)
        head.bank.copy_(bank)
        head.votes.copy_(votes)
        model.set_head(head)


def best_k(
    bank: torch.Tensor,
    votes: torch.Tensor,
    temperature: float = 0.07,
    answers: str = "classes",
    *,
    groups: Sequence[Hashable] | None = None,
) -> int:
    """The k of `CHOICES` that is best left one out (accuracy, log-loss or squared error); the smallest of equals.

    bank [n, d] of unit length, votes [n, outputs]. A row has no vote on itself, nor on rows with an equal key
    in `groups` [n] unless all are equal.
    """
    n = len(bank)
    rows = torch.linspace(0, n - 1, min(n, MOST_QUERIES)).long()
    similar = bank[rows] @ bank.T
    similar[torch.arange(len(rows)), rows] = -torch.inf
    numbered: dict[Hashable, int] = {}
    code = torch.tensor([numbered.setdefault(g, len(numbered)) for g in groups or ()])
    if 1 < len(numbered) < n:
        similar[code[rows].unsqueeze(1) == code] = -torch.inf
    best, found = 1, torch.inf
    for k in (c for c in CHOICES if c < n):
        loss = _loss(neighbour_scores(similar, votes, k, temperature, answers), votes[rows], answers)
        if loss < found:
            best, found = k, loss
    return best


def _loss(scores: torch.Tensor, truth: torch.Tensor, answers: str) -> float:
    if answers == "labels":
        return float(F.binary_cross_entropy_with_logits(scores, truth))
    if answers == "numbers":
        return float((scores - truth).square().mean())
    return float((scores.argmax(dim=1) != truth.argmax(dim=1)).double().mean())

"""Heads: a linear layer, and the answer of nearest neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from graft.errors import DataError
from graft.model import Batch, Features


class LinearHead(nn.Module):
    """Scores as a linear function of pooled features: [b, d] -> [b, classes] (for numbers: one, in standard units)."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, classes)
        nn.init.zeros_(self.linear.weight)  # equal scores at the start: no random push into the backbone
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Features, batch: Batch | None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.linear(features.pooled), {}

    def describe(self) -> dict[str, Any]:
        return {"kind": "linear", "dim": self.linear.in_features, "classes": self.linear.out_features}


class NeighbourHead(nn.Module):
    """The answer of the k most similar training samples, by cosine: [b, d] -> [b, outputs].

    Log-shares for classes, log-odds of the shares for labels, the mean for numbers. Votes are weighted by
    exp(similarity / temperature), as in instance discrimination (Wu et al. 2018, section 3.4).
    """

    bank: torch.Tensor
    votes: torch.Tensor

    def __init__(
        self, n: int, dim: int, classes: int, k: int, temperature: float = 0.07, answers: str = "classes"
    ) -> None:
        super().__init__()
        self.k, self.temperature, self.answers = k, temperature, answers
        self.register_buffer("bank", torch.zeros(n, dim))
        self.register_buffer("votes", torch.zeros(n, classes))

    def forward(self, features: Features, batch: Batch | None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        similar = F.normalize(features.pooled, dim=1) @ self.bank.T  # [b, n]
        return neighbour_scores(similar, self.votes, self.k, self.temperature, self.answers), {}

    def describe(self) -> dict[str, Any]:
        n, dim = self.bank.shape
        return {
            "kind": "neighbour", "n": n, "dim": dim, "classes": self.votes.shape[1], "k": self.k,
            "temperature": self.temperature, "answers": self.answers,
        }  # fmt: skip


def neighbour_scores(
    similar: torch.Tensor, votes: torch.Tensor, k: int, temperature: float, answers: str = "classes"
) -> torch.Tensor:
    """Scores [b, outputs] from similarities [b, n] and votes [n, outputs]; see NeighbourHead."""
    top, index = similar.topk(min(k, similar.shape[1]), dim=1)
    weight = F.softmax(top / temperature, dim=1)  # [b, k]
    share = (weight.unsqueeze(2) * votes[index]).sum(dim=1)  # [b, outputs]
    if answers == "numbers":
        return share
    seen, outputs = top.shape[1], votes.shape[1]
    if answers == "labels":
        base = votes.mean(dim=0).clamp(1e-3, 1 - 1e-3)
        smooth = (share * seen + base) / (seen + 1)  # one vote of the base rates
        return smooth.logit()
    return ((share * seen + 1 / outputs) / (seen + 1)).log()  # one vote spread over all classes


class SourceHead(nn.Module):
    """The classifier a backbone was pretrained with: [b, d] -> [b, source classes]."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, features: Features, batch: Batch | None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.classifier(features.pooled), {}


def build(description: dict[str, Any]) -> nn.Module:
    """Make a head from what `describe` said; its weights are loaded after. Raises DataError."""
    kind, options = description.get("kind"), {k: v for k, v in description.items() if k != "kind"}
    if kind == "linear":
        return LinearHead(**options)
    if kind == "neighbour":
        return NeighbourHead(**options)
    raise DataError(f"a head of kind {kind!r} is not known to this graft; upgrade with pip")

"""Heads for class scores: a linear layer, and a vote of nearest neighbours."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from graft.errors import DataError
from graft.model import Batch, Features


class LinearHead(nn.Module):
    """Class scores as a linear function of pooled features: [b, d] -> [b, classes]."""

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
    """Log-shares of the k most similar training samples, by cosine: [b, d] -> [b, classes].

    Votes are weighted by exp(similarity / temperature), as in instance discrimination (Wu et al. 2018,
    section 3.4).
    """

    bank: torch.Tensor
    votes: torch.Tensor

    def __init__(self, n: int, dim: int, classes: int, k: int, temperature: float = 0.07) -> None:
        super().__init__()
        self.k, self.temperature = k, temperature
        self.register_buffer("bank", torch.zeros(n, dim))
        self.register_buffer("votes", torch.zeros(n, classes))

    def forward(self, features: Features, batch: Batch | None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        similar = F.normalize(features.pooled, dim=1) @ self.bank.T  # [b, n]
        return neighbour_scores(similar, self.votes, self.k, self.temperature), {}

    def describe(self) -> dict[str, Any]:
        n, dim = self.bank.shape
        classes = self.votes.shape[1]
        return {
            "kind": "neighbour",
            "n": n,
            "dim": dim,
            "classes": classes,
            "k": self.k,
            "temperature": self.temperature,
        }


def neighbour_scores(similar: torch.Tensor, votes: torch.Tensor, k: int, temperature: float) -> torch.Tensor:
    """Log-shares [b, classes] from similarities [b, n] and votes [n, classes]."""
    top, index = similar.topk(min(k, similar.shape[1]), dim=1)
    weight = F.softmax(top / temperature, dim=1)  # [b, k]
    share = (weight.unsqueeze(2) * votes[index]).sum(dim=1)  # [b, classes]
    classes = votes.shape[1]
    return ((share * top.shape[1] + 1 / classes) / (top.shape[1] + 1)).log()  # one vote spread over all classes


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

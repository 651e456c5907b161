"""What several processes agree on: the numbers of a step, and its gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import distributed, nn

from graft.train.step import world


def values(terms: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Terms as numbers, their means over processes: every process must come to one decision on them."""
    if not terms:
        return {}
    stacked = torch.stack([v.detach().float() for v in terms.values()])
    if world()[1] > 1:
        distributed.all_reduce(stacked)
        stacked /= world()[1]
    return dict(zip(terms, stacked.tolist(), strict=True))


def average(params: Sequence[nn.Parameter]) -> None:
    """Average gradients over processes; one that a rank did not use counts as zero there."""
    n = world()[1]
    if n == 1:
        return
    used = torch.tensor([float(p.grad is not None) for p in params], device=params[0].device)
    distributed.all_reduce(used)
    for p, count in zip(params, used.tolist(), strict=True):
        if count > 0:
            grad = p.grad if p.grad is not None else torch.zeros_like(p)
            distributed.all_reduce(grad)
            p.grad = grad / n

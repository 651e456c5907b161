"""One vector a sample from what a part of a network gives: maps, tokens, or vectors already."""

from __future__ import annotations

import torch


def as_maps(found: torch.Tensor) -> torch.Tensor:
    """Maps as [b, c, h, w]; those that lie as [b, h, w, c] are known by their two equal middle sides."""
    last = found.shape[1] == found.shape[2] != found.shape[3]  # pictures are square: the sides that are equal are h, w
    return found.permute(0, 3, 1, 2) if last else found


def over_places(found: torch.Tensor) -> torch.Tensor:
    """Maps, of either layout, to [b, c]: the mean over the places."""
    return as_maps(found).mean(dim=(2, 3))


def over_tokens(found: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Tokens [b, t, d] to [b, d]: the mean over those in `mask` [b, t], or over all; vectors [b, d] stay."""
    if found.ndim == 2:
        return found
    if mask is None or mask.shape != found.shape[:2]:
        return found.mean(dim=1)
    share = mask.unsqueeze(2).to(found.dtype)  # [b, t, 1]
    return (found * share).sum(dim=1) / share.sum(dim=1)

"""Pictures of other than three channels: the first convolution adapted by one stated rule.

A weight for three channels is repeated cyclically over c and scaled by 3 / c, so that the sum of the response is
kept; for one channel the three are summed. This is the rule of timm. Mean and standard deviation of the
preprocessing are repeated cyclically too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from graft.backbones._picture import Preprocess
from graft.errors import DataError, UsageError

USUAL = 3


def asked(schema: Any) -> int:
    """The number of channels that the data's schema says; three where it says nothing. Raises UsageError."""
    channels = schema.get("channels", USUAL) if isinstance(schema, Mapping) else USUAL
    if isinstance(channels, bool) or not isinstance(channels, int) or channels < 1:
        raise UsageError(f"channels={channels!r}: a whole number of at least 1 is expected")
    return channels


def adapt(weight: torch.Tensor, channels: int) -> torch.Tensor:
    """[o, 3, ...] to [o, channels, ...], the sum over the channels kept."""
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    index = torch.arange(channels, device=weight.device) % USUAL
    return weight[:, index] * (USUAL / channels)


def preparing(prepare: Preprocess, channels: int) -> Preprocess:
    """The same preprocessing with mean and standard deviation for every channel."""
    mean, std = ([values[i % len(values)] for i in range(channels)] for values in (prepare.mean, prepare.std))
    return replace(prepare, mean=tuple(mean), std=tuple(std))


def first_layers(net: nn.Module, said: str | Sequence[str] | None, where: str) -> list[str]:
    """Names of the convolutions that see the picture: those `said`, else the first of three channels.

    Raises DataError where there is none.
    """
    paths = [said] if isinstance(said, str) else list(said or [])
    modules = dict(net.named_modules())
    paths = [p for p in paths if isinstance(modules.get(p), nn.Conv2d)]
    paths = paths or [n for n, m in modules.items() if isinstance(m, nn.Conv2d) and m.in_channels == USUAL][:1]
    if not paths:
        raise DataError(f"{where}: no first convolution of three channels was found; give pictures of three channels")
    return paths


def widen(net: nn.Module, channels: int, said: str | Sequence[str] | None, where: str) -> None:
    """Make a network of three channels one of `channels`, its weights adapted. Raises DataError."""
    if channels == USUAL:
        return
    for path in first_layers(net, said, where):
        layer = net.get_submodule(path)
        if not isinstance(layer, nn.Conv2d) or layer.groups != 1 or layer.in_channels != USUAL:
            raise DataError(f"{where}: its first layer {path} cannot take {channels} channels")
        layer.weight = nn.Parameter(adapt(layer.weight.detach(), channels))
        layer.in_channels = channels

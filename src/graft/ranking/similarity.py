"""How far data are from what a backbone was trained on: its BatchNorms remember their source's features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from graft.model import Backbone

Norm = nn.modules.batchnorm._BatchNorm
FEWEST_LAYERS = 2


@torch.no_grad()
def distance(backbone: Backbone, x: torch.Tensor) -> float | None:
    """Distance of a batch x [b, ...] to the source, in standard deviations of the source's features; None: unknown.

    In every BatchNorm the mean of each channel over the batch is set against the running mean, in units of the running
    deviation; the answer is the root mean square over channels, in the median over layers (which statistics differ
    between domains is what Li et al., "Revisiting Batch Normalization for Practical Domain Adaptation", 2016, section
    3, rests on). The source's own pictures give about what sampling leaves, sqrt(1 / b) and less. None where a network
    has fewer than FEWEST_LAYERS BatchNorms that kept statistics: nothing in it remembers.
    """
    found: dict[str, float] = {}
    hooks = [
        module.register_forward_pre_hook(_hook(found, name, module))
        for name, module in backbone.named_modules()
        if isinstance(module, Norm) and module.running_mean is not None
    ]
    if len(hooks) < FEWEST_LAYERS:
        return None
    was = backbone.training
    try:
        backbone.eval()
        backbone(x)
    finally:
        backbone.train(was)
        for hook in hooks:
            hook.remove()
    values = torch.tensor([v for v in found.values() if v == v])
    return float(values.median()) if len(values) >= FEWEST_LAYERS else None


def _hook(found: dict[str, float], name: str, module: Norm) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
    def look(_: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        x = args[0]
        mean, var = module.running_mean, module.running_var
        assert mean is not None and var is not None
        here = x.mean(dim=[d for d in range(x.ndim) if d != 1])
        alive = var > 1e-8 * var.max().clamp_min(1e-30)  # channels that never vary tell nothing
        apart = (here - mean)[alive].square() / var[alive]
        found[name] = float(apart.mean().sqrt())

    return look

"""Pooled features after each stage of a backbone, taken by forward hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from graft.model import Backbone, Features
from graft.pooling import over_places, over_tokens


class Stages:
    """Looks at a backbone while it computes, and pools what comes out of each of its stages.

    **The rule.** `Backbone.stages()` names the parameters of each stage. Among the modules all of whose
    parameters belong to one stage, the outermost that run say what the stage gives, and of several the one that
    runs last: a transformer's layer, a block of a network, the normalisation behind a first convolution. Where an
    activation follows that module in the same `nn.Sequential` (VGG, AlexNet), the stage gives what the activation
    gives: the mean of a bare convolution is a linear map of the stage before it. A stage none of whose modules runs
    (a position embedding alone) gives nothing.

    **Pooling.** Maps [b, c, h, w] or, where the two middle sides are the equal ones, [b, h, w, c] give their mean
    over the places; tokens [b, t, d] their mean over the tokens of the text, or over all where there is no mask;
    vectors [b, d] stay.
    """

    def __init__(self, backbone: Backbone, x: torch.Tensor) -> None:
        """Run once over a batch x, to see which modules run. No gradients are wanted."""
        self.backbone = backbone
        self.modules = ends(backbone, x)  # stage -> module
        self._seen: dict[str, torch.Tensor] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """While this lasts, every pass is seen."""
        hooks = [m.register_forward_hook(partial(self._see, stage)) for stage, m in self.modules.items()]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _see(self, stage: str, module: nn.Module, given: Any, out: Any) -> None:
        found = tensor(out)
        if found is None:
            return
        if found.ndim == 3 and not self.backbone.batch_first:
            found = found.transpose(0, 1)
        # maps are pooled at once: the next layer may overwrite them in place
        self._seen[stage] = over_places(found) if found.ndim == 4 else found

    def take(self, features: Features) -> dict[str, torch.Tensor]:
        """Pooled [b, d] of the pass just seen, by stage, from input to output."""
        found = {stage: over_tokens(self._seen[stage], features.mask) for stage in self.modules if stage in self._seen}
        self._seen.clear()
        return found


def ends(backbone: Backbone, x: torch.Tensor) -> dict[str, nn.Module]:
    """By stage, the module that says what it gives (see `Stages`), from one pass over a batch x."""
    ran: dict[str, tuple[int, nn.Module]] = {}

    def note(stage: str, depth: int, module: nn.Module, given: Any, out: Any) -> None:
        if tensor(out) is not None and (stage not in ran or depth <= ran[stage][0]):
            ran[stage] = (depth, module)

    within = list(_within(backbone))
    hooks = [m.register_forward_hook(partial(note, stage, depth)) for stage, depth, m in within]
    try:
        backbone(x)
    finally:
        for hook in hooks:
            hook.remove()
    behind = _activations(backbone)
    chosen = {stage: ran[stage][1] for stage, _ in backbone.stages() if stage in ran}
    return {stage: behind.get(module, module) for stage, module in chosen.items()}


def _activations(backbone: Backbone) -> dict[nn.Module, nn.Module]:
    """By module, the activation that directly follows it in the same `nn.Sequential`."""
    rows = [list(m.children()) for m in backbone.modules() if isinstance(m, nn.Sequential)]
    pairs = [(a, b) for row in rows for a, b in pairwise(row)]
    return {a: b for a, b in pairs if type(b).__module__ == nn.modules.activation.__name__ and not any(b.parameters())}


def _within(backbone: Backbone) -> Iterator[tuple[str, int, nn.Module]]:
    """(stage, depth, module) of every module all of whose parameters belong to one stage."""
    stage_of = {name: stage for stage, names in backbone.stages() for name in names}
    for path, module in backbone.named_modules():
        names = [f"{path}.{n}" if path else n for n, _ in module.named_parameters()]
        stages = {stage_of.get(n, "") for n in names}
        if len(stages) == 1 and "" not in stages:
            yield stages.pop(), path.count("."), module


def tensor(out: Any) -> torch.Tensor | None:
    """The features in what a module returns: itself, or the first of several."""
    if isinstance(out, Mapping):
        out = next(iter(out.values()), None)
    if isinstance(out, tuple | list):
        out = out[0] if out else None
    good = isinstance(out, torch.Tensor) and out.is_floating_point() and 2 <= out.ndim <= 4
    return out if good else None

"""What is found in labels, features and simple traits of samples: the one place where these are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from graft.data import Sample
from graft.doctor import _classes, _outliers, _shortcuts, _suspects
from graft.findings import Finding


def found(
    parts: Mapping[str, list[Sample]], looks: Mapping[str, torch.Tensor], labels: Sequence[str], modality: str
) -> list[Finding]:
    """Label errors, shortcuts, outliers, and classes too small or out of balance; `looks` are features by part."""
    return [
        *_suspects.label_errors(parts, looks, labels),
        *_shortcuts.found(parts, modality, labels),
        *_outliers.found(parts, looks),
        *_classes.sizes(parts, labels),
    ]


def merged(told: Sequence[Finding], more: Sequence[Finding]) -> list[Finding]:
    """Both, without those of `told` of which one of `more`, of the same kind or family, names all items too."""
    return [*(f for f in told if not any(_covers(g, f) for g in more)), *more]


def _covers(fuller: Finding, f: Finding) -> bool:
    if fuller.kind == f.kind:
        return True
    related = fuller.kind.partition("_")[0] == f.kind.partition("_")[0]
    return related and bool(f.items) and {i.id for i in f.items} <= {i.id for i in fuller.items}

"""What is found in labels, features and simple traits of samples: the one place where these are asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from graft.data import Sample
from graft.doctor import _classes, _outliers, _shortcuts, _suspects
from graft.findings import Finding

FULLER = {"class_single": "class_small", "class_rare": "class_small"}
"""Kinds of what readers say of classes, and the kind that names the same classes and more."""


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
    """Both, without those of `told` that one of `more` says more fully."""
    kinds = {f.kind for f in more}
    return [*(f for f in told if f.kind not in kinds and FULLER.get(f.kind) not in kinds), *more]

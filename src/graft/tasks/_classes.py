"""One of several classes."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from graft.data import Note, Parts, Sample, vocabulary
from graft.errors import DataError
from graft.tasks._answer import Answer, Schema, alike, said_cleaned

if TYPE_CHECKING:
    from graft.recipe import Recipe
    from graft.tasks import Scores


class Classes(Answer):
    """Exactly one class a sample: y is its name, an answer the probabilities [classes]."""

    kind = "classes"
    baseline = "majority"

    def settle(self, parts: Parts, notes: list[Note], asked: Recipe, schema: Schema) -> tuple[str, ...]:
        cleaned: list[str] = []
        for part in parts.values():
            for s in part:
                written = s.y
                s.y = self.typed(written, schema)
                if isinstance(written, str) and written != s.y:
                    cleaned.append(f"{s.id} ({written!r})")
        notes += said_cleaned(cleaned)
        labels = vocabulary(parts, notes, asked.unknown)
        notes += alike(labels)
        _imbalance(parts, notes)
        return labels

    def typed(self, raw: Any, schema: Schema) -> str:
        if isinstance(raw, tuple):
            if len(raw) != 1:
                held = ", ".join(map(str, raw)) or "none"
                raise DataError(f"one class a sample is expected, and {held} was given; --task ..._multilabel takes it")
            raw = raw[0]
        return unicodedata.normalize("NFC", str(raw).strip())

    def truth(self, y: Any, labels: tuple[str, ...]) -> int:
        return labels.index(y)

    def collate(self, ys: list[int], labels: tuple[str, ...]) -> torch.Tensor:
        return collate(ys, len(labels))

    def loss(self, pred: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"cross_entropy": F.cross_entropy(pred, y, reduction="none")}

    def scores(self, pred: torch.Tensor) -> Scores:
        from graft.tasks import Scores

        return Scores(pred, exclusive=True)

    def decode(self, pred: torch.Tensor, schema: Schema) -> list[Any]:
        return decode(pred)

    def always(self, train: Sequence[Sample], labels: tuple[str, ...], n: int, measure: str) -> np.ndarray:
        counts = np.zeros(len(labels))
        for s in train:
            counts[labels.index(s.y)] += 1
        return np.tile(counts / counts.sum(), (n, 1))


def collate(ys: list[int], classes: int) -> torch.Tensor:
    """Class indices to probabilities [b, classes]."""
    return F.one_hot(torch.tensor(ys), classes).float()


def decode(pred: torch.Tensor) -> list[np.ndarray]:
    """Probabilities [classes] of each sample, from scores [b, classes]."""
    return list(F.softmax(pred.double(), dim=1).cpu().numpy())


def _imbalance(parts: Parts, notes: list[Note]) -> None:
    counts: dict[str, int] = {}
    for s in parts.get("train") or [s for part in parts.values() for s in part]:
        counts[s.y] = counts.get(s.y, 0) + 1
    most, least = max(counts, key=lambda k: counts[k]), min(counts, key=lambda k: counts[k])
    if counts[most] >= 10 * counts[least] and len(counts) <= 100:
        share = counts[most] / sum(counts.values())
        said = (
            f"classes are of very different size: {counts[most]} of {most!r}, {counts[least]} of {least!r}; always "
            f"answering {most!r} is right {share:.1%} of the time (--measure balanced_accuracy or macro_f1 counts "
            "classes alike)"
        )
        notes.append(Note("warning", said, about="class_imbalance"))

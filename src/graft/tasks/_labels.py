"""Several labels at once, each of which holds or does not."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from graft.data import Note, Parts, Sample
from graft.errors import DataError, some
from graft.tasks._answer import Answer, Schema, alike, said_cleaned

if TYPE_CHECKING:
    from graft.recipe import Recipe
    from graft.tasks import Scores


class Labels(Answer):
    """Any number of labels a sample: y is the sorted tuple of their names, an answer probabilities [labels]."""

    kind = "labels"
    baseline = "base_rates"

    def settle(self, parts: Parts, notes: list[Note], asked: Recipe, schema: Schema) -> tuple[str, ...]:
        cleaned: list[str] = []
        for part in parts.values():
            for s in part:
                written, s.y = s.y, self.typed(s.y, schema)
                words = written if isinstance(written, tuple) else (written,)
                if not all(unicodedata.is_normalized("NFC", w) for w in words):
                    cleaned.append(f"{s.id} ({', '.join(words)!r})")
        notes += said_cleaned(cleaned)
        train = parts.get("train") or [s for part in parts.values() for s in part]
        counts = Counter(label for s in train for label in s.y)
        if not counts:
            raise DataError("no training sample has a label; at least one label must hold somewhere")
        self._known(parts, set(counts), notes, asked.unknown)
        never_apart = sorted(k for k, n in counts.items() if n == len(train))
        if never_apart:
            notes.append(
                Note(
                    "warning",
                    f"{len(never_apart)} labels hold for every training sample",
                    tuple(never_apart),
                    "class_always",
                )
            )
        rare = sorted(k for k, n in counts.items() if n < 3)
        if rare:
            said = f"{len(rare)} labels hold for fewer than three training samples"
            notes.append(Note("warning", said, tuple(rare), "class_rare"))
        mean = sum(counts.values()) / len(train)
        notes.append(Note("found", f"{len(counts)} labels, {mean:.2f} of them a sample on average"))
        notes += alike(sorted(counts))
        return tuple(sorted(counts))

    def _known(self, parts: Parts, known: set[str], notes: list[Note], unknown: str) -> None:
        for name, part in parts.items():
            strange = sorted({label for s in part for label in s.y} - known)
            if not strange:
                continue
            if unknown != "drop":
                raise DataError(
                    f"the {name} part has labels that the training part has not: {some(strange)}; add training samples "
                    "for them, or take them out with --unknown drop"
                )
            for s in part:
                s.y = tuple(y for y in s.y if y in known)
            notes.append(
                Note("skipped", f"labels of {name} that the training part has not were dropped", tuple(strange))
            )

    def typed(self, raw: Any, schema: Schema) -> tuple[str, ...]:
        from graft.readers import targets

        written = raw if isinstance(raw, tuple) else targets.split(str(raw), schema.get("separator", ";"))
        return tuple(sorted({unicodedata.normalize("NFC", w.strip()) for w in written if w.strip()}))

    def strata(self, samples: Sequence[Sample]) -> list[str]:
        """The rarest label of each sample: a cheap form of iterative stratification (Sechidis et al. 2011)."""
        counts = Counter(label for s in samples for label in s.y)
        return [min(s.y, key=lambda label: (counts[label], label), default="") for s in samples]

    def truth(self, y: Any, labels: tuple[str, ...]) -> np.ndarray:
        held = set(y)
        return np.array([label in held for label in labels], dtype=np.float32)

    def collate(self, ys: list[Any], labels: tuple[str, ...]) -> torch.Tensor:
        return torch.from_numpy(np.stack(ys)).float()

    def loss(self, pred: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"binary_cross_entropy": F.binary_cross_entropy_with_logits(pred, y, reduction="none").mean(dim=1)}

    def scores(self, pred: torch.Tensor) -> Scores:
        from graft.tasks import Scores

        return Scores(pred, exclusive=False)

    def decode(self, pred: torch.Tensor, schema: Schema) -> list[Any]:
        return list(torch.sigmoid(pred.double()).cpu().numpy())

    def always(self, train: Sequence[Sample], labels: tuple[str, ...], n: int, measure: str) -> np.ndarray:
        truth = np.stack([self.truth(s.y, labels) for s in train])  # [n, c]
        rates = truth.mean(axis=0, dtype=np.float64)
        held = _constant(truth, rates, measure)
        if held is not None:  # just over and under the threshold, where the measure looks at decisions alone
            rates = np.where(held, np.maximum(rates, 0.5 + 1e-6), np.minimum(rates, 0.5 - 1e-6))
        return np.tile(rates, (n, 1))


def _constant(truth: np.ndarray, rates: np.ndarray, measure: str) -> np.ndarray | None:
    """The labels [c] to answer always for the best score on the training part; None where order or odds count."""
    if measure == "macro_f1":  # of each label alone: any that ever holds is better said than not
        return rates > 0
    if measure == "micro_f1":
        order = np.argsort(-rates, kind="stable")
        hits = np.cumsum(rates[order])
        most = int(np.argmax(2 * hits / (np.arange(1, len(order) + 1) + rates.sum())))
        held = np.zeros(len(rates), dtype=bool)
        held[order[: most + 1]] = True
        return held
    if measure == "exact_match":
        sets, counts = np.unique(truth, axis=0, return_counts=True)
        return np.asarray(sets[counts.argmax()] > 0.5)
    return None

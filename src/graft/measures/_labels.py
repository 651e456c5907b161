"""Measures of labels, several or none a sample: probabilities [n, c] against truth [n, c] of yes and no."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from graft.measures import _curves, _draws, _given
from graft.measures._table import Chosen


@dataclass(frozen=True)
class Labels:
    """Probabilities [n, c], truth [n, c] of bool, offsets [c] or None, counts of draws [resamples, n]."""

    decoded: np.ndarray
    truth: np.ndarray
    offsets: np.ndarray | None
    weights: np.ndarray

    @staticmethod
    def of(decoded: Any, truth: Any, offsets: Any, weights: np.ndarray | None) -> Labels:
        """Check what is given; raises DataError, ValueError."""
        p, t = _given.probabilities(decoded), np.asarray(truth)
        if t.shape != p.shape or not np.isin(t, (0, 1)).all():
            raise ValueError(f"truth has the shape {t.shape}: 0 or 1 for each of {p.shape} is expected")
        return Labels(p, t.astype(bool), _given.shifts(offsets, p.shape[1]), _draws.checked(weights, len(p)))

    @cached_property
    def said(self) -> np.ndarray:
        """Whether each label was decided for, [n, c]."""
        return decide(self.decoded, self.offsets)

    @cached_property
    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(true, decided, rightly decided) of each label, [c, resamples] each."""
        found = (_sums(self.truth, self.weights), _sums(self.said, self.weights))
        return *found, _sums(self.truth & self.said, self.weights)

    @cached_property
    def ranked(self) -> _curves.Ranked:
        """Curves of each label."""
        return _curves.ranked(self.decoded, self.truth, self.weights)

    def value(self, chosen: Chosen) -> np.ndarray:
        """The measure on each resample, [resamples]."""
        points = self.points(chosen)
        return _WHOLE[chosen.name](self) if points is None else _draws.mean(points, self.weights)

    def points(self, chosen: Chosen) -> np.ndarray | None:
        """Values [n] whose mean is the measure, or None."""
        if chosen.name == "exact_match":
            return np.asarray((self.said == self.truth).all(axis=1), dtype=np.float64)
        if chosen.name == "hamming_loss":
            return np.asarray((self.said != self.truth).mean(axis=1))
        if chosen.name == "log_loss":
            own = np.where(self.truth, self.decoded, 1 - self.decoded)
            return np.asarray(np.abs(np.log(own.clip(_given.FLOOR))).mean(axis=1))
        return None


def decide(p: np.ndarray, offsets: np.ndarray | None) -> np.ndarray:
    """logit(p) + offsets > 0, [n, c]: without offsets, p above a half."""
    if offsets is None:
        return np.asarray(p > 0.5)
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(p) - np.log1p(-p) + offsets > 0)


def _sums(yes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Counts [c, resamples] of samples [n, c] that are true."""
    found = np.empty((yes.shape[1], len(weights)))
    for block in _draws.columns(*yes.shape):
        part = yes[:, block].T.astype(np.float64)
        for rows, counts in _draws.chunks(weights):
            found[block, rows] = part @ counts
    return found


def _map(given: Labels) -> np.ndarray:
    return _draws.macro(given.ranked.average_precision)


def _auroc(given: Labels) -> np.ndarray:
    return _draws.macro(given.ranked.auroc)


def _macro_f1(given: Labels) -> np.ndarray:
    true, said, hit = given.counts
    return _draws.macro(np.where(true > 0, _draws.divide(2 * hit, true + said), np.nan))


def _micro_f1(given: Labels) -> np.ndarray:
    true, said, hit = (count.sum(axis=0) for count in given.counts)
    return np.where(true > 0, _draws.divide(2 * hit, true + said), np.nan)


_WHOLE: dict[str, Callable[[Labels], np.ndarray]] = {
    "map": _map,
    "auroc": _auroc,
    "macro_f1": _macro_f1,
    "micro_f1": _micro_f1,
}


def undefined(chosen: Chosen, truth: np.ndarray) -> str:
    """Why a measure is NaN on this truth [n, c]; "" where it is not."""
    if chosen.name in ("map", "macro_f1", "micro_f1"):
        return "" if truth.any() else "no sample has any label"
    if chosen.name == "auroc":
        both = truth.any(axis=0) & ~truth.all(axis=0)
        return "" if both.any() else "no label has both samples with it and samples without it"
    return ""

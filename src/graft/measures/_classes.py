"""Measures of classes: probabilities [n, c] against the index of the true class [n]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from graft.measures import _costs, _curves, _draws, _given
from graft.measures._table import SPECIFICITY, Chosen

BINS = 10


@dataclass(frozen=True)
class Classes:
    """Probabilities [n, c], truth [n] of int, labels, offsets [c] or None, counts of draws [resamples, n]."""

    decoded: np.ndarray
    truth: np.ndarray
    labels: tuple[str, ...]
    offsets: np.ndarray | None
    weights: np.ndarray

    @staticmethod
    def of(decoded: Any, truth: Any, labels: Sequence[str], offsets: Any, weights: np.ndarray | None) -> Classes:
        """Check what is given; labels left out are called by their index. Raises DataError, ValueError."""
        p = _given.probabilities(decoded)
        n, c = p.shape
        t = np.asarray(truth)
        if t.shape != (n,) or t.dtype.kind not in "iu" or t.min() < 0 or t.max() >= c:
            raise ValueError(f"truth of {n} samples and {c} classes: {n} integers from 0 to {c - 1} are expected")
        if labels and len(labels) != c:
            raise ValueError(f"{len(labels)} labels for {c} classes")
        named = tuple(labels) or tuple(map(str, range(c)))
        return Classes(p, t.astype(np.intp), named, _given.shifts(offsets, c), _draws.checked(weights, n))

    @cached_property
    def said(self) -> np.ndarray:
        """The class decided for, [n]."""
        return decide(self.decoded, self.offsets)

    @cached_property
    def counts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(true, decided, rightly decided) of each class, [c, resamples] each."""
        c, w = self.decoded.shape[1], self.weights
        hit = np.where(self.said == self.truth, self.truth, -1)
        return _draws.tally(self.truth, c, w), _draws.tally(self.said, c, w), _draws.tally(hit, c, w)

    @cached_property
    def ranked(self) -> _curves.Ranked:
        """Curves of each class against the rest; of two classes, of the last alone."""
        first = 1 if self.decoded.shape[1] == 2 else 0
        one_hot = self.truth[:, None] == np.arange(first, self.decoded.shape[1])
        return _curves.ranked(self.decoded[:, first:], one_hot, self.weights)

    def value(self, chosen: Chosen) -> np.ndarray:
        """The measure on each resample, [resamples]."""
        points = self.points(chosen)
        return _WHOLE[chosen.name](self, chosen) if points is None else _draws.mean(points, self.weights)

    def points(self, chosen: Chosen) -> np.ndarray | None:
        """Values [n] whose mean is the measure, or None."""
        if chosen.name == "accuracy":
            return np.asarray(self.said == self.truth, dtype=np.float64)
        if chosen.name == "log_loss":
            own = self.decoded[np.arange(len(self.truth)), self.truth]
            return np.asarray(np.abs(np.log(own.clip(_given.FLOOR))))  # not -log: no "-0.0" where all is right
        if chosen.name == "cost":
            costs = np.array(chosen.costs)
            return np.asarray(costs[self.truth, decide(self.decoded, self.offsets, costs)])
        return None


def decide(p: np.ndarray, offsets: np.ndarray | None, costs: np.ndarray | None = None) -> np.ndarray:
    """argmax(log p + offsets), [n]; with costs [true, predicted] the class with the least expected cost.

    There offsets shift the log probabilities before costs are expected; equal costs give the same class as none.
    """
    if costs is not None:
        return _costs.cheapest(p if offsets is None else p * np.exp(offsets - offsets.max()), costs)
    if offsets is None:
        return np.asarray(p.argmax(axis=1))
    with np.errstate(divide="ignore"):
        return np.asarray((np.log(p) + offsets).argmax(axis=1))


def _balanced_accuracy(given: Classes, chosen: Chosen) -> np.ndarray:
    true, _, hit = given.counts
    return _draws.macro(_draws.divide(hit, true))


def _macro_f1(given: Classes, chosen: Chosen) -> np.ndarray:
    true, said, hit = given.counts
    return _draws.macro(np.where(true > 0, _draws.divide(2 * hit, true + said), np.nan))


def _auroc(given: Classes, chosen: Chosen) -> np.ndarray:
    return _draws.macro(given.ranked.auroc)


def _average_precision(given: Classes, chosen: Chosen) -> np.ndarray:
    # Without negatives it is 1 whatever is answered, so such a class says nothing.
    found = given.ranked
    return _draws.macro(np.where(np.isnan(found.auroc), np.nan, found.average_precision))


def _sensitivity(given: Classes, chosen: Chosen) -> np.ndarray:
    at = positive(chosen, given.labels)
    specificity = float(chosen.options.get("specificity", SPECIFICITY))
    return _curves.sensitivity(given.decoded[:, at], given.truth == at, given.weights, specificity)


def _calibration_error(given: Classes, chosen: Chosen) -> np.ndarray:
    return calibration_error(given.decoded, given.truth, given.weights, BINS)


_WHOLE: dict[str, Callable[[Classes, Chosen], np.ndarray]] = {
    "balanced_accuracy": _balanced_accuracy,
    "macro_f1": _macro_f1,
    "auroc": _auroc,
    "average_precision": _average_precision,
    "sensitivity": _sensitivity,
    "calibration_error": _calibration_error,
}


def positive(chosen: Chosen, labels: Sequence[str]) -> int:
    """The class that is to be found: the one said, else the last."""
    return labels.index(str(chosen.options["positive"])) if "positive" in chosen.options else len(labels) - 1


def calibration_error(p: np.ndarray, truth: np.ndarray, weights: np.ndarray, bins: int) -> np.ndarray:
    """See `measures.expected_calibration_error`."""
    confidence, right = p.max(axis=1), p.argmax(axis=1) == truth
    gaps = _draws.tally(confidence_bins(confidence, bins), bins, weights, right - confidence)
    return _draws.divide(np.abs(gaps).sum(axis=0), weights.sum(axis=1, dtype=np.float64))


def confidence_bins(confidence: np.ndarray, bins: int = BINS) -> np.ndarray:
    """The bin [n] of each probability [n]: bin m is (m / bins, (m + 1) / bins], and 0 is in the first.

    The edges are those of Guo et al. 2017, section 2, to the last digit: 0.3 is in (0.2, 0.3].
    """
    return np.searchsorted(np.arange(1, bins) / bins, confidence, side="left")


def undefined(chosen: Chosen, truth: np.ndarray, labels: Sequence[str]) -> str:
    """Why a measure is NaN on this truth [n]; "" where it is not."""
    there = np.unique(truth)
    if chosen.name in ("auroc", "average_precision", "sensitivity"):
        if chosen.name == "sensitivity" or len(labels) == 2:
            at = positive(chosen, labels)
            if at not in there:
                return f"no sample is of class {labels[at]!r}"
            return f"every sample is of class {labels[at]!r}, none of another" if len(there) == 1 else ""
        return f"every sample is of class {labels[int(there[0])]!r}, none of another" if len(there) == 1 else ""
    return ""

"""Measures of numbers: values [n] against true values [n]."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from graft.measures import _draws, _given
from graft.measures._table import Chosen


@dataclass(frozen=True)
class Numbers:
    """Values [n], true values [n], counts of draws [resamples, n]."""

    decoded: np.ndarray
    truth: np.ndarray
    weights: np.ndarray

    @staticmethod
    def of(decoded: Any, truth: Any, weights: np.ndarray | None) -> Numbers:
        """Check what is given; raises DataError, ValueError."""
        x, y = _given.finite(decoded, "answer", 1), _given.finite(truth, "true value", 1)
        if x.shape != y.shape:
            raise ValueError(f"{len(x)} answers and {len(y)} true values")
        return Numbers(x, y, _draws.checked(weights, len(x)))

    def value(self, chosen: Chosen) -> np.ndarray:
        """The measure on each resample, [resamples]."""
        points = self.points(chosen)
        return _WHOLE[chosen.name](self) if points is None else _draws.mean(points, self.weights)

    def points(self, chosen: Chosen) -> np.ndarray | None:
        """Values [n] whose mean is the measure, or None."""
        return np.abs(self.decoded - self.truth) if chosen.name == "mae" else None


def _rmse(given: Numbers) -> np.ndarray:
    error = np.abs(given.decoded - given.truth)
    scale = error.max() or 1.0  # squares of very large or small errors would leave the range of float64
    return np.asarray(scale * np.sqrt(_draws.mean((error / scale) ** 2, given.weights)))


def _r2(given: Numbers) -> np.ndarray:
    """NaN for a resample of one true value."""
    truth = given.truth - given.truth[0]
    scale = np.abs(truth).max() or 1.0
    truth = truth / scale
    with np.errstate(over="ignore"):  # answers that are off beyond all measure: about -1e280, not infinite
        squares = np.minimum(np.abs(given.decoded - given.truth) / scale, 1e140) ** 2
    left, spread = np.empty(len(given.weights)), np.empty(len(given.weights))
    for rows, counts in _draws.chunks(given.weights):
        left[rows] = squares @ counts
        # From a value that was drawn: a resample of equal values then has a spread of exactly 0.
        apart = truth[:, None] - truth[(counts > 0).argmax(axis=0)]
        apart -= _draws.divide((counts * apart).sum(axis=0), counts.sum(axis=0))
        spread[rows] = (counts * apart**2).sum(axis=0)
    return 1 - _draws.divide(left, spread)


def _spearman(given: Numbers) -> np.ndarray:
    """Pearson's correlation of mean ranks within each resample; NaN where answers or truth are all equal."""
    codes = [np.unique(v, return_inverse=True)[1] for v in (given.decoded, given.truth)]
    groups = [(code, _draws.grouping(code, int(code.max()) + 1)) for code in codes]
    found = np.empty(len(given.weights))
    for rows, counts in _draws.chunks(given.weights):
        x, y = (_ranks(code, matrix, counts) for code, matrix in groups)
        along, across = (np.einsum("ij,ij,ij->j", counts, v, v) for v in (x, y))
        both = np.einsum("ij,ij,ij->j", counts, x, y)
        found[rows] = _draws.divide(both, np.sqrt(along) * np.sqrt(across))
    return found.clip(-1.0, 1.0)


def _ranks(code: np.ndarray, matrix: Any, counts: np.ndarray) -> np.ndarray:
    """Ranks [n, r] of samples drawn `counts` times, equal ones at their mean rank, less the mean of all ranks.

    `code` [n] numbers the distinct values, rising; `matrix` sums by it. Halves of whole numbers: exact.
    """
    sums = matrix @ counts
    middle = sums.cumsum(axis=0) - sums / 2 - sums.sum(axis=0) / 2
    return np.asarray(middle[code])


_WHOLE: dict[str, Callable[[Numbers], np.ndarray]] = {"rmse": _rmse, "r2": _r2, "spearman": _spearman}


def undefined(chosen: Chosen, truth: np.ndarray) -> str:
    """Why a measure is NaN on this truth [n]; "" where it is not."""
    if chosen.name in ("r2", "spearman") and (truth == truth[0]).all():
        return f"the true value of every sample is {truth[0]:g}"
    return ""

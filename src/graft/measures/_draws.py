"""Sums over bootstrap resamples: counts of draws [resamples, n] are gone through in chunks, so memory stays bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

MOST = 1 << 20  # numbers of a chunk: 8 MB as float64, of which a few copies live at a time
WIDE = 128  # resamples of a chunk: more are no quicker, since a chunk of common sizes no longer fits the cache


def checked(weights: np.ndarray | None, n: int) -> np.ndarray:
    """Counts of draws [resamples, n]; one resample of ones for None. Raises ValueError for any other shape."""
    if weights is None:
        return np.ones((1, n))
    if weights.ndim != 2 or weights.shape[1] != n:
        raise ValueError(f"weights have the shape {weights.shape}: [resamples, {n}] is expected")
    if weights.size and not weights.min() >= 0:
        raise ValueError("weights are counts of draws: 0 or more")
    return weights


def chunks(weights: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """(resamples, their counts [n, some] as float64), in turn; samples first, so that rows add up quickly."""
    resamples, n = weights.shape
    step = max(1, min(WIDE, MOST // n))
    for start in range(0, resamples, step):
        rows = slice(start, min(start + step, resamples))
        yield rows, np.ascontiguousarray(weights[rows].T, dtype=np.float64)


def columns(n: int, width: int) -> Iterator[slice]:
    """Slices of `width` columns such that n rows of each are no more numbers than a chunk."""
    step = max(1, MOST // n)
    return (slice(start, min(start + step, width)) for start in range(0, width, step))


def divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b; NaN where b is 0."""
    found = np.full(np.broadcast_shapes(a.shape, b.shape), np.nan)
    np.divide(a, b, out=found, where=b != 0)
    return found


def mean(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Means [resamples] of values [n]; NaN for a resample without draws."""
    sums, totals = np.empty(len(weights)), np.empty(len(weights))
    for rows, counts in chunks(weights):
        sums[rows], totals[rows] = points @ counts, counts.sum(axis=0)
    return divide(sums, totals)


def macro(values: np.ndarray) -> np.ndarray:
    """Means [resamples] of values [c, resamples] over the classes where they are no NaN; NaN where all are."""
    there = ~np.isnan(values)
    return divide(np.where(there, values, 0.0).sum(axis=0), there.sum(axis=0))


def grouping(groups: np.ndarray, count: int, values: np.ndarray | None = None) -> Any:
    """A sparse matrix [count, n] whose product with counts [n, r] sums `values` (1 each) by group; -1 is left out."""
    from scipy.sparse import csr_array

    order = np.argsort(groups, kind="stable")[np.count_nonzero(groups < 0) :]
    ends = np.bincount(groups[groups >= 0], minlength=count).cumsum()
    data = np.ones(len(order)) if values is None else values[order]
    return csr_array((data, order, np.concatenate([[0], ends])), shape=(count, len(groups)))


def tally(groups: np.ndarray, count: int, weights: np.ndarray, values: np.ndarray | None = None) -> np.ndarray:
    """Sums [count, resamples] of values [n] (1 each) by group [n]; the group -1 is left out."""
    matrix = grouping(groups, count, values)
    found = np.empty((count, len(weights)))
    for rows, counts in chunks(weights):
        found[:, rows] = matrix @ counts
    return found

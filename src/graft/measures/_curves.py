"""Measures of an order by score - AUROC, average precision, sensitivity - exact, ties handled, over resamples.

Recall moves only at the scores of positives. So each negative is put once, for all resamples, between or onto those
scores, and a resample costs one sum by place and a running total over the distinct scores of positives, instead of
a sort: for many classes these are few.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from graft.measures._draws import chunks, columns, divide, grouping


@dataclass(frozen=True)
class _Order:
    """Where samples lie: a matrix that sums counts by place [3 k + 1, n], for k distinct scores of positives.

    Places, scores rising: positives at each score; negatives below it and above the last one; negatives at it;
    negatives above all.
    """

    place: Any
    k: int


@dataclass(frozen=True)
class _Cuts:
    """Counts [k, r] when everything at or above each score of a positive is called positive, scores rising."""

    own: np.ndarray  # positives at the score
    hits: np.ndarray  # positives at or above it
    below: np.ndarray  # negatives below it
    tied: np.ndarray  # negatives at it
    positives: np.ndarray  # [r]
    negatives: np.ndarray  # [r]


def _order(score: np.ndarray, truth: np.ndarray) -> _Order:
    """From scores [n] and truth [n] bool."""
    marks = np.unique(score[truth])
    k = len(marks)
    at = np.searchsorted(marks, score)
    tied = at < k
    tied[tied] = marks[at[tied]] == score[tied]
    above = at == k
    negative = np.where(above, 3 * k, np.where(tied, 2 * k, k) + at)
    return _Order(grouping(np.where(truth, at, negative), 3 * k + 1), k)


def _cuts(order: _Order, counts: np.ndarray) -> _Cuts:
    """From counts of draws [n, r]."""
    sums, k = np.asarray(order.place @ counts), order.k
    own, between, tied = sums[:k], sums[k : 2 * k], sums[2 * k : 3 * k]
    below = (between + tied).cumsum(axis=0) - tied
    reached = own.cumsum(axis=0)
    positives = own.sum(axis=0)
    return _Cuts(own, positives - reached + own, below, tied, positives, sums[k:].sum(axis=0))


def _auroc(cuts: _Cuts) -> np.ndarray:
    """Share of pairs of a positive and a negative in the right order, ties half (Hanley and McNeil 1982)."""
    pairs = (cuts.own * (cuts.below + cuts.tied / 2)).sum(axis=0)
    return divide(pairs, cuts.positives * cuts.negatives)


def _average_precision(cuts: _Cuts) -> np.ndarray:
    """Precision at each score of a positive, weighted by the recall gained there; no interpolation."""
    called = cuts.hits + cuts.negatives - cuts.below
    precision = np.divide(cuts.hits, called, out=np.zeros_like(called), where=called > 0)
    return divide((cuts.own * precision).sum(axis=0), cuts.positives)


def _sensitivity(cuts: _Cuts, specificity: float) -> np.ndarray:
    # Rounding: 55 of 100 is a specificity of 0.55, though 0.55 * 100 > 55 in floating point.
    allowed = cuts.below >= (specificity - 1e-9) * cuts.negatives
    best = np.where(allowed, cuts.hits, 0.0).max(axis=0, initial=0.0)
    return divide(np.where(cuts.negatives > 0, best, np.nan), cuts.positives)


@dataclass(frozen=True)
class Ranked:
    """Of each column, [c, resamples]: NaN without samples on both sides, or without positives."""

    auroc: np.ndarray
    average_precision: np.ndarray


def ranked(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> Ranked:
    """From scores [n, c], truth [n, c] bool and counts of draws [resamples, n]."""
    n, c = scores.shape
    found = Ranked(np.empty((c, len(weights))), np.empty((c, len(weights))))
    for block in columns(n, c):
        orders = [(j, _order(scores[:, j], truth[:, j])) for j in range(block.start, block.stop)]
        for rows, counts in chunks(weights):
            for j, order in orders:
                cuts = _cuts(order, counts)
                found.auroc[j, rows], found.average_precision[j, rows] = _auroc(cuts), _average_precision(cuts)
    return found


def sensitivity(score: np.ndarray, truth: np.ndarray, weights: np.ndarray, specificity: float) -> np.ndarray:
    """Highest sensitivity [resamples] over thresholds with at least this specificity, from scores [n], truth [n] bool.

    NaN for a resample without positives or without negatives.
    """
    order, found = _order(score, truth), np.empty(len(weights))
    for rows, counts in chunks(weights):
        found[rows] = _sensitivity(_cuts(order, counts), specificity)
    return found

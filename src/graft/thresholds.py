"""Where a decision falls: offsets on log-probabilities, chosen on validation where they help there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graft import evaluate, measures
from graft.seeds import rng
from graft.tasks import Task

ALPHA = 0.05
DECIDED = frozenset({"accuracy", "balanced_accuracy", "macro_f1", "micro_f1", "exact_match", "hamming_loss"})
"""Measures that depend on what was decided, not on probabilities or their order alone."""
FEWEST = 20  # validation samples
TAUS = (0.25, 0.5, 0.75, 1.0, 1.25)
_LEAST = 1e-12


def choose(task: Task, decoded: Any, truth: Sequence[Any], seed: int) -> np.ndarray | None:
    """Offsets [outputs] under which the deciding measure is better on validation, or None where they are not.

    For two classes every threshold between observed odds is tried, for more a multiple of minus the log of
    the mean probability (logit adjustment, Menon et al. 2021, section 3.1), for labels one threshold each. They must
    prove themselves on the half of the samples that they were not chosen on, both ways round, by a paired test.
    """
    if task.answer is None or task.answer.kind == "numbers" or len(truth) < FEWEST:
        return None
    measure = _measure(task)
    if not measure:
        return None
    p, t = np.asarray(decoded, dtype=np.float64), np.asarray(truth)
    half = _halves(t, seed)
    moved = p.copy()
    for side in (False, True):
        own, other = half == side, half != side
        offsets = _best(task, measure, p[other], t[other])
        if offsets is not None:
            moved[own] = shift(task.answer.kind, p[own], offsets)
    judge = type(task)()
    judge.name, judge.labels, judge.schema, judge.measures = task.name, task.labels, task.schema, (measure,)
    pair = evaluate.paired(judge, moved, p, t, seed)
    if not evaluate.better(judge, pair) or pair.p >= ALPHA:
        return None
    return _best(task, measure, p, t)


def _measure(task: Task) -> str:
    assert task.answer is not None
    first = task.measures[0]
    if first.partition(":")[0] in DECIDED:
        return first
    return "macro_f1" if task.answer.kind == "labels" else ""


def shift(kind: str, p: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Probabilities that decide without offsets as `p` does with them."""
    p = np.clip(p, _LEAST, 1 - _LEAST)
    if kind == "labels":
        return np.asarray(1 / (1 + np.exp(-(np.log(p / (1 - p)) + offsets))))
    moved = np.log(p) + offsets
    moved = np.exp(moved - moved.max(axis=1, keepdims=True))
    return np.asarray(moved / moved.sum(axis=1, keepdims=True))


def _halves(truth: np.ndarray, seed: int) -> np.ndarray:
    """True for half of the rows [n], of every class about half."""
    n = len(truth)
    order = rng(seed, "thresholds", n).permutation(n)
    key = truth[order] if truth.ndim == 1 else truth[order].argmax(axis=1)
    half = np.zeros(n, dtype=bool)
    half[order[np.argsort(key, kind="stable")]] = np.arange(n) % 2 == 1
    return half


def _best(task: Task, measure: str, p: np.ndarray, truth: np.ndarray) -> np.ndarray | None:
    assert task.answer is not None
    kind, sign = task.answer.kind, -1.0 if measures.is_lower(measure.partition(":")[0]) else 1.0
    chosen = measures.parse(measure, kind, task.labels)

    def value(offsets: np.ndarray | None) -> float:
        found = measures.compute(kind, p, truth, labels=task.labels, measures=[chosen], offsets=offsets)
        return sign * float(next(iter(found.values()))[0])

    if kind == "labels":
        return _per_label(p, truth)
    best, at = value(None), None
    for offsets in _candidates(p):
        now = value(offsets)
        if now > best + 1e-9:
            best, at = now, offsets
    return at


def _candidates(p: np.ndarray) -> list[np.ndarray]:
    clipped = np.clip(p, _LEAST, 1.0)
    if p.shape[1] == 2:
        odds = np.log(clipped[:, 1]) - np.log(clipped[:, 0])
        cuts = np.quantile(odds, np.linspace(0.02, 0.98, 49))
        return [np.array([c / 2, -c / 2]) for c in cuts]
    return [-tau * np.log(clipped.mean(axis=0)) for tau in TAUS]


def _per_label(p: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """For each label the threshold with the best F1 (Lipton et al. 2014); 0.5 where it has no positive."""
    offsets = np.zeros(p.shape[1])
    clipped = np.clip(p, _LEAST, 1 - _LEAST)
    odds = np.log(clipped / (1 - clipped))
    for c in range(p.shape[1]):
        held = truth[:, c] > 0.5
        if not held.any():
            continue
        order = np.argsort(-odds[:, c], kind="stable")
        hits = np.cumsum(held[order])
        f1 = 2 * hits / (np.arange(1, len(order) + 1) + held.sum())
        # A threshold lies between two different odds: the last of equals decides.
        last = np.append(np.diff(odds[order, c]) < 0, True)
        k = int(np.argmax(np.where(last, f1, -1.0)))
        below = odds[order[k + 1], c] if k + 1 < len(order) else odds[order[k], c] - 1.0
        offsets[c] = -(odds[order[k], c] + below) / 2
    return offsets

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
CUTS = 50  # thresholds tried for two classes
TAUS = (0.25, 0.5, 0.75, 1.0, 1.25)
_LEAST = 1e-12


def choose(task: Task, decoded: Any, truth: Sequence[Any], seed: int) -> np.ndarray | None:
    """Offsets [outputs] under which the deciding measure is better on validation, or None where they are not.

    For two classes thresholds midway between observed odds are tried (at most CUTS, spread evenly), for more a
    multiple of minus the log of the mean probability (logit adjustment, Menon et al. 2021, section 3.1), for labels
    one threshold each. They must prove themselves on the half of the samples that they were not chosen on, both
    ways round, by a paired test.
    """
    return fitted(task, decoded, truth, seed)[0]


def fitted(task: Task, decoded: Any, truth: Sequence[Any], seed: int) -> tuple[np.ndarray | None, np.ndarray]:
    """(the offsets of `choose`, the answers that a comparison on these samples is fair with).

    The latter are moved by offsets from the other half of the samples where offsets help the deciding measure, and
    untouched elsewhere.
    """
    plain = np.asarray(decoded)
    if task.answer is None or task.answer.kind == "numbers" or len(truth) < FEWEST:
        return None, plain
    if task.measures[0].partition(":")[0] == "sensitivity" and plain.shape[1] == 2:
        return _operating(task, plain, np.asarray(truth)), plain
    measure = _measure(task)
    if not measure:
        return None, plain
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
        return None, plain
    return _best(task, measure, p, t), moved if measure == task.measures[0] else plain


def _operating(task: Task, p: np.ndarray, truth: np.ndarray) -> np.ndarray | None:
    """For a sensitivity at a specificity: the threshold that has it on validation, asked for and so not tested."""
    options = task.chosen()[0].options
    positive = task.labels.index(str(options["positive"])) if "positive" in options else 1
    odds = np.log(np.clip(p[:, positive], _LEAST, 1)) - np.log(np.clip(p[:, 1 - positive], _LEAST, 1))
    negatives = np.sort(odds[truth != positive])
    if not len(negatives):
        return None
    k = min(len(negatives) - 1, int(np.ceil(float(options.get("specificity", 0.95)) * len(negatives))) - 1)
    above = odds[odds > negatives[k]]
    cut = float((negatives[k] + above.min()) / 2) if len(above) else float(negatives[k]) + 1.0
    offsets = np.zeros(2)
    offsets[positive], offsets[1 - positive] = -cut / 2, cut / 2
    return offsets


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
        seen = np.unique(odds)
        cuts = (seen[:-1] + seen[1:]) / 2
        # Of neighbours so close that no number lies between, the middle is one of them: it would decide nothing.
        cuts = cuts[(cuts > seen[:-1]) & (cuts < seen[1:])]
        if len(cuts) > CUTS:
            cuts = cuts[np.linspace(0, len(cuts) - 1, CUTS).round().astype(int)]
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

"""Measures with intervals, paired comparisons, calibration and where a model is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from graft.seeds import rng
from graft.tasks import Answers, Task

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Score:
    """A measure with its bootstrap interval over n samples."""

    value: float
    low: float
    high: float
    n: int

    def plain(self) -> dict[str, float | int]:
        return asdict(self)


@dataclass(frozen=True)
class Paired:
    """A difference of two models on the same samples: its interval, and the one-sided p of "not better"."""

    difference: float
    low: float
    high: float
    p: float


def truth_of(task: Task, samples: Sequence[Any]) -> list[Any]:
    """The targets of samples as `Task.measure` takes them."""
    return [task.target(s, None) for s in samples]


def scores(task: Task, decoded: Answers, truth: Answers, seed: int) -> dict[str, Score]:
    """Every measure with a percentile bootstrap interval (Efron and Tibshirani 1993, section 13.3).

    Resampling cannot leave a share of 0 or 1, so there the interval is the exact one of the binomial
    (Clopper and Pearson 1934).
    """
    n = len(truth)
    values = task.measure(decoded, truth)
    first = next(iter(values))
    points = task.pointwise(decoded, truth)
    table: dict[str, list[float]] = {k: [] for k in values}
    packed, true = np.asarray(decoded), np.asarray(truth)
    for rows in _resamples(n, seed):
        for name, value in task.measure(packed[rows], true[rows]).items():
            table[name].append(value)
    found = {}
    for name, value in values.items():
        low, high = _ends(np.asarray(table[name]))
        if name == first and points is not None and points.min() == points.max():
            low, high = exact_share(int(points.sum()), n)
        found[name] = Score(value, low, high, n)
    return found


def score(task: Task, decoded: Answers, truth: Answers, seed: int) -> Score:
    """The first measure alone; quick where it is a mean over samples."""
    points = task.pointwise(decoded, truth)
    if points is None:
        return next(iter(scores(task, decoded, truth, seed).values()))
    n = len(points)
    if points.min() == points.max():
        low, high = exact_share(int(points.sum()), n)
    else:
        low, high = _ends(np.array([points[rows].mean() for rows in _resamples(n, seed)]))
    return Score(float(points.mean()), low, high, n)


def paired(task: Task, a: Answers, b: Answers, truth: Answers, seed: int) -> Paired:
    """Is a better than b? Paired bootstrap interval; p by McNemar's mid-p test where points are 0 or 1.

    Mid-p: Fagerland, Lydersen and Laake 2013. Elsewhere p is the share of resamples without a gain.
    """
    pa, pb = task.pointwise(a, truth), task.pointwise(b, truth)
    if pa is None or pb is None:
        return _paired_measures(task, np.asarray(a), np.asarray(b), np.asarray(truth), seed)
    d = pa - pb
    gains = np.array([d[rows].mean() for rows in _resamples(len(d), seed)])
    low, high = _ends(gains)
    if d.min() == d.max():  # resampling says nothing: what n equal outcomes leave open, at most
        open_share = 1 - ((1 - LEVEL) / 2) ** (1 / len(d))
        low, high = max(-1.0, float(d[0]) - open_share), min(1.0, float(d[0]) + open_share)
    p = mid_p(int((d > 0).sum()), int((d < 0).sum())) if set(np.unique(d)) <= {-1.0, 0.0, 1.0} else _share(gains)
    return Paired(float(d.mean()), low, high, p)


def _paired_measures(task: Task, a: np.ndarray, b: np.ndarray, truth: np.ndarray, seed: int) -> Paired:
    def first(decoded: np.ndarray, true: np.ndarray) -> float:
        return next(iter(task.measure(decoded, true).values()))

    gains = np.array([first(a[r], truth[r]) - first(b[r], truth[r]) for r in _resamples(len(truth), seed)])
    low, high = _ends(gains)
    return Paired(first(a, truth) - first(b, truth), low, high, _share(gains))


def _share(gains: np.ndarray) -> float:
    return float((gains <= 0).mean())


def mid_p(wins: int, losses: int) -> float:
    """One-sided mid-p of McNemar's test: small where wins outnumber losses beyond chance."""
    from scipy.stats import binom

    n = wins + losses
    if n == 0:
        return 1.0
    return float(binom.sf(wins, n, 0.5) + 0.5 * binom.pmf(wins, n, 0.5))


def exact_share(hits: int, n: int) -> tuple[float, float]:
    """Clopper-Pearson interval of a share."""
    from scipy.stats import beta

    tail = (1 - LEVEL) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high


def _resamples(n: int, seed: int) -> Iterator[np.ndarray]:
    """Rows [n] of each resample, one at a time; the same for every model compared on these samples."""
    draw = rng(seed, "bootstrap", n)
    return (draw.integers(0, n, size=n) for _ in range(RESAMPLES))


def _ends(values: np.ndarray) -> tuple[float, float]:
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


# ------------------------------------------------------------------------------- classes in detail


def confusion(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Counts [true class, predicted class]."""
    classes = probabilities.shape[1]
    flat = np.bincount(truth * classes + probabilities.argmax(axis=1), minlength=classes**2)
    return flat.reshape(classes, classes)


def per_class(table: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Precision, recall, F1 and count of each class; None where there is nothing to divide by."""
    found: dict[str, dict[str, float | int | None]] = {}
    for c, label in enumerate(labels):
        hit, true, said = int(table[c, c]), int(table[c].sum()), int(table[:, c].sum())
        found[label] = {
            "precision": hit / said if said else None,
            "recall": hit / true if true else None,
            "f1": 2 * hit / (true + said) if true + said else None,
            "n": true,
        }
    return found


def calibration(probabilities: np.ndarray, truth: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """Expected calibration error over equal bins of confidence (Guo et al. 2017, section 2), and the bins."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    rows, ece = [], 0.0
    for b in range(bins):
        here = place == b
        n = int(here.sum())
        if not n:
            continue
        mean, accuracy = float(confidence[here].mean()), float(right[here].mean())
        ece += n / len(truth) * abs(mean - accuracy)
        rows.append({"low": b / bins, "high": (b + 1) / bins, "confidence": mean, "accuracy": accuracy, "n": n})
    return {"ece": ece, "bins": rows}


def worst(probabilities: np.ndarray, truth: np.ndarray, most: int = 20) -> list[int]:
    """Rows that were answered wrongly, the surest of them first."""
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != truth)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return [int(i) for i in wrong[order][:most]]

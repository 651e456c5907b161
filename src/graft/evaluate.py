"""Measures with intervals, paired comparisons, calibration and where a model is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from graft import measures
from graft.seeds import rng
from graft.tasks import Answers, Task

RESAMPLES = 1000
SHARES = ("accuracy", "exact_match")
"""Means of samples that are right or wrong: at 0 and 1, where resampling says nothing, their interval is exact."""
BY_CLASS = ("balanced_accuracy", "macro_f1", "auroc", "average_precision", "sensitivity")
"""Measures that average over classes: resampled within them, else a rare one is missing from many resamples."""
LEVEL = 0.95
MOST_COUNTS = 20_000_000  # numbers in a table of resamples: 80 MB


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
    return [task.truth(s) for s in samples]


def scores(
    task: Task, decoded: Answers, truth: Answers, seed: int, offsets: np.ndarray | None = None
) -> dict[str, Score]:
    """Every measure with a percentile bootstrap interval (Efron and Tibshirani 1993, section 13.3).

    Resampling cannot leave a share of 0 or 1, so there the interval is the exact one of the binomial
    (Clopper and Pearson 1934). Measures that average over classes are resampled within them (`BY_CLASS`). A
    measure that is not defined on these samples is NaN.
    """
    n = len(truth)
    packed, true = np.asarray(decoded), np.asarray(truth)
    values = _values(task, packed, true, None, offsets)
    table = _values(task, packed, true, seed, offsets)
    found = {}
    for name, value in values.items():
        low, high = _ends(table[name])
        if name in SHARES and value[0] in (0.0, 1.0):
            low, high = exact_share(round(n * float(value[0])), n)
        found[name] = Score(float(value[0]), low, high, n)
    return found


def _values(
    task: Task, decoded: np.ndarray, truth: np.ndarray, seed: int | None, offsets: np.ndarray | None
) -> dict[str, np.ndarray]:
    """Every measure on the samples as they are (`seed` None: [1]), or on each resample [RESAMPLES]."""
    if task.answer is not None:
        chosen = task.chosen()
        if seed is None:
            return task.resampled(decoded, truth, None, offsets, chosen)
        by_class = [m for m in chosen if task.answer.kind == "classes" and m.name in BY_CLASS]
        plain = [m for m in chosen if m not in by_class]
        found: dict[str, np.ndarray] = {}
        for some, strata in ((plain, None), (by_class, truth)):
            if some:
                draws = _counts(len(truth), seed, strata)
                parts = [task.resampled(decoded, truth, counts, offsets, some) for counts in draws]
                found |= {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}
        return {str(m): found[str(m)] for m in chosen}
    rows = [np.arange(len(truth))] if seed is None else list(_resamples(len(truth), seed))
    each = [task.measure(decoded[r], truth[r]) for r in rows]
    return {k: np.array([m[k] for m in each]) for k in each[0]}


def _is_share(task: Task) -> bool:
    """Whether the deciding measure is a share of samples, each right or wrong."""
    return task.answer is None or task.measures[0] in SHARES


def score(task: Task, decoded: Answers, truth: Answers, seed: int, offsets: np.ndarray | None = None) -> Score:
    """The first measure alone; quick where it is a mean over samples."""
    points = task.pointwise(decoded, truth, offsets)
    if points is None:
        return next(iter(scores(task, decoded, truth, seed, offsets).values()))
    n = len(points)
    if _is_share(task) and points.min() == points.max() and points[0] in (0.0, 1.0):
        low, high = exact_share(int(points.sum()), n)
    else:
        low, high = _ends(_means(points, seed))
    return Score(float(points.mean()), low, high, n)


def resampled(task: Task, decoded: Answers, truth: Answers, seed: int) -> np.ndarray:
    """The first measure on each bootstrap resample of the samples [RESAMPLES], the same ones for every model."""
    points = task.pointwise(decoded, truth)
    if points is not None:
        return _means(points, seed)
    return next(iter(_values(task, np.asarray(decoded), np.asarray(truth), seed, None).values()))


def paired(
    task: Task,
    a: Answers,
    b: Answers,
    truth: Answers,
    seed: int,
    offsets: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> Paired:
    """a minus b in the first measure: paired bootstrap interval, and p of "a is not better".

    p is McNemar's mid-p (Fagerland, Lydersen and Laake 2013) where points are 0 or 1, else the share of
    resamples in which a is not better. Less is better where the measure says so: p knows, the difference
    stays a minus b.
    """
    a, b, truth = np.asarray(a), np.asarray(b), np.asarray(truth)
    sign = -1.0 if task.lower() else 1.0
    pa, pb = task.pointwise(a, truth, offsets[0]), task.pointwise(b, truth, offsets[1])
    if pa is None or pb is None:
        return _paired_measures(task, a, b, truth, seed, offsets, sign)
    d = pa - pb
    gains = _means(d, seed)
    low, high = _ends(gains)
    binary = _is_share(task) and set(np.unique(d)) <= {-1.0, 0.0, 1.0}
    if binary and d.min() == d.max():  # resampling says nothing: what n equal outcomes leave open, at most
        open_share = 1 - ((1 - LEVEL) / 2) ** (1 / len(d))
        low, high = max(-1.0, float(d[0]) - open_share), min(1.0, float(d[0]) + open_share)
    p = mid_p(int((sign * d > 0).sum()), int((sign * d < 0).sum())) if binary else _share(sign * gains)
    return Paired(float(d.mean()), low, high, p)


def _paired_measures(
    task: Task,
    a: np.ndarray,
    b: np.ndarray,
    truth: np.ndarray,
    seed: int,
    offsets: tuple[np.ndarray | None, np.ndarray | None],
    sign: float,
) -> Paired:
    def first(decoded: np.ndarray, draw: int | None, of: np.ndarray | None) -> np.ndarray:
        return next(iter(_values(task, decoded, truth, draw, of).values()))

    gains = first(a, seed, offsets[0]) - first(b, seed, offsets[1])
    low, high = _ends(gains)
    whole = first(a, None, offsets[0])[0] - first(b, None, offsets[1])[0]
    return Paired(float(whole), low, high, _share(sign * gains[np.isfinite(gains)]))


def better(task: Task, pair: Paired) -> bool:
    """Whether the difference is a gain at all, whatever its interval."""
    return pair.difference < 0 if task.lower() else pair.difference > 0


def _share(gains: np.ndarray) -> float:
    return float((gains <= 0).mean()) if len(gains) else 1.0


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


def _counts(n: int, seed: int, strata: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """How often each row stands in each resample, some resamples at a time: [r, n], floats that measures can sum.

    With `strata` [n] each of them keeps its size.
    """
    at_once = max(1, MOST_COUNTS // n)
    rows = _resamples(n, seed) if strata is None else _within(strata, seed)
    for start in range(0, RESAMPLES, at_once):
        counts = np.zeros((min(at_once, RESAMPLES - start), n), dtype=np.float32)
        for line in counts:
            line += np.bincount(next(rows), minlength=n)
        yield counts


def _means(points: np.ndarray, seed: int) -> np.ndarray:
    """The mean of the points [n] in each resample."""
    return np.concatenate([counts @ points / len(points) for counts in _counts(len(points), seed)])


def _within(strata: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Rows [n] of each resample, drawn within each stratum."""
    draw = rng(seed, "bootstrap within", len(strata))
    groups = [np.flatnonzero(strata == s) for s in np.unique(strata)]
    return (np.concatenate([g[draw.integers(0, len(g), len(g))] for g in groups]) for _ in range(RESAMPLES))


def _ends(values: np.ndarray) -> tuple[float, float]:
    """The middle 95 %, of those resamples in which the measure is defined."""
    tail = 100 * (1 - LEVEL) / 2
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


# ------------------------------------------------------------------------------- classes in detail


def confusion(decided: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Counts [true class, predicted class] of class indices [n]."""
    flat = np.bincount(truth * classes + decided, minlength=classes**2)
    return flat.reshape(classes, classes)


def per_class(table: np.ndarray, labels: Sequence[str]) -> dict[str, dict[str, float | int | None]]:
    """Precision, recall, F1 and count of each class; None where there is nothing to divide by."""
    counts = ((int(table[c, c]), int(table[c].sum()), int(table[:, c].sum())) for c in range(len(labels)))
    return {label: rates(*count) for label, count in zip(labels, counts, strict=True)}


def rates(hit: int, true: int, said: int) -> dict[str, float | int | None]:
    """Precision, recall, F1 and count from how often a label was hit, was true and was said."""
    return {
        "precision": hit / said if said else None,
        "recall": hit / true if true else None,
        "f1": 2 * hit / (true + said) if true + said else None,
        "n": true,
    }


def calibration(probabilities: np.ndarray, truth: np.ndarray, bins: int = 10) -> dict[str, Any]:
    """Expected calibration error over equal bins of confidence (Guo et al. 2017, section 2), and the bins."""
    confidence = probabilities.max(axis=1)  # of the likeliest class, thresholds apart
    right = probabilities.argmax(axis=1) == truth
    place = measures.confidence_bins(confidence, bins)
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


def worst(probabilities: np.ndarray, decided: np.ndarray, truth: np.ndarray, most: int = 20) -> list[int]:
    """Rows that were answered wrongly, the surest of them first."""
    wrong = np.flatnonzero(decided != truth)
    order = np.argsort(-probabilities[wrong, decided[wrong]], kind="stable")
    return [int(i) for i in wrong[order][:most]]

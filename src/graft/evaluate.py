"""Measures with intervals, paired comparisons, calibration and where a model is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from graft import _differences, _intervals, _scored, measures
from graft._blocks import Units
from graft._differences import mid_p
from graft._scored import SHARES, Answered, Asked
from graft.data import Sample
from graft.tasks import Answers, Task

__all__ = [
    "LEVEL",
    "RESAMPLES",
    "SHARES",
    "Paired",
    "Score",
    "better",
    "calibration",
    "confusion",
    "exact_share",
    "groups_of",
    "mid_p",
    "paired",
    "per_class",
    "rates",
    "score",
    "scores",
    "truth_of",
    "worst",
]

RESAMPLES = 1000
"""Of a bootstrap, where nothing better is known: of sensitivity, and of a task with measures of its own."""
LEVEL = 0.95


@dataclass(frozen=True)
class Score:
    """A measure with its interval over n samples."""

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


def groups_of(samples: Sequence[Sample]) -> list[str] | None:
    """The group of each sample, as `scores` and `paired` take them; None where none has one."""
    return [s.group for s in samples] if any(s.group for s in samples) else None


def scores(
    task: Task,
    decoded: Answers,
    truth: Answers,
    seed: int,
    offsets: np.ndarray | None = None,
    *,
    groups: Sequence[object] | np.ndarray | None = None,
    level: float = LEVEL,
) -> dict[str, Score]:
    """Every measure with its interval; `graft._intervals` has the table of which measure has which, with the papers.

    groups: the group of each sample, "" for none. Samples of one group (one patient) are not independent: where there
    are groups, they are what is left out, drawn and counted (Field and Welsh 2007). A measure that is not defined on
    these samples is NaN, and so are ends of which a single sample or group says nothing.
    """
    asked = _asked(task, truth, seed, groups, level)
    if task.answer is None:
        return _percentile(asked, np.asarray(decoded))
    found = _scored.ends(asked, Answered(np.asarray(decoded), offsets), task.chosen())
    return {name: Score(value, *ends, len(truth)) for name, (value, ends) in found.items()}


def score(
    task: Task,
    decoded: Answers,
    truth: Answers,
    seed: int,
    offsets: np.ndarray | None = None,
    *,
    groups: Sequence[object] | np.ndarray | None = None,
    level: float = LEVEL,
) -> Score:
    """The first measure alone, as `scores` has it."""
    asked = _asked(task, truth, seed, groups, level)
    if task.answer is None:
        return next(iter(_percentile(asked, np.asarray(decoded)).values()))
    ((value, ends),) = _scored.ends(asked, Answered(np.asarray(decoded), offsets), task.chosen()[:1]).values()
    return Score(value, *ends, len(truth))


def paired(
    task: Task,
    a: Answers,
    b: Answers,
    truth: Answers,
    seed: int,
    offsets: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
    *,
    groups: Sequence[object] | np.ndarray | None = None,
    level: float = LEVEL,
) -> Paired:
    """a minus b in the first measure: its interval, and p of "a is not better".

    p is McNemar's mid-p (Fagerland, Lydersen and Laake 2013) where points are 0 or 1 and there are no groups, else
    that of the distribution that the interval is from. So the interval leaves 0 out on the side where a is better
    exactly where p < (1 - level) / 2, and on the other where 1 - p is. Less is better where the measure says so: p
    knows, the difference stays a minus b. No difference on any sample is p = 1.
    """
    asked = _asked(task, truth, seed, groups, level)
    sign = -1.0 if task.lower() else 1.0
    one, other = np.asarray(a), np.asarray(b)
    if task.answer is None:
        return _percentile_paired(asked, one, other, sign)
    gap, ends, p = _differences.difference(
        asked, Answered(one, offsets[0]), Answered(other, offsets[1]), task.chosen()[0], sign
    )
    return Paired(gap, *ends, p)


def better(task: Task, pair: Paired) -> bool:
    """Whether the difference is a gain at all, whatever its interval."""
    return pair.difference < 0 if task.lower() else pair.difference > 0


def exact_share(hits: int, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Clopper-Pearson interval of a share: never below its level, and wider than `scores` gives."""
    from scipy.stats import beta

    tail = (1 - level) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n - hits + 1))
    high = 1.0 if hits == n else float(beta.ppf(1 - tail, hits + 1, n - hits))
    return low, high


def _asked(task: Task, truth: Answers, seed: int, groups: Sequence[object] | np.ndarray | None, level: float) -> Asked:
    return Asked(task, np.asarray(truth), seed, Units.of(len(truth), groups), level, RESAMPLES)


# ------------------------------------------------------------------------------- a task with measures of its own


def _percentile(asked: Asked, decoded: np.ndarray) -> dict[str, Score]:
    """Percentile bootstrap (Efron and Tibshirani 1993, section 13.3) of measures of which nothing is known."""
    whole, table = _own_measures(asked, decoded), _own_resampled(asked, decoded)
    return {k: Score(v, *_ends(table[k], asked.level), len(decoded)) for k, v in whole.items()}


def _percentile_paired(asked: Asked, a: np.ndarray, b: np.ndarray, sign: float) -> Paired:
    first = next(iter(_own_measures(asked, a)))
    gains = _own_resampled(asked, a)[first] - _own_resampled(asked, b)[first]
    gap = _own_measures(asked, a)[first] - _own_measures(asked, b)[first]
    known = gains[np.isfinite(gains)]
    p = float((sign * known <= 0).mean()) if len(known) else 1.0
    return Paired(gap, *_ends(gains, asked.level), p)


def _own_measures(asked: Asked, decoded: np.ndarray) -> dict[str, float]:
    return asked.task.measure(decoded, asked.truth)


def _own_resampled(asked: Asked, decoded: np.ndarray) -> dict[str, np.ndarray]:
    """Every measure on each resample, [RESAMPLES]."""
    each = [asked.task.measure(decoded[r], asked.truth[r]) for r in asked.units.rows(asked.seed, asked.resamples)]
    return {k: np.array([m[k] for m in each]) for k in each[0]}


def _ends(values: np.ndarray, level: float) -> tuple[float, float]:
    """The middle part, of those resamples in which the measure is defined."""
    tail = (1 - level) / 2
    values = values[np.isfinite(values)]
    if not len(values):
        return _intervals.UNKNOWN
    low, high = np.quantile(values, [tail, 1 - tail])
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

"""The interval of each measure of one model's answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graft import _intervals, measures
from graft._blocks import MOST_BLOCKS, Units, jackknife_error
from graft._intervals import UNKNOWN, Ends, Mean
from graft.measures import Chosen
from graft.seeds import rng
from graft.tasks import Task

SHARES = ("accuracy", "exact_match")
"""Means of samples that are right or wrong."""
BOUNDED = {
    "balanced_accuracy": 1, "macro_f1": 1, "micro_f1": 2, "sensitivity": 1, "cost": 1, "hamming_loss": 1,
    "auroc": 4, "average_precision": 4, "map": 4,
}  # fmt: skip
"""Measures in 0..1 (cost: in 0..its dearest error), and how many samples of a share one sample can stand for, at most.

More than one where a sample is compared with many others.
"""
UNSEEN, FEW_ERRORS = 0.1, 4
"""A log-loss's upper end allows for so many errors more, where fewer than FEW_ERRORS are among the samples."""


@dataclass(frozen=True)
class Asked:
    """What is measured on which samples, and how sure an interval is to be; `resamples` where a bootstrap is drawn."""

    task: Task
    truth: np.ndarray
    seed: int
    units: Units
    level: float
    resamples: int

    @property
    def kind(self) -> str:
        """The kind of answers; "" for a task with measures of its own."""
        return self.task.answer.kind if self.task.answer is not None else ""

    @property
    def at(self) -> float:
        """The quantile to which the interval of a share reaches."""
        return _intervals.critical(self.level, self.units.freedom())

    @property
    def freedom(self) -> float:
        """Degrees of freedom of a jackknife's standard error."""
        return max(min(self.units.count, MOST_BLOCKS) - 1, 1)

    @property
    def at_t(self) -> float:
        """The quantile of t to which other intervals reach."""
        return _intervals.critical(self.level, self.freedom)


@dataclass(frozen=True)
class Answered:
    """A model's answers [n, ...] and the offsets that move its decisions."""

    decoded: np.ndarray
    offsets: np.ndarray | None

    def points(self, asked: Asked, m: Chosen) -> np.ndarray | None:
        """Values [n] whose mean the measure is, or None."""
        return measures.pointwise(asked.kind, m, self.decoded, asked.truth, self.offsets)

    def right(self, asked: Asked) -> np.ndarray:
        """The share of decisions about each sample that are right, [n]; of classes and labels."""
        right = asked.task.decide(self.decoded, self.offsets) == asked.truth
        return np.asarray(right.reshape(len(right), -1).mean(axis=1))

    def values(self, asked: Asked, of: Sequence[Chosen], counts: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """Measures by name on samples that count so often, [rows of counts]."""
        return asked.task.resampled(self.decoded, asked.truth, counts, self.offsets, of) if of else {}

    def without(self, asked: Asked, of: Sequence[Chosen]) -> dict[str, np.ndarray]:
        """Measures by name without each block of units, [blocks]."""
        return self.values(asked, of, asked.units.left_out(asked.seed)) if asked.units.count > 1 else {}

    def drawn(self, asked: Asked, m: Chosen) -> np.ndarray:
        """A measure on each bootstrap resample."""
        draws = asked.units.counts(asked.seed, asked.resamples)
        return np.concatenate([self.values(asked, [m], counts)[str(m)] for counts in draws])


def ends(asked: Asked, model: Answered, chosen: Sequence[Chosen]) -> dict[str, tuple[float, Ends]]:
    """(value, interval) of each measure by name."""
    points = {str(m): model.points(asked, m) for m in chosen}
    left = [m for m in chosen if points[str(m)] is None and m.name not in _NO_JACKKNIFE]
    without, values = model.without(asked, left), model.values(asked, chosen)
    found = {}
    for m in chosen:
        value, own = float(values[str(m)][0]), points[str(m)]
        if math.isnan(value):
            found[str(m)] = (value, UNKNOWN)
        elif own is not None:
            found[str(m)] = (value, _of_points(asked, model, m, own))
        else:
            found[str(m)] = (value, _of_whole(asked, model, m, value, without.get(str(m))))
    return found


_NO_JACKKNIFE = ("rmse", "calibration_error", "sensitivity")


# ------------------------------------------------------------------------------- one model


def _of_points(asked: Asked, model: Answered, m: Chosen, points: np.ndarray) -> Ends:
    mean, units = Mean.of(points, asked.units.cluster), asked.units
    if m.name in SHARES:
        return _share(asked, mean)
    if m.name in BOUNDED:
        least, span = (float(np.min(m.costs)), float(np.ptp(m.costs))) if m.name == "cost" else (0.0, 1.0)
        each = asked.truth.shape[1] if m.name == "hamming_loss" else 1  # decisions of a sample
        most = each * units.n if mean.spread else units.count
        low, high = _intervals.bounded((mean.value - least) / span, mean.error / span, most, asked.at)
        return least + low * span, least + high * span
    low, high = mean.interval(asked.level)
    if m.name == "log_loss" and asked.kind == measures.CLASSES and units.n > 1:
        high = max(high, _with_unseen_errors(asked, model, points))
    return max(low, 0.0), high


def _share(asked: Asked, mean: Mean) -> Ends:
    """Wilson's interval of a share; with groups of as many samples as its standard error stands for."""
    if asked.units.cluster is None:
        return _intervals.wilson(mean.value, asked.units.n, asked.at)
    return _intervals.bounded(mean.value, mean.error, asked.units.n if mean.spread else asked.units.count, asked.at)


def _with_unseen_errors(asked: Asked, model: Answered, points: np.ndarray) -> float:
    """The upper end of a log-loss with UNSEEN errors more, each at what the second class would cost as the truth.

    A model that is nearly always right has most of its loss from few errors, and often none is among the samples:
    then the losses seen do not tell what an error costs, but the probabilities do.
    """
    errors = int((model.decoded.argmax(axis=1) != asked.truth).sum())
    unseen = UNSEEN * max(0.0, 1 - errors / FEW_ERRORS)
    if not unseen:
        return -math.inf
    second, first = np.partition(model.decoded.astype(np.float64), (-2, -1), axis=1)[:, -2:].T
    doubt = 1 - first + 1e-12
    losses = np.concatenate([points, np.abs(np.log(second.clip(1e-12, 1.0)))])
    weights = np.concatenate([np.ones(len(points)), unseen * doubt / doubt.sum()])
    return Mean.of(losses, weights=weights).interval(asked.level)[1]


def _of_whole(asked: Asked, model: Answered, m: Chosen, value: float, without: np.ndarray | None) -> Ends:
    if m.name == "sensitivity":
        return _sensitivity(asked, model, m, value)
    if m.name == "calibration_error":
        return _calibration(asked, model)
    if m.name in BOUNDED:
        error = jackknife_error(without) if without is not None else 0.0
        return _intervals.bounded(value, error, worth(asked, m, design(asked, model.right(asked))), asked.at)
    if m.name == "rmse":
        return _root(asked, model)
    if without is None:
        return UNKNOWN
    return _r2(asked, value, without) if m.name == "r2" else _correlation(asked, value, without)


def worth(asked: Asked, m: Chosen, by: float) -> float:
    """How many samples of a share a measure in 0..1 can be worth, if all classes are as hard as one another.

    That is k^2 / sum of 1 / n of each of k classes, times BOUNDED; `by` is what groups take away (see `design`).
    """
    truth, often = asked.truth, BOUNDED[m.name] / by
    if truth.ndim == 1:
        counts = np.unique(truth, return_counts=True)[1]
        if len(counts) == 2 and m.name in ("auroc", "average_precision", "sensitivity"):
            return 2.0 * often * float(counts.min())  # pairs of the two: the rarer one decides
    else:
        counts = truth.astype(bool).sum(axis=0)
        if m.name == "micro_f1":
            return often * float(counts.sum())
        if m.name in ("auroc", "map"):  # a label that nearly all have is as rare as one that nearly none has
            counts = np.minimum(counts, np.maximum(len(truth) - counts, 1))
        counts = counts[counts > 0]
    return often * len(counts) ** 2 / float((1 / counts).sum())


def _sensitivity(asked: Asked, model: Answered, m: Chosen, value: float) -> Ends:
    """Both the bootstrap's interval (units drawn, for the threshold moves too) and Wilson's around its middle.

    The threshold is set by few negatives and the share seen on few positives: neither alone covers at either end.
    """
    drawn = model.drawn(asked, m)
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) < 2:
        return UNKNOWN
    tail = (1 - asked.level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    labels = asked.task.labels
    positive = labels.index(str(m.options["positive"])) if "positive" in m.options else len(labels) - 1
    most = float((asked.truth == positive).sum()) / design(asked, model.right(asked))
    around = _intervals.bounded(float(drawn.mean()), float(drawn.std(ddof=1)), most, asked.at)
    return min(float(low), around[0], value), max(float(high), around[1], value)


def _calibration(asked: Asked, model: Answered) -> Ends:
    confidence = model.decoded.max(axis=1).astype(np.float64)
    right = model.decoded.argmax(axis=1) == asked.truth
    draw = rng(asked.seed, "calibration error", asked.units.n)
    return _intervals.calibration_error(confidence, right, design(asked, right - confidence), asked.level, draw)


def design(asked: Asked, points: np.ndarray) -> float:
    """By which factor groups add to the variance of a mean (the design effect, Kish 1965), at least 1."""
    if asked.units.cluster is None:
        return 1.0
    alone = Mean.of(points)
    if not alone.spread:
        return asked.units.n / asked.units.count
    return max(1.0, (Mean.of(points, asked.units.cluster).error / alone.error) ** 2)


def _root(asked: Asked, model: Answered) -> Ends:
    """Of a root mean square: the root of the mean's ends."""
    error = np.abs(model.decoded.astype(np.float64) - asked.truth)
    scale = float(error.max()) or 1.0  # squares of very large or small errors would leave the range of float64
    low, high = Mean.of((error / scale) ** 2, asked.units.cluster).interval(asked.level)
    return scale * math.sqrt(max(low, 0.0)) if not math.isnan(low) else low, scale * math.sqrt(max(high, 0.0))


def _r2(asked: Asked, value: float, without: np.ndarray) -> Ends:
    """On log(1 - R2), where it is a ratio of two means."""
    if value >= 1:
        return value, value
    half = asked.at_t * jackknife_error(np.log(1 - without[without < 1]))
    return 1 - (1 - value) * _exp(half), 1 - (1 - value) * _exp(-half)


def _exp(x: float) -> float:
    return math.exp(min(x, 600.0))


def _correlation(asked: Asked, value: float, without: np.ndarray) -> Ends:
    """On Fisher's z; 1 and -1, where z has no end, count as half a sample less."""
    most = 1 - 0.5 / asked.units.count
    error = jackknife_error(np.arctanh(without.clip(-most, most)))
    if not error:
        error = 1 / math.sqrt(max(asked.units.count - 3, 1))
    z = math.atanh(min(max(value, -most), most))
    low, high = math.tanh(z - asked.at_t * error), math.tanh(z + asked.at_t * error)
    return min(low, value), max(high, value)

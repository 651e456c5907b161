"""Confidence intervals in closed form: of shares, means, bounded measures and paired shares; which measure has which.

| measures | interval |
| --- | --- |
| accuracy, exact match | score interval of a binomial share (Wilson 1927; Brown, Cai and DasGupta 2001, section 4) |
| paired differences of these | score interval that inverts McNemar's statistic (Tango 1998, section 2.2) |
| log-loss, MAE, RMSE (of squares) | t after the skewness is taken out by a cubic (Hall 1992, section 2) |
| other paired differences | Student's t; in 0..1 with a win and a loss added (Bonett and Price 2012) |
| balanced accuracy, F1, AUROC, average precision, mAP, sensitivity, Hamming loss, cost | Wilson's, with the number of
samples that would give a share of this value its standard error (Korn and Graubard 1998, section 3) |
| R2 | t on log(1 - R2); Spearman: t on Fisher's z |
| calibration error | inversion of a test by simulation (Carpenter 1999): the estimate is too high on few samples |

Standard errors are the jackknife's (`graft._blocks`). Percentile bootstrap covers too seldom where samples are few or
values skewed: `bench/intervals.py` has both side by side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from graft import measures

Ends = tuple[float, float]
UNKNOWN: Ends = (float("nan"), float("nan"))
"""Where one sample, or one group, says nothing about how far others lie apart."""
_INVERTED = 200  # simulated data sets for each of _STEPS candidates of a calibration error
_STEPS = 31
_REACH = 2.0  # candidates go up to this multiple of the estimate


def critical(level: float, freedom: float = math.inf) -> float:
    """The quantile of t (of the normal distribution without `freedom`) that a two-sided interval reaches to."""
    from scipy.special import ndtri, stdtrit

    tail = (1 + level) / 2
    return float(ndtri(tail)) if math.isinf(freedom) else float(stdtrit(freedom, tail))


def above(statistic: float, freedom: float = math.inf) -> float:
    """The one-sided p of a statistic: how often t (the normal without `freedom`) lies above it."""
    from scipy.special import ndtr, stdtr

    return float(ndtr(-statistic)) if math.isinf(freedom) else float(stdtr(freedom, -statistic))


def wilson(share: float, n: float, at: float) -> Ends:
    """Score interval of a share of n (Wilson 1927), to the quantile `at`; n may be any positive number."""
    shrunk = n + at * at
    middle = (share * n + at * at / 2) / shrunk
    half = at / shrunk * math.sqrt(max(share * (1 - share) * n + at * at / 4, 0.0))
    # The ends of a share of 0 and 1 are exact, and no rounding puts the share out of its own interval.
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))


def bounded(value: float, error: float, most: float, at: float) -> Ends:
    """Wilson's interval of a measure in 0..1 with a standard error (Korn and Graubard 1998, section 3).

    The number of samples is the one that gives a share of this value that error, but no more than `most`: where all
    is right the error is 0, and what the samples leave open is not.
    """
    spread = value * (1 - value)
    n = min(spread / error**2, most) if error > 0 else most
    return wilson(value, n, at) if n > 0 else (0.0, 1.0)


# ------------------------------------------------------------------------------- means


@dataclass(frozen=True)
class Mean:
    """A mean over independent units: `spread` is the standard deviation of one unit, `skew` its third moment."""

    value: float
    spread: float
    skew: float
    units: float

    @staticmethod
    def of(points: np.ndarray, cluster: np.ndarray | None = None, weights: np.ndarray | None = None) -> Mean:
        """Of points [n]; with `cluster` [n] of indices from 0 the units are clusters (Field and Welsh 2007, section 2).

        A cluster stands for the sum of its deviations, as in a ratio estimate. Else a unit is a sample, and with
        `weights` [n] it counts so many times.
        """
        value = float(np.average(points, weights=weights))
        off, units = points - value, float(len(points)) if weights is None else float(weights.sum())
        if cluster is not None:
            sums = np.bincount(cluster, off)
            off, units = np.asarray(sums * (len(sums) / len(points))), float(len(sums))
        scale = float(np.abs(off).max())
        if scale <= 1e-12 * abs(value) or units < 2:  # all equal, but for rounding
            return Mean(value, 0.0, 0.0, units)
        off = off / scale  # cubes of very large or small values would leave the range of float64
        square = float(np.average(off**2, weights=weights))
        skew = float(np.average(off**3, weights=weights)) / square**1.5
        return Mean(value, scale * math.sqrt(square * units / (units - 1)), skew, units)

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return self.spread / math.sqrt(self.units)

    def interval(self, level: float) -> Ends:
        """Hall's interval (1992, section 2): the cubic g below makes the studentized mean nearly symmetric."""
        if self.units < 2:
            return UNKNOWN
        at = critical(level, self.units - 1)
        return self.value - self.spread * self._uncubed(at), self.value - self.spread * self._uncubed(-at)

    def above_zero(self) -> float:
        """One-sided p of "the mean is not above 0": under (1 - level) / 2 exactly where the interval is above 0."""
        if self.units < 2:
            return 1.0
        if self.spread == 0:
            return 1.0 if self.value <= 0 else 0.0
        w, g, n = self.value / self.spread, self.skew, self.units
        statistic = math.sqrt(n) * (w + g * w**2 / 3 + g**2 * w**3 / 27 + g / (6 * n))
        return above(statistic, n - 1)

    def _uncubed(self, at: float) -> float:
        """w with sqrt(n) g(w) = at, where g(w) = w + skew w^2 / 3 + skew^2 w^3 / 27 + skew / (6 n)."""
        wanted = at / math.sqrt(self.units)
        if abs(self.skew) < 1e-6:
            return wanted
        return 3 / self.skew * (float(np.cbrt(1 + self.skew * (wanted - self.skew / (6 * self.units)))) - 1)


# ------------------------------------------------------------------------------- paired shares


def tango(wins: float, losses: float, n: float, at: float) -> Ends:
    """Interval of the difference of two paired shares (Tango 1998), to the quantile `at`.

    wins: samples of n that only the first has right; losses: that only the second has. It leaves 0 out exactly where
    |wins - losses| / sqrt(wins + losses) > at, which is McNemar's statistic. Numbers need not be whole.
    """
    middle = (wins - losses) / n
    return _crossing(wins, losses, n, at, -1.0, middle), _crossing(wins, losses, n, -at, middle, 1.0)


def _crossing(wins: float, losses: float, n: float, at: float, low: float, high: float) -> float:
    """Where the score statistic, falling in the difference, crosses `at` between low and high."""
    for _ in range(60):
        middle = (low + high) / 2
        if _score_statistic(wins, losses, n, middle) > at:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _score_statistic(wins: float, losses: float, n: float, delta: float) -> float:
    """(wins - losses - n delta) over its standard error at the likeliest shares with that difference."""
    b = -wins - losses + (2 * n - wins + losses) * delta
    c = -losses * delta * (1 - delta)
    lost = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)  # the share of losses
    variance = n * (2 * lost + delta * (1 - delta))
    gap = wins - losses - n * delta
    if variance <= 0:
        return math.copysign(math.inf, gap) if gap else 0.0
    return gap / math.sqrt(variance)


def widened(difference: float, error: float, n: float) -> tuple[float, float]:
    """A difference of bounded measures and its standard error, with one more win and one more loss among n.

    What Bonett and Price (2012) do to paired shares: with no sample on which the two differ the error is not 0.
    """
    apart = n * (n * error**2 + difference**2)  # wins and losses that a share would need for this error
    shrunk = difference * n / (n + 2)
    return shrunk, math.sqrt(max((apart + 2) / (n + 2) - shrunk**2, 0.0) / (n + 2))


# ------------------------------------------------------------------------------- calibration error


def calibration_error(
    confidence: np.ndarray, right: np.ndarray, design: float, level: float, draw: np.random.Generator
) -> Ends:
    """The interval of an expected calibration error: confidences [n] of the likeliest class, right [n] of bool.

    The estimate adds up the size of each bin's error, noise too, so on few samples it is far above the truth and no
    resample is below it. So a test is inverted (Carpenter 1999): of multiples of the gaps seen, those are kept under
    which simulated data give the estimate that was seen neither too rarely from above nor from below. `design` is
    the variance that groups add, as a factor. A lower end of 0 means that calibrated answers could look like this.
    """
    n, place = len(confidence), measures.confidence_bins(confidence)
    seen = np.bincount(place, minlength=1)
    kept = seen > 0
    count = seen[kept]
    sure = np.bincount(place, confidence)[kept] / count
    gap = np.bincount(place, right)[kept] / count - sure
    estimate = float((np.abs(gap) * count).sum() / n)
    chance = np.clip(sure + np.linspace(0, _REACH, _STEPS)[:, None] * gap, 0, 1)  # [steps, bins]
    true = (np.abs(chance - sure) * count).sum(axis=1) / n
    counts = draw.multinomial(n, count / n, size=_INVERTED)  # [draws, bins]
    hits = draw.binomial(counts, chance[:, None, :])  # [steps, draws, bins]
    noise = (hits - counts * chance[:, None, :]) * math.sqrt(design)
    found = np.abs(noise + counts * (chance - sure)[:, None, :]).sum(axis=2) / n
    tied = (np.abs(found - estimate) < 1e-12).mean(axis=1) / 2
    tail = (1 - level) / 2
    over, under = (found > estimate + 1e-12).mean(axis=1) + tied, (found < estimate - 1e-12).mean(axis=1) + tied
    low = true[int(np.argmax(over >= tail))] if (over >= tail).any() else estimate
    high = true[np.flatnonzero(under >= tail)[-1]] if (under >= tail).any() else 0.0
    return min(float(low), estimate), max(float(high), estimate)

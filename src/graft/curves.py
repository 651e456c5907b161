"""Learning curves: error by number of labels, and how many labels one curve needs for what another reaches.

An error is a number of which less is better: a log-loss or MAE as it is, 1 minus any other measure. Curves are held
as values on a grid of label counts, so that a fitted law and a monotone interpolation are read alike, and many
resampled curves at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from graft.seeds import rng

BEYOND = 2.0
"""A curve is read up to this many times its largest measured size, never further, and never below its smallest."""
SHAPES = np.geomspace(0.05, 3.0, 120)
"""Exponents of the power law that are tried."""
FEWEST = 4  # sizes that a law of three numbers is fitted to; fewer are interpolated
WORSE = 4.0  # times the squared error of monotone interpolation (and of noise) from which the law does not hold
CLOSE = 0.02  # of a curve's whole fall: misses of such a size are none
GRID = 400  # points from the smallest to the largest size
TAIL = 2.5  # percent beside a 95 % interval
POWER, STEPS = "power", "steps"


@dataclass(frozen=True)
class Family:
    """Falling curves of one kind over the same sizes: `values` [r, g] at `grid` [g] labels, in order.

    `kind` is POWER (error = c + a * labels^-b) or STEPS (monotone interpolation); `terms` [r, 3] are a, b, c of a law.
    """

    kind: str
    sizes: np.ndarray
    grid: np.ndarray
    values: np.ndarray
    terms: np.ndarray | None = None

    @property
    def smallest(self) -> float:
        """Fewest labels that were measured."""
        return float(self.sizes[0])

    @property
    def largest(self) -> float:
        """Most labels that were measured."""
        return float(self.sizes[-1])

    def at(self, labels: float) -> np.ndarray:
        """The error with so many labels, [r]; at the ends of the grid beyond them."""
        x = np.log(self.grid)
        return np.array([np.interp(math.log(labels), x, row) for row in self.values])

    def needed(self, errors: np.ndarray) -> np.ndarray:
        """Labels from which the error is at most `errors` [r]: the smallest size where it is there already, inf where
        it never is."""
        found = np.full(len(self.values), np.inf)
        x = np.log(self.grid)
        for r, (row, error) in enumerate(zip(self.values, errors, strict=True)):
            below = np.flatnonzero(row <= error + 1e-9)
            if len(below):
                g = int(below[0])
                found[r] = self.grid[0] if g == 0 else math.exp(_between(row, x, g, float(error)))
        return found


def _between(row: np.ndarray, x: np.ndarray, g: int, error: float) -> float:
    """Where a falling row crosses `error` between grid points g - 1 and g."""
    drop = row[g - 1] - row[g]
    share = 1.0 if drop <= 0 else min(max((row[g - 1] - error) / drop, 0.0), 1.0)
    return float(x[g - 1] + share * (x[g] - x[g - 1]))


# ------------------------------------------------------------------------------------------- fits


def fit(sizes: np.ndarray, errors: np.ndarray, counts: np.ndarray, kind: str) -> Family:
    """Curves of one kind through mean errors [r, k] at sizes [k], in order, of `counts` [k] trainings each.

    POWER is the inverse power law with an offset (Cortes et al. 1994, "Learning curves: asymptotic values and rate
    of convergence"; weights that grow with the size as Figueroa et al. 2012): for each exponent in SHAPES the other
    two numbers, both at least 0, are the exact weighted least squares (variable projection, Golub and Pereyra 1973),
    and the exponent with the least error is taken. STEPS is isotonic regression, interpolated in log labels.
    """
    sizes, errors = np.asarray(sizes, dtype=np.float64), np.atleast_2d(np.asarray(errors, dtype=np.float64))
    grid = _grid(sizes)
    if kind == STEPS:
        return Family(kind, sizes, grid, _steps(sizes, errors, counts, grid))
    terms = _law(sizes, errors, _weights(counts))
    a, b, c = (terms[:, i : i + 1] for i in range(3))
    return Family(kind, sizes, grid, c + a * grid**-b, terms)


def kind_for(sizes: np.ndarray, errors: np.ndarray, counts: np.ndarray, noise: float) -> str:
    """POWER where the law describes mean errors [k], else STEPS; `noise` is the variance of one training's error.

    The law must leave at most WORSE times what monotone interpolation leaves, or what noise explains: curves of
    networks that learn nothing up to some size and then all at once are no power laws.
    """
    if len(sizes) < FEWEST:
        return STEPS
    left = []
    for kind in (POWER, STEPS):
        values = [fit(sizes, errors, counts, kind).at(n)[0] for n in sizes]
        left.append(float((counts * np.square(values - np.asarray(errors))).sum()))
    alike = float(np.sum(counts)) * (CLOSE * float(np.ptp(errors))) ** 2
    return POWER if left[0] <= WORSE * max(left[1], noise * (len(sizes) - 2), alike) else STEPS


def _grid(sizes: np.ndarray) -> np.ndarray:
    within = np.geomspace(sizes[0], sizes[-1], GRID) if len(sizes) > 1 else sizes
    return np.concatenate([within, np.geomspace(sizes[-1], BEYOND * sizes[-1], GRID // 4)[1:]])


def _weights(counts: np.ndarray) -> np.ndarray:
    w = np.asarray(counts, dtype=np.float64) * np.arange(1, len(counts) + 1)
    return np.asarray(w / w.sum())


def _law(sizes: np.ndarray, errors: np.ndarray, w: np.ndarray) -> np.ndarray:
    """(a, b, c) [r, 3] of c + a n^-b, with a and c at least 0."""
    unit = sizes[0]
    x = (sizes / unit) ** -SHAPES[:, None]  # [b, k], in (0, 1]
    mx, my = x @ w, errors @ w
    spread = np.maximum(((x - mx[:, None]) ** 2) @ w, 1e-30)
    a = ((errors - my[:, None]) * w) @ (x - mx[:, None]).T / spread  # [r, b]
    c = my[:, None] - a * mx
    through = (errors * w) @ x.T / ((x**2) @ w)
    a, c = np.where(c < 0, through, a), np.where(c < 0, 0.0, c)
    a, c = np.where(a < 0, 0.0, a), np.where(a < 0, my[:, None], c)
    left = (np.square(errors[:, None, :] - c[..., None] - a[..., None] * x) * w).sum(axis=2)
    best, rows = left.argmin(axis=1), np.arange(len(errors))
    b = SHAPES[best]
    return np.stack([a[rows, best] * unit**b, b, c[rows, best]], axis=1)


def _steps(sizes: np.ndarray, errors: np.ndarray, counts: np.ndarray, grid: np.ndarray) -> np.ndarray:
    from scipy.optimize import isotonic_regression

    rows = [isotonic_regression(row, weights=counts, increasing=False).x for row in errors]
    return np.array([np.interp(np.log(grid), np.log(sizes), row) for row in rows])


# ------------------------------------------------------------------------------- resampled and compared


@dataclass(frozen=True)
class Arm:
    """What was measured of one arm: `errors` {labels: [seeds]}, and `draws` {labels: [seeds, resamples]} of the same
    trainings on resampled test items, the same items for every training and arm."""

    errors: Mapping[int, np.ndarray]
    draws: Mapping[int, np.ndarray]

    @property
    def sizes(self) -> np.ndarray:
        """The label counts, in order."""
        return np.array(sorted(self.errors))

    def counts(self) -> np.ndarray:
        """How many trainings there are of each size."""
        return np.array([len(self.errors[n]) for n in self.sizes])

    def noise(self) -> float:
        """Variance of one training's error, over sizes that have several."""
        several = [e for e in self.errors.values() if len(e) > 1]
        if not several:
            return 0.0
        return float(sum(((e - e.mean()) ** 2).sum() for e in several) / sum(len(e) - 1 for e in several))

    def resampled(self, seed: int, name: str) -> np.ndarray:
        """Mean errors [resamples, sizes] over drawn seeds and drawn test items.

        Seeds are drawn with replacement within a size and their deviations stretched by sqrt(m / (m - 1)): of m = 3
        the plain bootstrap would show two thirds of the variance (Davison and Hinkley 1997, section 2.3).
        """
        return np.stack([_means(self.draws[n], rng(seed, "curves", name, n)) for n in self.sizes], axis=1)


def _means(draws: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    m, r = draws.shape
    picked = draws[draw.integers(0, m, (m, r)), np.arange(r)]
    centre = draws.mean(axis=0)
    stretch = math.sqrt(m / (m - 1)) if m > 1 else 1.0
    return np.asarray(np.maximum(centre + stretch * (picked.mean(axis=0) - centre), 0.0))


def fitted(arm: Arm, seed: int, name: str) -> tuple[Family, Family]:
    """(the curve of an arm, its resampled curves of the same kind)."""
    sizes, counts = arm.sizes, arm.counts()
    means = np.array([arm.errors[n].mean() for n in sizes])
    kind = kind_for(sizes, means, counts, arm.noise())
    return fit(sizes, means, counts, kind), fit(sizes, arm.resampled(seed, name), counts, kind)


@dataclass(frozen=True)
class Ratio:
    """Labels that training without pretrained knowledge needs, over those needed with it, for the same `error`.

    `bound` is ">" where `value` is a floor (with the fewest labels measured it is there already), "<" where it is a
    ceiling. `low` and `high` are the 95 % interval; `open_low` and `open_high` say that an end is such a bound too.
    """

    value: float
    low: float
    high: float
    bound: str
    labels_with: float
    labels_without: float
    error: float
    open_low: bool = False
    open_high: bool = False


def ratio(pair: tuple[Family, Family], resampled: tuple[Family, Family]) -> Ratio:
    """How many times fewer labels the first curve needs than the second, where both have arrived.

    The error is the larger of the two at the largest size that both measured: so nothing is extrapolated, and one of
    the two label counts is at most that size. Where one curve begins below the end of the other, the ratio of that
    size and the largest is a bound, however flat the other may be.
    """
    largest = min(pair[0].largest, pair[1].largest)
    first, second, error = _needs(pair, largest)
    own, other, _ = _needs(resampled, largest)
    low, high = np.exp(np.percentile(np.log(other / own), [TAIL, 100 - TAIL]))
    least, most = pair[1].smallest / largest, largest / pair[0].smallest
    value = float(second[0] / first[0])
    bound = ">" if value >= most * 0.999 else "<" if value <= least * 1.001 else ""
    return Ratio(
        value, float(low), float(high), bound, float(first[0]), float(second[0]), float(error[0]),
        bool(low <= least * 1.001), bool(high >= most * 0.999),
    )  # fmt: skip


def _needs(pair: tuple[Family, Family], largest: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(labels of the first, labels of the second, error) of each resample [r]."""
    ends = [f.at(largest) for f in pair]
    error = np.maximum(*ends)
    first, second = (np.minimum(f.needed(error), largest) for f in pair)
    below, above = pair[0].values[:, 0] < ends[1] - 1e-12, pair[1].values[:, 0] < ends[0] - 1e-12
    return np.where(above, largest, first), np.where(below, largest, second), error


def surely_below(errors: np.ndarray, others: np.ndarray) -> bool:
    """Whether resampled errors [r] lie below `others` [r], paired, in all but 2.5 % of resamples."""
    gap = np.asarray(others) - np.asarray(errors)
    gap = gap[np.isfinite(gap)]
    return bool(len(gap)) and bool(np.percentile(gap, TAIL) > 0)


def first_below(arm: Arm, means: np.ndarray, others: Sequence[np.ndarray]) -> int:
    """The fewest labels at which resampled means [r, sizes] surely lie below every one of `others`; 0: none."""
    for i, n in enumerate(arm.sizes):
        if all(surely_below(means[:, i], other) for other in others):
            return int(n)
    return 0

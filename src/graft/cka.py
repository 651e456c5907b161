"""How alike two sets of features see the same samples: debiased linear CKA, with a jackknife interval."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FEWEST = 8  # samples; four are what the estimator needs, and leaving one out of so few says nothing yet
NORMAL = 1.959963984540054  # two-sided 95 %
ROUNDING = 1e-6  # of a column's mean


@dataclass(frozen=True)
class Likeness:
    """CKA with its 95 % interval over the samples: 0 where one side does not vary, NaN where neither does."""

    value: float
    low: float
    high: float


def gram(x: Floats) -> Floats:
    """Inner products of the rows of x [n, d] with a diagonal of zeros: [n, n].

    Columns are centred first, which changes no estimate and keeps digits where means are large; one that varies by
    no more than the rounding of single precision is none.
    """
    x = np.asarray(x, dtype=np.float64)
    mean = x.mean(axis=0)
    x = np.where(x.std(axis=0) > ROUNDING * np.abs(mean), x - mean, 0.0)
    k = x @ x.T
    np.fill_diagonal(k, 0.0)
    return k


def hsic(k: Floats, m: Floats) -> float:
    """The unbiased estimate of HSIC from two kernels [n, n] with zero diagonals, n at least 4.

    Song, Smola, Gretton, Bedo and Borgwardt 2012, "Feature Selection via Dependence Maximization", equation 5.
    Unlike the biased one it does not grow with the number of features when samples are few.
    """
    return float(_combined(len(k), (k * m).sum(), k.sum(), m.sum(), k.sum(axis=0) @ m.sum(axis=0)))


def _combined(n: int, both: Floats, ones_k: Floats, ones_m: Floats, across: Floats) -> Floats:
    """Song's formula from tr(KM), 1'K1, 1'M1 and 1'KM1."""
    return (both + ones_k * ones_m / ((n - 1) * (n - 2)) - 2 * across / (n - 2)) / (n * (n - 3))


def _left_out(k: Floats, m: Floats) -> Floats:
    """HSIC without each sample in turn [n], all of them from sums that are made once: O(n^2) in all."""
    a, b, both = k.sum(axis=0), m.sum(axis=0), k * m
    each = both.sum(axis=0)
    across = a @ b - a * b - m @ a - k @ b + each  # 1'KM1 over the others: sum over j of (a_j - K_ij)(b_j - M_ij)
    return _combined(len(k) - 1, both.sum() - 2 * each, k.sum() - 2 * a, m.sum() - 2 * b, across)


def linear(x: Floats, y: Floats) -> float:
    """Linear CKA of features x [n, d] and y [n, e] of the same n samples, by the unbiased HSIC.

    Kornblith, Norouzi, Lee and Hinton 2019, section 3, in the debiased form of Nguyen, Raghu and Kornblith 2021,
    section 3.1. Unchanged by rotations of either side, by its scale, and by shifts. 1: alike; about 0: unrelated
    (and a little below, since the estimate is not clipped). 0 where one side does not vary: it says nothing of the
    samples. NaN where neither does.
    """
    k, m = gram(x), gram(y)
    return float(_ratio(*(np.asarray(hsic(p, q)) for p, q in ((k, m), (k, k), (m, m)))))


def between(k: Floats, m: Floats) -> Likeness:
    """CKA of two kernels as `gram` gives them, with its jackknife interval (Efron and Tibshirani 1993, chapter 11)."""
    n = len(k)
    value = float(_ratio(*(np.asarray(hsic(p, q)) for p, q in ((k, m), (k, k), (m, m)))))
    left = _ratio(_left_out(k, m), _left_out(k, k), _left_out(m, m))
    reach = NORMAL * float(np.sqrt((n - 1) / n * np.square(left - left.mean()).sum()))
    return Likeness(value, value - reach, float(np.minimum(value + reach, 1.0)))


def _ratio(both: Floats, own_k: Floats, own_m: Floats) -> Floats:
    varies = (own_k > 0) & (own_m > 0)
    safe = np.sqrt(np.where(varies, own_k * own_m, 1.0))
    one_varies = (own_k > 0) | (own_m > 0)
    return np.asarray(np.where(varies, np.minimum(both / safe, 1.0), np.where(one_varies, 0.0, np.nan)))

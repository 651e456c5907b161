"""LogME: how likely the target is under a linear model of the features whose weights are integrated out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graft.measures import CLASSES, LABELS, NUMBERS
from graft.scores._material import Material, NoScore
from graft.scores._moments import BLOCK, RANK, Floats

STEPS = 100
GAIN = 1e-11  # of evidence a sample: the search ends where a step promises no more to any column
STRIDE = 3.0  # times the fixed point's step: where the evidence is not concave that is a crawl
EXACT = 1e-10  # share of a target column left unexplained below which it is a linear function of the features


def logme(material: Material) -> float:
    """Log of the maximum evidence a sample; the mean over classes (one against the rest), labels or numbers.

    You, Liu, Wang and Long 2021 (ICML), equation 2; the maximum is that of their algorithm 2, whose fixed point You et
    al. 2022 (JMLR 23), section 4, analyse. As published there is no intercept, so a shift of the features changes it.
    Numbers are put into standard units first, which makes the score free of their unit. All columns are searched
    together in the eigenbasis of X'X: O(n d^2 + d^3 + k d) in all. Higher is better. Raises NoScore where a column is
    an exact linear function of features that are fewer than samples: its evidence has no maximum.
    """
    material.require(CLASSES, LABELS, NUMBERS)
    values = material.raw_spectrum.values
    parts = [_evidence(values, z, y, material.n) for z, y in _coordinates(material)]
    return float(np.concatenate(parts).mean())


def _coordinates(material: Material) -> Iterator[tuple[Floats, Floats]]:
    """Squared coordinates of target columns in the left singular vectors [q, k], and their squares' sums [k]."""
    spectrum, mean = material.raw_spectrum, material.rows.mean
    step = max(1, BLOCK // len(spectrum.values))
    for start in range(0, material.width, step):
        some = slice(start, start + step)
        product = material.moments.cross[some] + np.outer(material.totals[some], mean)  # [k, r]: target' x features
        z = (product @ spectrum.vectors).T
        yield z * z / spectrum.values[:, None], material.squares[some]


def _evidence(values: Floats, z: Floats, squares: Floats, n: int) -> Floats:
    """The maximum of the log evidence over alpha and beta, over n, of each column [k].

    For a ratio alpha / beta the best beta is known, so one number a column is searched: its logarithm, by Newton's
    steps kept between points of known slope (the fixed point's own step where the evidence is not concave).
    """
    outside = np.maximum(squares - z.sum(axis=0), 0.0)  # what no linear function of the features explains
    if len(values) >= n:
        outside[:] = 0.0
    elif (outside <= EXACT * squares).any():
        raise NoScore("the target is an exact linear function of the features: its evidence has no maximum")
    low = np.full(len(squares), np.log(RANK * values[0]))
    high = np.full(len(squares), np.log(values[0] / RANK))
    log_ratio = np.full(len(squares), np.log(values.mean()))  # from here the units of features do not matter
    for _ in range(STEPS):
        slope, newton, fixed = _steps(values, z, outside, np.exp(log_ratio), n)
        low, high = np.where(slope > 0, log_ratio, low), np.where(slope > 0, high, log_ratio)
        step = np.where(np.isfinite(newton), newton, STRIDE * fixed)
        moving = (slope != 0) & (np.abs(slope) * np.abs(step) > GAIN * n)
        if not moving.any():
            break
        inside = (log_ratio + step > low) & (log_ratio + step < high)
        log_ratio = np.where(moving, np.where(inside, log_ratio + step, (low + high) / 2), log_ratio)
    return _at(values, z, outside, np.exp(log_ratio), n)


def _steps(values: Floats, z: Floats, outside: Floats, ratio: Floats, n: int) -> tuple[Floats, Floats, Floats]:
    """Of the log evidence by log ratio [k]: slope, Newton's step (NaN where not concave), the fixed point's step."""
    s = values[:, None]
    lost = ratio / (ratio + s)
    kept = s / (ratio + s)
    both = kept * lost
    gamma = kept.sum(axis=0)
    penalised = outside + np.einsum("ij,ij->j", z, lost)  # |Xm - y|^2 + ratio |m|^2
    shrunk = np.einsum("ij,ij->j", z, both)  # ratio |m|^2, and the slope of `penalised`
    slope = gamma - n * shrunk / penalised
    bend = np.einsum("ij,ij->j", z * both, kept - lost)
    curve = -n * (bend / penalised - (shrunk / penalised) ** 2) - both.sum(axis=0)
    free = n - len(values) + lost.sum(axis=0)  # n - gamma
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        newton = np.where(curve < 0, -slope / np.where(curve < 0, curve, 1.0), np.nan)
        return slope, newton, np.log(gamma * (penalised - shrunk) / (free * shrunk))


def _at(values: Floats, z: Floats, outside: Floats, ratio: Floats, n: int) -> Floats:
    """The log evidence over n at a ratio alpha / beta, with the beta that is best for it: n over the penalised error.

    The terms of directions that the features do not span cancel, so the sum is over the spectrum alone.
    """
    s = values[:, None]
    penalised = outside + (z * (ratio / (ratio + s))).sum(axis=0)  # error + ratio |m|^2
    beta = n / penalised
    logs = np.log(ratio / (ratio + s)).sum(axis=0)
    return np.asarray((n * np.log(beta / (2 * np.pi)) - n + logs) / (2 * n))

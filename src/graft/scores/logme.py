"""LogME: how likely the target is under a linear model of the features whose weights are integrated out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graft.measures import CLASSES, LABELS, NUMBERS
from graft.scores._material import Material, NoScore
from graft.scores._moments import BLOCK, RANK, Floats

STEPS = 300
TOLERANCE = 1e-7  # relative change of alpha / beta: the evidence is at a maximum, where it moves by the square of that
EXACT = 1e-10  # share of a target column left unexplained below which it is a linear function of the features


def logme(material: Material) -> float:
    """Log of the maximum evidence a sample; the mean over classes (one against the rest), labels or numbers.

    You, Liu, Wang and Long 2021 (ICML), equation 2 and algorithm 3; the fixed point is analysed by You et al. 2022
    (JMLR 23), section 4. As published there is no intercept, so a shift of the features changes it. Numbers are put
    into standard units first, which makes the score free of their unit. All columns are iterated together in the
    eigenbasis of X'X: O(n d^2 + d^3 + k d) in all. Higher is better. Raises NoScore where a column is an exact linear
    function of features that are fewer than samples: its evidence has no maximum.
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
    """The maximum of the log evidence over alpha and beta, over n, of each column [k]."""
    outside = np.maximum(squares - z.sum(axis=0), 0.0)  # what no linear function of the features explains
    if len(values) >= n:
        outside[:] = 0.0
    elif (outside <= EXACT * squares).any():
        raise NoScore("the target is an exact linear function of the features: its evidence has no maximum")
    s = values[:, None]
    ratio = np.full(len(squares), values.mean())  # alpha / beta; starting here, the units of features do not matter
    for _ in range(STEPS):
        kept, lost = s / (ratio + s), ratio / (ratio + s)
        norm = (z / s * kept**2).sum(axis=0)  # |m|^2
        error = outside + (z * lost**2).sum(axis=0)  # |Xm - y|^2
        free = n - len(values) + lost.sum(axis=0)  # n - gamma
        before = ratio
        with np.errstate(divide="ignore", over="ignore"):
            ratio = np.clip(kept.sum(axis=0) * error / (free * norm), RANK * values[0], values[0] / RANK)
        if (np.abs(ratio - before) <= TOLERANCE * before).all():
            break
    return _at(values, z, outside, ratio, n)


def _at(values: Floats, z: Floats, outside: Floats, ratio: Floats, n: int) -> Floats:
    """The log evidence over n at a ratio alpha / beta, with the beta that is best for it: n over the penalised error.

    The terms of directions that the features do not span cancel, so the sum is over the spectrum alone.
    """
    s = values[:, None]
    penalised = outside + (z * (ratio / (ratio + s))).sum(axis=0)  # error + ratio |m|^2
    beta = n / penalised
    logs = np.log(ratio / (ratio + s)).sum(axis=0)
    return np.asarray((n * np.log(beta / (2 * np.pi)) - n + logs) / (2 * n))

"""A Gaussian mixed model on few rows: variances by penalised marginal likelihood, coefficients in closed form."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_solve, solve_triangular
from scipy.optimize import brentq, minimize
from scipy.special import digamma, polygamma

MOST_DF, LEAST_DF = 200.0, 3.0
"""Degrees of freedom above which a t distribution is as good as a normal one, and below which few sets cannot say."""


@dataclass(frozen=True)
class Rows:
    """y [n], columns x [n, p], the data set and the model of each row as indices [n], variance known beforehand [n].

    `mean` [p] and `sd` [p] are what is held of each coefficient before; an sd of NaN says that the column shares one
    that is estimated, the ridge.
    """

    y: np.ndarray
    x: np.ndarray
    group: np.ndarray
    model: np.ndarray
    extra: np.ndarray
    mean: np.ndarray
    sd: np.ndarray


@dataclass(frozen=True)
class Variances:
    """Standard deviations of an error, of a data set's level, of a model's effect, and of the ridge's coefficients."""

    error: float
    level: float
    model: float
    ridge: float


@dataclass(frozen=True)
class Fitted:
    """What is known after the rows: means and covariance of coefficients, then of the models' effects, jointly.

    `df`: degrees of freedom of an error of a data set not seen, since sets differ in their error's variance.
    """

    mean: np.ndarray  # [p + models]
    covariance: np.ndarray  # [p + models, p + models]
    variances: Variances
    df: float


def fitted(rows: Rows, models: bool, rounds: int = 3) -> Fitted:
    """Fit the model: y = x b + level of the set + effect of the model + error.

    Levels and effects are normal, and so are errors, whose variance differs from set to set as scaled inverse
    chi-squares do. A round estimates the variances, then each set's own, drawn towards the common one as Smyth
    (2004, "Linear models and empirical Bayes methods for assessing differential expression", section 6.2) has it.
    """
    spread = np.ones(int(rows.group.max()) + 1)
    df = MOST_DF
    variances = _variances(rows, spread, models)
    for _ in range(rounds - 1):
        mean, _ = _posterior(rows, spread, variances, models)
        spread, df = _moderated(rows, rows.y - _columns(rows, models) @ mean)
        variances = _variances(rows, spread, models)
    mean, covariance = _posterior(rows, spread, variances, models)
    keep = np.r_[: rows.x.shape[1], len(mean) - _count(rows, models) : len(mean)]  # the sets' levels go
    return Fitted(mean[keep], covariance[np.ix_(keep, keep)], variances, df)


def _count(rows: Rows, models: bool) -> int:
    return int(rows.model.max()) + 1 if models else 0


def _columns(rows: Rows, models: bool) -> np.ndarray:
    """[n, p + sets + models]: every effect as a column."""
    parts = [rows.x, np.eye(int(rows.group.max()) + 1)[rows.group]]
    if models:
        parts.append(np.eye(_count(rows, models))[rows.model])
    return np.hstack(parts)


def _before(rows: Rows, v: Variances, models: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column's coefficient before the rows are seen."""
    sets = int(rows.group.max()) + 1
    sd = np.where(np.isnan(rows.sd), v.ridge, rows.sd)
    others = np.r_[np.full(sets, v.level), np.full(_count(rows, models), v.model)]
    return np.r_[rows.mean, np.zeros(len(others))], np.r_[sd, others]


def _noise(rows: Rows, spread: np.ndarray, v: Variances) -> np.ndarray:
    return np.asarray(v.error**2 * spread[rows.group] + rows.extra)


def _posterior(rows: Rows, spread: np.ndarray, v: Variances, models: bool) -> tuple[np.ndarray, np.ndarray]:
    g = _columns(rows, models)
    mean, sd = _before(rows, v, models)
    w = _noise(rows, spread, v)
    scaled = g * sd
    chol = np.linalg.cholesky(np.eye(len(sd)) + scaled.T @ (scaled / w[:, None]))
    inner = cho_solve((chol, True), np.eye(len(sd)))
    covariance = sd[:, None] * inner * sd
    return mean + covariance @ (g.T @ ((rows.y - g @ mean) / w)), covariance


def _minus_log_likelihood(rows: Rows, g: np.ndarray, spread: np.ndarray, v: Variances, models: bool) -> float:
    mean, sd = _before(rows, v, models)
    w = _noise(rows, spread, v)
    r = rows.y - g @ mean
    scaled = g * sd
    chol = np.linalg.cholesky(np.eye(len(sd)) + scaled.T @ (scaled / w[:, None]))
    half = solve_triangular(chol, scaled.T @ (r / w), lower=True)
    quadratic = float(r @ (r / w) - half @ half)
    return 0.5 * (quadratic + float(np.log(w).sum())) + float(np.log(np.diag(chol)).sum())


def _variances(rows: Rows, spread: np.ndarray, models: bool) -> Variances:
    """The variances that make the rows most probable, times what is held of them before.

    Before: error and level are log-normal about 0.2 and 0.4 (a factor of e either way is likely); the ridge and the
    models' effects are exponential: most probably nothing. The ridge's mean is half the spread inside a set over the
    root of the number of columns, so that many columns together start from as little as one does.
    """
    g = _columns(rows, models)
    inside = _inside(rows)
    ridged = max(int(np.isnan(rows.sd).sum()), 1)
    ridge_mean = 0.5 * inside / ridged**0.5

    def of(t: np.ndarray) -> Variances:
        error, level, model, ridge = np.exp(np.clip(t, -12.0, 4.0))
        return Variances(float(error), float(level), float(model), float(ridge))

    def cost(t: np.ndarray) -> float:
        v = of(t)
        before = 0.5 * np.log(v.error / 0.2) ** 2 + 0.5 * np.log(v.level / 0.4) ** 2
        return _minus_log_likelihood(rows, g, spread, v, models) + float(
            before + v.ridge / ridge_mean + v.model / 0.2 + 1e-3 * float(t @ t)
        )

    start = np.log([0.5 * inside, 0.4, 0.3 * inside, 0.3 * ridge_mean])
    found = minimize(cost, start, method="L-BFGS-B", bounds=[(-7.0, 2.0)] * 4)
    return of(found.x)


def _inside(rows: Rows) -> float:
    """The standard deviation of y inside a data set, of all sets together."""
    sets = np.bincount(rows.group)
    means = np.bincount(rows.group, rows.y) / np.maximum(sets, 1)
    free = max(len(rows.y) - int((sets > 0).sum()), 1)
    return max(math.sqrt(float(np.sum((rows.y - means[rows.group]) ** 2)) / free), 0.02)


def _moderated(rows: Rows, residual: np.ndarray) -> tuple[np.ndarray, float]:
    """(variance of each set's errors over the common one, its degrees of freedom), by moments of log variances."""
    sets = np.bincount(rows.group)
    free = np.maximum(sets - 1.0, 0.0)
    used = free >= 2
    if used.sum() < 3:
        return np.ones(len(sets)), MOST_DF
    squares = np.bincount(rows.group, residual**2)
    own = np.maximum(squares[used] / free[used], 1e-12)
    half = free[used] / 2
    e = np.log(own) - digamma(half) + np.log(half)
    excess = float(e.var(ddof=1) - polygamma(1, half).mean())
    df = min(max(2 * _inverse_trigamma(excess), LEAST_DF), MOST_DF) if excess > 0 else MOST_DF
    common = float(np.exp(e.mean() + digamma(df / 2) - np.log(df / 2)))
    spread = np.ones(len(sets))
    spread[used] = (df * common + free[used] * own) / (df + free[used]) / common
    return spread, df


def _inverse_trigamma(x: float) -> float:
    """The a with trigamma(a) = x."""
    return float(brentq(lambda a: float(polygamma(1, a)) - x, 1e-6, 1e6))


def correlations(x: np.ndarray, seen: np.ndarray, prior_rows: float = 10.0) -> np.ndarray:
    """Second moments of columns [k, k] from the rows where both were seen, drawn towards independence, made definite.

    `prior_rows` is how many rows of independence it starts from.
    """
    filled = np.where(seen, x, 0.0)
    both = seen.T.astype(float) @ seen
    diagonal = np.diag((np.diag(filled.T @ filled) + 1e-12) / np.maximum(np.diag(both), 1.0))
    moments = (filled.T @ filled + prior_rows * diagonal) / (both + prior_rows)
    values, vectors = np.linalg.eigh((moments + moments.T) / 2)
    return np.asarray((vectors * np.maximum(values, 1e-8 * max(float(values.max(initial=0.0)), 1e-8))) @ vectors.T)


def filled(x: np.ndarray, seen: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Rows [n, k], what was not seen replaced by its mean given the rest, and that guess's covariance [k, k] each."""
    out, covariances = np.where(seen, x, 0.0), []
    for i, has in enumerate(seen):
        covariance = np.zeros_like(moments)
        if not has.all():
            lack = ~has
            gain = np.linalg.solve(moments[np.ix_(has, has)], moments[np.ix_(has, lack)])
            out[i, lack] = x[i, has] @ gain
            rest = moments[np.ix_(lack, lack)] - moments[np.ix_(lack, has)] @ gain
            covariance[np.ix_(lack, lack)] = rest
        covariances.append(covariance)
    return out, covariances


def expected_square(mean: np.ndarray, covariance: np.ndarray, of: Sequence[np.ndarray]) -> np.ndarray:
    """E[b' C b] for each C of `of`, b ~ N(mean, covariance)."""
    second = np.outer(mean, mean) + covariance
    return np.array([float(np.sum(second * c)) for c in of])

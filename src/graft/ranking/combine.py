"""The combination: prior, scores and probe, turned into a predicted fine-tuned score with an interval.

A row is one model on one data set. With y the remaining error on the logarithmic scale of `Scale`, the model is

    y = a + c L_d + sum_k b_k x_k + u_d (+ v_m) + e

L_d is the mean of the probe's y over the set's candidates; x_k a signal inside its set: the prior and the probe, which
are on the scale of y, minus their mean over the candidates; every other signal in standard units over the candidates,
so that its own unit does not matter. u_d is the data set's own level, v_m a model's own effect (unless told
otherwise), e an error whose variance differs between sets. Coefficients of the prior, the probe and L_d are drawn
towards fixed values, those of the scores towards 0 by one ridge whose strength comes from the marginal likelihood
(`_mixed`), so that fifteen scores that say the same share what one would get, and useless ones get nothing.

A signal that a candidate lacks, or that is the same for all (which includes the only candidate's), is replaced by its
mean given the candidate's other signals, and what is not known of it widens the interval. The difference of two
candidates does not hold u_d, which is the same for both.

The scale was compared with others by leaving data sets out of the published tables (`bench/rank_published.md`, "The
scale"): plain points fit far worse, the logit a little better, but it exists for shares alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graft.errors import DataError, UsageError
from graft.ranking import _mixed
from graft.ranking._rows import ON_SCALE, Row, Taught, inside
from graft.ranking.predicted import Predicted, Range
from graft.ranking.scale import Scale

__all__ = ["Combination", "Predicted", "Range", "Row", "Scale", "fit"]

# Without a single row the probe is the prediction, and wide: errors of a third in the level and again in the model.
UNTAUGHT = {"": (0.0, 0.3), "level": (1.0, 0.2), "prior": (0.0, 0.3), "probe": (1.0, 0.3)}
UNTAUGHT_DF = 8.0
FREE = 5.0  # degrees of freedom that belief fills up to, where sets are fewer
UNTAUGHT_SPREAD = _mixed.Variances(error=0.35, level=0.35, model=0.0, ridge=0.0)


@dataclass(frozen=True)
class Combination:
    """A fitted combination: coefficients of (intercept, level, signals, known models) with their covariance."""

    signals: tuple[str, ...]
    models: tuple[str, ...]
    mean: np.ndarray  # [2 + signals + models]
    covariance: np.ndarray  # [2 + signals + models, 2 + signals + models]
    moments: np.ndarray  # [signals, signals], second moments of signals inside a set
    variances: _mixed.Variances
    level: tuple[float, float]  # mean and standard deviation of L_d over the sets
    df: float
    sets: int
    rows: int

    def coefficients(self) -> dict[str, tuple[float, float]]:
        """(mean, standard deviation) of each signal's coefficient, "" the intercept's, "level" that of L_d."""
        names = ("", "level", *self.signals)
        return {n: (float(self.mean[i]), float(self.covariance[i, i] ** 0.5)) for i, n in enumerate(names)}

    def predict(self, candidates: Sequence[Row]) -> Predicted:
        """Predict the candidates of one data set together. Raises DataError for none, or for two data sets."""
        if len({r.dataset for r in candidates}) != 1:
            raise DataError(f"a combination predicts the candidates of one data set; got {len(candidates)} rows of "
                            f"{len({r.dataset for r in candidates})}")  # fmt: skip
        table = inside(candidates, self.signals)
        x, guesses = _mixed.filled(table.x, table.seen, self.moments)
        known = np.array([[float(r.model == m) for m in self.models] for r in candidates]).reshape(len(x), -1)
        has_level = math.isfinite(table.level)
        level = table.level if has_level else self.level[0]
        design = np.hstack([np.ones((len(x), 1)), np.full((len(x), 1), level), x, known])
        k = slice(2, 2 + len(self.signals))
        own = self._spread("error") ** 2 + _mixed.expected_square(
            self.mean[k], self.covariance[k, k], [g + np.diag(n) for g, n in zip(guesses, table.noise, strict=True)]
        )
        own = own + np.where(known.sum(axis=1) > 0, 0.0, self.variances.model**2)
        slope = self.mean[1] ** 2 + self.covariance[1, 1]
        shared = self._spread("level") ** 2 + slope * (table.level_noise if has_level else self.level[1] ** 2)
        given = {s for r in candidates for s in r.signals}
        return Predicted(
            models=tuple(r.model for r in candidates),
            mean=design @ self.mean,
            covariance=design @ self.covariance @ design.T + np.diag(own) + shared,
            df=_together(self.df, max(FREE, self.sets - 1)) if self.sets else self.df,
            ignored=tuple(sorted(given - set(self.signals))),
            taught=self.rows,
        )

    def _spread(self, which: str) -> float:
        """The error's or the level's standard deviation: what the sets say, and a belief where they are few.

        Fewer than FREE + 1 sets are filled up with the belief that holds before there are any: the mean of both
        variances by their degrees of freedom (a scaled inverse chi-square prior: Gelman et al., "Bayesian Data
        Analysis", section 3.2). Of three or four sets one odd one would otherwise decide how sure anything is.
        """
        both = (self.variances, UNTAUGHT_SPREAD)
        found, held = (v.error if which == "error" else v.level for v in both)
        free = max(self.sets - 1, 0)
        believed = max(FREE - free, 0.0)
        return math.sqrt((believed * held**2 + free * found**2) / (believed + free))

    def plain(self) -> dict[str, Any]:
        """As JSON has it; numbers come back bit by bit."""
        v = self.variances
        return {
            "signals": list(self.signals), "models": list(self.models), "mean": self.mean.tolist(),
            "covariance": self.covariance.tolist(), "moments": self.moments.tolist(),
            "variances": {"error": v.error, "level": v.level, "model": v.model, "ridge": v.ridge},
            "level": list(self.level), "df": self.df, "sets": self.sets, "rows": self.rows,
        }  # fmt: skip

    @classmethod
    def from_plain(cls, raw: Mapping[str, Any]) -> Combination:
        """The way back from `plain`. Raises DataError where something lacks or does not fit."""
        try:
            made = cls(
                signals=tuple(str(s) for s in raw["signals"]),
                models=tuple(str(m) for m in raw["models"]),
                mean=np.array(raw["mean"], dtype=float),
                covariance=np.array(raw["covariance"], dtype=float),
                moments=np.array(raw["moments"], dtype=float).reshape(len(raw["signals"]), len(raw["signals"])),
                variances=_mixed.Variances(**{k: float(v) for k, v in raw["variances"].items()}),
                level=(float(raw["level"][0]), float(raw["level"][1])),
                df=float(raw["df"]),
                sets=int(raw["sets"]),
                rows=int(raw["rows"]),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as e:
            raise DataError(f"no combination as `Combination.plain` writes it: {type(e).__name__}: {e}") from e
        size = 2 + len(made.signals) + len(made.models)
        finite = all(np.isfinite(a).all() for a in (made.mean, made.covariance, made.moments))
        if made.mean.shape != (size,) or made.covariance.shape != (size, size) or not finite:
            raise DataError(f"no combination as `Combination.plain` writes it: {size} finite coefficients are expected")
        return made


def fit(rows: Sequence[Row], signals: Sequence[str], *, models: bool = True) -> Combination:
    """Fit the combination on rows whose y is known; without a row, the one in which the probe is the prediction.

    `signals` are those to use, of those that rows have. `models` adds an effect for each model: rows of one model
    are not independent, and a model that stands in these rows is known by them later on, under the same name. Raises
    UsageError for a signal named twice, DataError for a row without a finite y or a model twice on a data set.
    """
    names = tuple(signals)
    if len(set(names)) != len(names) or {"", "level"} & set(names):
        raise UsageError(f"signals are named once each, and none is '' or 'level'; got {', '.join(names)}")
    if not rows:
        return _untaught(names)
    for r in rows:
        if r.y is None or not math.isfinite(r.y):
            raise DataError(f"{r.model} on {r.dataset}: a row to fit on has a finite y; got {r.y}")
    if len({(r.dataset, r.model) for r in rows}) < len(rows):
        raise DataError("a model stands twice on one data set: each row is one model on one data set")
    taught = Taught.of(rows, names)
    found = _mixed.fitted(taught.rows(np.zeros(len(rows))), models)
    if taught.unsure:  # what was guessed is as unsure as its coefficients are large, and those are known only now
        for _ in range(2):
            k = slice(2, 2 + len(names))
            extra = _mixed.expected_square(found.mean[k], found.covariance[k, k], taught.guesses)
            found = _mixed.fitted(taught.rows(extra), models)
    return Combination(
        signals=names,
        models=taught.models if models else (),
        mean=found.mean,
        covariance=found.covariance,
        moments=taught.moments,
        variances=found.variances if models else _without_models(found.variances),
        level=taught.level,
        df=found.df,
        sets=len({r.dataset for r in rows}),
        rows=len(rows),
    )


def _untaught(names: tuple[str, ...]) -> Combination:
    held = [UNTAUGHT.get(n, (0.0, 0.0)) for n in ("", "level", *names)]
    typical = np.array([0.3 if n in ON_SCALE else 1.0 for n in names])
    share = np.array([[1.0 if a == b else 0.5 * (a in ON_SCALE and b in ON_SCALE) for b in names] for a in names])
    return Combination(
        signals=names,
        models=(),
        mean=np.array([m for m, _ in held]),
        covariance=np.diag([s**2 for _, s in held]),
        moments=share.reshape(len(names), len(names)) * np.outer(typical, typical),
        variances=UNTAUGHT_SPREAD,
        level=(0.0, 1.0),
        df=UNTAUGHT_DF,
        sets=0,
        rows=0,
    )


def _without_models(v: _mixed.Variances) -> _mixed.Variances:
    return _mixed.Variances(v.error, v.level, 0.0, v.ridge)


def _together(df: float, free: float) -> float:
    """Degrees of freedom of a spread that varies with `df` and is itself estimated from `free` sets more than one.

    Sets, not rows, are counted for differences too: how far the candidates are apart beyond what signals say is a
    set's own, so that its rows are no independent draws of it (in simulation rows gave intervals that are too short).
    """
    return max(1 / (1 / df + 1 / max(free, 1.0)), 1.0)

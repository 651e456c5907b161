"""Rows of the combination, and what they are as arrays: signals inside their data set, and what was not seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from graft.errors import DataError
from graft.ranking import _mixed

ON_SCALE = ("prior", "probe")
"""Signals that are on the scale of y: their distances count, not only their order."""
LEVEL = "probe"
"""The signal whose mean over the candidates tells how hard the data set is."""
# What is held of the coefficients before any row was seen, as (mean, standard deviation). The prior is an estimate of a
# model's y, so 1 would be right if it were alone; the probe's candidates spread more than their fine-tuned scores do,
# since training makes up for much; a level of the probe goes over into a level of the score nearly as it is.
HELD = {"": (0.0, 2.0), "level": (1.0, 0.3), "prior": (1.0, 0.5), "probe": (0.5, 0.5)}
RIDGE = (0.0, math.nan)


@dataclass(frozen=True)
class Row:
    """One model on one data set: its signals, and y (`Scale.y` of the fine-tuned score) where it was trained.

    A signal that is None or not finite is missing. `noise` is the variance of a signal of ON_SCALE (a prior's se
    squared, the sampling variance of a probe on few samples), 0 where it is not given.
    """

    dataset: str
    model: str
    signals: Mapping[str, float | None]
    y: float | None = None
    noise: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Inside:
    """One data set's signals: x [m, k] inside the set, what was seen of it, its noise [m, k], L_d and its variance."""

    x: np.ndarray
    seen: np.ndarray
    noise: np.ndarray
    level: float
    level_noise: float


def inside(rows: Sequence[Row], signals: Sequence[str]) -> Inside:
    """One data set's rows as arrays; a signal that is the same for all counts as not seen. Raises DataError."""
    raw = np.array([[_number(r, s) for s in signals] for r in rows]).reshape(len(rows), len(signals))
    noise = np.array([[_variance(r, s) for s in signals] for r in rows]).reshape(raw.shape)
    seen = np.isfinite(raw)
    x = np.zeros_like(raw)
    for k, name in enumerate(signals):
        has = seen[:, k]
        values = raw[has, k]
        sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
        if sd <= 1e-9 * max(float(np.abs(values).max(initial=0.0)), 1e-9):
            seen[:, k] = False
            continue
        x[has, k] = (values - values.mean()) / (1.0 if name in ON_SCALE else sd)
    level, level_noise = math.nan, 0.0
    if LEVEL in signals:
        k = list(signals).index(LEVEL)
        told = np.isfinite(raw[:, k])
        if told.any():
            level, level_noise = float(raw[told, k].mean()), float(noise[told, k].sum() / told.sum() ** 2)
    return Inside(x, seen, np.where(seen, noise, 0.0), level, level_noise)


def _number(row: Row, signal: str) -> float:
    found = row.signals.get(signal)
    return math.nan if found is None else float(found)


def _variance(row: Row, signal: str) -> float:
    found = float(row.noise.get(signal, 0.0)) if signal in ON_SCALE else 0.0
    if not (math.isfinite(found) and found >= 0):
        raise DataError(f"{row.model} on {row.dataset}: the noise of {signal} is a variance, 0 or more; got {found}")
    return found


@dataclass(frozen=True)
class Taught:
    """The rows as arrays, in the order in which they came."""

    y: np.ndarray
    x: np.ndarray
    group: np.ndarray
    model: np.ndarray
    models: tuple[str, ...]
    guesses: list[np.ndarray]  # covariance of what was not seen, and noise, a row each
    moments: np.ndarray
    level: tuple[float, float]
    names: tuple[str, ...]

    @property
    def unsure(self) -> bool:
        return any(bool(g.any()) for g in self.guesses)

    def rows(self, extra: np.ndarray) -> _mixed.Rows:
        held = [HELD.get(n, RIDGE) for n in ("", "level", *self.names)]
        mean, sd = (np.array(column) for column in zip(*held, strict=True))
        return _mixed.Rows(self.y, self.x, self.group, self.model, extra, mean, sd)

    @classmethod
    def of(cls, rows: Sequence[Row], names: tuple[str, ...]) -> Taught:
        sets = list(dict.fromkeys(r.dataset for r in rows))
        models = tuple(dict.fromkeys(r.model for r in rows))
        shape = (len(rows), len(names))
        x, seen, noise, level = np.zeros(shape), np.zeros(shape, dtype=bool), np.zeros(shape), np.zeros(len(rows))
        for name in sets:
            at = [i for i, r in enumerate(rows) if r.dataset == name]
            table = inside([rows[i] for i in at], names)
            x[at], seen[at], noise[at], level[at] = table.x, table.seen, table.noise, table.level
        moments = _mixed.correlations(x, seen)
        x, guesses = _mixed.filled(x, seen, moments)
        told = level[np.isfinite(level)]
        about = (float(told.mean()), float(told.std())) if len(told) else (0.0, 0.0)
        level = np.where(np.isfinite(level), level, about[0])
        return cls(
            y=np.array([r.y for r in rows], dtype=float),
            x=np.hstack([np.ones((len(rows), 1)), level[:, None], x]),
            group=np.array([sets.index(r.dataset) for r in rows]),
            model=np.array([models.index(r.model) for r in rows]),
            models=models,
            guesses=[g + np.diag(n) for g, n in zip(guesses, noise, strict=True)],
            moments=moments,
            level=about,
            names=names,
        )

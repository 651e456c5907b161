"""A figure beside all its bootstrap resamples, so that figures of the same samples can be averaged and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graft._blocks import Units
from graft._scored import Answered, Asked
from graft.evaluate import LEVEL, RESAMPLES, Paired, Score
from graft.tasks import Answers, Task


@dataclass(frozen=True)
class Draws:
    """A figure of n samples as they are, and of each of their resamples [RESAMPLES]."""

    value: float
    resampled: np.ndarray
    n: int

    def minus(self, other: Draws) -> Draws:
        """The difference, resample by resample: both are of the same samples."""
        return Draws(self.value - other.value, self.resampled - other.resampled, self.n)

    def score(self) -> Score:
        """The figure with its percentile interval (Efron and Tibshirani 1993, section 13.3)."""
        return Score(self.value, *self._ends(), self.n)

    def paired(self, lower: bool = False) -> Paired:
        """A difference with its interval; `lower`: less is better, which p alone knows."""
        gains = (-self.resampled if lower else self.resampled)[np.isfinite(self.resampled)]
        return Paired(self.value, *self._ends(), float((gains <= 0).mean()) if len(gains) else 1.0)

    def _ends(self) -> tuple[float, float]:
        known = self.resampled[np.isfinite(self.resampled)]
        if not len(known):
            return float("nan"), float("nan")
        low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
        return float(low), float(high)


def draws(task: Task, decoded: Answers, truth: Answers, seed: int, offsets: np.ndarray | None = None) -> Draws:
    """The first measure with its resamples, which are the same ones for all answers on these samples."""
    first = task.chosen()[0]
    asked = Asked(task, np.asarray(truth), seed, Units.of(len(truth), None), LEVEL, RESAMPLES)
    model = Answered(np.asarray(decoded), offsets)
    points = model.points(asked, first)
    if points is None:
        value = float(model.values(asked, [first])[str(first)][0])
        return Draws(value, model.drawn(asked, first), len(truth))
    counts = asked.units.counts(seed, RESAMPLES)
    resampled = np.concatenate([some @ points / len(points) for some in counts])
    return Draws(float(points.mean()), resampled, len(points))


def average(several: Sequence[Draws]) -> Draws:
    """The mean of a figure over several answers on the same samples (as under several corruptions)."""
    value, resampled = np.mean([d.value for d in several]), np.mean([d.resampled for d in several], axis=0)
    return Draws(float(value), resampled, several[0].n)

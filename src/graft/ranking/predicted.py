"""What a combination says of the candidates of one data set, in the unit of the task's measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from graft.errors import UsageError
from graft.ranking.scale import Scale


class Range(NamedTuple):
    """A value with its interval, in the measure's own unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Predicted:
    """What is predicted for the candidates of one data set: y's mean [m] and covariance [m, m], with u_d in it.

    `df`: degrees of freedom of its t distribution. `ignored`: signals that were given and that the combination never
    saw. `taught`: rows it was fitted on.
    """

    models: tuple[str, ...]
    mean: np.ndarray
    covariance: np.ndarray
    df: float
    ignored: tuple[str, ...] = ()
    taught: int = 0

    def interval(self, i: int, scale: Scale, level: float = 0.90) -> Range:
        """The value of candidate i and the interval that holds it with probability `level`."""
        half = _quantile(level, self.df) * float(self.covariance[i, i]) ** 0.5
        ends = sorted((scale.value(self.mean[i] - half), scale.value(self.mean[i] + half)))
        return Range(scale.value(self.mean[i]), *ends)

    def difference(self, i: int, j: int, scale: Scale, level: float = 0.90) -> Range:
        """The value of candidate i minus that of j, paired: what is not known of the data set's level is left out.

        Points are taken about the middle of the two, so that the interval holds 0 exactly where it does on y's scale.
        """
        c = self.covariance
        middle, apart = (self.mean[i] + self.mean[j]) / 2, float(self.mean[i] - self.mean[j])
        half = _quantile(level, self.df) * max(float(c[i, i] + c[j, j] - 2 * c[i, j]), 0.0) ** 0.5

        def points(d: float) -> float:
            return scale.value(middle + d / 2) - scale.value(middle - d / 2)

        return Range(points(apart), *sorted((points(apart - half), points(apart + half))))

    def order(self) -> list[int]:
        """Indices of the candidates, the best first; equals stay in their order."""
        return [int(i) for i in np.argsort(self.mean, kind="stable")]


def _quantile(level: float, df: float) -> float:
    if not 0 < level < 1:
        raise UsageError(f"the level of an interval lies between 0 and 1; got {level}")
    return float(stats.t.ppf((1 + level) / 2, df))

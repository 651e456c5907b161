"""One scale for every measure: the logarithm of the error that remains of the constant answer's."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from graft.errors import DataError


@dataclass(frozen=True)
class Scale:
    """What turns values of a measure on one data set into y and back.

    y = log((err + f) / (err0 + f)): err is how far a value is from the best possible one (0 of a loss, 1 of a score),
    err0 that of the constant answer, f = err0 / (2 n), half a sample of n, which keeps the logarithm finite where
    nothing is wrong. 0 is as good as knowing nothing, -0.69 half of its error, and below 0 is better; no unit is left,
    so accuracy, AUROC, log loss, MAE in grams and R2 can stand in one table.

    `lower`: the measure is a loss. `constant`: the constant answer's value. `n`: samples the values are measured on.
    Raises DataError where the constant answer is perfect already, or a number is not one.
    """

    lower: bool
    constant: float
    n: int

    def __post_init__(self) -> None:
        if not math.isfinite(self.constant) or self.n < 1:
            raise DataError(
                f"a scale takes the constant answer's value and a number of samples; got {self.constant}, {self.n}"
            )
        if self.whole <= 0:
            raise DataError(
                f"the constant answer reaches {self.constant}, which cannot be bettered: there is nothing to rank"
            )

    @property
    def best(self) -> float:
        """The best value there is."""
        return 0.0 if self.lower else 1.0

    @property
    def whole(self) -> float:
        """The constant answer's distance from the best."""
        return self.constant - self.best if self.lower else self.best - self.constant

    def y(self, value: float) -> float:
        """The scale's y of a value of the measure. Raises DataError where there can be no such value."""
        error = value - self.best if self.lower else self.best - value
        if not math.isfinite(error) or error < -1e-9:
            raise DataError(f"{value} is no value of a measure whose best is {self.best:g}")
        half = 0.5 / self.n
        return math.log((max(error, 0.0) / self.whole + half) / (1 + half))

    def value(self, y: float) -> float:
        """The measure's value of a y; never better than the best."""
        half = 0.5 / self.n
        error = max(self.whole * (math.exp(min(y, 50.0)) * (1 + half) - half), 0.0)
        return self.best + error if self.lower else self.best - error

    def plain(self) -> dict[str, Any]:
        """As JSON has it; `Scale(**plain)` is the way back."""
        return asdict(self)

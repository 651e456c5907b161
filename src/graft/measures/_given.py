"""What measures are given: answers that are finite and fit the truth, or a refusal that names the sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from graft.errors import DataError

FLOOR = 1e-12  # probabilities below it count as it in a log-loss, so that one sure mistake is not infinite
_SLACK = 1e-4  # by which rounding may carry a probability out of 0..1


def finite(values: Any, what: str, dimensions: int) -> np.ndarray:
    """The values as float64; raises DataError naming the first sample that is not finite, and for no samples."""
    found = np.asarray(values, dtype=np.float64)
    if not len(found):
        raise DataError("there is no sample to measure on; give data with at least one")
    if found.ndim != dimensions:
        raise ValueError(f"{what}s have the shape {found.shape}: {dimensions} dimensions are expected")
    bad = np.flatnonzero(~np.isfinite(found).reshape(len(found), -1).all(axis=1))
    if len(bad):
        first = found[bad[0]].ravel()
        value = first[~np.isfinite(first)][0]
        raise DataError(
            f"the {what} of row {bad[0]} (the first is row 0) is {value}, and {len(bad)} of {len(found)} rows are not "
            "finite: nothing can be measured. Look at that sample; where the model diverged, train it again with a "
            "lower rate (--set stage.0.lr=...)"
        )
    return found


def probabilities(values: Any) -> np.ndarray:
    """Probabilities [n, c] as float64 in 0..1; raises DataError naming the first row that is not."""
    found = finite(values, "answer", 2)
    bad = np.flatnonzero(((found < -_SLACK) | (found > 1 + _SLACK)).any(axis=1))
    if len(bad):
        worst = found[bad[0]][np.abs(found[bad[0]] - 0.5).argmax()]
        raise DataError(
            f"the answer of row {bad[0]} (the first is row 0) holds {worst:g}, which is no probability; answers are "
            "measured as probabilities from 0 to 1, so a task's `decode` has to end in a softmax or a sigmoid"
        )
    return found.clip(0.0, 1.0)


def shifts(offsets: Any, c: int) -> np.ndarray | None:
    """Offsets [c], or None where they change nothing. Raises ValueError where they are not c finite numbers."""
    if offsets is None:
        return None
    found = np.asarray(offsets, dtype=np.float64)
    if found.shape != (c,) or not np.isfinite(found).all():
        raise ValueError(f"offsets are {found}: {c} finite numbers are expected")
    return found if found.any() else None

"""What a caller gives, checked: features, target and source probabilities as arrays that scores can take."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graft.errors import DataError, UsageError, some
from graft.measures import CLASSES, LABELS, NUMBERS

Array = NDArray[Any]
KINDS = (CLASSES, LABELS, NUMBERS)


def features(x: Any) -> Array:
    """Features [n, d] as float32 or float64, without a copy where they are one of these already.

    Raises UsageError for text, for other shapes than [n, d], and where n or d is 0.
    """
    held = _numeric(x, "features")
    if held.ndim != 2 or 0 in held.shape:
        raise UsageError(f"features have shape {list(held.shape)}; give [n, d]: one row a sample, at least one column")
    if held.dtype == np.float16:
        return held.astype(np.float32)
    return held if held.dtype in (np.float32, np.float64) else held.astype(np.float64)


def target(y: Any, kind: str, n: int) -> Array:
    """The target: class ids [n] as integers, labels [n, c] of 0 and 1 as float32, or numbers [n, k] as float64.

    Raises UsageError for text, a kind that is none, and shapes or values that are not those of the kind; DataError
    for numbers that are not finite.
    """
    if kind not in KINDS:
        raise UsageError(f"{kind!r} is no kind of target; possible: {', '.join(KINDS)}")
    held = _numeric(y, f"a target of {kind}")
    if len(held.shape) == 0 or len(held) != n:
        raise UsageError(f"{n} rows of features and a target of shape {list(held.shape)}; give one target a row")
    return {CLASSES: _classes, LABELS: _labels, NUMBERS: _numbers}[kind](held)


def source(p: Any) -> Array:
    """Source probabilities as float32 or float64; what is wrong with them is said by the scores that need them.

    A candidate's broken head costs it two scores and no more. Raises UsageError for text.
    """
    held = _numeric(p, "source probabilities")
    return held if held.dtype in (np.float32, np.float64) else held.astype(np.float64)


def _numeric(x: Any, what: str) -> Array:
    if isinstance(x, torch.Tensor):
        held = x.detach().cpu()
        return np.asarray(held.float().numpy() if held.dtype == torch.bfloat16 else held.numpy())
    array = np.asarray(x)
    if array.dtype.kind not in "biuf":
        first = some((repr(v) for v in array.ravel()[:3].tolist()), 3)
        raise UsageError(
            f"{what} hold {array.dtype} ({first}), not numbers; for classes given as text, give their ids: "
            "numpy.unique(labels, return_inverse=True)[1]"
        )
    return array


def _classes(y: Array) -> Array:
    if y.ndim != 1 or y.dtype.kind not in "biu":
        raise UsageError(
            f"a target of classes is one whole number a sample, [n]; given: {y.dtype} of shape {list(y.shape)}. "
            f"For numbers say kind={NUMBERS!r}, for several labels a sample kind={LABELS!r}"
        )
    return y


def _labels(y: Array) -> Array:
    if y.ndim != 2 or 0 in y.shape or not bool(np.isin(y, (0, 1)).all()):
        raise UsageError(
            f"a target of labels is 0 or 1 for each sample and label, [n, c]; given: {y.dtype} of shape "
            f"{list(y.shape)}. For one class a sample say kind={CLASSES!r}"
        )
    return y.astype(np.float32)


def _numbers(y: Array) -> Array:
    held = (y[:, None] if y.ndim == 1 else y).astype(np.float64)
    if held.ndim != 2 or 0 in held.shape:
        raise UsageError(f"a target of numbers is [n] or [n, k]; given: shape {list(y.shape)}")
    bad = np.flatnonzero(~np.isfinite(held).all(axis=1))
    if len(bad):
        raise DataError(f"the target holds NaN or infinity in {len(bad)} of {len(held)} rows: {some(bad.tolist())}")
    return held

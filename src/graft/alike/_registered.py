"""How much two small pictures show the same once one is shifted, scaled and lightened onto the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

COARSE, FINE = ((8, 3), (4, 2)), ((2, 2), (1, 1))
"""(pixels that are averaged, steps taken) from coarse to fine, so that a shift of several pixels is found."""
GATE = 0.85
"""Correlation after the coarse steps, of their pixels, below which a pair is given up: of copies 99 % reach 0.95."""
SURROUNDING = 5
"""Pixels each way whose mean is taken off for the fine correlation."""
SHIFT, SCALE = 0.3, 0.3
"""How far a view may lie off the other's middle (of half a side), and how much larger or smaller it may be."""
_PAIRS = 256  # registered at a time: regressors of 256 x 1024 x 6 floats are 6 MB
_RIDGE = 1e-4  # of the mean diagonal: a flat picture has no gradient to solve for
_LEAST = 0.6  # of the picture that must be seen on both, else chance decides


def registered(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """(whole, fine): correlations [n] of pictures a and b [n, side, side] over what both show, b's view found in a.

    `whole` is of the grey levels, `fine` of what is left of them without their surroundings' mean: pictures that are
    only lit alike, or show a like shape, have much of the first and little of the second.
    The view (a shift and a scale each way) is found by Gauss-Newton steps on a first-order expansion, together with
    brightness and contrast (Lucas and Kanade 1981, "An iterative image registration technique", sections 4.1 and
    4.4). A view that only makes things worse is not taken. Both are 0 for pairs that even coarsely differ (GATE).
    """
    found = [_some(a[i : i + _PAIRS], b[i : i + _PAIRS]) for i in range(0, len(a), _PAIRS)]
    empty: Floats = np.zeros(0, dtype=np.float32)
    if not found:
        return empty, empty
    return np.concatenate([w for w, _ in found]), np.concatenate([f for _, f in found])


def _some(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    view = np.tile(np.array([1, 1, 0, 0], dtype=np.float32), (len(a), 1))  # scale y, scale x, shift y, shift x
    view = _found(a, b, view, COARSE)
    pooled = COARSE[-1][0]
    a_coarse, b_coarse = _pool(a, pooled), _pool(b, pooled)
    moved, seen = _warped(a_coarse, view)
    coarse = np.maximum(_correlation(moved, b_coarse, seen), _correlation(a_coarse, b_coarse, np.ones_like(a_coarse)))
    whole: Floats = np.zeros(len(a), dtype=np.float32)
    fine: Floats = np.zeros(len(a), dtype=np.float32)
    rest = np.flatnonzero(coarse >= GATE)
    if len(rest):
        whole[rest], fine[rest] = _compared(a[rest], b[rest], _found(a[rest], b[rest], view[rest], FINE))
    return whole, fine


def _found(a: Floats, b: Floats, view: Floats, steps: tuple[tuple[int, int], ...]) -> Floats:
    for pooled, times in steps:
        small_a, small_b = _pool(a, pooled), _pool(b, pooled)
        for _ in range(times):
            view = _stepped(small_a, small_b, view)
    return view


def _compared(a: Floats, b: Floats, view: Floats) -> tuple[Floats, Floats]:
    """(whole, fine) under the view, or as they are where that is better."""
    unmoved = _correlation(a, b, np.ones_like(a))
    moved, seen = _warped(a, view)
    after = np.where(seen.mean(axis=(1, 2)) >= _LEAST, _correlation(moved, b, seen), -1)
    better = (after > unmoved)[:, None, None]
    moved, seen = np.where(better, moved, a), np.where(better, seen, 1).astype(np.float32)
    whole: Floats = np.maximum(unmoved, after).astype(np.float32)
    return whole, _correlation(_detail(moved), _detail(b), _within(seen))


def _detail(x: Floats) -> Floats:
    """x without the mean of the SURROUNDING pixels around each."""
    from scipy.ndimage import uniform_filter

    less: Floats = x - uniform_filter(x, (0, SURROUNDING, SURROUNDING), mode="nearest")
    return less


def _within(seen: Floats) -> Floats:
    """Where all neighbours are seen too."""
    from scipy.ndimage import minimum_filter

    inner: Floats = minimum_filter(seen, (1, 3, 3))
    return inner


def _pool(x: Floats, k: int) -> Floats:
    side = x.shape[1] // k
    return x if k == 1 else x.reshape(len(x), side, k, side, k).mean(axis=(2, 4))


def _places(side: int) -> Floats:
    """Middles of pixels from -1 to 1."""
    return ((np.arange(side, dtype=np.float32) + 0.5) * 2 / side - 1).astype(np.float32)


def _weights(side: int, scale: Floats, shift: Floats) -> tuple[Floats, Floats]:
    """Linear interpolation [n, side, side] along one axis, and which places [n, side] lie within the picture."""
    at = (scale[:, None] * _places(side) + shift[:, None] + 1) * side / 2 - 0.5
    inside = ((at >= -0.5) & (at <= side - 0.5)).astype(np.float32)
    at = np.clip(at, 0, side - 1)[:, :, None]
    return np.maximum(0, 1 - np.abs(at - np.arange(side, dtype=np.float32))).astype(np.float32), inside


def _warped(a: Floats, view: Floats) -> tuple[Floats, Floats]:
    """a under its view, and 1 where it has a pixel there, both [n, side, side]."""
    rows, in_rows = _weights(a.shape[1], view[:, 0], view[:, 2])
    columns, in_columns = _weights(a.shape[1], view[:, 1], view[:, 3])
    moved = (rows @ a @ columns.transpose(0, 2, 1)).astype(np.float32, copy=False)
    seen: Floats = in_rows[:, :, None] * in_columns[:, None, :]
    return moved, seen


def _stepped(a: Floats, b: Floats, view: Floats) -> Floats:
    """One step: b regressed on a as it is seen now, a constant, and a's gradients times what the view changes."""
    n, side = len(a), a.shape[1]
    moved, seen = _warped(a, view)
    place = _places(side)
    gy, gx = np.gradient(moved, 2 / side, axis=(1, 2))
    terms = (moved, np.ones_like(moved), gy * place[:, None], gx * place, gy, gx)
    x = np.stack([(t * seen).reshape(n, -1) for t in terms], axis=1)
    normal = x @ x.transpose(0, 2, 1)
    diagonal = np.einsum("nii->ni", normal)
    normal = normal + np.eye(6, dtype=np.float32) * (_RIDGE * diagonal + 1e-6)[:, :, None]
    right = np.einsum("nij,nj->ni", x, (b * seen).reshape(n, -1))
    solved = np.linalg.solve(normal.astype(np.float64), right[:, :, None].astype(np.float64))[:, :, 0]
    gain = np.maximum(solved[:, :1], 0.2)  # a copy is no negative, and a small gain would blow the step up
    change = np.clip(solved[:, 2:] / gain, -0.15, 0.15).astype(np.float32)
    # Seen at scale * place + shift: gradients were taken in the place, so what changes there is scaled likewise.
    view = view + np.concatenate([change[:, :2] * view[:, :2], change[:, 2:] * view[:, :2]], axis=1)
    view[:, :2] = np.clip(view[:, :2], 1 - SCALE, 1 + SCALE)
    view[:, 2:] = np.clip(view[:, 2:], -SHIFT, SHIFT)
    return view


def _correlation(a: Floats, b: Floats, seen: Floats) -> Floats:
    """Correlation [n] over the pixels that are seen."""
    count = np.maximum(seen.sum(axis=(1, 2)), 1)[:, None, None]
    a = (a - (a * seen).sum(axis=(1, 2))[:, None, None] / count) * seen
    b = (b - (b * seen).sum(axis=(1, 2))[:, None, None] / count) * seen
    norm = np.sqrt((a * a).sum(axis=(1, 2)) * (b * b).sum(axis=(1, 2)))
    found: Floats = ((a * b).sum(axis=(1, 2)) / np.maximum(norm, 1e-6)).astype(np.float32)
    return found

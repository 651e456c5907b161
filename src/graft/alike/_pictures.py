"""Pictures that show nearly the same, by their thumbnails: nearest ones are candidates, registered onto each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from graft.alike._registered import Floats, registered

SIDE = 32
"""Pixels of a thumbnail, each way."""
NEIGHBOURS = 8
"""Candidates a picture; the last of them says what is usual in these pictures."""
LOOSE = 0.6
"""Correlation of two 8 x 8 thumbnails below which a pair is no candidate."""
MOST_TURNED = 20_000
"""Pictures above which mirrored and turned copies are not looked for: each view is another pass over all pairs."""
_COARSE = 8  # pixels, each way, of what candidates are found by
_BLOCK = 1024  # rows compared with all others at a time
_TURNED = 2  # neighbours of a turned view
_CROWDED = 0.8  # a picture among many copies of itself has likenesses near 1 around it: they count as this at most

Rows = NDArray[np.int64]

VIEWS: tuple[Callable[[Floats], Floats], ...] = (
    lambda x: x,
    lambda x: x[:, :, ::-1],
    lambda x: np.rot90(x, 1, (1, 2)),
    lambda x: np.rot90(x, 2, (1, 2)),
    lambda x: np.rot90(x, 3, (1, 2)),
)
"""As it is, mirrored, and turned by a quarter, a half and three quarters."""


def candidates(small: NDArray[np.uint8]) -> tuple[Rows, Rows, Floats, Floats]:
    """(a, b, likeness, usual) of pairs of rows a < b of thumbnails [n, SIDE, SIDE] that are among each other's nearest.

    The likeness is the mean of the whole and the fine correlation (`registered`). `usual` [pairs] is that of a
    picture's NEIGHBOURS-th nearest: in the median over all pictures (photographs 0.3, scans of one organ 0.6), or of
    the pair's own two where that is more (products on white, 0.7, among other photographs). The low frequencies of the
    grey picture are its perceptual hash, kept as numbers (C. Zauner, "Implementation and benchmarking of perceptual
    image hash functions", 2010, section 3.2.1, keeps their signs).
    """
    n = len(small)
    if n < 2:
        none = np.zeros(0, dtype=np.int64)
        return none, none, np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.float32)
    pictures = small.astype(np.float32)
    found: dict[tuple[int, int], float] = {}
    around = np.zeros(n)
    for i, view in enumerate(VIEWS if n <= MOST_TURNED else VIEWS[:1]):
        a, b, like = _of_view(np.ascontiguousarray(view(pictures)), pictures, _TURNED if i else NEIGHBOURS)
        if i == 0:
            around = _around(a, b, like, n)
        for x, y, value in zip(a.tolist(), b.tolist(), like.tolist(), strict=True):
            found[x, y] = max(found.get((x, y), 0.0), value)
    pairs = np.array(sorted(found), dtype=np.int64).reshape(-1, 2)
    like = np.array([found[x, y] for x, y in pairs.tolist()], dtype=np.float32)
    a, b = pairs[:, 0], pairs[:, 1]
    own = np.minimum(np.maximum(around[a], around[b]), _CROWDED)
    return a, b, like, np.maximum(own, np.median(around)).astype(np.float32)


def _of_view(seen: Floats, pictures: Floats, k: int) -> tuple[Rows, Rows, Floats]:
    """(a, b, likeness) of pairs a < b of which one, as it is seen, has the other among its k nearest."""
    rows, others = _nearest(_coarse(seen), _coarse(pictures), k)
    pairs = np.unique(np.stack([np.minimum(rows, others), np.maximum(rows, others)]), axis=1)
    like = _likeness(seen[pairs[0]], pictures[pairs[1]])
    return pairs[0], pairs[1], like


def _coarse(x: Floats) -> Floats:
    """Thumbnails of COARSE pixels each way as rows of mean 0 and length 1."""
    step = SIDE // _COARSE
    rows = x.reshape(len(x), _COARSE, step, _COARSE, step).mean(axis=(2, 4)).reshape(len(x), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    scaled: Floats = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)
    return scaled


def _nearest(a: Floats, b: Floats, k: int) -> tuple[Rows, Rows]:
    """Rows of a, and each one's at most k nearest others of b, with correlations of at least LOOSE."""
    import torch

    k = min(k, len(b) - 1)
    left, right = torch.from_numpy(a), torch.from_numpy(b).T.contiguous()
    rows, others = [], []
    for start in range(0, len(a), _BLOCK):
        near = left[start : start + _BLOCK] @ right
        at = torch.arange(len(near))
        near[at, at + start] = -2  # itself
        values, columns = near.topk(k, dim=1)
        row, column = torch.nonzero(values >= LOOSE, as_tuple=True)
        rows.append((row + start).numpy())
        others.append(columns[row, column].numpy())
    return np.concatenate(rows), np.concatenate(others)


def _likeness(a: Floats, b: Floats) -> Floats:
    """The better of a registered onto b and b onto a; the second only where the first leaves it open."""
    whole, fine = registered(a, b)
    like = (whole + fine) / 2
    again = np.flatnonzero(like < 0.9)
    whole, fine = registered(b[again], a[again])
    like[again] = np.maximum(like[again], (whole + fine) / 2)
    return np.maximum(like, 0).astype(np.float32)


def _around(a: Rows, b: Rows, like: Floats, n: int) -> NDArray[np.float64]:
    """[n] the NEIGHBOURS-th largest likeness of each picture; 0 for one with fewer candidates."""
    ends = np.concatenate([a, b])
    values = np.concatenate([like, like])
    order = np.lexsort((-values, ends))
    ends, values = ends[order], values[order]
    first = np.searchsorted(ends, np.arange(n))
    last = np.searchsorted(ends, np.arange(n), side="right")
    many = last - first >= NEIGHBOURS
    kth = np.zeros(n)
    kth[many] = values[first[many] + NEIGHBOURS - 1]
    return kth

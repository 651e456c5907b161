"""Sums over all samples, made block by block in float64: what every score that is linear algebra starts from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from graft.scores._given import Array

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK = 2**21  # numbers a block holds: 16 MiB in float64
RANK = 1e-12  # a direction with less than this share of the largest variance is rounding, at single precision too
EXTREMES = (1e-60, 1e60)  # sizes of features whose fourth powers still are numbers


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues [q] of a Gram matrix, largest first, and their vectors [r, q]; those that are rounding left out."""

    values: Floats
    vectors: Floats


@dataclass(frozen=True, eq=False)
class Moments:
    """Of centred features: scatter [r, r], squared norms of the rows [n], and target' x features [k, r]."""

    scatter: Floats
    norms: Floats
    cross: Floats


@dataclass(frozen=True, eq=False)
class Rows:
    """Samples as rows [n, r], r = min(n, d): the features, or their coordinates in the space that few samples span.

    Inner products of rows are those of the features, so whatever does not change under rotation may be read off
    either, and every Gram matrix has the smaller side. `mean` [r] is theirs.
    """

    held: Array
    mean: Floats

    def centred(self, which: slice | Ints) -> Floats:
        """Some rows less the mean, [m, r]; columns that are constant give exact zeros."""
        first = self.held[0].astype(np.float64)
        return np.asarray((self.held[which] - first) - (self.mean - first))

    def blocks(self) -> Iterator[tuple[slice, Floats]]:
        """All rows in their order, centred, a block at a time."""
        for which in slices(len(self.held), self.held.shape[1]):
            yield which, self.centred(which)


def slices(n: int, width: int) -> Iterator[slice]:
    """Ranges that cover n rows of `width` numbers, each of at most BLOCK numbers (and at least one row)."""
    step = max(1, BLOCK // width)
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def trouble(x: Array) -> str:
    """Why nothing can be said from features [n, d]; "" where something can."""
    bad, largest = 0, 0.0
    varies = False
    for which in slices(*x.shape):
        block = x[which]
        finite = np.isfinite(block).all(axis=1)
        bad += int((~finite).sum())
        if finite.all():
            largest = max(largest, float(np.abs(block).max()))
            varies = varies or bool((block != x[0]).any())
    if bad:
        return f"features hold NaN or infinity in {bad} of {len(x)} rows"
    if len(x) == 1:
        return "one sample alone"
    if not varies:
        return "constant features"
    if not EXTREMES[0] < largest < EXTREMES[1]:
        return f"features as large as {largest:.0e} cannot be squared"
    return ""


def rows(x: Array) -> Rows:
    """Features [n, d] as Rows, in coordinates [n, n] where samples are fewer than columns.

    These are R' of a QR decomposition of x' (Golub and Van Loan, section 5.2), a block of columns at a time.
    """
    n, d = x.shape
    held = x if n >= d else _coordinates(x)
    first = held[0].astype(np.float64)
    total = np.zeros(held.shape[1])
    for which in slices(*held.shape):  # from the first row on: the mean of a constant column is that constant
        total += (held[which] - first).sum(axis=0)
    return Rows(held, first + total / n)


def _coordinates(x: Array) -> Floats:
    n, d = x.shape
    r = np.empty((0, n))
    for which in slices(d, n):
        step = slice(which.start, which.stop)
        r = np.asarray(np.linalg.qr(np.vstack([r, x[:, step].T]), mode="r"))
    return np.ascontiguousarray(r.T)


def moments(x: Rows, ids: Ints | None, target: Array, columns: int) -> Moments:
    """One pass. The target is class ids [n] of `columns` classes, or (ids: None) numbers or labels [n, columns]."""
    n, r = x.held.shape
    scatter, cross, norms = np.zeros((r, r)), np.zeros((columns, r)), np.empty(n)
    for which, block in x.blocks():
        scatter += block.T @ block
        norms[which] = np.einsum("ij,ij->i", block, block)
        if ids is None:
            cross += target[which].astype(np.float64).T @ block
        else:  # only the classes of this block: with thousands of them a table of all would be made for each block
            some, code = np.unique(ids[which], return_inverse=True)
            cross[some] += sums_by(code, block, len(some))
    return Moments(scatter, norms, cross)


def sums_by(code: Ints, values: Array, classes: int) -> Floats:
    """Sums [classes, k] of values [n, k] by class: the product with a sparse one-hot matrix."""
    n = len(code)
    one_hot = sparse.csr_array((np.ones(n), (code, np.arange(n))), shape=(classes, n))
    return np.asarray(one_hot @ values, dtype=np.float64)


def spectrum(gram: Floats) -> Spectrum:
    """Eigenvalues and vectors of a Gram matrix [r, r] that are more than rounding; there is at least one."""
    values, vectors = np.linalg.eigh(gram)
    kept = int((values > RANK * values[-1]).sum())
    return Spectrum(values[::-1][:kept].copy(), np.ascontiguousarray(vectors[:, ::-1][:, :kept]))

"""TransRate: the coding rate of the features less that of the features of each class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from graft.measures import CLASSES
from graft.scores._material import Material
from graft.scores._moments import BLOCK, RANK, Floats, Ints, slices

DISTORTION = 1e-4  # epsilon, as published; it is in the features' squared units
ROUNDING = 1e-6  # of 1, as large as the rounding of a Gram matrix may be beside the identity
LARGE = 64  # rows


def transrate(material: Material, distortion: float = DISTORTION) -> float:
    """Mutual information of features and classes, in nats, with the coding rate in place of entropy.

    Huang, Huang, Rong, Yang and Wei 2022 (ICML), TrR(e): R(Z, e) - sum over classes of n_c/n R(Z_c, e), where
    R(Z, e) = 1/2 log det(I + Z'Z / (n e)) and Z is centred by the mean of all. The distortion is fixed, so the scale
    of the features matters; rotation and shift do not. Determinants are taken on the smaller side, classes of like
    size in one stack: O(n d^2 + d^3 + sum of n_c^2 d). Higher is better.
    """
    material.require(CLASSES)
    values = material.spectrum.values
    whole = np.log1p(values / (material.n * distortion)).sum() / 2
    within = sum(float((counts * rates).sum()) for counts, rates in _rates(material, distortion))
    return float(whole - within / material.n)


def _rates(material: Material, distortion: float) -> Iterator[tuple[Ints, Floats]]:
    """Sizes and coding rates of the classes, some classes at a time."""
    counts, width = material.counts, material.rows.held.shape[1]
    for classes in _stacks(counts, width):
        if counts[classes[0]] > width:  # one class larger than the side of the scatter
            grams = _scatter(material, int(classes[0]))[None]
        else:
            z = _padded(material, classes)  # a large class by itself, which is half the work: x x' is symmetric
            grams = np.stack([x @ x.T for x in z]) if z.shape[1] >= LARGE else z @ z.transpose(0, 2, 1)
        scale = counts[classes].astype(np.float64) * distortion
        yield counts[classes], _log_det(grams / scale[:, None, None]) / 2


def _log_det(grams: Floats) -> Floats:
    """log det(I + G) of a stack [b, m, m]: from eigenvalues where rounding of G is not small beside I."""
    side = grams.shape[1]
    if np.trace(grams, axis1=1, axis2=2).max() * np.finfo(float).eps < ROUNDING:
        return np.asarray(np.linalg.slogdet(np.eye(side) + grams)[1])
    values = np.linalg.eigvalsh(grams)
    return np.asarray(np.log1p(np.where(values > RANK * values[:, -1:], values, 0.0)).sum(axis=1))


def _stacks(counts: Ints, width: int) -> Iterator[Ints]:
    """Classes by size, as many at a time as fill a block when all are as large as the largest; large ones alone."""
    order = np.argsort(-counts, kind="stable")
    start = 0
    while start < len(order):
        size = int(counts[order[start]])
        many = 1 if size > width else max(1, BLOCK // (size * max(size, width)))
        yield order[start : start + many]
        start += many


def _padded(material: Material, classes: Ints) -> Floats:
    """Centred rows of each class [b, m, r], with rows of zeros where a class is smaller: they change no determinant."""
    counts = material.counts[classes]
    z = np.zeros((len(classes), int(counts.max()), material.rows.held.shape[1]))
    which = np.repeat(np.arange(len(classes)), counts)
    place = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    z[which, place] = material.rows.centred(material.order[material.starts[classes][which] + place])
    return z


def _scatter(material: Material, k: int) -> Floats:
    """Scatter [r, r] of one class about the mean of all."""
    start, count = int(material.starts[k]), int(material.counts[k])
    width = material.rows.held.shape[1]
    total = np.zeros((width, width))
    for part in slices(count, width):
        x = material.rows.centred(material.order[start + part.start : start + part.stop])
        total += x.T @ x
    return total

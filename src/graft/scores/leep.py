"""LEEP and NCE: how well the source head's answers tell the target's classes."""

from __future__ import annotations

import numpy as np

from graft.measures import CLASSES
from graft.scores._given import Array
from graft.scores._material import Material, NoScore
from graft.scores._moments import BLOCK, Ints, slices, sums_by

SUM = 1e-3  # how far probabilities of half precision may be from adding up to 1
NEGATIVE = 1e-6


def leep(material: Material) -> float:
    """Mean log likelihood of the target under the expected empirical predictor, at most 0.

    Nguyen, Hassner, Seeger and Archambeau 2020 (ICML), section 3, equation 2: the head's probability of each
    source class z, times the share of the target's class among samples weighted by it. O(n s). Raises NoScore
    without source probabilities, or with such that are none.
    """
    material.require(CLASSES)
    return log_expected(_probabilities(material), material.ids, material.order, material.counts)


def nce(material: Material) -> float:
    """Negative conditional entropy -H(target | source class), at most 0, the source class being the head's likeliest.

    Tran, Nguyen and Hassner 2019 (ICCV), conditional entropy of label sequences. Raises NoScore as `leep` does.
    """
    material.require(CLASSES)
    likeliest = _probabilities(material).argmax(axis=1)
    size = int(material.source.shape[1]) if material.source is not None else 0
    pairs, counts = np.unique(material.ids * size + likeliest, return_counts=True)
    total = np.bincount(likeliest, minlength=size)[pairs % size]
    return float((counts * np.log(counts / total)).sum() / material.n)


def log_expected(theta: Array, ids: Ints, order: Ints, counts: Ints) -> float:
    """LEEP of probabilities theta [n, s] for class ids [n]; `order` [n] sorts samples by class, `counts` [c].

    A block of classes at a time, since [c, s] may be large where both are in the thousands.
    """
    n, size = theta.shape
    weight = np.zeros(size)
    for part in slices(n, size):
        weight += theta[part].sum(axis=0, dtype=np.float64)
    share = np.where(weight > 0, 1 / np.where(weight > 0, weight, 1.0), 0.0)
    ends, total = np.cumsum(counts), 0.0
    step = max(1, BLOCK // size)
    for first in range(0, len(counts), step):
        last = min(first + step, len(counts))
        rows = order[ends[first] - counts[first] : ends[last - 1]]
        parts = [rows[part] for part in slices(len(rows), size)]
        joint = sum(sums_by(ids[p] - first, theta[p], last - first) for p in parts)
        given = joint * share  # P(target class | source class), [classes, s]
        for p in parts:
            total += float(np.log(np.einsum("ij,ij->i", given[ids[p] - first], theta[p])).sum())
    return float(min(total / n, 0.0))  # rounding may leave a perfect predictor above 0


def _probabilities(material: Material) -> Array:
    """The source probabilities [n, s], checked; raises NoScore with what is wrong."""
    p = material.source
    if p is None:
        raise NoScore("needs the source head's probabilities")
    if p.ndim != 2 or len(p) != material.n or p.shape[1] == 0:
        raise NoScore(f"source probabilities have shape {list(p.shape)}, and there are {material.n} samples")
    if material.source_classes not in (None, p.shape[1]):
        raise NoScore(f"the source head gives {p.shape[1]} probabilities and its card says {material.source_classes}")
    if p.shape[1] == 1:
        raise NoScore("the source head knows one class alone")
    for part in slices(*p.shape):
        block = p[part]
        with np.errstate(invalid="ignore", over="ignore"):
            sums = block.sum(axis=1, dtype=np.float64)  # NaN or infinite where any of a row is
        if not np.isfinite(sums).all() or block.min() < -NEGATIVE:
            raise NoScore("source probabilities hold NaN, infinity or negative numbers")
        worst = float(sums[np.abs(sums - 1).argmax()])
        if abs(worst - 1) > SUM:
            raise NoScore(f"source probabilities do not sum to 1: a row sums to {worst:.4g}")
    return p

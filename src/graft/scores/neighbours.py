"""Nearest neighbours: how well a sample's like, by the features, tell its target."""

from __future__ import annotations

import numpy as np

from graft.measures import CLASSES, LABELS, NUMBERS
from graft.scores._material import Material
from graft.scores._moments import Floats, Ints, slices

MOST_ROWS = 5000
VOTES = 5  # neighbours whose mean answers for labels and numbers


def neighbours(material: Material) -> float:
    """Leave-one-out score of nearest neighbours by Euclidean distance, at most 1.

    Classes: accuracy of the nearest neighbour, as Puigcerver et al. 2021 (ICLR), "Scalable Transfer Learning with
    Expert Models", choose networks; the estimate is Cover and Hart's 1967. Labels and numbers: R2 of the
    mean of five neighbours, averaged over the columns that vary. On at most 5,000 samples (a fixed draw), each looked
    up among the others: O(5000^2 d). Unchanged by rotation, shift and scale.
    """
    material.require(CLASSES, LABELS, NUMBERS)
    rows = material.sample(MOST_ROWS)
    near = nearest(material.rows.centred(rows), 1 if material.kind == CLASSES else min(VOTES, len(rows) - 1))
    if material.kind == CLASSES:
        ids = material.ids[rows]
        return float((ids[near[:, 0]] == ids).mean())
    y = material.columns[rows].astype(np.float64)
    y = y[:, np.ptp(y, axis=0) > 0]
    error = np.square(y - y[near].mean(axis=1)).mean(axis=0)
    return float((1 - error / y.var(axis=0)).mean())


def nearest(x: Floats, k: int) -> Ints:
    """The k nearest other rows of each row [m, k], nearest first, the earlier of two that are equally near."""
    norms = np.einsum("ij,ij->i", x, x)
    found = np.empty((len(x), k), dtype=np.int64)
    for part in slices(len(x), len(x)):
        apart = norms - 2 * x[part] @ x.T  # squared distance less the row's own norm
        apart[np.arange(part.stop - part.start), np.arange(part.start, part.stop)] = np.inf
        few = np.sort(np.argpartition(apart, k - 1, axis=1)[:, :k], axis=1)
        order = np.argsort(np.take_along_axis(apart, few, axis=1), axis=1, kind="stable")
        found[part] = np.take_along_axis(few, order, axis=1)
    return found

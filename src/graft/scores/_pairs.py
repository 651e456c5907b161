"""Distances of all pairs of some samples, by features and by target, and their rank correlation."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist

from graft.measures import CLASSES
from graft.scores._material import Material, NoScore
from graft.scores._moments import Floats, Ints

MOST_ROWS = 1000  # half a million pairs


def target_distances(material: Material, rows: Ints) -> Floats:
    """Of all pairs of rows [m (m - 1) / 2]: 0 or 1 for classes; else the Euclidean distance of the target's columns."""
    if material.kind == CLASSES:
        return np.asarray(pdist(material.ids[rows, None].astype(np.float64), "hamming"))
    return np.asarray(pdist(material.columns[rows].astype(np.float64), "euclidean"))


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation of two lists of distances, ties at their mean rank; raises NoScore where one does not vary."""
    from scipy.stats import rankdata

    if not len(a) or np.ptp(b) == 0:
        raise NoScore("all pairs of the sampled rows are equally far apart by the target")
    if np.ptp(a) == 0:
        raise NoScore("all pairs of the sampled rows are equally far apart by the features")
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1])

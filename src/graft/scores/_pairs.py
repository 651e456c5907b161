"""Distances of all pairs of some samples, by features and by target, and their rank correlation."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist

from graft.measures import CLASSES
from graft.scores._material import Material, NoScore
from graft.scores._moments import Floats, Ints

MOST_ROWS = 1000  # half a million pairs
DIGITS = 12  # distances that differ by rounding are ties


def target_distances(material: Material, rows: Ints) -> Floats:
    """Of all pairs of rows [m (m - 1) / 2]: 0 or 1 for classes; else the Euclidean distance of the target's columns."""
    if material.kind == CLASSES:
        return np.asarray(pdist(material.ids[rows, None].astype(np.float64), "hamming"))
    return np.asarray(pdist(material.columns[rows].astype(np.float64), "euclidean"))


def spearman(a: Floats, b: Floats) -> float:
    """Rank correlation of two lists of distances, ties at their mean rank; raises NoScore where one does not vary."""
    from scipy.stats import rankdata

    ranks = []
    for distances, by in ((a, "features"), (b, "target")):
        largest = float(distances.max(initial=0.0))
        rounded = np.round(distances / largest, DIGITS) if largest > 0 else distances
        if not len(distances) or np.ptp(rounded) == 0:
            raise NoScore(f"all pairs of the sampled rows are equally far apart by the {by}")
        ranks.append(rankdata(rounded))
    return float(np.corrcoef(*ranks)[0, 1])

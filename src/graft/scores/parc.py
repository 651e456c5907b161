"""PARC: whether samples whose features correlate have the same target."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist

from graft.measures import CLASSES, LABELS
from graft.scores._given import Array
from graft.scores._material import Material, NoScore
from graft.scores._moments import Floats
from graft.scores._pairs import DIGITS, MOST_ROWS, spearman, target_distances


def parc(material: Material) -> float:
    """Spearman's correlation, -1 to 1, of pairwise 1 - Pearson of features with 1 - Pearson of one-hot targets.

    Bolya, Mittapalli and Hoffman 2021 (NeurIPS), "Scalable Diverse Model Selection for Accessible Transfer Learning".
    On at most 1,000 samples (a fixed draw): O(1000^2 d).
    Samples whose features, or labels, are all equal have no correlation and are left out. Unchanged by scale, by a
    shift of all columns alike and by their order; not by rotation. Raises NoScore where d is 1.
    """
    material.require(CLASSES, LABELS)
    if material.trouble:
        raise NoScore(material.trouble)
    if material.d == 1:
        raise NoScore("one column of features has no correlation between samples")
    rows = material.sample(MOST_ROWS)
    rows = rows[np.ptp(material.features[rows].astype(np.float64), axis=1) > 0]
    if material.kind == CLASSES:
        # 1 - Pearson of two one-hot rows is 0 for equal classes and c / (c - 1) else: the ranks of 0 and 1.
        wanted = target_distances(material, rows)
    else:
        rows = rows[np.ptp(material.given[rows], axis=1) > 0]
        wanted = _apart(material.given[rows])
    return spearman(_apart(material.features[rows]), wanted)


def _apart(x: Array) -> Floats:
    """1 - Pearson of all pairs of rows; rounded, since rows that correlate fully differ by rounding alone."""
    return np.asarray(np.round(pdist(x.astype(np.float64), "correlation"), DIGITS))

"""RSA and CKA: whether samples that are alike by their features are alike by the target."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist

from graft.measures import CLASSES, LABELS, NUMBERS
from graft.scores._material import Material, NoScore
from graft.scores._moments import Floats
from graft.scores._pairs import MOST_ROWS, spearman, target_distances

FEWEST = 4  # samples that the unbiased estimate needs


def rsa(material: Material) -> float:
    """Spearman's correlation, -1 to 1, of Euclidean distances of the features with distances of the target.

    Kriegeskorte, Mur and Bandettini 2008 (Frontiers in Systems Neuroscience 2:4), with the target as the model; for
    ranking networks Dwivedi and Roig 2019 (CVPR). Distances of the target are 0 or 1 for classes, Euclidean
    for labels and for numbers in standard units. On at most 1,000 samples (a fixed draw): O(1000^2 d). Unchanged by
    rotation, shift and scale.
    """
    material.require(CLASSES, LABELS, NUMBERS)
    rows = material.sample(MOST_ROWS)
    return spearman(pdist(material.rows.centred(rows), "euclidean"), target_distances(material, rows))


def cka(material: Material, debiased: bool = True) -> float:
    """Linear CKA, about 0 to 1, of the features with the target: one-hot classes, labels, numbers in standard units.

    Kornblith, Norouzi, Lee and Hinton 2019 (ICML), section 3. Debiased: by the unbiased HSIC of Song et al. 2012,
    equation 5, as Nguyen, Raghu and Kornblith 2021 (ICLR) use it, so that wide features are not favoured where
    samples are few; it may be a little below 0. On all samples, from d x d and c x d tables: O(n d^2). The value is
    that of `graft.cka.linear`. Unchanged by rotation, shift and scale. Raises NoScore for fewer than 4 samples.
    """
    material.require(CLASSES, LABELS, NUMBERS)
    if material.n < FEWEST:
        raise NoScore(f"{material.n} samples, and {FEWEST} are needed")
    scatter, x = np.square(material.moments.scatter).sum(), material.moments.norms
    both, (target, y) = np.square(material.moments.cross).sum(), _target(material)
    if debiased:
        both, scatter, target = _unbiased(both, x, y), _unbiased(scatter, x, x), _unbiased(target, y, y)
    if scatter <= 0 or target <= 0:
        raise NoScore("too few samples to tell the variation of features or target from chance")
    return min(float(both / np.sqrt(scatter * target)), 1.0)


def _target(material: Material) -> tuple[float, Floats]:
    """Squared Frobenius norm of the target's scatter, and squared norms [n] of its rows; columns are centred."""
    n, totals = material.n, material.totals
    if material.kind == CLASSES:  # the scatter is diag(n_c) - n_c n_c' / n
        square = float(np.square(totals).sum())
        scatter = square - 2 * float((totals**3).sum()) / n + square**2 / n**2
        return scatter, 1 - 2 * (totals / n)[material.ids] + square / n**2
    y = material.columns - totals / n
    return float(np.square(y.T @ y).sum()), np.asarray(np.square(y).sum(axis=1))


def _unbiased(both: float, x: Floats, y: Floats) -> float:
    """The unbiased HSIC of two linear kernels of centred rows, up to a constant factor that CKA cancels.

    From tr(KM) = `both` and the kernels' diagonals [n]. Without its diagonal a centred kernel's rows sum to minus the
    diagonal, so every term of the formula is a sum over samples and no kernel is made.
    """
    n = len(x)
    across = float(x @ y)
    return both - across + float(x.sum() * y.sum()) / ((n - 1) * (n - 2)) - 2 * across / (n - 2)

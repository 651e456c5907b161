"""GBC: how much the classes overlap, each taken for a Gaussian."""

from __future__ import annotations

import numpy as np

from graft.measures import CLASSES
from graft.scores._material import Material, NoScore
from graft.scores._moments import BLOCK, Floats, sums_by
from graft.seeds import rng

COMPONENTS = 64  # principal components, as published
MOST_CLASSES = 1000  # of more, so many are drawn and their sum is scaled to all pairs
FLOOR = 1e-6  # of the mean variance: a class of exact copies has none of its own


def gbc(material: Material) -> float:
    """Minus the sum over ordered pairs of classes of their Bhattacharyya coefficients; spherical covariances.

    Pándy, Agostinelli, Uijlings, Ferrari and Mensink 2022 (CVPR), on 64 principal components as in their
    experiments. Classes with one sample have no variance and are left out. Unchanged by rotation, shift and scale.
    At most 0; higher is better. Raises NoScore where fewer than two classes have two samples. O(n d 64 + c^2 64).
    """
    means, variances, scale = _gaussians(material)
    variances = np.repeat(variances.mean(axis=1, keepdims=True), means.shape[1], axis=1)
    return -scale * _overlap(means, variances)


def gbc_diagonal(material: Material) -> float:
    """GBC of Pándy et al. 2022 with a variance for each principal component and class; all else as `gbc`."""
    means, variances, scale = _gaussians(material)
    return -scale * _overlap(means, variances)


def _gaussians(material: Material) -> tuple[Floats, Floats, float]:
    """Means and variances [c, q] of classes with two samples or more, and the factor from their pairs to all."""
    material.require(CLASSES)
    large = np.flatnonzero(material.counts > 1)
    if len(large) < 2:
        raise NoScore("fewer than two classes have two samples")
    spectrum = material.spectrum
    z = material.project(spectrum.vectors[:, :COMPONENTS])
    counts = material.counts[:, None]
    means = sums_by(material.ids, z, len(counts)) / counts
    variances = sums_by(material.ids, np.square(z - means[material.ids]), len(counts)) / counts
    floor = FLOOR * float(spectrum.values[:COMPONENTS].mean()) / material.n
    some = np.sort(rng("scores", "gbc").permutation(large)[:MOST_CLASSES])
    scale = len(large) * (len(large) - 1) / (len(some) * (len(some) - 1))
    return means[some], np.maximum(variances[some], floor), scale


def _overlap(means: Floats, variances: Floats) -> float:
    """Sum over ordered pairs of different classes of exp(-D), D the Bhattacharyya distance of diagonal Gaussians."""
    count, width = means.shape
    logs, total = np.log(variances).sum(axis=1), 0.0
    step = max(1, BLOCK // (count * width))
    for start in range(0, count, step):
        some = slice(start, start + step)
        both = (variances[some, None] + variances) / 2  # [b, c, q]
        apart = (np.square(means[some, None] - means) / both).sum(axis=2) / 8
        apart += (np.log(both).sum(axis=2) - (logs[some, None] + logs) / 2) / 2
        total += float(np.exp(-apart).sum())
    return float(total - count)  # each class overlaps itself fully

"""NLEEP: LEEP with a Gaussian mixture of the features in place of a source head."""

from __future__ import annotations

import warnings

import numpy as np

from graft.measures import CLASSES
from graft.scores._given import Array
from graft.scores._material import Material
from graft.scores.leep import log_expected
from graft.seeds import rng

VARIANCE = 0.8  # share kept by the principal components
A_CLASS = 5  # Gaussians a class
MOST_ROWS = 5000
MOST_COMPONENTS = 250
ROWS_A_COMPONENT = 10  # at least, on average
STEPS = 50
FLOOR = 1e-3  # of the mean variance, added to each Gaussian's


def nleep(material: Material) -> float:
    """LEEP of the posteriors of a Gaussian mixture on principal components, at most 0.

    Li, Jia, Sang, Zhu, Green, Wang and Gong 2021 (CVPR), "Ranking Neural Checkpoints", the N-LEEP: components that
    hold 80 % of the variance, five Gaussians a class. Here with bounds: at most 5,000 samples (a fixed draw), 250
    Gaussians and one for ten samples, with diagonal covariances, fitted with a fixed seed by at most 50 steps.
    Unchanged by rotation, shift and scale as far as k-means starts alike.
    """
    material.require(CLASSES)
    rows = material.sample(MOST_ROWS)
    classes, ids, counts = np.unique(material.ids[rows], return_inverse=True, return_counts=True)
    values = material.spectrum.values
    share = np.cumsum(values) / values.sum()
    kept = int(np.searchsorted(share, VARIANCE)) + 1
    z = material.project(material.spectrum.vectors[:, :kept], rows) / np.sqrt(values[:kept].mean() / material.n)
    # A vector's sign is arbitrary: the side of the largest entry is made the positive one, so that sign moves nothing.
    z *= np.sign(z[np.abs(z).argmax(axis=0), np.arange(kept)])
    many = min(A_CLASS * len(classes), MOST_COMPONENTS, max(2, len(rows) // ROWS_A_COMPONENT))
    return log_expected(_posteriors(z, many), ids.astype(np.int64), np.argsort(ids, kind="stable"), counts)


def _posteriors(z: Array, many: int) -> Array:
    """[n, many] from coordinates z [n, q] whose mean variance is 1."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    distinct = len(np.unique(z, axis=0))
    mixture = GaussianMixture(
        min(many, distinct),
        covariance_type="diag",
        reg_covar=FLOOR,
        max_iter=STEPS,
        random_state=int(rng("scores", "nleep").integers(2**31)),
    )
    with warnings.catch_warnings():  # where the bound on steps is reached, the mixture so far serves
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(mixture.fit(z).predict_proba(z))

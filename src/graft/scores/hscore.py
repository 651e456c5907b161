"""H-score: how much of the features' variance is between classes, each direction in units of its own variance."""

from __future__ import annotations

import numpy as np
from scipy import linalg
from scipy.linalg import lapack

from graft.measures import CLASSES
from graft.scores._material import Material, NoScore
from graft.scores._moments import RANK, Floats

MARGIN = 10.0  # the condition is an estimate


def hscore(material: Material) -> float:
    """trace(cov(features)^-1 cov(class means)), a number from 0 to the number of classes less one.

    Bao, Li, Huang, Zhang, Zheng, Zamir and Guibas 2019 (ICIP), the definition of H(f); the pseudo-inverse.
    Unchanged by invertible affine maps of the features. Raises NoScore where n - 1 directions vary: any features
    then separate any classes.
    """
    material.require(CLASSES)
    means = material.moments.cross / np.sqrt(material.counts)[:, None]  # [c, r]: their scatter is between classes
    solved = _solved(material.moments.scatter, means.T) if len(material.moments.scatter) < material.n - 1 else None
    if solved is not None:
        return float(np.square(solved).sum())
    if len(material.spectrum.values) >= material.n - 1:
        raise NoScore("as many directions as samples: it is the number of classes less one whatever the features")
    return float((material.between_along / material.spectrum.values).sum())


def _solved(scatter: Floats, means: Floats) -> Floats | None:
    """L^-1 means [r, c] of scatter = L L', a tenth of a spectrum's work; None where a direction may be rounding.

    The reciprocal condition in the 1-norm is not above that in the 2-norm, so above RANK the spectrum keeps all.
    """
    factor, failed = lapack.dpotrf(scatter, lower=1)
    if failed:
        return None
    reciprocal, _ = lapack.dpocon(factor, float(np.abs(scatter).sum(axis=0).max()), uplo="L")
    return np.asarray(linalg.solve_triangular(factor, means, lower=True)) if reciprocal > RANK * MARGIN else None


def regularised_hscore(material: Material) -> float:
    """The H-score with a covariance shrunk towards a multiple of the identity, of use where n is not large against d.

    Ibrahim, Ponomareva and Mazumder 2022 (ECML PKDD), the shrinkage-based H-score: the trace of
    S_a^-1 (1 - a) cov(class means), with S_a = (1 - a) S + a trace(S)/d I and the a of Ledoit and Wolf 2004, "A
    well-conditioned estimator for large-dimensional covariance matrices". Unchanged by rotation, shift and scale.
    """
    material.require(CLASSES)
    a = shrinkage(material)
    values = material.spectrum.values / material.n
    target = a * float(values.sum()) / material.d
    return float(((1 - a) * material.between_along / material.n / ((1 - a) * values + target)).sum())


def shrinkage(material: Material) -> float:
    """The weight of the identity, from 0 to 1, that Ledoit and Wolf 2004 estimate to be best."""
    scatter, n, d = material.moments.scatter / material.n, material.n, material.d
    mean = float(np.trace(scatter)) / d
    size = float(np.square(scatter).sum())
    away = size / d - mean**2  # squared distance from the multiple of the identity, over d
    spread = (float(np.square(material.moments.norms).sum()) / n - size) / (n * d)
    return 0.0 if away <= 0 else min(max(spread / away, 0.0), 1.0)  # nothing to shrink towards: it is there

"""Fisher discriminants: the LDA part of ETran, and SFDA, which first makes the task harder for itself."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import numpy as np
from scipy import linalg
from scipy.sparse.linalg import ArpackNoConvergence, eigsh
from scipy.special import softmax

from graft.measures import CLASSES
from graft.scores._material import Material, NoScore
from graft.scores._moments import Floats, Ints, slices, sums_by
from graft.seeds import rng

SHARPNESS = (
    5.0  # a in lambda = exp(-a x largest eigenvalue of the within-class covariance), as the authors' code has it
)
LEAST = 1e-10  # lambda is at least this, as there
SOLVABLE = 1e-12  # of the within-class variance: a ridge below this leaves a singular system
LANCZOS = 64  # sides above which the largest eigenvalue is iterated for


@dataclass(frozen=True, eq=False)
class Discriminant:
    """Log posteriors of classes, up to a constant a row: x @ weight [r, c] + bias [c], of centred rows x."""

    weight: Floats
    bias: Floats

    def posteriors(self, x: Floats) -> Floats:
        """[m, c] of rows [m, r]."""
        return np.asarray(softmax(x @ self.weight + self.bias, axis=1))


def lda(material: Material) -> float:
    """Mean posterior of a sample's own class under a regularised linear discriminant, from 0 to 1.

    Gholami, Akbari, Wang, Kamranian and Zhang 2023 (ICCV), "ETran", the LDA-based classification score S_cls:
    within-class covariance (1 - l) S_W + l trace(S_W)/d I, l = exp(-5 largest eigenvalue of S_W), priors the
    classes' shares. The regularisation sees the scale of the features; rotation and shift change nothing.
    O(n d^2 + d^3 + n d c). Raises NoScore where no class varies.
    """
    material.require(CLASSES)
    within = _within(material)
    found = _fit(within, material.means, material.counts, _regularisation(within), material.d)
    total = 0.0
    for rows in slices(material.n, max(len(material.counts), material.rows.held.shape[1])):
        p = found.posteriors(material.rows.centred(rows))
        total += float(_own(p, material.ids[rows]).sum())
    return total / material.n


def sfda(material: Material) -> float:
    """Mean posterior of a sample's own class after self-challenge, from 0 to 1.

    Shao, Zhao, Ge, Zhang, Yang, Wang, Shan and Luo 2022 (ECCV), Reg-FDA and ConfMix: a regularised Fisher
    discriminant (as in `lda`); each sample is mixed with the mean of all other classes' samples (ConfMix), the less
    the surer the discriminant is of its class; a second discriminant with the same regularisation on what results.
    As in the authors' code the posteriors are softened by a softmax before they mix, and the mean is of posteriors,
    not of their logs. Rotation and shift change nothing; scale does. O(n d^2 + d^3 + n d c).
    """
    material.require(CLASSES)
    within = _within(material)
    strength = _regularisation(within)
    sure = _sureness(material, _fit(within, material.means, material.counts, strength, material.d))
    counts, r = material.counts[:, None], material.rows.held.shape[1]
    others = -material.moments.cross / (material.n - counts)  # rows are centred, so all of them sum to zero
    scatter, sums = np.zeros((r, r)), np.zeros_like(others)
    for rows in slices(material.n, r):
        x = _mixed(material, rows, sure, others)
        scatter += x.T @ x
        some, code = np.unique(material.ids[rows], return_inverse=True)
        sums[some] += sums_by(code, x, len(some))
    weighted = sums / np.sqrt(counts)
    harder = (scatter - weighted.T @ weighted) / material.n
    second = _fit(harder, sums / counts, material.counts, strength, material.d)
    total = 0.0
    for rows in slices(material.n, max(len(counts), r)):
        total += float(_own(second.posteriors(_mixed(material, rows, sure, others)), material.ids[rows]).sum())
    return total / material.n


def _within(material: Material) -> Floats:
    """Within-class covariance [r, r]."""
    scatter = material.moments.scatter
    within = (scatter - material.between) / material.n
    if not np.trace(within) * material.n > SOLVABLE * np.trace(scatter):
        raise NoScore("features are the same for all samples of a class: there is no spread within classes")
    return within


def _regularisation(within: Floats) -> float:
    """Weight of the identity, between 1e-10 and 1: features that spread little are regularised much."""
    return max(float(np.exp(-SHARPNESS * _largest(within))), LEAST)


def _largest(within: Floats) -> float:
    """The largest eigenvalue: by Lanczos where the side is long, else and where that does not settle from all."""
    if len(within) > LANCZOS:
        start = rng("scores", "lanczos").normal(size=len(within))
        with contextlib.suppress(ArpackNoConvergence):
            return float(eigsh(within, k=1, which="LA", v0=start, return_eigenvectors=False)[0])
    return float(np.linalg.eigvalsh(within)[-1])


def _fit(within: Floats, means: Floats, counts: Ints, strength: float, d: int) -> Discriminant:
    """Linear discriminant from a within-class covariance [r, r] (of d dimensions, r of which hold samples)."""
    variance = float(np.trace(within))
    shrunk = (1 - strength) * within
    shrunk[np.diag_indices_from(shrunk)] += max(strength * variance / d, SOLVABLE * variance)
    weight = linalg.cho_solve(linalg.cho_factor(shrunk, overwrite_a=True, check_finite=False), means.T)
    return Discriminant(weight, np.log(counts / counts.sum()) - np.einsum("ij,ji->i", means, weight) / 2)


def _sureness(material: Material, found: Discriminant) -> Floats:
    """Softened posterior [n] of each sample's own class: a softmax over the posteriors."""
    out = np.empty(material.n)
    for rows in slices(material.n, max(len(material.counts), material.rows.held.shape[1])):
        p = found.posteriors(material.rows.centred(rows))
        out[rows] = _own(softmax(p, axis=1), material.ids[rows])
    return out


def _mixed(material: Material, rows: slice, sure: Floats, others: Floats) -> Floats:
    """Some centred rows [m, r], each mixed with the mean of the samples of all other classes."""
    weight = sure[rows, None]
    return np.asarray(weight * material.rows.centred(rows) + (1 - weight) * others[material.ids[rows]])


def _own(p: Floats, ids: Ints) -> Floats:
    return p[np.arange(len(ids)), ids]

"""Regularised linear regression: how well numbers, or labels, follow from the features by a linear function."""

from __future__ import annotations

import numpy as np

from graft.measures import LABELS, NUMBERS
from graft.scores._material import Material

PENALTIES = np.logspace(-6, 3, 19)  # of the largest eigenvalue of the scatter, so the scale of features cancels


def ridge(material: Material) -> float:
    """R2 of ridge regression with an intercept, estimated by generalised cross-validation; the mean over columns.

    Nguyen, Tran, Ho, Dinh, Tran, Hassner and Nguyen 2023 (UAI), "Simple Transferability Estimation for Regression
    Tasks", Linear MSE, take minus the penalised training error; here the error is the one that generalised
    cross-validation foresees (Golub, Heath and Wahba 1979, equation 1.4), at the best of 19 penalties for each
    column, and in units of what the mean alone gives, so that wide features gain nothing by their width. From the
    shared spectrum: O(n d^2 + d^3). Unchanged by rotation, shift and scale; about 0 where features know nothing.
    """
    material.require(LABELS, NUMBERS)
    values, n = material.spectrum.values, material.n
    z = np.square(material.moments.cross @ material.spectrum.vectors) / values  # [k, q]: squared coordinates
    total = material.squares - np.square(material.totals) / n
    outside = np.maximum(total - z.sum(axis=1), 0.0)
    if len(values) >= n - 1:
        outside[:] = 0.0
    lost = PENALTIES[:, None] * values[0] / (values + PENALTIES[:, None] * values[0])  # [penalties, q]
    error = outside + np.square(lost) @ z.T  # [penalties, k]
    free = n - 1 - len(values) + lost.sum(axis=1)  # degrees of freedom that are left
    foreseen = n * error / np.square(free)[:, None]
    alone = n * total / (n - 1) ** 2
    return float((1 - foreseen.min(axis=0) / alone).mean())

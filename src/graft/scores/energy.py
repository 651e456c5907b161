"""ETran's energy: how near the samples are, by the size of their features, to what the network was trained on."""

from __future__ import annotations

import numpy as np

from graft.scores._material import Material, NoScore
from graft.scores._moments import slices


def energy(material: Material) -> float:
    """Mean over samples of log sum exp of the features: their negative free energy, at temperature 1.

    Gholami, Akbari, Wang, Kamranian and Zhang 2023 (ICCV), "ETran", the energy score S_en, after Liu, Wang,
    Owens and Li 2020 (NeurIPS), equation 4. All samples count; the authors' code averages the half with the lowest.
    The target is not looked at, and a shift or another scale of the features changes it; the order of columns does
    not. O(n d).
    """
    if material.trouble:
        raise NoScore(material.trouble)
    total = 0.0
    for rows in slices(material.n, material.d):
        x = material.features[rows]
        largest = x.max(axis=1, keepdims=True)  # taken out, so that no exponential overflows
        with np.errstate(over="ignore"):  # a difference beyond single precision is -inf, and adds nothing
            sums = np.exp(x - largest).sum(axis=1, dtype=np.float64)
        total += float((np.log(sums) + largest[:, 0]).sum())
    return total / material.n

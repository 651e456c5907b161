"""Transferability scores: how well frozen features suit a target, before anything is trained.

`measure(Material.of(features, target, kind))` gives every score that serves the kind of target, as a finite number or
with the reason why it cannot be had. Each score is a plain function of a Material, with its paper in its docstring, and
of each more is better. What one number means beside another is the ranking's business: see docs/scores.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from graft.errors import UsageError, did_you_mean
from graft.measures import CLASSES, LABELS, NUMBERS
from graft.scores import (
    energy,
    fisher,
    gbc,
    hscore,
    kernel,
    leep,
    logme,
    neighbours,
    nleep,
    parc,
    ridge,
    transrate,
)
from graft.scores._material import Material, NoScore

__all__ = ["SCORES", "Material", "NoScore", "Score", "Value", "measure"]


@dataclass(frozen=True)
class Score:
    """A row of the table: more is better; `kinds` of target it serves; `needs_source`: the head's probabilities."""

    function: Callable[[Material], float]
    paper: str
    kinds: frozenset[str]
    needs_source: bool = False


@dataclass(frozen=True)
class Value:
    """A score: a finite number; or None, and the reason why it cannot be had."""

    value: float | None
    reason: str = ""


def measure(material: Material, names: Sequence[str] | None = None) -> dict[str, Value]:
    """The named scores of a candidate, or all that serve its kind of target; what they share is made once.

    Raises UsageError for a name that is no score. A score that cannot be had is a Value with its reason.
    """
    if names is None:
        names = [name for name, score in SCORES.items() if material.kind in score.kinds]
    for name in names:
        if name not in SCORES:
            raise UsageError(f"{name!r} is no transferability score.{did_you_mean(name, SCORES)}")
    return {name: _value(SCORES[name], material) for name in names}


def _value(score: Score, material: Material) -> Value:
    if material.kind not in score.kinds:
        return Value(None, f"serves {' and '.join(sorted(score.kinds))}, and the target is {material.kind}")
    try:
        found = score.function(material)
    except NoScore as e:
        return Value(None, str(e))
    except np.linalg.LinAlgError as e:
        return Value(None, f"a decomposition failed: {e}")
    return Value(found) if math.isfinite(found) else Value(None, f"not finite: {found}")


def _score(function: Callable[[Material], float], paper: str, *kinds: str, needs_source: bool = False) -> Score:
    return Score(function, paper, frozenset(kinds), needs_source)


SCORES = {
    "logme": _score(logme.logme, "You et al. 2021", CLASSES, LABELS, NUMBERS),
    "hscore": _score(hscore.hscore, "Bao et al. 2019", CLASSES),
    "regularised_hscore": _score(hscore.regularised_hscore, "Ibrahim et al. 2022", CLASSES),
    "transrate": _score(transrate.transrate, "Huang et al. 2022", CLASSES),
    "leep": _score(leep.leep, "Nguyen et al. 2020", CLASSES, needs_source=True),
    "nce": _score(leep.nce, "Tran et al. 2019", CLASSES, needs_source=True),
    "nleep": _score(nleep.nleep, "Li et al. 2021", CLASSES),
    "gbc": _score(gbc.gbc, "Pándy et al. 2022", CLASSES),
    "gbc_diagonal": _score(gbc.gbc_diagonal, "Pándy et al. 2022", CLASSES),
    "sfda": _score(fisher.sfda, "Shao et al. 2022", CLASSES),
    "lda": _score(fisher.lda, "Gholami et al. 2023", CLASSES),
    "energy": _score(energy.energy, "Gholami et al. 2023", CLASSES, LABELS, NUMBERS),
    "parc": _score(parc.parc, "Bolya et al. 2021", CLASSES, LABELS),
    "neighbours": _score(neighbours.neighbours, "Puigcerver et al. 2021", CLASSES, LABELS, NUMBERS),
    "rsa": _score(kernel.rsa, "Dwivedi and Roig 2019", CLASSES, LABELS, NUMBERS),
    "cka": _score(kernel.cka, "Kornblith et al. 2019", CLASSES, LABELS, NUMBERS),
    "ridge": _score(ridge.ridge, "Nguyen et al. 2023", LABELS, NUMBERS),
}

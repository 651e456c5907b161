"""Measures of classes, labels and numbers by name, exact, over all bootstrap resamples at once.

Three kinds of answers: "classes" (probabilities [n, c], truth [n] of class indices), "labels" (several or none a
sample: probabilities [n, c], truth [n, c] of 0 and 1) and "numbers" (values [n], truth [n]). `table()` lists what there
is; each row's `says` is the one definition, tested against scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from graft.measures import _classes, _given, _labels, _numbers
from graft.measures._classes import confidence_bins
from graft.measures._table import (
    CLASSES,
    LABELS,
    NUMBERS,
    Chosen,
    Measure,
    is_lower,
    is_share,
    names,
    parse,
    spoken,
    table,
)

__all__ = [
    "CLASSES",
    "LABELS",
    "NUMBERS",
    "Chosen",
    "Measure",
    "compute",
    "confidence_bins",
    "decide",
    "expected_calibration_error",
    "is_lower",
    "is_share",
    "names",
    "parse",
    "pointwise",
    "spoken",
    "table",
    "undefined",
]

_Given = _classes.Classes | _labels.Labels | _numbers.Numbers


def compute(
    kind: str,
    decoded: Any,
    truth: Any,
    *,
    labels: Sequence[str] = (),
    measures: Sequence[Chosen | str],
    offsets: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Each measure on each resample: {str(measure): [resamples]}, NaN where it is undefined.

    weights: how often each sample was drawn, [resamples, n], any number type; None: once each, one resample. A resample
    may lack what the whole has (a class, say), so NaN can stand beside numbers; `undefined` tells why the whole is NaN.
    offsets [c] shift decisions (see `decide`), hence accuracies, F1, exact matches and costs; measures of the
    probabilities themselves (AUROC, average precision, sensitivity, log-loss, calibration error) do not know them.
    Time: a sum over samples, classes and resamples (1 s for 3,000 x 77 x 1,000); memory: a few chunks of 8 MB.
    Raises DataError for answers that are not finite or no probabilities, naming the row; UsageError as `parse` does.
    """
    given = _taken(kind, decoded, truth, labels, offsets, weights)
    named = given.labels if isinstance(given, _classes.Classes) else labels
    return {str(m): given.value(_chosen(m, kind, named)) for m in measures}


def pointwise(
    kind: str, name: Chosen | str, decoded: Any, truth: Any, offsets: np.ndarray | None = None
) -> np.ndarray | None:
    """Values [n] whose mean is the measure, or None: of accuracy, log_loss, cost, exact_match, hamming_loss and mae.

    A cost or a sensitivity with labels in it has to come parsed. Raises as `compute`.
    """
    given = _taken(kind, decoded, truth, (), offsets, None)
    named = given.labels if isinstance(given, _classes.Classes) else ()
    return given.points(_chosen(name, kind, named))


def undefined(kind: str, name: Chosen | str, truth: Any, labels: Sequence[str]) -> str:
    """Why a measure is NaN on this truth ("no sample is of class 'bee'"); "" where it is defined.

    A rank correlation is NaN too where all answers are equal, which the truth cannot tell.
    """
    chosen, true = _chosen(name, kind, labels), np.asarray(truth)
    if not len(true):
        return "there is no sample"
    if kind == CLASSES:
        return _classes.undefined(chosen, true, labels)
    return _labels.undefined(chosen, true) if kind == LABELS else _numbers.undefined(chosen, true)


def decide(
    kind: str, decoded: Any, offsets: np.ndarray | None = None, costs: Sequence[Sequence[float]] | None = None
) -> np.ndarray:
    """Answers as decisions: classes argmax(log p + offsets) [n]; labels logit(p) + offsets > 0 [n, c]; numbers [n].

    costs [true, predicted] (`Chosen.costs`; empty is none), of classes alone: the class of least expected cost under
    p * exp(offsets), which is how the measure `cost` decides (Elkan 2001). Raises DataError as `compute`.
    """
    if kind == NUMBERS:
        return _given.finite(decoded, "answer", 1)
    p = _given.probabilities(decoded)
    shifts = _given.shifts(offsets, p.shape[1])
    if kind == LABELS:
        return _labels.decide(p, shifts)
    return _classes.decide(p, shifts, np.array(costs, dtype=np.float64) if costs else None)


def expected_calibration_error(
    probabilities: Any, truth: Any, weights: np.ndarray | None = None, bins: int = _classes.BINS
) -> np.ndarray:
    """|share right - mean probability| of the likeliest class, averaged over equal bins of it, [resamples].

    Guo et al. 2017, section 2, bins closed on the right; probabilities [n, c], truth [n], weights as in `compute`.
    """
    given = _classes.Classes.of(probabilities, truth, (), None, weights)
    return _classes.calibration_error(given.decoded, given.truth, given.weights, bins)


def _taken(
    kind: str, decoded: Any, truth: Any, labels: Sequence[str], offsets: np.ndarray | None, weights: np.ndarray | None
) -> _Given:
    if kind == CLASSES:
        return _classes.Classes.of(decoded, truth, labels, offsets, weights)
    if kind == LABELS:
        return _labels.Labels.of(decoded, truth, offsets, weights)
    if kind == NUMBERS:
        return _numbers.Numbers.of(decoded, truth, weights)
    raise ValueError(f"{kind!r} is no kind of answers: {CLASSES}, {LABELS}, {NUMBERS}")


def _chosen(measure: Chosen | str, kind: str, labels: Sequence[str]) -> Chosen:
    return parse(measure, kind, labels) if isinstance(measure, str) else measure

"""From what was measured of the candidates to predicted fine-tuned scores: the scale, the rows, the combination."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import stats

from graft import constant
from graft.data import Sample
from graft.errors import DataError
from graft.evaluate import Score
from graft.measures import CLASSES
from graft.ranking import combine
from graft.ranking.combine import Combination, Predicted, Row
from graft.ranking.prior import Prior
from graft.ranking.scale import Scale
from graft.tasks import Task, measures_of

FILE = "combination.json"
"""The combinations that ship, by modality; `bench/rank_truth.py fit` writes it from its results."""
CALIBRATED = ("calibration_error",)
"""Measures in which knowing nothing is good."""


@cache
def shipped(modality: str, kind: str = CLASSES) -> Combination:
    """The combination fitted for a modality; where there is none, the one in which the probe is the prediction.

    What was fine-tuned answered with classes: for labels and numbers nothing is claimed to be learned. Raises DataError
    where the installed file is damaged.
    """
    file = Path(__file__).with_name(FILE)
    try:
        known = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as e:
        raise DataError(f"{FILE} of this installation is damaged ({e}); install graft again") from e
    if kind == CLASSES and modality in known:
        return Combination.from_plain(known[modality])
    return combine.fit([], ("prior", "probe"))


def judged(task: Task, samples: Sequence[Sample], truth: np.ndarray) -> Task:
    """The task, with a deciding measure that has a scale on these samples.

    Where the constant answer has no value in its own, or (nearly) the best one there is, as in a correlation or a
    calibration error, remaining error means nothing: then the task comes back with the usual measure of its kind.
    Raises DataError where nothing can be ranked on the samples at all.
    """
    try:
        scale_of(task, samples, truth)
        return task
    except DataError:
        usual = measures_of(task, "")
        if task.measures[:1] == usual[:1]:
            raise
        made = copy.copy(task)
        made.measures = usual
        made.schema = {k: v for k, v in (task.schema or {}).items() if k != "measure"}
        scale_of(made, samples, truth)
        return made


def scale_of(task: Task, samples: Sequence[Sample], truth: np.ndarray) -> Scale:
    """The scale of the deciding measure on these samples. Raises DataError where nothing can be ranked on them."""
    if task.answer is None:
        raise DataError(f"{task.name} has no answer that is always the same, which predictions are measured from")
    if task.measures[0].partition(":")[0] in CALIBRATED:
        raise DataError(
            f"{task.measures[0]}: an answer that is always the same is calibrated, which says nothing of it"
        )
    value = of_constant(task, samples, truth)
    if not math.isfinite(value):
        raise DataError(
            f"{task.measures[0]} has no value for the constant answer on {len(samples)} samples (one class?): choose "
            "another with --measure, or give more samples"
        )
    return Scale(task.lower(), value, len(samples))


def of_constant(task: Task, samples: Sequence[Sample], truth: np.ndarray) -> float:
    """The deciding measure of the answer that is always the same; NaN where it has none, as a correlation."""
    answers = constant.always(task, samples, len(samples))[1]
    return float(next(iter(task.measure(answers, truth).values())))


def noise_of(score: Score, scale: Scale, level: float) -> float:
    """The sampling variance of a score on the scale of y, from its interval."""
    if not (math.isfinite(score.low) and math.isfinite(score.high)):
        return 0.0
    best, worst = scale.y(_within(scale, score.low)), scale.y(_within(scale, score.high))
    z = float(stats.norm.ppf(0.5 + level / 2))
    return ((worst - best) / (2 * z)) ** 2


def _within(scale: Scale, value: float) -> float:
    """A value that the scale takes: ends of intervals may lie beyond the best."""
    return max(value, scale.best) if scale.lower else min(value, scale.best)


@dataclass(frozen=True)
class Measured:
    """What a prediction rests on: the prior, the probe on the scale of y with its sampling variance, the scores."""

    name: str
    prior: Prior
    probe: float
    noise: float
    scores: Mapping[str, float | None]


def probed(score: Score, scale: Scale, level: float) -> tuple[float, float]:
    """(a probe's score on the scale of y, its sampling variance)."""
    return scale.y(_within(scale, score.value)), noise_of(score, scale, level)


def predict(made: Combination, measured: Sequence[Measured]) -> Predicted:
    """The candidates of one data set together."""
    rows = [
        Row(
            "these data",
            m.name,
            {"prior": m.prior.value, "probe": m.probe, **m.scores},
            noise={"prior": m.prior.se**2, "probe": m.noise},
        )
        for m in measured
    ]
    return made.predict(rows)

"""From what was measured of the candidates to predicted fine-tuned scores: the scale, the rows, the combination."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from scipy import stats

from graft import constant
from graft.data import Sample
from graft.errors import DataError
from graft.evaluate import Score
from graft.ranking import combine
from graft.ranking.combine import Combination, Predicted, Row
from graft.ranking.prior import Prior
from graft.ranking.scale import Scale
from graft.tasks import Task

FILE = "combination.json"
"""The combinations that ship, by modality; `bench/rank_truth.py fit` writes it from its results."""


@cache
def shipped(modality: str) -> Combination:
    """The combination fitted for a modality; where there is none, the one in which the probe is the prediction.

    Raises DataError where the installed file is damaged.
    """
    file = Path(__file__).with_name(FILE)
    try:
        known = json.loads(file.read_text("utf-8")) if file.is_file() else {}
    except (OSError, ValueError) as e:
        raise DataError(f"{FILE} of this installation is damaged ({e}); install graft again") from e
    return Combination.from_plain(known[modality]) if modality in known else combine.fit([], ("prior", "probe"))


def scale_of(task: Task, samples: Sequence[Sample], truth: np.ndarray) -> Scale:
    """The scale of the deciding measure on these samples. Raises DataError where nothing can be ranked on them."""
    if task.answer is None:
        raise DataError(f"{task.name} has no answer that is always the same, which predictions are measured from")
    answers = constant.always(task, samples, len(samples))[1]
    value = float(next(iter(task.measure(answers, truth).values())))
    if not math.isfinite(value):
        raise DataError(
            f"{task.measures[0]} has no value for the constant answer on {len(samples)} samples (one class?): choose "
            "another with --measure, or give more samples"
        )
    return Scale(task.lower(), value, len(samples))


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
    """What was measured of one candidate on the samples of a round."""

    name: str
    prior: Prior
    probe: Score
    scores: dict[str, float | None]


def predict(modality: str, measured: Sequence[Measured], scale: Scale, level: float) -> Predicted:
    """The candidates of one round together. `level` is that of the probes' intervals."""
    rows = [
        Row(
            "these data",
            m.name,
            {"prior": m.prior.value, "probe": scale.y(_within(scale, m.probe.value)), **m.scores},
            noise={"prior": m.prior.se**2, "probe": noise_of(m.probe, scale, level)},
        )
        for m in measured
    ]
    return shipped(modality).predict(rows)

"""Controls in the same run, and what they say: did carrying the knowledge over help?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from graft import evaluate, ladder
from graft._wording import interval, is_percent, number, spoken
from graft.data import Sample
from graft.evaluate import Paired, Score
from graft.ladder import Arm
from graft.session import Session
from graft.tasks import Task

BASELINES = ("majority", "base_rates", "constant")
"""The control without any knowledge, by kind of answer."""


@dataclass
class Evidence:
    """Answers on the test part of the chosen arm and of every control, their scores and paired differences."""

    answers: dict[str, np.ndarray]
    scores: dict[str, dict[str, Score]]
    against: dict[str, Paired]
    chosen: str
    arms: dict[str, Arm]
    offsets: dict[str, np.ndarray | None]


def always(task: Task, train: Sequence[Sample], n: int) -> tuple[str, np.ndarray]:
    """(name, answers [n, ...]) of the control that looks at nothing but the training targets."""
    if task.answer is None:
        raise NotImplementedError(f"{task.name} has no answer that is always the same")
    return task.answer.baseline, task.answer.always(train, task.labels, n, task.measures[0].partition(":")[0])


def gather(s: Session, arms: list[Arm]) -> Evidence:
    """Run the controls that did not run as rungs, and answer the test part with each and with the chosen arm."""
    chosen = next(a for a in arms if a.kept)
    by_name = {a.name: a for a in arms}
    for rung in ladder.control_rungs():
        if rung.name not in by_name:
            by_name[rung.name] = s.timed(f"control {rung.name}", partial(ladder.run, s, rung.name, rung.stages))
    names = [chosen.name, *(r.name for r in ladder.control_rungs() if r.name != chosen.name)]
    answers = {name: s.timed("test", partial(ladder.test_answers, s, by_name[name])) for name in names}
    offsets = {name: by_name[name].offsets for name in names}
    baseline, same = always(s.task, s.data.train, len(s.data.test))
    answers[baseline], offsets[baseline] = same, None
    truth = evaluate.truth_of(s.task, s.data.test)
    scores = {name: evaluate.scores(s.task, a, truth, s.recipe.seed, offsets[name]) for name, a in answers.items()}
    own = offsets[chosen.name]
    against = {
        name: evaluate.paired(s.task, answers[chosen.name], a, truth, s.recipe.seed, (own, offsets[name]))
        for name, a in answers.items()
        if name != chosen.name
    }
    return Evidence(answers, scores, against, chosen.name, by_name, offsets)


def verdict(
    chosen: str,
    measure: str,
    scores: Mapping[str, Score],
    against: Mapping[str, Paired],
    saw: Mapping[str, str],
    lower: bool = False,
) -> str:
    """One sentence on how the chosen model stands beside the controls; `saw` tells who saw fewer samples, `lower`
    that less is better."""

    def named(name: str) -> str:
        return f"{words(name)} ({saw[name]})" if saw.get(name) else words(name)

    own = scores[chosen]
    reach = interval(own.plain(), measure)
    said = f"{named(chosen)} reaches {number(own.value, measure)} {spoken(measure)} [{reach}] on {own.n} test samples"
    parts = []
    for name, pair in against.items():
        if math.isnan(pair.difference):
            parts.append(f"not comparable with {named(name)}, whose {spoken(measure)} is not defined")
            continue
        unit = " points" if is_percent(measure) else ""
        ends = interval(asdict(pair), measure, signed=True)
        points = f"{number(pair.difference, measure, signed=True)}{unit} [{ends}]"
        better, worse = (pair.high < 0, pair.low > 0) if lower else (pair.low > 0, pair.high < 0)
        what = "better than" if better else "worse than" if worse else "not separable from"
        parts.append(f"{what} {named(name)} ({points})")
    return f"{said[0].upper()}{said[1:]}: {'; '.join(parts)}."


def words(name: str) -> str:
    """A rung's or control's name in words."""
    known = {
        "majority": "always the commonest class",
        "base_rates": "always the labels' shares",
        "constant": "always the same number",
        "balanced_probe": "the frozen probe with classes counted alike",
        "nearest_neighbour": "nearest neighbours on frozen features",
        "probe": "the frozen probe",
        "finetune": "fine-tuning",
        "probe_finetune": "fine-tuning from the probe",
        "recipe": "the recipe",
    }
    return known.get(name, name)

"""Controls in the same run, and what they say: did carrying the knowledge over help?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from graft import evaluate, ladder
from graft.evaluate import Paired, Score
from graft.ladder import Arm
from graft.session import Session

MAJORITY = "majority"


@dataclass
class Evidence:
    """Answers on the test part of the chosen arm and of every control, their scores and paired differences."""

    answers: dict[str, np.ndarray]
    scores: dict[str, dict[str, Score]]
    against: dict[str, Paired]
    chosen: str
    arms: dict[str, Arm]


def majority(labels: tuple[str, ...], train: list[str], n: int) -> np.ndarray:
    """Always the shares of the training part, so the commonest class wins: [n, classes]."""
    counts = np.array([train.count(label) for label in labels], dtype=np.float64)
    return np.tile(counts / counts.sum(), (n, 1))


def gather(s: Session, arms: list[Arm]) -> Evidence:
    """Run the controls that did not run as rungs, and answer the test part with each and with the chosen arm."""
    chosen = next(a for a in arms if a.kept)
    by_name = {a.name: a for a in arms}
    for rung in ladder.control_rungs():
        if rung.name not in by_name:
            by_name[rung.name] = s.timed(f"control {rung.name}", partial(ladder.run, s, rung.name, rung.stages))
    names = [chosen.name, *(r.name for r in ladder.control_rungs() if r.name != chosen.name)]
    answers = {name: s.timed("test", partial(ladder.test_answers, s, by_name[name])) for name in names}
    answers[MAJORITY] = majority(s.task.labels, [x.y for x in s.data.train], len(s.data.test))
    truth = evaluate.truth_of(s.task, s.data.test)
    scores = {name: evaluate.scores(s.task, a, truth, s.recipe.seed) for name, a in answers.items()}
    against = {
        name: evaluate.paired(s.task, answers[chosen.name], a, truth, s.recipe.seed)
        for name, a in answers.items()
        if name != chosen.name
    }
    return Evidence(answers, scores, against, chosen.name, by_name)


def verdict(
    chosen: str, measure: str, scores: Mapping[str, Score], against: Mapping[str, Paired], saw: Mapping[str, str]
) -> str:
    """One sentence on how the chosen model stands beside the controls; `saw` tells who saw fewer samples."""

    def named(name: str) -> str:
        return f"{words(name)} ({saw[name]})" if saw.get(name) else words(name)

    own = scores[chosen]
    said = f"{named(chosen)} reaches {own.value:.1%} {measure} [{own.low:.1%}, {own.high:.1%}] on {own.n} test samples"
    parts = []
    for name, pair in against.items():
        points = f"{100 * pair.difference:+.1f} points [{100 * pair.low:+.1f}, {100 * pair.high:+.1f}]"
        what = "better than" if pair.low > 0 else "worse than" if pair.high < 0 else "not separable from"
        parts.append(f"{what} {named(name)} ({points})")
    return f"{said[0].upper()}{said[1:]}: {'; '.join(parts)}."


def words(name: str) -> str:
    """A rung's or control's name in words."""
    known = {
        MAJORITY: "always the commonest class",
        "nearest_neighbour": "nearest neighbours on frozen features",
        "probe": "the frozen probe",
        "finetune": "fine-tuning",
        "probe_finetune": "fine-tuning from the probe",
        "recipe": "the recipe",
    }
    return known.get(name, name)

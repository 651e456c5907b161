"""Controls in the same run, and what they say: did carrying the knowledge over help?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from graft import arms as running
from graft import constant, controls, evaluate, ladder
from graft.arms import Arm
from graft.session import Session
from graft.tasks import Task


@dataclass
class Evidence:
    """What was answered by the chosen arm and by every control, on validation and on the test part.

    `answers` are on the test part [n, ...], by name; `arms` are all that ran, rungs first; `baseline` is the name of
    the control that looks at nothing, whose answers on validation are `same`. `kept` is the best arm with pretrained
    knowledge, `chosen` the arm that the run keeps: another one only where transfer was negative.
    """

    answers: dict[str, np.ndarray]
    arms: dict[str, Arm]
    baseline: str
    same: np.ndarray
    kept: str
    chosen: str
    left_out: list[dict[str, str]] = field(default_factory=list)

    def offsets(self, name: str) -> np.ndarray | None:
        """What moves the decisions of a model; None: nothing."""
        return self.arms[name].offsets if name in self.arms else None


def gather(s: Session, ran: list[Arm]) -> Evidence:
    """Run the controls that did not run as rungs, settle what is kept, and answer the test part with each."""
    kept = next(a for a in ran if a.kept)
    made, left_out = controls.run_all(s, ran)
    by_name = {a.name: a for a in (*ran, *made)}
    baseline, same = constant.always(s.task, s.data.train, len(s.data.valid))
    truth = evaluate.truth_of(s.task, s.data.valid)
    winner = (
        ""
        if s.recipe.evidence == "off"
        else beaten_by(s.task, truth, s.recipe.seed, kept, made, (baseline, same), evaluate.groups_of(s.data.valid))
    )
    if winner == baseline:
        by_name[baseline] = constant.arm(s, baseline)
    known = [r.name for r in ladder.control_rungs() if r.name in by_name]
    names = dict.fromkeys((kept.name, *known, *(a.name for a in made if a.start == "random")))
    answers = {name: s.timed("test", partial(running.test_answers, s, by_name[name])) for name in names}
    answers[baseline] = constant.always(s.task, s.data.train, len(s.data.test))[1]
    return Evidence(answers, by_name, baseline, same, kept.name, winner or kept.name, left_out)


def beaten_by(
    task: Task,
    truth: Sequence[Any],
    seed: int,
    kept: Arm,
    made: Sequence[Arm],
    baseline: tuple[str, np.ndarray],
    groups: Sequence[str] | None = None,
) -> str:
    """The arm without pretrained knowledge that beats the kept one on validation, or "": negative transfer.

    Each is tested at ALPHA shared by all of them (Bonferroni), so that chance alone seldom turns a model down. Of
    several the simplest wins that none is measurably better than: always the same, a probe, training.
    """
    rivals = {baseline[0]: baseline[1]} | {a.name: a.shown() for a in made if a.start == "random"}
    winner, best = "", kept.shown()
    for name, answers in rivals.items():
        level = ladder.ALPHA / len(rivals)
        if evaluate.paired(task, answers, best, truth, seed, groups=groups).p < level:
            winner, best = name, answers
    return winner


def best_without(
    task: Task, truth: Sequence[Any], seed: int, made: Sequence[Arm], baseline: tuple[str, np.ndarray]
) -> str:
    """The best arm without pretrained knowledge by its score on validation; the one that looks at nothing at least."""
    sign = -1.0 if task.lower() else 1.0
    scored = {baseline[0]: evaluate.score(task, baseline[1], truth, seed).value}
    scored |= {a.name: a.score.value for a in made if a.start == "random"}
    return max(scored, key=lambda name: sign * scored[name] if math.isfinite(scored[name]) else -math.inf)


def words(name: str) -> str:
    """A rung's or control's name in words."""
    known = {
        "majority": "always the commonest class",
        "base_rates": "always the labels' shares",
        "constant": "always the same number",
        "balanced_probe": "the frozen probe with classes counted alike",
        "nearest_neighbour": "nearest neighbours on frozen features",
        "probe": "the frozen probe",
        "random_probe": "a probe on random features",
        "scratch": "training from scratch",
        "finetune": "fine-tuning",
        "probe_finetune": "fine-tuning from the probe",
        "recipe": "the recipe",
    }
    return known.get(name, name)

"""Every number of a report that follows from saved answers: made once in a fit, and again by `graft verify`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from graft import calibrate, conformal, details, evaluate, evidence, ladder, measures, verdict
from graft._wording import interval, number, spoken
from graft.arms import Arm
from graft.controls import SCRATCH
from graft.evaluate import Score
from graft.tasks import Task


@dataclass
class Case:
    """What a run's claims rest on: answers, the truth, and who is who.

    `truth` has the targets of "valid" and "test" as measures take them; `rungs` the ladder's arms in order and `made`
    the controls that ran beside them, each with its answers on validation; `tests` answers on the test part by name;
    `baseline` the control that looks at nothing and `same` its answers on validation; `mode` is `recipe.evidence`;
    `groups` has the group of each sample by part, None where there are none.
    """

    task: Task
    seed: int
    truth: Mapping[str, Sequence[Any]]
    rungs: Sequence[Arm]
    made: Sequence[Arm]
    tests: Mapping[str, np.ndarray]
    baseline: str
    same: np.ndarray
    kept: str
    chosen: str
    mode: str
    groups: Mapping[str, Sequence[str] | None]

    @property
    def arms(self) -> dict[str, Arm]:
        """All arms by name."""
        return {a.name: a for a in (*self.rungs, *self.made)}

    def offsets(self, name: str) -> np.ndarray | None:
        """What moves the decisions of a model; None: nothing."""
        return self.arms[name].offsets if name in self.arms else None

    @property
    def controls(self) -> list[str]:
        """The controls that answered the test part, from those that know nothing on."""
        order = (self.baseline, *(a.name for a in self.made if a.start == "random"))
        known = [r.name for r in ladder.control_rungs() if r.name in self.tests]
        return [n for n in dict.fromkeys((*order, *known)) if n in self.tests]


def numbers(case: Case) -> dict[str, Any]:
    """The parts of report.json that follow from answers and truth, as plain values."""
    task, truth = case.task, np.asarray(case.truth["test"])
    found = {
        n: evaluate.scores(task, a, truth, case.seed, case.offsets(n), groups=case.groups["test"])
        for n, a in case.tests.items()
    }
    own = found[case.chosen]
    measure = next(iter(own))
    scores: dict[str, Any] = {n: {"test": {k: v.plain() for k, v in m.items()}} for n, m in found.items()}
    for a in case.arms.values():
        scores.setdefault(a.name, {})["valid"] = {measure: a.score.plain()}
    against = _against(case, truth)
    first = {n: m[measure] for n, m in found.items()}
    moved = {n: case.offsets(n) for n in (*case.tests, *case.arms)}
    return {
        "measure": measure,
        "measures": _definitions(task, own, truth),
        "headline": own[measure].plain(),
        "controls": {n: brief(first[n]) for n in case.controls},
        "against": {n: asdict(p) for n, p in against.items()},
        "comparisons": _comparisons(case, first[case.chosen], against),
        **transfer(case, first, truth),
        "rungs": [a.plain() for a in case.rungs],
        "scores": scores,
        "thresholds": {n: [float(v) for v in o] for n, o in moved.items() if o is not None},
    }


def shown(case: Case, samples: Sequence[Any]) -> dict[str, Any]:
    """Tables, calibration, sets, abstention and worst mistakes of the chosen model, with the samples to show them."""
    assert case.task.answer is not None
    kind, labels, offsets = case.task.answer.kind, case.task.labels, case.offsets(case.chosen)
    truth, answers = np.asarray(case.truth["test"]), case.tests[case.chosen]
    arm = case.arms.get(case.chosen)
    valid, temperature = (arm.valid, arm.temperature) if arm is not None else (case.same, 1.0)
    known = details.of(case.task, samples, answers, truth, offsets)
    calibration = {**known.get("calibration", {}), **calibrate.checked(kind, answers, truth, temperature)}
    return {
        **known,
        **({"calibration": calibration} if calibration else {}),
        "conformal": conformal.measured(kind, valid, case.truth["valid"], answers, truth, labels, offsets),
        "abstention": conformal.abstention(kind, answers, truth, offsets),
    }


def _against(case: Case, truth: np.ndarray) -> dict[str, evaluate.Paired]:
    """The chosen model minus every other that answered the test part, paired."""
    a, own = case.tests[case.chosen], case.offsets(case.chosen)
    return {
        name: evaluate.paired(case.task, a, b, truth, case.seed, (own, case.offsets(name)), groups=case.groups["test"])
        for name, b in case.tests.items()
        if name != case.chosen
    }


def _comparisons(case: Case, own: Score, against: Mapping[str, evaluate.Paired]) -> str:
    """One sentence on how the chosen model stands beside every other that answered the test part."""
    measure, parts = task_measure(case.task), []
    for name, pair in against.items():
        if math.isnan(pair.difference):
            parts.append(f"not comparable with {named(case, name)}, whose {spoken(measure)} is not defined")
            continue
        low, high = (-pair.high, -pair.low) if case.task.lower() else (pair.low, pair.high)
        what = "better than" if low > 0 else "worse than" if high < 0 else "not separable from"
        parts.append(f"{what} {named(case, name)} ({ladder.against(case.task, pair)})")
    compared = f": {'; '.join(parts)}" if parts else ""
    return f"{_capital(_reaches(case, case.chosen, own))}{compared}."


def _reaches(case: Case, name: str, score: Score) -> str:
    """A model's score on the test part, in words."""
    measure = task_measure(case.task)
    reach = f"{number(score.value, measure)} {spoken(measure)} [{interval(score.plain(), measure)}]"
    return f"{named(case, name)} reaches {reach} on {score.n} test samples"


def _capital(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}"


def transfer(case: Case, first: Mapping[str, Score], truth: np.ndarray) -> dict[str, Any]:
    """{transfer, verdict}: the best arm with pretrained knowledge against the best without, on the test part.

    Both are the best on validation, so that the test part decides nothing it then measures.
    """
    task, measure = case.task, task_measure(case.task)
    kept = first[case.kept]
    said = _reaches(case, case.kept, kept)
    if case.mode == "off":
        word: str = "cannot_tell"
        without, pair = "", None
        text = f"{_capital(said)}. No controls ran (--evidence off): nothing is said about transfer."
        told: dict[str, Any] = {"reason": "no controls ran (--evidence off)", "margin": None, "needed": None}
    else:
        rivals = (case.baseline, case.same)
        without = evidence.best_without(task, case.truth["valid"], case.seed, case.made, rivals)
        offsets = (case.offsets(case.kept), case.offsets(without))
        tests = (case.tests[case.kept], case.tests[without])
        pair = evaluate.paired(task, *tests, truth, case.seed, offsets, groups=case.groups["test"])
        decided = verdict.decide(pair, kept.n, measure, task.lower(), first[without])
        word = decided.word
        told = {"reason": decided.reason, "margin": decided.margin, "needed": decided.needed}
        text = _sentence(case, said, word, decided.reason, pair, without)
    sides = {"with": case.kept, "without": without, "kept": case.chosen}
    plain = asdict(pair) if pair is not None else {}
    return {
        "transfer": {"verdict": word, **sides, **plain, "n": kept.n, **told, "negative": case.chosen != case.kept},
        "verdict": " ".join([text, *_besides(case)]),
    }


def named(case: Case, name: str) -> str:
    """A model in words, with what it got less of than it might have."""
    saw = case.arms[name].saw if name in case.arms else ""
    return f"{evidence.words(name)} ({saw})" if saw else evidence.words(name)


def task_measure(task: Task) -> str:
    """The deciding measure."""
    return str(task.chosen()[0])


def _sentence(case: Case, said: str, word: str, reason: str, pair: evaluate.Paired, without: str) -> str:
    """The verdict in one sentence."""
    gap = ladder.against(case.task, pair) if math.isfinite(pair.difference) else "not defined"
    # Who reads only this sentence must not take a control that did not run for one that lost.
    missing = "" if any(a.name == SCRATCH for a in case.made) else " that ran (training from scratch did not)"
    best = f"{named(case, without)}, the best without pretrained knowledge{missing}"
    if word == "helped":
        return f"Transfer helped: {said}, better than {best} ({gap})."
    if word == "hurt":
        return f"Transfer hurt: {said}, worse than {best} ({gap})."
    if word == "no_difference":
        return f"Transfer made no difference: {said}, as good as {best} ({gap})."
    return f"Cannot tell whether transfer helped: {said}, against {best}: {reason.rstrip('.')}."


def _besides(case: Case) -> list[str]:
    """What else must be said: that the run keeps an arm without pretrained weights, that fine-tuning hurt."""
    found = []
    if case.chosen != case.kept:
        found.append(
            f"Negative transfer: {evidence.words(case.chosen)} beat {evidence.words(case.kept)} on validation, "
            "and is what the run keeps."
        )
    kept = case.arms[case.kept]
    for arm in case.rungs:
        if kept.frozen and not arm.frozen:
            pair = evaluate.paired(
                case.task, kept.shown(), arm.shown(), case.truth["valid"], case.seed, groups=case.groups["valid"]
            )
            if pair.p < ladder.ALPHA:
                hurt = f"{evidence.words(arm.name)} hurt: kept {evidence.words(case.kept)}"
                found.append(f"{_capital(hurt)} ({ladder.against(case.task, pair)} on validation).")
    return found


def _definitions(task: Task, scores: Mapping[str, Score], truth: np.ndarray) -> dict[str, Any]:
    """What each measure is, whether less is better, and why one has no value here."""
    assert task.answer is not None
    says = {m.name: m.says for m in measures.table()}
    found = {}
    for chosen in task.chosen():
        why = measures.undefined(task.answer.kind, chosen, truth, task.labels) if str(chosen) in scores else ""
        found[str(chosen)] = {
            "says": says[chosen.name], "lower": measures.is_lower(chosen.name), "undefined": why,
        }  # fmt: skip
    return found


def brief(score: Score) -> dict[str, float]:
    """A score without its n."""
    return {"value": score.value, "low": score.low, "high": score.high}

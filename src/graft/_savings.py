"""What a study of labels says: how many labels, and how much time, pretrained knowledge saved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from graft import curves
from graft import draws as drawing
from graft._lab import WITH, WITHOUT, Lab, Point
from graft._wording import duration, number, spoken
from graft.curves import Arm, Family, Ratio

SAVED, HURT, UNSURE = "saved", "hurt", "cannot_tell"


@dataclass(frozen=True)
class Case:
    """What is compared: the arms with their curves, and the control that looks at nothing on the same resamples."""

    measure: str
    lower: bool
    arms: Mapping[str, Arm]
    fits: Mapping[str, tuple[Family, Family]]
    means: Mapping[str, np.ndarray]
    """Resampled mean errors [resamples, sizes] by arm."""
    baseline: float
    base: np.ndarray
    """Its error on the test part, and [resamples]."""

    @property
    def largest(self) -> int:
        """The largest size that both arms were measured at."""
        return int(max(set(self.arms[WITH].errors) & set(self.arms[WITHOUT].errors), default=0))

    def score(self, error: float) -> float:
        """An error on the measure's own scale."""
        return error if self.lower else 1 - error

    def top(self, arm: str) -> np.ndarray:
        """Resampled mean errors of an arm at `largest`."""
        return self.means[arm][:, list(self.arms[arm].sizes).index(self.largest)]


def case_of(lab: Lab, points: Sequence[Point], seed: int) -> Case:
    """Put points in order: errors by arm, size and seed, and each on the same resamples of the test part."""
    truth, lower = lab.truth["test"], lab.task.lower()

    def draws(answers: np.ndarray) -> np.ndarray:
        found = drawing.draws(lab.task, answers, truth, seed).resampled
        return found if lower else 1 - found

    errors: dict[str, dict[int, list[float]]] = {WITH: {}, WITHOUT: {}}
    tables: dict[str, dict[int, list[np.ndarray]]] = {WITH: {}, WITHOUT: {}}
    for p in points:
        errors[p.arm].setdefault(p.n, []).append(p.value if lower else 1 - p.value)
        tables[p.arm].setdefault(p.n, []).append(draws(p.answers))
    same = lab.baseline()[1]
    base = draws(same)
    whole = np.isfinite(base)
    for table in (t for of in tables.values() for several in of.values() for t in several):
        whole &= np.isfinite(table)  # a resample on which the measure has no value says nothing of any arm
    arms = {
        a: Arm({n: np.array(e) for n, e in errors[a].items()}, {n: np.stack(t)[:, whole] for n, t in tables[a].items()})
        for a in errors
    }
    fits = {a: curves.fitted(arm, seed, a) for a, arm in arms.items() if arm.errors}
    means = {a: arm.resampled(seed, a) for a, arm in arms.items() if arm.errors}
    value = float(next(iter(lab.task.measure(same, truth).values())))
    return Case(lab.task.measures[0], lower, arms, fits, means, value if lower else 1 - value, base[whole])


# ------------------------------------------------------------------------------------------ labels


def labels(case: Case) -> dict[str, Any]:
    """The labels that were saved, as plain values: `verdict` (saved, hurt, cannot_tell), `ratio` with interval and
    `bound`, the labels of each arm, the `score` both reach, both curves, and for each size what scratch needs."""
    if len(case.fits) < 2 or not case.largest or min(len(a.errors) for a in case.arms.values()) < 2:
        return _plain(case, None, UNSURE, "fewer than two sizes were measured of each arm")
    learned = {arm: curves.surely_below(case.top(arm), case.base) for arm in (WITH, WITHOUT)}
    if not any(learned.values()):
        return _plain(case, None, UNSURE, f"neither arm is better than no knowledge at all {_with(case)}")
    if not all(learned.values()):
        return _only_one(case, WITH if learned[WITH] else WITHOUT)
    fits = (case.fits[WITH], case.fits[WITHOUT])
    found = curves.ratio((fits[0][0], fits[1][0]), (fits[0][1], fits[1][1]))
    word = SAVED if found.low > 1 else HURT if found.high < 1 else UNSURE
    return _plain(case, found, word, "the interval holds 1" if word == UNSURE else "")


def _only_one(case: Case, arm: str) -> dict[str, Any]:
    """One arm never learned anything: the labels of the other from which it surely did are a bound."""
    other = WITHOUT if arm == WITH else WITH
    first = curves.first_below(case.arms[arm], case.means[arm], [case.base, case.top(other)])
    if not first:
        return _plain(case, None, UNSURE, f"the arms cannot be told apart {_with(case)}")
    value = case.largest / first if arm == WITH else first / case.largest
    error = float(case.arms[other].errors[case.largest].mean())
    if arm == WITH:
        found = Ratio(value, value, math.inf, ">", float(first), float(case.largest), error, open_high=True)
    else:
        found = Ratio(value, 0.0, value, "<", float(case.largest), float(first), error, open_low=True)
    return _plain(case, found, SAVED if arm == WITH else HURT, f"{_named(other)} learned nothing {_with(case)}")


def _with(case: Case) -> str:
    return f"with {case.largest:,} labels"


def _named(arm: str) -> str:
    return "the arm with pretrained weights" if arm == WITH else "training from scratch"


def _plain(case: Case, found: Ratio | None, word: str, why: str) -> dict[str, Any]:
    said: dict[str, Any] = {"verdict": word, "reason": why, "ratio": None, "low": None, "high": None, "bound": ""}
    if found is not None:
        said |= {
            "ratio": found.value, "low": found.low, "high": found.high, "bound": found.bound,
            "open_low": found.open_low, "open_high": found.open_high,
            "labels_with": round(found.labels_with), "labels_without": round(found.labels_without),
            "score": case.score(found.error),
        }  # fmt: skip
    said |= {"baseline": case.score(case.baseline), "curves": {a: _curve(case, a) for a in case.fits}}
    said["needs"] = needs(case) if len(case.fits) == 2 else []
    said["sentence"] = sentence(said, case)
    return said


def _curve(case: Case, arm: str) -> dict[str, Any]:
    """A curve as plain values: its kind, terms, and at every size the score, its interval and the seeds' own."""
    one, rows = case.fits[arm][0], []
    for i, n in enumerate(case.arms[arm].sizes):
        ends = np.percentile(case.means[arm][:, i], [curves.TAIL, 100 - curves.TAIL])
        low, high = sorted(case.score(float(e)) for e in ends)
        seeds = [case.score(float(e)) for e in case.arms[arm].errors[int(n)]]
        rows.append(
            {"labels": int(n), "value": float(np.mean(seeds)), "low": low, "high": high, "seeds": seeds,
             "fitted": case.score(float(one.at(n)[0]))}
        )  # fmt: skip
    terms = None if one.terms is None else dict(zip("abc", map(float, one.terms[0]), strict=True))
    return {"kind": one.kind, "terms": terms, "sizes": rows}


def needs(case: Case) -> list[dict[str, Any]]:
    """For every size of the arm with pretrained weights: how many labels scratch needs for the same score.

    Read up to `curves.BEYOND` times the largest size that scratch was measured at: above that `labels_without` is
    this limit and `bound` ">"; below scratch's smallest size it is that size and `bound` "<".
    """
    (own, own_many), (other, other_many) = case.fits[WITH], case.fits[WITHOUT]
    limit, rows = curves.BEYOND * other.largest, []
    for n in case.arms[WITH].sizes:
        error = own.at(n)
        at = float(other.needed(error)[0])
        draws = np.minimum(other_many.needed(own_many.at(n)), limit)
        low, high = np.percentile(draws, [curves.TAIL, 100 - curves.TAIL])
        bound = ">" if at > limit else "<" if at <= other.smallest else ""
        rows.append(
            {"labels": int(n), "score": case.score(float(error[0])), "labels_without": round(min(at, limit)),
             "low": round(float(low)), "high": round(float(high)), "open_high": bool(high >= limit * 0.999),
             "bound": bound, "ratio": min(at, limit) / float(n)}
        )  # fmt: skip
    return rows


# ------------------------------------------------------------------------------------------- words


def times(found: Mapping[str, Any]) -> str:
    """A ratio in words: `12.6x [8.1, 19.4]`, `> 20x`, `< 0.2x`."""
    value = f"{found['bound']} {_factor(found['ratio'])}x".strip()
    if found["bound"]:
        return value
    low = ("< " if found["open_low"] else "") + _factor(found["low"])
    high = ("> " if found["open_high"] else "") + _factor(found["high"])
    return f"{value} [{low}, {high}]"


def _factor(value: float) -> str:
    if value is None or not math.isfinite(value):
        return "?"
    return f"{value:,.0f}" if value >= 99.5 else f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def sentence(found: Mapping[str, Any], case: Case) -> str:
    """Labels saved, or lost, in one sentence."""
    if found["ratio"] is None:
        return f"Cannot tell whether labels were saved: {found['reason']}."
    own, other = f"{found['labels_with']:,}", f"{found['labels_without']:,}"
    score = f"{spoken(case.measure)} {number(found['score'], case.measure)}"
    nothing = f"; {found['reason']}" if found["reason"] and found["verdict"] != UNSURE else ""
    if found["bound"] == ">":
        said = f"{times(found)} (scratch never gets there): {own} labels with pretrained weights do better"
        text = f"{said} than {other} from scratch ({score}{nothing})"
    elif found["bound"] == "<":
        said = f"{times(found)}: {other} labels from scratch do better than {own} with pretrained weights"
        text = f"{said} ({score}{nothing})"
    else:
        text = f"{own} labels reach what training from scratch needs {other} for ({score}): {times(found)}"
    if found["verdict"] == HURT:
        return f"Pretrained weights cost labels: {text}."
    return f"Labels saved: {text}." if found["verdict"] == SAVED else f"Cannot tell whether labels were saved: {text}."


# -------------------------------------------------------------------------------------------- time


def seconds(case: Case, points: Sequence[Point]) -> dict[str, Any]:
    """Seconds of training that each arm takes to reach the best score on validation that scratch reaches.

    On the largest size that both arms have of a seed; with several seeds, the median of each arm's seconds. A
    training is looked at where it was validated: after every epoch, and at its end.
    """
    found = {(p.arm, p.n, p.seed): p for p in points}
    seeds = sorted({s for a, n, s in found if n == case.largest and (WITH, n, s) in found and (WITHOUT, n, s) in found})
    rows = [_race(case, found[WITH, case.largest, s], found[WITHOUT, case.largest, s]) for s in seeds]
    rows = [r for r in rows if r["score"] is not None]
    said: dict[str, Any] = {"labels": case.largest, "with": None, "without": None, "ratio": None, "score": None,
                            "seeds": rows}  # fmt: skip
    if rows:
        said["score"] = float(np.mean([r["score"] for r in rows]))
        said["without"] = float(np.median([r["without"] for r in rows]))
        reached = [r["with"] for r in rows if r["with"] is not None]
        if 2 * len(reached) > len(rows):
            said["with"] = float(np.median([math.inf if r["with"] is None else r["with"] for r in rows]))
            said["ratio"] = said["without"] / max(said["with"], 1e-3)
    learned = bool(rows) and curves.surely_below(case.top(WITHOUT), case.base)
    if not learned:
        said["ratio"] = None  # a race to where nothing was learned says nothing
    said["sentence"] = _time_sentence(case, said, learned)
    return said


def _race(case: Case, own: Point, other: Point) -> dict[str, Any]:
    """{seed, score, with, without}: the best of scratch on validation, and when each was first there."""
    sign = -1.0 if case.lower else 1.0
    values = [v for _, v in other.trace if v is not None]
    if not values:
        return {"seed": own.seed, "score": None, "with": None, "without": None}
    best = max(values, key=lambda v: sign * v)
    when = [
        next((t for t, v in p.trace if v is not None and sign * v >= sign * best), None) for p in (own, other)
    ]  # fmt: skip
    return {"seed": own.seed, "score": best, "with": when[0], "without": when[1]}


def _time_sentence(case: Case, said: Mapping[str, Any], learned: bool) -> str:
    if said["without"] is None:
        return "Time saved: not measured, for no seed has both arms."
    if not learned:
        return f"Time saved: not compared, for training from scratch learned nothing {_with(case)}."
    goal = f"the best that training from scratch reaches on validation ({spoken(case.measure)} "
    goal += f"{number(said['score'], case.measure)}, {said['labels']:,} labels)"
    if said["with"] is None:
        took = duration(said["without"])
        return f"No time saved: pretrained weights do not reach {goal}, which takes {took} from scratch."
    took = f"with pretrained weights {duration(said['with'])}, from scratch {duration(said['without'])}"
    word = "Time saved" if said["ratio"] >= 1 else "No time saved"
    return f"{word}: {took}, to {goal}: {_factor(said['ratio'])}x."

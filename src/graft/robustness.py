"""What every rung of a run is worth on corrupted data: was a gain on clean data paid for with robustness?

Each rung answers the same samples clean and under each corruption at five strengths (`graft.corrupt`). Scores of rungs
and their differences are of one bootstrap: every corruption of a sample is drawn with it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from graft import calibrate, corrupt, evaluate, features, rungs
from graft._wording import duration, interval, is_percent, number, spoken
from graft.data import Sample
from graft.draws import Draws, average, draws
from graft.errors import some
from graft.evaluate import Paired, Score
from graft.evidence import words
from graft.model import Model
from graft.precision import Precision, asked_for
from graft.seeds import rng
from graft.tasks import Task
from graft.voice import Voice

SAMPLES = 500
"""Measured at most where nobody says how many."""
AGAINST = "probe"
"""What the other rungs are compared with: the backbone as it was, under a linear head."""
LONG = 20.0  # seconds from which on the time still needed is said
CLEAN: Variant = ("", 0)  # the variant that is not corrupted

Variant = tuple[str, int]
"""A corruption's name and its strength."""


@dataclass
class Found:
    """Scores and resamples of every rung by variant, on n of `of` samples; `missing` says which rungs could not run."""

    measure: str
    lower: bool
    kept: str
    n: int
    of: int
    names: tuple[str, ...]
    scores: dict[str, dict[Variant, Score]] = field(default_factory=dict)
    draws: dict[str, dict[Variant, Draws]] = field(default_factory=dict)
    clean: dict[str, Paired] = field(default_factory=dict)  # each rung minus the probe on clean samples
    floor: dict[str, Score] = field(default_factory=dict)  # what the control that looks at nothing gets, always
    missing: dict[str, str] = field(default_factory=dict)
    things: str = "samples"

    def corrupted(self, name: str) -> Draws:
        """A rung's mean score over corruptions and strengths."""
        return average([self.draws[name][c, k] for c in self.names for k in corrupt.STRENGTHS])


def measure(
    folder: Path,
    meta: dict[str, Any],
    kept: tuple[str, Model, Task],
    samples: Sequence[Sample],
    names: Sequence[str],
    *,
    most: int = SAMPLES,
    seed: int = 0,
    ran: Sequence[str] = (),
    always: Mapping[str, np.ndarray] | None = None,
    voice: Voice | None = None,
) -> Found:
    """Scores of every rung on `samples` (at most `most`, drawn by stratum) as they are and under each corruption.

    `kept` is the run's model, by its rung's name; the others come from the run's `folder` where their weights are
    kept, and `ran` names those that ran, so that the missing ones are told. `always` has the answers [n, ...] of the
    control that answers all samples alike. Raises DataError for a sample that cannot be read any more.
    """
    voice = voice or Voice(quiet=True)
    name, model, task = kept
    there, missing = rungs.every(folder, meta, name, model)
    there = {r: there[r] for r in (*ran, *there) if r in there}  # in the order in which they ran
    missing = {r: "its weights were not kept" for r in ran if r not in there} | missing
    picked = subset(samples, task, most, seed)
    truth = evaluate.truth_of(task, picked)
    first = copy.copy(task)  # all that is compared is the deciding measure
    first.measures = task.measures[:1]
    found = Found(task.measures[0], task.lower(), name, len(picked), len(samples), tuple(names), missing=missing)
    found.things = {"picture": "pictures", "text": "texts"}.get(task.modality, "samples")
    found.floor = {n: evaluate.score(first, a[: len(picked)], truth, seed) for n, a in (always or {}).items()}
    found.scores, found.draws = {n: {} for n in there}, {n: {} for n in there}
    seen = _Answers(there, first, asked_for(str(meta.get("precision") or "fp32")), picked, seed, voice)
    for variant, answers in seen.under([CLEAN, *((c, k) for c in names for k in corrupt.STRENGTHS)]):
        answers = {r: calibrate.apply(task.outputs, a, there[r].temperature) for r, a in answers.items()}
        for rung, own in answers.items():
            offsets = there[rung].offsets
            found.scores[rung][variant] = evaluate.score(first, own, truth, seed, offsets)
            found.draws[rung][variant] = draws(first, own, truth, seed, offsets)
        if variant == CLEAN and AGAINST in answers:
            found.clean = {
                rung: evaluate.paired(
                    first, own, answers[AGAINST], truth, seed, (there[rung].offsets, there[AGAINST].offsets)
                )
                for rung, own in answers.items()
                if rung != AGAINST
            }
    return found


def subset(samples: Sequence[Sample], task: Task, most: int, seed: int) -> list[Sample]:
    """At most `most` of the samples in their order, drawn so that each stratum keeps its share; the same for a seed."""
    if len(samples) <= most:
        return list(samples)
    strata = task.answer.strata(samples) if task.answer is not None else [""] * len(samples)
    rows: dict[str, list[int]] = {}
    for row, stratum in enumerate(strata):
        rows.setdefault(stratum, []).append(row)
    place = np.empty(len(samples))
    for stratum, own in rows.items():
        draw = rng(seed, "corrupt samples", stratum)
        # Evenly spaced from a random start: a cut at any height takes the same share of every stratum.
        place[own] = (draw.permutation(len(own)) + draw.random()) / len(own)
    return [samples[i] for i in sorted(np.argsort(place, kind="stable")[:most])]


# ----------------------------------------------------------------------------------------- answers


@dataclass
class _Answers:
    """Answers of all rungs to the same samples; rungs on the frozen backbone share one pass, which is cached."""

    rungs: dict[str, rungs.Rung]
    task: Task
    precision: Precision
    samples: list[Sample]
    seed: int
    voice: Voice

    def under(self, variants: Sequence[Variant]) -> Iterator[tuple[Variant, dict[str, np.ndarray]]]:
        """(variant, answers by rung) of one variant after the other; says how long it will take, where that is long."""
        passes = sum(not r.frozen for r in self.rungs.values()) + any(r.frozen for r in self.rungs.values())
        start = time.monotonic()
        with self.voice.bar("corruptions", len(variants) * passes * len(self.samples)) as tick:
            for at, (name, strength) in enumerate(variants):
                given = self.samples
                if name:
                    given = self._corrupted(name, strength)
                yield (name, strength), self._answered(given, tick)
                left = (time.monotonic() - start) / (at + 1) * (len(variants) - at - 1)
                if at == 1 and left > LONG:
                    what = f"{len(variants) - 1} corruptions of {len(self.samples)} samples"
                    self.voice.say(f"  {what}, {len(self.rungs)} rungs: about {duration(left)} more")

    def _corrupted(self, name: str, strength: int) -> list[Sample]:
        backbone = next(iter(self.rungs.values())).model.backbone
        return corrupt.samples(self.samples, name, strength, self.seed, corrupt.sight_of(backbone))

    def _answered(self, given: list[Sample], tick: Callable[[int], None]) -> dict[str, np.ndarray]:
        answers: dict[str, np.ndarray] = {}
        frozen = [r for r in self.rungs.values() if r.frozen]
        if frozen:
            heard = _Heard(tick)
            base = frozen[0].model.backbone
            table = features.extract(base, given, precision=self.precision, tick=heard)
            tick(len(given) - heard.n)  # a cached pass says nothing
            answers = {r.name: np.asarray(features.answers(r.model, self.task, table)) for r in frozen}
        for r in self.rungs.values():
            if not r.frozen:
                answers[r.name] = np.asarray(r.model.predict(given, self.task, tick=tick))
        return {name: answers[name] for name in self.rungs}


@dataclass
class _Heard:
    """Hands progress on, and counts it."""

    tick: Callable[[int], None]
    n: int = 0

    def __call__(self, n: int) -> None:
        self.n += n
        self.tick(n)


# ------------------------------------------------------------------------------------ what it says


def plain(found: Found) -> dict[str, Any]:
    """`corrupted` and `robustness` as `graft evaluate --json` has them.

    `corrupted`: {rung: {corruption: [score at strength 1 .. 5]}}. `robustness`: `n` of `of` samples, `corruptions`,
    `strengths`, `rungs` {rung: {clean, corrupted (mean over corruptions and strengths), relative}}, `against_probe`
    {rung: {clean, corrupted, change}} (paired differences, and corrupted minus clean), `floor` (what always the same
    answer gets, by its name), `missing` {rung: why}, `sentence`.
    """
    scores = {
        rung: {c: [by[c, k].plain() for k in corrupt.STRENGTHS] for c in found.names}
        for rung, by in found.scores.items()
    }
    return {
        "corrupted": scores,
        "robustness": {
            "measure": found.measure, "n": found.n, "of": found.of, "kept": found.kept,
            "corruptions": list(found.names), "strengths": list(corrupt.STRENGTHS),
            "rungs": {rung: _summed(found, rung) for rung in found.scores},
            "against_probe": {rung: {k: asdict(p) for k, p in gaps(found, rung).items()} for rung in found.clean},
            "floor": {name: s.plain() for name, s in found.floor.items()},
            "missing": found.missing, "sentence": sentence(found),
        },
    }  # fmt: skip


def _summed(found: Found, rung: str) -> dict[str, Any]:
    clean, mean = found.scores[rung][CLEAN], found.corrupted(rung).score()
    return {
        "clean": clean.plain(), "corrupted": mean.plain(),
        "relative": relative(clean.value, mean.value, found.lower),
    }  # fmt: skip


def relative(clean: float, corrupted: float, lower: bool = False) -> float | None:
    """How much of a score is left under corruption: corrupted / clean, or clean / corrupted where less is better.

    1 is all of it. None where a quotient says nothing: a score that is not above zero, or not defined.
    """
    top, bottom = (clean, corrupted) if lower else (corrupted, clean)
    return top / bottom if np.isfinite(top) and bottom > 0 and top >= 0 else None


def gaps(found: Found, rung: str) -> dict[str, Paired]:
    """A rung minus the probe: on `clean` samples, on `corrupted` ones (mean), and the `change` between the two."""
    before = found.draws[rung][CLEAN].minus(found.draws[AGAINST][CLEAN])
    after = found.corrupted(rung).minus(found.corrupted(AGAINST))
    return {
        "clean": found.clean[rung],
        "corrupted": after.paired(found.lower),
        "change": after.minus(before).paired(found.lower),
    }


def spoken_for(found: Found) -> str:
    """The rung that the sentence is about: the kept one, or the best trained one where the probe was kept; "": none."""
    if AGAINST not in found.scores:
        return ""
    if found.kept != AGAINST:
        return found.kept
    frozen_too = (AGAINST, "nearest_neighbour", "balanced_probe")
    trained = [r for r in found.clean if r not in frozen_too] or list(found.clean)
    sign = -1.0 if found.lower else 1.0
    return max(trained, key=lambda r: sign * found.scores[r][CLEAN].value, default="")


def sentence(found: Found) -> str:
    """What the comparison with the probe comes to, in a sentence; "" where there is nothing to compare."""
    rung = spoken_for(found)
    if not rung:
        return ""
    gap = gaps(found, rung)
    signs = _sign(gap["clean"], found.lower), _sign(gap["corrupted"], found.lower)
    subject = words(rung) if rung == found.kept else f"{words(rung)} (not kept)"
    where = (f"on clean {found.things}", "on corrupted ones")
    first, second = (_clause(gap[k], found, w, s) for k, w, s in zip(("clean", "corrupted"), where, signs, strict=True))
    told = f"{subject} {first} and {second}, against {words(AGAINST)}: {READINGS[signs]}"
    return f"{told[0].upper()}{told[1:]}."


READINGS = {
    (1, 1): "it keeps its lead",
    (1, 0): "its lead is not seen under corruption",
    (1, -1): "what it gained was paid for with robustness",
    (0, 1): "it is the more robust one",
    (0, 0): "the two cannot be told apart",
    (0, -1): "it is the less robust one",
    (-1, 1): "it lost on clean ones what it gained in robustness",
    (-1, 0): "its arrears are not seen under corruption",
    (-1, -1): "it is behind on both",
}
"""What (clean, corrupted) come to: 1 better than the probe, -1 worse, 0 not separable, by the paired intervals."""


def _sign(pair: Paired, lower: bool) -> int:
    low, high = (-pair.high, -pair.low) if lower else (pair.low, pair.high)
    return 1 if low > 0 else -1 if high < 0 else 0


def _clause(pair: Paired, found: Found, where: str, sign: int) -> str:
    """`gains 2.1 points [+0.3 to +4.0] on clean pictures`."""
    name, unit = found.measure, " points" if is_percent(found.measure) else f" {spoken(found.measure)}"
    if not np.isfinite(pair.difference):
        return f"cannot be compared {where}, where {spoken(name)} is not defined"
    reach = interval(asdict(pair), name, signed=True)
    if sign == 0:
        return f"is not separable {where} ({number(pair.difference, name, signed=True)}{unit} [{reach}])"
    size = number(abs(pair.difference), name, signed=True).removeprefix("+")
    verb = ("is better by" if sign > 0 else "is worse by") if found.lower else ("gains" if sign > 0 else "loses")
    return f"{verb} {size}{unit} [{reach}] {where}"


def note(found: Found) -> str:
    """Which samples were measured, where not all."""
    if found.n == found.of:
        return ""
    return f"corruptions are measured on {found.n} of {found.of} samples, drawn by stratum (--corrupt-samples)"


def warned(found: Found) -> str:
    """Which rungs are missing, and why."""
    by_reason: dict[str, list[str]] = {}
    for name, why in found.missing.items():
        by_reason.setdefault(why, []).append(name)
    told = "; ".join(f"{some(names)} ({why})" for why, names in by_reason.items())
    return f"rungs that are not compared: {told}" if told else ""

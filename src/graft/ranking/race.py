"""The race: every candidate on a few samples, and of those that may still win, half on more."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from graft import evaluate
from graft._wording import is_percent, number, short
from graft.data import Sample, by_label, nested
from graft.errors import DataError, Stopped
from graft.ranking import forecast
from graft.ranking.combine import Predicted
from graft.ranking.contender import Contender, enter, extend, measure, said
from graft.ranking.limits import Limits
from graft.ranking.scale import Scale
from graft.ranking.table import LEVEL, NOT_TRIED, Apart, Candidate, Ranking
from graft.seeds import rng
from graft.tasks import Task
from graft.voice import Voice

ROUNDS = (200, 600, 2000)
"""Training samples that a candidate is measured on, round after round."""
EACH_CLASS = (4, 8)
"""Samples a class that the first rounds have at least, on average."""
EACH_CLASS_FIRST = 2  # of every class, so that the smallest round has them
MOST_CLASSES = 250
"""Classes that are looked at: of more, so many are drawn, since a probe on two thousand samples tells no more apart."""
GROWTH = 1.5  # times the samples of the last round that a further one has at least
FEWEST = 40  # samples of a round, however little time there is
HALF_A_POINT = 0.005
"""A cheaper candidate is taken where it is predicted less than so much lower; of measures with a unit, as a share of
the constant answer's error."""


def rank(
    task: Task,
    train: Sequence[Sample],
    names: Sequence[str],
    *,
    seed: int = 0,
    device: str = "cpu",
    voice: Voice | None = None,
    left: Callable[[], float] = lambda: math.inf,
    limits: Limits | None = None,
) -> Ranking:
    """Rank candidates on the training part. A broken one is a row with its reason.

    Successive halving (Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter
    optimization", 2016): all candidates are measured on ROUNDS[0] samples, stratified, each earlier set part of the
    next; then at most half of them (two at least), those that the paired interval cannot separate from the best, on
    more. `left()` is the seconds left: a round is cut to what they allow, and what could not be begun is a row that
    says so. Raises DataError where nothing can be ranked on these samples.
    """
    began, voice = time.monotonic(), voice or Voice(quiet=True)
    if not train:
        raise DataError("there is no training sample to rank candidates on")
    some = some_classes(task, train, seed)
    sizes = sizes_of(task, some)
    order = looked_at(some, sizes[-1], seed, task)
    judged = forecast.judged(task, order, np.asarray(evaluate.truth_of(task, order)))
    if judged is not task:
        voice.say(f"  {task.measures[0]} cannot be foreseen: candidates are ranked by {judged.measures[0]}")
    rows, alive = _enter(judged, order, names, device, voice, left, limits or Limits())
    race = Race(judged, order, sizes, seed, device, voice, left)
    race.run(alive)
    ranking = _ranking(rows, race, len(some))
    ranking.seconds = round(time.monotonic() - began, 2)
    return ranking


def some_classes(task: Task, train: Sequence[Sample], seed: int) -> Sequence[Sample]:
    """The samples of MOST_CLASSES classes, drawn among those of two samples and more where there are enough."""
    if task.outputs != "classes":
        return train
    counts = Counter(s.y for s in train)
    if len(counts) <= MOST_CLASSES:
        return train
    known = sorted((k for k, n in counts.items() if n > 1), key=str)
    known = known if len(known) >= MOST_CLASSES else sorted(counts, key=str)
    drawn = {known[i] for i in rng(seed, "rank", "classes").permutation(len(known))[:MOST_CLASSES]}
    return [s for s in train if s.y in drawn]


def sizes_of(task: Task, train: Sequence[Sample]) -> tuple[int, ...]:
    """Samples of each round: ROUNDS, more in the first ones where there are many classes."""
    classes = len({s.y for s in train}) if task.outputs == "classes" else 0
    first = (max(n, k * classes) for n, k in zip(ROUNDS[:-1], EACH_CLASS, strict=True))
    return tuple(sorted({min(n, ROUNDS[-1]) for n in (*first, ROUNDS[-1])}))


def looked_at(train: Sequence[Sample], most: int, seed: int, task: Task) -> list[Sample]:
    """At most so many samples in an order whose every beginning is a stratified sample of all."""
    strata = (task.answer.strata if task.answer else by_label)(train)
    order = nested(strata, EACH_CLASS_FIRST if task.outputs == "classes" else 0, seed, "rank")
    return [train[i] for i in order[:most]]


def _enter(
    task: Task,
    order: Sequence[Sample],
    names: Sequence[str],
    device: str,
    voice: Voice,
    left: Callable[[], float],
    limits: Limits,
) -> tuple[list[Candidate], list[Contender]]:
    """Load every candidate once: cards, costs, priors; while there is time."""
    rows, alive = [], []
    with voice.bar("candidates", len(names)) as tick:
        for i, name in enumerate(names):
            if i and left() <= 0:
                rows.append(Candidate(name, error=NOT_TRIED))
            else:
                row, contender = enter(name, task, order, limits, device)
                rows.append(row)
                alive += [contender] if contender else []
            tick(1)
    return rows, alive


class Race:
    """The rounds. `pool` are all that were measured and did not break; those that fell out stay in it.

    All of the pool are predicted together, so that a score counts in the same units from the first round to the last,
    on the samples of the first, which all have in common. A probe on more samples is a better one: of one that fell out
    it is moved by what it moved on average, since then, of those that went on.
    """

    def __init__(
        self,
        task: Task,
        order: Sequence[Sample],
        sizes: Sequence[int],
        seed: int,
        device: str,
        voice: Voice,
        left: Callable[[], float],
    ) -> None:
        self.task, self.order, self.sizes, self.seed = task, order, sizes, seed
        self.device, self.voice, self.left = device, voice, left
        self.rounds: list[tuple[int, int]] = []
        self.pool: list[Contender] = []
        self.scale: Scale | None = None
        kind = task.answer.kind if task.answer is not None else ""
        self.made = forecast.shipped(task.modality, kind)

    def run(self, alive: list[Contender]) -> None:
        """Round after round, while there is time and more than one that may win."""
        for size in self.sizes:
            going = self._survivors(alive) if self.rounds else alive
            n = self._affordable(going, min(size, len(self.order)))
            if not going or (self.rounds and (len(going) == 1 or n < GROWTH * self.rounds[-1][0])):
                break
            alive = self._round(going, n)

    def predicted(self) -> Predicted:
        """The whole pool, in its order."""
        shift = self._shifts()
        told = [
            forecast.Measured(c.name, c.prior, c.told[-1][0] + shift[len(c.told) - 1], c.told[-1][1], c.first)
            for c in self.pool
        ]
        return forecast.predict(self.made, told)

    def _shifts(self) -> list[float]:
        """How far a probe last seen in each round would have moved by now [rounds]."""
        steps = []
        for k in range(len(self.rounds) - 1):
            moved = [c.told[k + 1][0] - c.told[k][0] for c in self.pool if len(c.told) > k + 1]
            steps.append(sum(moved) / len(moved) if moved else 0.0)
        return [sum(steps[k:]) for k in range(len(self.rounds))]

    def _affordable(self, going: Sequence[Contender], n: int) -> int:
        """Samples of a round that half of the time that is left allows for: in the first, FEWEST at least."""
        left = self.left()
        if math.isinf(left) or not going:
            return n
        have = self.rounds[-1][0] if self.rounds else 0
        more = int(max(left, 0.0) / 2 / max(sum(c.seconds for c in going), 1e-9))
        return min(n, max(have + more, 0 if have else self._fewest()))

    def _fewest(self) -> int:
        """FEWEST, or two of each class, but no more than a first round has: little time stays little time."""
        classes = len({s.y for s in self.order}) if self.task.outputs == "classes" else 0
        return min(max(FEWEST, EACH_CLASS_FIRST * classes), ROUNDS[0])

    def _round(self, going: Sequence[Contender], n: int) -> list[Contender]:
        """Measure each on n samples, and answer those that were. One that breaks is a row with its reason.

        One that no time is left for is a row that says so, or in a later round stays where it was.
        """
        measured: list[Contender] = []
        for i, c in enumerate(going):
            if i and self.left() <= 0:
                c.row.error = c.row.error if self.rounds else NOT_TRIED
                continue
            try:
                extend(c, self.task, self.order, n, self.device, self.voice)
                measure(c, self.task, self.order, n, self.seed)
                measured.append(c)
            except Stopped:
                raise
            except Exception as e:
                c.row.error = said(e)
        self.pool = [c for c in self.pool if c.row.error is None]
        if not measured:
            return []
        samples = [self.order[i] for i in measured[0].held]
        self.scale = forecast.scale_of(self.task, samples, np.asarray(evaluate.truth_of(self.task, samples)))
        for c in measured:
            assert c.probe is not None
            c.told.append(forecast.probed(c.probe, self.scale, LEVEL))
        self.pool += [c for c in measured if c not in self.pool]
        self.rounds.append((n, len(measured)))
        return measured

    def _survivors(self, alive: Sequence[Contender]) -> list[Contender]:
        """Of those of the last round, the best and what the paired interval does not separate from it.

        At most half of them, two at least where so many are close.
        """
        assert self.scale is not None
        predicted = self.predicted()
        placed = [i for i in _order(predicted, self.pool) if self.pool[i] in alive]
        lower = self.scale.lower
        close = [i for i in placed if i == placed[0] or holds_zero(predicted, placed[0], i, self.scale, lower)]
        return [self.pool[i] for i in close[: max(2, math.ceil(len(alive) / 2))]]


def _order(predicted: Predicted, contenders: Sequence[Contender]) -> list[int]:
    """Best first; equals by operations, then by name."""
    keys = [(predicted.mean[i], c.row.gflops or math.inf, c.name) for i, c in enumerate(contenders)]
    return sorted(range(len(keys)), key=keys.__getitem__)


def holds_zero(predicted: Predicted, i: int, j: int, scale: Scale, lower: bool) -> bool:
    """Whether the paired interval of two candidates holds 0."""
    found = predicted.difference(i, j, scale, LEVEL)
    return (found.high >= 0) if lower else (found.low <= 0)


# ----------------------------------------------------------------------------------------- the table


def _ranking(rows: Sequence[Candidate], race: Race, available: int) -> Ranking:
    """The candidates in order, with predictions; then the choice. `available` are the samples there are."""
    task, usable = race.task, race.pool
    measure_name = task.measures[0] if task.measures else "accuracy"
    broken = [r for r in rows if r.error is not None]
    made = Ranking(broken, measure=measure_name, rounds=race.rounds)
    if not usable or race.scale is None:
        return made
    predicted, scale, share = race.predicted(), race.scale, is_percent(measure_name)
    for i, c in enumerate(usable):
        ends = predicted.interval(i, scale, LEVEL)
        c.row.predicted, c.row.low, c.row.high = (max(x, 0.0) if share else x for x in ends)
    placed = _order(predicted, usable)
    made.candidates = [*(usable[i].row for i in placed), *broken]
    made.n, made.taught = race.rounds[-1][0], predicted.taught
    best = placed[0]
    for i in placed[1:]:
        gap = (max(-1.0, min(1.0, x)) if share else x for x in predicted.difference(best, i, scale, LEVEL))
        made.pairs.append(Apart(usable[best].name, usable[i].name, *gap))
        if holds_zero(predicted, best, i, scale, scale.lower):
            made.tied.append(usable[i].name)
    _choose(made, scale)
    second = next((i for i in placed if usable[i].name in made.tied), None)
    made.more = "" if second is None else _more(race, predicted, made, best, second, available)
    return made


def _choose(made: Ranking, scale: Scale) -> None:
    """The best, or a cheaper one that cannot be told from it and is predicted less than half a point lower."""
    best = made.candidates[0]
    made.choice = best.name
    in_points = is_percent(made.measure)
    step = HALF_A_POINT if in_points else HALF_A_POINT * scale.whole
    near = [
        c
        for c in made.candidates
        if c.name in made.tied
        and c.predicted is not None
        and best.predicted is not None
        and abs(best.predicted - c.predicted) < step
        and (c.gflops or math.inf) < (best.gflops or 0.0)
    ]
    if near:
        taken = min(near, key=lambda c: (c.gflops or math.inf, c.name))
        made.choice = taken.name
        times = (best.gflops or 0.0) / (taken.gflops or math.inf)
        much = "half a point" if in_points else "half a hundredth of the constant answer's error"
        made.chosen_because = (
            f"{short(taken.name)} is taken: it is predicted less than {much} lower, and needs {times:.1f} times fewer "
            "operations"
        )


def _more(race: Race, predicted: Predicted, made: Ranking, best: int, second: int, available: int) -> str:
    """What one more minute would settle between the best and the next that cannot be told from it."""
    pair = next(p for p in made.pairs if p.worse == race.pool[second].name)
    both = (race.pool[best], race.pool[second])
    looked, most = min(c.row.samples for c in both), len(race.order)
    further = min(most - looked, int(60 / max(sum(c.seconds for c in both), 1e-9)))
    if further < looked / 10:
        all_of_it = (
            "all training samples were"
            if most == available
            else f"the {most:,} samples that are looked at at most were"
        )
        return f"one more minute of ranking would settle nothing, since {all_of_it} looked at: only training both tells"
    c = predicted.covariance
    var = float(c[best, best] + c[second, second] - 2 * c[best, second])
    slope = race.made.coefficients().get("probe", (0.0, 0.0))[0]
    noise = slope**2 * sum(x.told[-1][1] for x in both)
    part = min(1.0, noise / var) if var > 0 else 0.0
    half = (pair.high - pair.low) / 2
    narrower = half * math.sqrt(1 - part + part * looked / (looked + further))
    enough = narrower < abs(pair.difference)
    sizes = [number(x, made.measure, signed=True).lstrip("+") for x in (half, narrower)]
    return (
        f"one more minute would look at {further:,} more samples of {short(both[0].name)} and {short(both[1].name)} "
        f"and narrow their difference from \u00b1{sizes[0]} to about \u00b1{sizes[1]}, which "
        + ("would separate them if the difference stays" if enough else "would not separate them")
    )

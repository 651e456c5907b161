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
from graft.ranking.table import LEVEL, Apart, Candidate, Ranking
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
FEWEST = 40  # samples of a round, however little time there is
HALF_A_POINT = 0.005
"""A cheaper candidate is taken where it is predicted less than so much lower; of measures with a unit, as a share of
the constant answer's error."""
NOT_TRIED = "not tried: the time for choosing was over"


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
    next; then at most half of them, those that the paired interval cannot separate from the best, on more. A
    candidate that fell out keeps the difference to the best that its last round predicted. `left()` is the seconds
    left: a round is cut to what they allow, and what could not be begun is a row that says so. Raises DataError where
    nothing can be ranked on these samples.
    """
    began, voice = time.monotonic(), voice or Voice(quiet=True)
    if not train:
        raise DataError("there is no training sample to rank candidates on")
    train = some_classes(task, train, seed)
    sizes = sizes_of(task, train)
    order = looked_at(train, sizes[-1], seed, task)
    rows, alive = _enter(task, order, names, device, voice, left, limits or Limits())
    race = _Race(task, order, sizes, seed, device, voice, left)
    kept = race.run(alive)
    ranking = _ranking(task, rows, kept, race)
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


class _Race:
    """The rounds, and where every contender stands at the end: y of its prediction and the covariance with others."""

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
        self.scale: Scale | None = None
        self.last: Predicted | None = None  # of the last round
        self.noise: dict[str, float] = {}  # of each one's probe, on the scale of y
        self.apart: dict[str, tuple[float, float]] = {}  # of those that fell out: y over the best's, its variance

    def run(self, alive: list[Contender]) -> list[Contender]:
        """Contenders, the best first: those of the last round, then those that fell out, the latest before."""
        out: list[Contender] = []
        for size in self._sizes():
            going = self._survivors(alive) if self.rounds else alive
            n = self._affordable(going, min(size, len(self.order)))
            if not going or (self.rounds and (len(going) == 1 or n <= self.rounds[-1][0])):
                break
            if self.rounds:
                fallen = [c for c in alive if c not in going]
                self._note(alive, fallen)
                out = fallen + out
            alive = self._round(going, n)
            if not alive:
                break
        return alive + out

    def probe_noise(self) -> float:
        """The variance, on the scale of y, that the probes' few samples bring into the difference of the two best."""
        assert self.last is not None and self.scale is not None
        slope = forecast.shipped(self.task.modality).coefficients().get("probe", (0.0, 0.0))[0]
        return slope**2 * sum(self.noise.get(name, 0.0) for name in self.last.models[:2])

    def _sizes(self) -> list[int]:
        """The rounds that differ, for as many samples as there are."""
        return [n for i, n in enumerate(self.sizes) if i == 0 or self.sizes[i - 1] < len(self.order)]

    def _affordable(self, alive: Sequence[Contender], n: int) -> int:
        """Samples of a round that half of the time that is left allows for, at least FEWEST."""
        left = self.left()
        if math.isinf(left):
            return n
        have = self.rounds[-1][0] if self.rounds else 0
        cost = sum(c.seconds for c in alive)
        more = int(max(left, 0.0) / 2 / max(cost, 1e-9))
        return min(n, max(have + more, 0 if have else FEWEST, have))

    def _round(self, alive: Sequence[Contender], n: int) -> list[Contender]:
        """Measure each on n samples; those that break are rows with their reason. Best first."""
        measured = []
        for i, c in enumerate(alive):
            if i and not self.rounds and self.left() <= 0:
                c.row.error = NOT_TRIED
                continue
            try:
                extend(c, self.task, self.order, n, self.device, self.voice)
                measure(c, self.task, self.order, n, self.seed)
                measured.append(c)
            except Stopped:
                raise
            except Exception as e:
                c.row.error = said(e)
        if not measured:
            return []
        self.rounds.append((n, len(measured)))
        samples = [self.order[i] for i in measured[0].held]
        truth = np.asarray(evaluate.truth_of(self.task, samples))
        self.scale = forecast.scale_of(self.task, samples, truth)
        for c in measured:
            assert c.measured is not None
            self.noise[c.name] = forecast.noise_of(c.measured.probe, self.scale, LEVEL)
        predicted = self._predicted(measured)
        ranked = [measured[i] for i in _order(predicted, measured)]
        self.last = self._predicted(ranked)
        return ranked

    def _predicted(self, contenders: Sequence[Contender]) -> Predicted:
        assert self.scale is not None
        told = [c.measured for c in contenders if c.measured is not None]
        return forecast.predict(self.task.modality, told, self.scale, LEVEL)

    def _survivors(self, ranked: Sequence[Contender]) -> list[Contender]:
        """The best and what the paired interval does not separate from it: at most half, at least two where so."""
        assert self.last is not None and self.scale is not None
        lower = self.scale.lower
        close = [c for i, c in enumerate(ranked) if i == 0 or holds_zero(self.last, 0, i, self.scale, lower)]
        return close[: max(2, math.ceil(len(ranked) / 2))]

    def _note(self, ranked: Sequence[Contender], fallen: Sequence[Contender]) -> None:
        """Keep how far behind the best each one that falls out was predicted."""
        assert self.last is not None
        p = self.last
        for i, c in enumerate(ranked):
            if c in fallen:
                var = float(p.covariance[i, i] + p.covariance[0, 0] - 2 * p.covariance[0, i])
                self.apart[c.name] = (float(p.mean[i] - p.mean[0]), max(var, 0.0))


def _order(predicted: Predicted, contenders: Sequence[Contender]) -> list[int]:
    """Best first; equals by operations, then by name."""
    keys = [(predicted.mean[i], c.row.gflops or math.inf, c.name) for i, c in enumerate(contenders)]
    return sorted(range(len(keys)), key=keys.__getitem__)


def holds_zero(predicted: Predicted, i: int, j: int, scale: Scale, lower: bool) -> bool:
    """Whether the paired interval of two candidates holds 0."""
    found = predicted.difference(i, j, scale, LEVEL)
    return (found.high >= 0) if lower else (found.low <= 0)


# ----------------------------------------------------------------------------------------- the table


def _ranking(task: Task, rows: Sequence[Candidate], ranked: Sequence[Contender], race: _Race) -> Ranking:
    """The candidates in order, with predictions; then the choice."""
    measure_name = task.measures[0] if task.measures else "accuracy"
    broken = [r for r in rows if r.error is not None]
    usable = [c for c in ranked if c.row.error is None]
    made = Ranking([*(c.row for c in usable), *broken], measure=measure_name, rounds=race.rounds)
    if not usable or race.last is None or race.scale is None:
        return made
    predicted, scale, share = _everyone(race, usable), race.scale, is_percent(measure_name)
    for i, c in enumerate(usable):
        c.row.predicted, c.row.low, c.row.high = (
            max(x, 0.0) if share else x for x in predicted.interval(i, scale, LEVEL)
        )
    placed = sorted(range(len(usable)), key=lambda i: (predicted.mean[i], _cheapest(usable[i])))
    made.candidates = [*(usable[i].row for i in placed), *broken]
    made.n, made.taught = race.rounds[-1][0], predicted.taught
    best = placed[0]
    for i in placed[1:]:
        gap = predicted.difference(best, i, scale, LEVEL)
        made.pairs.append(
            Apart(usable[best].name, usable[i].name, *(max(-1.0, min(1.0, x)) if share else x for x in gap))
        )
        if holds_zero(predicted, best, i, scale, scale.lower):
            made.tied.append(usable[i].name)
    _choose(made, scale)
    made.more = _more(race, [c for c in usable if c.name in (usable[best].name, *made.tied)], made, len(race.order))
    return made


def _cheapest(c: Contender) -> tuple[float, str]:
    """What equals are ordered by: operations, then the name."""
    return (c.row.gflops or math.inf, c.name)


def _everyone(race: _Race, usable: Sequence[Contender]) -> Predicted:
    """The last round's predictions, and behind them those that fell out, by their distance to the best then."""
    last = race.last
    assert last is not None
    at = {name: i for i, name in enumerate(last.models)}
    m = len(usable)
    mean, cov = np.zeros(m), np.zeros((m, m))
    for i, a in enumerate(usable):
        if a.name in at:
            mean[i] = last.mean[at[a.name]]
        else:
            mean[i] = last.mean[0] + race.apart[a.name][0]
        for j, b in enumerate(usable):
            cov[i, j] = last.covariance[at.get(a.name, 0), at.get(b.name, 0)]
        if a.name not in at:
            cov[i, i] += race.apart[a.name][1]
    return Predicted(tuple(c.name for c in usable), mean, cov, last.df, last.ignored, last.taught)


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


def _more(race: _Race, close: Sequence[Contender], made: Ranking, n: int) -> str:
    """What one more minute would settle."""
    if len(close) < 2:
        return ""
    looked, cost = race.rounds[-1][0], sum(c.seconds for c in close)
    further = min(n - looked, int(60 / max(cost, 1e-9)))
    pair = next(p for p in made.pairs if p.worse == made.tied[0])
    half = (pair.high - pair.low) / 2
    if further < looked / 10:
        return (
            "one more minute of ranking would settle nothing, since all samples were looked at: only training both "
            "tells"
            if n == looked
            else "one more minute of ranking would settle nothing: only training both tells"
        )
    part = _sampling_share(race)
    narrower = half * math.sqrt(1 - part + part * looked / (looked + further))
    would = (
        "would separate them if the difference stays" if narrower < abs(pair.difference) else "would not separate them"
    )
    sizes = [number(x, made.measure, signed=True).lstrip("+") for x in (half, narrower)]
    return (
        f"one more minute would look at {further:,} more samples of each and narrow their difference from "
        f"\u00b1{sizes[0]} to about \u00b1{sizes[1]}, which {would}"
    )


def _sampling_share(race: _Race) -> float:
    """The part of the variance between the two best that is their probes' sampling."""
    last = race.last
    assert last is not None and race.scale is not None
    var = float(last.covariance[0, 0] + last.covariance[1, 1] - 2 * last.covariance[0, 1])
    return 0.0 if var <= 0 else min(1.0, race.probe_noise() / var)

"""What a ranking says: a row a candidate, the choice, and what cannot be told from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from graft import _wording
from graft._wording import short
from graft.errors import some

NOT_TRIED = "not tried: the time for choosing was over"
LEVEL = 0.90
"""Of the intervals of a ranking: the level at which they were checked (`bench/rank_truth.py`)."""


@dataclass
class Candidate:
    """One row: `predicted`, the fine-tuned score in the task's measure, with its 90 % interval; or the fault.

    `prior` is how good the model is in general, before the data are looked at: the logarithm of its errors as a
    multiple of the average published model's, with `prior_se`, and `prior_source`, what that rests on. `scores` has the
    transferability scores (`graft.scores`), None for one that cannot be had, whose reason is in `reasons`; `probe` is
    the cross-validated score of a linear probe on `samples` training samples. Sizes in parameters and MB of the
    weights file, `gflops` operations a sample in thousand millions, `ms` milliseconds a sample on this machine.
    `distance` is how far the data are from what the model was trained on (`ranking.similarity`), None where nothing
    tells.
    """

    name: str
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    prior: float | None = None
    prior_se: float | None = None
    prior_source: str = ""
    probe: float | None = None
    samples: int = 0
    scores: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    parameters: int | None = None
    mb: float | None = None
    gflops: float | None = None
    ms: float | None = None
    license: str | None = None
    trained_on: str | None = None
    distance: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class Apart:
    """A pair: the predicted difference `better` minus `worse` in the measure's own numbers, and its 90 % interval."""

    better: str
    worse: str
    difference: float
    low: float
    high: float


@dataclass
class Ranking:
    """Candidates, the best first and the broken last; the choice, and what cannot be told from it.

    `pairs` compares the best with every other; `tied` are those whose interval holds 0. `chosen_because` says why
    another than the best is chosen. `rounds` has (samples, candidates) of each round. `more` says what one more minute
    would settle. `taught` are the rows of ground truth behind the predictions, 0 where there is none for this kind.
    """

    candidates: list[Candidate]
    choice: str | None = None
    tied: list[str] = field(default_factory=list)
    pairs: list[Apart] = field(default_factory=list)
    chosen_because: str = ""
    rounds: list[tuple[int, int]] = field(default_factory=list)
    more: str = ""
    skipped: str = ""  # why hub candidates were left out, where they were
    n: int = 0  # samples that the last round looked at
    measure: str = "accuracy"
    taught: int = 0
    seconds: float = 0.0

    @staticmethod
    def from_plain(made: dict[str, Any]) -> Ranking:
        """Back from `dataclasses.asdict`."""
        rows = [Candidate(**c) for c in made["candidates"]]
        pairs = [Apart(**p) for p in made["pairs"]]
        rounds = [(int(n), int(k)) for n, k in made["rounds"]]
        return Ranking(**{**made, "candidates": rows, "pairs": pairs, "rounds": rounds})

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "level": LEVEL, "sentence": self.sentence()}

    def sentence(self) -> str:
        """In words: the best, what cannot be told from it, what was taken and why, what more would settle."""
        usable = [c for c in self.candidates if c.error is None]
        untried = sum(c.error == NOT_TRIED for c in self.candidates)
        if self.choice is None:
            return f"none of {len(self.candidates)} candidates can be used"
        late = f"; there was no time to try {untried} more: a larger --budget is needed" if untried else ""
        if len(usable) == 1:
            only = "the only candidate" + (" that can be used" if len(self.candidates) - untried > 1 else "")
            return f"{short(self.choice)} is {'the only one that was tried' if untried else only}{late}"
        said = f"{short(usable[0].name)} is predicted best on {self.n:,} samples, {self._beside(usable)}{late}"
        more = self.more[:1].upper() + self.more[1:]
        return ". ".join(filter(None, (said, self.chosen_because, more)))

    def _beside(self, usable: Sequence[Candidate]) -> str:
        if not self.tied:
            return "and every other measurably worse"
        pair = next(p for p in self.pairs if p.worse == self.tied[0])
        said = some(short(t) for t in self.tied)
        rest = "; the others are measurably worse" if len(self.tied) < len(usable) - 1 else ""
        return (
            f"but cannot separate {short(usable[0].name)} and {said} ({_wording.gap(asdict(pair), self.measure)}){rest}"
        )

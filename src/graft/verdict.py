"""Did it help? One word and its reason, from two arms compared on the same test samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from graft._wording import count, is_percent, number, spoken
from graft.evaluate import Paired, Score

Word = Literal["helped", "no_difference", "hurt", "cannot_tell"]
WORDS: tuple[Word, ...] = ("helped", "no_difference", "hurt", "cannot_tell")
ALPHA = 0.05
"""The test has to agree with the interval at this one-sided level."""
FEWEST = 10
"""Test samples below which nothing is told, whatever they say."""
MARGIN, MARGIN_IN_UNITS = 0.03, 0.05
"""A difference that does not matter: 3 points, or this share of the reference's value for measures with a unit."""
WITH_UNITS = frozenset({"mae", "rmse", "log_loss", "cost"})


@dataclass(frozen=True)
class Verdict:
    """The word, the margin within which a difference does not matter, why, and what it would take to tell.

    `margin` is in the measure's own numbers (0.03 is 3 points); 0 where there is none. `needed` is about how many test
    samples would settle it, None where that is not known or not asked.
    """

    word: Word
    margin: float
    reason: str
    needed: int | None = None

    def plain(self) -> dict[str, str | float | int | None]:
        """As JSON has it."""
        return {"word": self.word, "margin": self.margin, "reason": self.reason, "needed": self.needed}


def decide(pair: Paired, n: int, measure: str, lower: bool, reference: Score) -> Verdict:
    """Whether the arm with pretrained knowledge is better than the one without, on n test samples.

    pair: with minus without, in `measure`; both arms were chosen on validation, so that the test part has chosen
    nothing. lower: less is better. reference: the score of the arm without. helped and hurt: the whole interval is on
    one side of 0, and the test's p says so too. no_difference: the whole interval is within the margin, which is two
    one-sided tests (Schuirmann 1987), at half of what the level leaves open each. cannot_tell: all else.
    """
    margin = margin_of(measure, reference)
    if n < FEWEST:
        few = f"{n} test sample{'' if n == 1 else 's'} can tell nothing: at least {FEWEST} are needed"
        return Verdict("cannot_tell", margin, few, max(_needed(pair, n, margin) or 0, FEWEST))
    if not all(map(math.isfinite, (pair.difference, pair.low, pair.high, pair.p))):
        why = (
            f"{spoken(measure)} has no value, or no interval, on these {count(n)} test samples, so nothing is compared"
        )
        return Verdict("cannot_tell", margin, why)
    if pair.low == pair.high:
        why = f"the two differ by the same on each of {count(n)} test samples: that leaves nothing to judge chance by"
        return Verdict("cannot_tell", margin, why)
    low, high = (-pair.high, -pair.low) if lower else (pair.low, pair.high)
    said = _said(pair, n, measure)
    if low > 0 and pair.p < ALPHA:
        return Verdict("helped", margin, f"{said}, p {_p(pair.p)}")
    if high < 0 and 1 - pair.p < ALPHA:
        return Verdict("hurt", margin, f"{said}, p of the contrary {_p(1 - pair.p)}")
    if -margin < low and high < margin:
        return Verdict("no_difference", margin, f"{said}, all of it within {_margin(margin, measure)}")
    needed = _needed(pair, n, margin)
    more = f": about {count(needed)} would" if needed else ""
    why = f"{said}, which goes beyond {_margin(margin, measure)} and holds 0 too" if low <= 0 <= high else said
    return Verdict("cannot_tell", margin, f"{count(n)} test samples cannot tell{more}. {_capital(why)}", needed)


def margin_of(measure: str, reference: Score) -> float:
    """The difference that does not matter, in the measure's own numbers; 0 where the reference has no value."""
    if measure.partition(":")[0] not in WITH_UNITS:
        return MARGIN
    return MARGIN_IN_UNITS * abs(reference.value) if math.isfinite(reference.value) else 0.0


def _needed(pair: Paired, n: int, margin: float) -> int | None:
    """Test samples at which the interval, then narrower by the root of their number, would leave one answer.

    It has to leave out 0, or else lie within the margin: whichever takes fewer, if the difference stays. Two digits.
    """
    half = (pair.high - pair.low) / 2
    room = max(abs(pair.difference), margin - abs(pair.difference))
    if not (math.isfinite(half) and half > 0 and math.isfinite(room) and room > 0):
        return None
    wanted = max(n * (half / room) ** 2, n + 1)
    if wanted > 1e9:
        return None
    unit = int(10 ** max(len(str(int(wanted))) - 2, 0))
    return math.ceil(wanted / unit) * unit


def _said(pair: Paired, n: int, measure: str) -> str:
    unit = " points" if is_percent(measure) else ""
    low, high = (number(x, measure, signed=True) for x in (pair.low, pair.high))
    gap = number(pair.difference, measure, signed=True)
    return f"{gap}{unit} of {spoken(measure)} [{low} to {high}] on {count(n)} test samples"


def _margin(margin: float, measure: str) -> str:
    """`±3.0 points`."""
    return f"±{number(margin, measure, signed=True).lstrip('+')}" + (" points" if is_percent(measure) else "")


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]

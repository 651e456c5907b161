"""The difference of two models on the same samples in one measure: its interval, and a p that agrees with it."""

from __future__ import annotations

import math

import numpy as np

from graft import _intervals
from graft._blocks import jackknife_error
from graft._intervals import UNKNOWN, Ends, Mean
from graft._scored import BOUNDED, SHARES, Answered, Asked, design, worth
from graft.measures import Chosen

Difference = tuple[float, Ends, float]
"""a minus b, its interval, and the one-sided p of "a is not better"."""


def difference(asked: Asked, a: Answered, b: Answered, m: Chosen, sign: float) -> Difference:
    """(a minus b, its interval, one-sided p of "a is not better"); sign -1 where less is better."""
    pa, pb = a.points(asked, m), b.points(asked, m)
    if pa is None or pb is None:
        return _of_measures(asked, a, b, m, sign)
    if m.name in SHARES:
        return _of_shares(asked, pa - pb)
    mean = Mean.of(pa - pb, asked.units.cluster)
    # Student's t: differences lean to neither side, and to mend a skew that is chance alone makes coverage worse.
    even, better = (Mean(by * mean.value, mean.spread, 0.0, mean.units) for by in (1.0, sign))
    return mean.value, even.interval(asked.level), better.above_zero()


def _of_shares(asked: Asked, d: np.ndarray) -> Difference:
    """Of samples [n] that a alone (1), b alone (-1), or both or neither (0) have right."""
    n, wins, losses = len(d), int((d > 0).sum()), int((d < 0).sum())
    if asked.units.cluster is None:
        low, high = _intervals.tango(wins, losses, n, asked.at)
        p, tail = mid_p(wins, losses), (1 - asked.level) / 2
        # On few samples the exact test is the more careful one, and both are to say the same.
        low, high = (min(low, 0.0) if p >= tail else low), (max(high, 0.0) if 1 - p >= tail else high)
        return float(d.mean()), (low, high), p
    by = design(asked, d)
    w, lost = wins / by, losses / by
    p = _intervals.above((w - lost) / math.sqrt(w + lost), asked.units.freedom()) if wins + losses else 1.0
    return float(d.mean()), _intervals.tango(w, lost, n / by, asked.at), p


def mid_p(wins: int, losses: int) -> float:
    """One-sided mid-p of McNemar's test: small where wins outnumber losses beyond chance."""
    from scipy.stats import binom

    n = wins + losses
    if n == 0:
        return 1.0
    return float(binom.sf(wins, n, 0.5) + 0.5 * binom.pmf(wins, n, 0.5))


def _of_measures(asked: Asked, a: Answered, b: Answered, m: Chosen, sign: float) -> Difference:
    """By t, with the jackknife's error of the difference (the bootstrap's, for a sensitivity)."""
    gap = float((a.values(asked, [m])[str(m)] - b.values(asked, [m])[str(m)])[0])
    if math.isnan(gap) or asked.units.count < 2:
        return gap, UNKNOWN, 1.0
    if m.name == "sensitivity":
        gaps = a.drawn(asked, m) - b.drawn(asked, m)
        gaps = gaps[np.isfinite(gaps)]
        error = float(gaps.std(ddof=1)) if len(gaps) > 1 else 0.0
    else:
        error = jackknife_error(a.without(asked, [m])[str(m)] - b.without(asked, [m])[str(m)])
    middle = gap
    if m.name in BOUNDED:
        by = design(asked, a.right(asked) - b.right(asked))
        middle, error = _intervals.widened(gap, error, worth(asked, m, by))
    if not error:
        return gap, (gap, gap), 1.0 if sign * gap <= 0 else 0.0
    half, p = asked.at_t * error, _intervals.above(sign * middle / error, asked.freedom)
    return gap, (min(middle - half, gap), max(middle + half, gap)), p

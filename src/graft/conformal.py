"""How sure an answer is: sets and intervals that hold the truth as often as asked, and what answering less gains.

Split conformal prediction (Vovk, Gammerman and Shafer 2005; Lei et al. 2018, section 2.2): a score says how odd an
answer would be, validation says how odd true answers are, and a new input's set holds every answer that is no odder
than the ceil((n + 1) coverage)-th of n validation scores. Then P(truth in set) >= coverage for samples that are
exchangeable with validation's, whatever the model; without ties it is at most 1 / (n + 1) more. It is a mean over
inputs: a class may fare worse.

What is promised, by kind of answer:

- classes: the true class is in the set. Scores are APS or RAPS without random draws. The likeliest class is always
  in the set: where the model is right more often than asked, coverage is its accuracy.
- labels: of each label alone, an input that holds it has it in its set (a threshold a label, from the validation
  samples that hold it). A label that validation has too few of stands in every set.
- numbers: the true number is within low..high, an interval as wide for every input.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from graft import measures
from graft.errors import UsageError, some
from graft.evaluate import LEVEL, exact_share
from graft.thresholds import shift

LEVELS = (0.8, 0.9, 0.95)
"""Coverages that a report measures."""
SCORES = ("aps", "raps", "lac")
DEFAULT = "raps"
PENALTY, FREE = (
    0.01,
    5,
)  # RAPS: added for each rank beyond so many; fixed, since tuning them on validation bends it more
SHARES = tuple(round(1 - i / 20, 2) for i in range(20))
"""Shares of the inputs answered that an abstention curve lists."""


def check(coverage: float) -> None:
    """Refuse a coverage that is none; raises UsageError."""
    if not 0 < coverage < 1:
        raise UsageError(f"--coverage {coverage:g}: a share above 0 and below 1 is expected, as 0.9")


def needed(coverage: float) -> int:
    """The fewest validation scores that can support a coverage."""
    n = max(1, math.ceil(coverage / (1 - coverage) - 1e-9))
    return n if _place(n, coverage) <= n else n + 1


def _place(n: int, coverage: float) -> int:
    """Which of n scores in order is the cut: ceil((n + 1) coverage), rounding apart."""
    return math.ceil((n + 1) * coverage - 1e-9)


def quantile(scores: np.ndarray, coverage: float) -> float:
    """The ceil((n + 1) coverage)-th smallest of n scores; infinite where n is too small."""
    k = _place(len(scores), coverage)
    return float(np.partition(scores, k - 1)[k - 1]) if k <= len(scores) else math.inf


# ---------------------------------------------------------------------------------------- scores and sets


def oddness(kind: str, p: Any, score: str = DEFAULT) -> np.ndarray:
    """How odd each class or label would be as an answer, [n, c], from probabilities [n, c].

    `aps`: the probability of all classes likelier than it, minus 1 (Romano, Sesia and Candes 2020, section 2: the
    sets that need no random draw). `raps`: PENALTY more for each rank beyond FREE (Angelopoulos et al. 2021), which
    cuts long tails off. `lac`: minus its own probability (Sadinle, Lei and Wasserman 2019). The likeliest class has
    -1 in each, so no set is empty. For labels always minus the probability.
    """
    p = np.asarray(p, dtype=np.float64)
    if kind == measures.LABELS:
        return np.asarray(-p)
    order = np.argsort(-p, axis=1, kind="stable")
    if score == "lac":
        plain: np.ndarray = np.asarray(-p)
        np.put_along_axis(plain, order[:, :1], -1.0, axis=1)
        return plain
    # 1 less than what stands above: the rest of the row, whose small numbers rounding does not make equal.
    odd = -np.cumsum(np.take_along_axis(p, order, axis=1)[:, ::-1], axis=1)[:, ::-1]
    odd[:, 0] = -1.0
    if score == "raps":
        odd = odd + PENALTY * np.maximum(0, np.arange(1, p.shape[1] + 1) - FREE)
    found: np.ndarray = np.empty_like(p)
    np.put_along_axis(found, order, odd, axis=1)
    return found


def deciding(kind: str, answers: Any, offsets: np.ndarray | None) -> np.ndarray:
    """Answers as they are decided by: probabilities with the offsets of `graft.thresholds` in them, or numbers.

    Sets and sureness are of these, so that what is answered stands in its set.
    """
    found = np.asarray(answers, dtype=np.float64)
    return np.asarray(found if offsets is None else shift(kind, found, offsets))


def cuts(kind: str, valid: Any, truth: Any, coverage: float, score: str = DEFAULT) -> np.ndarray:
    """The cuts [1] of classes and numbers, [c] of labels, from validation's answers and truth; infinite: no cut.

    Answers are `deciding` ones. Raises UsageError for a coverage outside 0..1.
    """
    check(coverage)
    answers, true = np.asarray(valid, dtype=np.float64), np.asarray(truth)
    if kind == measures.NUMBERS:
        return np.array([quantile(np.abs(answers - true), coverage)])
    odd = oddness(kind, answers, score)
    if kind == measures.LABELS:
        return np.array([quantile(odd[true[:, c] > 0.5, c], coverage) for c in range(odd.shape[1])])
    return np.array([quantile(odd[np.arange(len(true)), true.astype(int)], coverage)])


def members(kind: str, p: Any, cut: np.ndarray, score: str = DEFAULT) -> np.ndarray:
    """Which classes or labels each set holds, [n, c] of bool."""
    return np.asarray(oddness(kind, p, score) <= cut)


def ends(values: Any, cut: np.ndarray) -> np.ndarray:
    """(low, high) of each number's interval, [n, 2]."""
    found = np.asarray(values, dtype=np.float64)
    return np.stack([found - cut[0], found + cut[0]], axis=1)


def columns(
    kind: str, answers: Any, cut: np.ndarray, labels: Sequence[str], offsets: np.ndarray | None = None
) -> list[dict[str, Any]]:
    """What `predict` adds to each row: {"set": labels, the likeliest first}, or {"low", "high"}."""
    if kind == measures.NUMBERS:
        return [{"low": float(low), "high": float(high)} for low, high in ends(answers, cut)]
    p = deciding(kind, answers, offsets)
    order, held = np.argsort(-p, axis=1, kind="stable"), members(kind, p, cut)
    return [{"set": [labels[c] for c in row if own[c]]} for row, own in zip(order, held, strict=True)]


def unsupported(kind: str, truth: Any, coverage: float, labels: Sequence[str]) -> str:
    """Why sets hold everything or intervals are endless, where validation is too small; else nothing."""
    true, fewest = np.asarray(truth), needed(coverage)
    said = f"a coverage of {coverage:g} needs at least {fewest:,} validation samples"
    if kind == measures.LABELS:
        counts = (true > 0.5).sum(axis=0)
        rare = [label for label, n in zip(labels, counts, strict=True) if n < fewest]
        return f"{said} that hold a label; {some(rare)} have fewer, and stand in every set" if rare else ""
    if len(true) >= fewest:
        return ""
    what = "every interval is endless" if kind == measures.NUMBERS else "every set holds all classes"
    return f"{said}; this run has {len(true)}, so {what}"


# ------------------------------------------------------------------------------------------- measured


def measured(
    kind: str,
    valid: Any,
    valid_truth: Any,
    test: Any,
    test_truth: Any,
    labels: Sequence[str],
    offsets: np.ndarray | None = None,
    levels: Sequence[float] = LEVELS,
) -> dict[str, Any]:
    """How often the test part's truth lies in its sets, and how large these are, at each coverage.

    Answers are calibrated probabilities [n, c] with the offsets [c] that decide, or numbers [n]. Gives
    {"score", "n_valid", "levels": [{"coverage", "needs", "supported", "measured": {"value", "low", "high", "n"},
    "expected": {"low", "high"} | None, "size" | "width", "single", "worst", "everything"}]}. Intervals are exact
    ones of the binomial (of labels, over pairs of an item and a label it holds); `expected` is where the measured
    coverage lies 95 % of the time given both parts' sizes (beta-binomial; Angelopoulos and Bates 2023, section 3.2).
    `worst` is the class or label that is held least often, `everything` the labels in every set.
    """
    true, (known, answers) = np.asarray(test_truth), (deciding(kind, x, offsets) for x in (valid, test))
    rows = []
    for coverage in levels:
        cut = cuts(kind, known, valid_truth, coverage)
        row: dict[str, Any] = {"coverage": coverage, "needs": needed(coverage), "supported": _supported(cut)}
        if kind == measures.NUMBERS:
            hit = np.abs(answers - true) <= cut[0]
            row |= {"measured": _share(hit), "width": 2 * float(cut[0]) if _supported(cut) else None}
        else:
            held = members(kind, answers, cut)
            row |= _held(kind, held, true, labels)
            row |= {"size": float(held.sum(axis=1).mean()), "single": float((held.sum(axis=1) == 1).mean())}
        if kind == measures.LABELS:
            row["everything"] = [label for label, c in zip(labels, cut, strict=True) if math.isinf(c)]
        row["expected"] = None if kind == measures.LABELS else _expected(len(known), len(true), coverage)
        rows.append(row)
    return {"score": _named(kind), "n_valid": len(known), "levels": rows}


def _named(kind: str) -> str:
    return {measures.CLASSES: DEFAULT, measures.LABELS: "by label"}.get(kind, "absolute residual")


def _supported(cut: np.ndarray) -> bool:
    return bool(np.isfinite(cut).any())


def _share(hit: np.ndarray) -> dict[str, Any]:
    """A share with its exact interval; no value where there is nothing to count."""
    n, hits = len(hit), int(hit.sum())
    if not n:
        return {"value": None, "low": None, "high": None, "n": 0}
    low, high = exact_share(hits, n)
    return {"value": hits / n, "low": low, "high": high, "n": n}


def _held(kind: str, held: np.ndarray, true: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
    """The share of true answers that sets hold, and the class or label of which they hold the fewest."""
    own = true > 0.5 if kind == measures.LABELS else true[:, None] == np.arange(held.shape[1])
    every = {label: _share(held[own[:, c], c]) for c, label in enumerate(labels) if own[:, c].any()}
    worst = min(every, key=lambda label: every[label]["value"], default=None)
    return {"measured": _share(held[own]), "worst": None if worst is None else {"label": worst, **every[worst]}}


def _expected(n_valid: int, n_test: int, coverage: float) -> dict[str, float] | None:
    from scipy.stats import betabinom

    k = _place(n_valid, coverage)
    if k > n_valid or not n_test:
        return None
    tail, spread = (1 - LEVEL) / 2, betabinom(n_test, k, n_valid + 1 - k)
    return {"low": float(spread.ppf(tail)) / n_test, "high": float(spread.ppf(1 - tail)) / n_test}


# ----------------------------------------------------------------------------------------- abstention


def abstention(kind: str, test: Any, test_truth: Any, offsets: np.ndarray | None = None) -> dict[str, Any]:
    """What is right among the surest answers, by the share that is answered (Geifman and El-Yaniv 2017).

    Answers as in `measured`; an answer is as sure as its likeliest class, or of labels as all its yeses and noes
    together, and right where the class is, or all labels are. Gives {"curve": [{"answered", "n", "sure", "value",
    "low", "high"}], "aurc", "best", "unsorted"}: `sure` is the least sure answer that is given, `aurc` the mean share
    of errors over all shares answered, `best` what sorting all errors last would have, `unsorted` what no sorting has.
    Of equally sure answers each counts as their mean. Numbers come without a sureness: {"curve": None, "why"}.
    """
    if kind == measures.NUMBERS:
        return {"curve": None, "why": "a number comes without a probability, and its intervals are all equally wide"}
    p, true = deciding(kind, test, offsets), np.asarray(test_truth)
    sure, right = _sureness(kind, p, true)
    order = np.argsort(-sure, kind="stable")
    sure, right = sure[order], right[order].astype(np.float64)
    _, group = np.unique(-sure, return_inverse=True)
    hits = np.cumsum((np.bincount(group, right) / np.bincount(group))[group])
    n = len(sure)
    counts = np.arange(1, n + 1)
    ideal = np.minimum(counts, right.sum())
    curve: list[dict[str, Any]] = []
    for share in SHARES:
        k = max(1, round(share * n))
        if curve and curve[-1]["n"] == k:  # fewer inputs than shares
            continue
        low, high = exact_share(round(float(hits[k - 1])), k)
        value = float(hits[k - 1]) / k
        curve.append({"answered": share, "n": k, "sure": float(sure[k - 1]), "value": value, "low": low, "high": high})
    return {
        "curve": curve,
        "aurc": float((1 - hits / counts).mean()),
        "best": float((1 - ideal / counts).mean()),
        "unsorted": float(1 - right.mean()),
    }


def _sureness(kind: str, p: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(how sure each answer is [n], whether it is right [n])."""
    if kind == measures.LABELS:
        sure = np.exp(np.log(np.maximum(p, 1 - p)).sum(axis=1))
        return sure, ((p > 0.5) == (true > 0.5)).all(axis=1)
    return p.max(axis=1), p.argmax(axis=1) == true

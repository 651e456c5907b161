"""What follows from a report's numbers: where thresholds lie, how far off values are, why a number is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from statistics import median
from typing import Any

from graft import _wording
from graft._wording import Report, clip, number

NAMED = 5  # classes named in a sentence
APART = 1.05  # factors nearer to one are no difference


# -- thresholds


def thresholds(r: Report, model: str | None = None) -> dict[str, float]:
    """A model's offset by label, the chosen model's without a name; empty where it decides by plain probabilities."""
    labels = [str(x) for x in (r.get("task") or {}).get("labels") or []]
    offsets = (r.get("thresholds") or {}).get(r.get("chosen") if model is None else model) or []
    if _wording.kind(r) == "numbers" or len(labels) != len(offsets) or any(x is None for x in offsets):
        return {}
    return dict(zip(labels, offsets, strict=True))


def share_from(offset: float) -> float:
    """The probability from which a label is said, its log-odds being raised by `offset`."""
    return 1 / (1 + math.exp(min(max(offset, -500.0), 500.0)))


def factors(offsets: dict[str, float]) -> dict[str, float]:
    """By how much each class's probability is multiplied before the largest wins; the middle class's factor is 1."""
    middle = median(offsets.values())
    return {name: math.exp(min(max(x - middle, -500.0), 500.0)) for name, x in offsets.items()}


def decides(r: Report) -> str:
    """How the chosen model's moved thresholds decide, in words; empty where none was moved."""
    offsets = thresholds(r)
    if not offsets:
        return ""
    if _wording.kind(r) == "labels":
        return _decides_labels(offsets)
    return _decides_two(offsets) if len(offsets) == 2 else _decides_many(offsets)


def _decides_two(offsets: dict[str, float]) -> str:
    (one, a), (two, b) = offsets.items()
    name, lead = (one, a - b) if a > b else (two, b - a)
    return f"It says \u201c{clip(name)}\u201d from a probability of {number(share_from(lead))} on, instead of from 50%."


def _decides_labels(offsets: dict[str, float]) -> str:
    shares = sorted((share_from(x), clip(name)) for name, x in offsets.items())
    (low, first), (high, last) = shares[0], shares[-1]
    if number(low) == number(high):
        return f"It says a label from a probability of {number(low)} on, instead of from 50%."
    return (
        "It says each label from a probability of its own on, instead of from 50%: "
        f"from {number(low)} for \u201c{first}\u201d to {number(high)} for \u201c{last}\u201d."
    )


def _decides_many(offsets: dict[str, float]) -> str:
    every = sorted(factors(offsets).items(), key=lambda x: -x[1])
    up = [(clip(k), v) for k, v in every if v > APART]
    down = [(clip(k), 1 / v) for k, v in reversed(every) if v < 1 / APART]
    said = "Its answer is the class with the largest probability after each is weighed by a factor"
    parts = [_listed("favoured", up, "times"), _listed("held back", down, "times less")]
    told = "; ".join(p for p in parts if p)
    return f"{said}. Classes that are {told}." if told else f"{said}, all of them near one."


def _listed(what: str, names: Sequence[tuple[str, float]], word: str) -> str:
    shown = ", ".join(f"\u201c{name}\u201d ({number(v, 'factor')} {word})" for name, v in names[:NAMED])
    left = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"{what}: {shown}{left}" if names else ""


# -- numbers


def pairs(r: Report) -> list[tuple[float, float]]:
    """(truth, predicted) of the test items of a regression, without those that miss either."""
    given = r.get("residuals") or {}
    both = zip(given.get("truth") or [], given.get("predicted") or [], strict=False)
    return [(float(t), float(p)) for t, p in both if t is not None and p is not None]


def spread(points: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Of at least one (truth, predicted): how far off `half` and `most` (nine of ten) stay, the `mean` error,
    and the truth's lowest, middle and highest.
    """
    off, truth = sorted(abs(p - t) for t, p in points), [t for t, _ in points]
    at = math.ceil(0.9 * len(off)) - 1
    return {
        "half": median(off), "most": off[at], "mean": sum(p - t for t, p in points) / len(points),
        "lowest": min(truth), "middle": median(truth), "highest": max(truth),
    }  # fmt: skip


# -- what is missing


def explained(report: Report) -> Report:
    """Return the report as JSON can hold it: each number that is not finite is None, its reason in `nulls`.

    `nulls` maps the place ("/scores/finetune/test/auroc/value") to the reason; it is there only where needed.
    """
    found = dict(_holes(report, "", report))
    cleaned: Report = _wording.finite(report)
    return {**cleaned, "nulls": found} if found else cleaned


def _holes(value: Any, place: str, report: Report) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for k, v in value.items():
            yield from _holes(v, f"{place}/{str(k).replace('~', '~0').replace('/', '~1')}", report)
    elif isinstance(value, list | tuple):
        for i, v in enumerate(value):
            yield from _holes(v, f"{place}/{i}", report)
    elif isinstance(value, Real) and not isinstance(value, Integral) and not math.isfinite(value):
        yield place, _reason(float(value), place, report)


def _reason(value: float, place: str, report: Report) -> str:
    """The measure's own reason where the place is a measure's score, else what the number was."""
    parts, measures = place.split("/"), report.get("measures") or {}
    ours = parts[1] in ("headline", "controls", "against", "scores")
    names = {str(x).replace("~", "~0").replace("/", "~1"): str(x) for x in measures}
    name = next((names[x] for x in parts if x in names), _wording.measure(report)) if ours else ""
    undefined = _wording.definition(report, name).get("undefined")
    return str(undefined or ("not a number" if math.isnan(value) else "infinite"))

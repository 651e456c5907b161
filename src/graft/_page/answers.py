"""Sections on the test part's answers: mistakes, confusion, classes or labels, probabilities, residuals."""

from __future__ import annotations

import re
from typing import Any

from graft import _facts, _plots, _wording
from graft._page.grid import OPEN_ROWS, Cell, table
from graft._wording import Report, clip, count, number

MOST_MISTAKES, MOST_CLASSES = 24, 30  # on the page; in a full confusion matrix
SEEN_PICTURES, SEEN_TEXTS = 12, 8  # mistakes that are seen without a click
MOST_PAIRS = 15  # confused pairs
MOST_PICTURES = 1_100_000  # characters of all pictures together
PICTURE = re.compile(r"data:image/(?:jpeg|png|webp|gif);base64,[A-Za-z0-9+/]+={0,2}")


def mistakes(r: Report) -> Report | None:
    """The worst mistakes, with pictures as far as the page may grow."""
    every, kind = [x or {} for x in r.get("mistakes") or []], _wording.kind(r)
    if kind == "classes":
        every.sort(key=lambda x: -(x.get("probability") or 0.0))
    spent, cards = 0, []
    for x in every[:MOST_MISTAKES]:
        picture = x.get("picture") or ""
        fits = spent + len(picture) <= MOST_PICTURES and PICTURE.fullmatch(picture)
        spent += len(picture) if fits else 0
        named = {
            k: clip(x.get(k), _wording.TEXT if kind == "labels" else _wording.NAME) for k in ("truth", "predicted")
        }
        sure = _off(x) if kind == "numbers" else number(x["probability"]) if x.get("probability") is not None else ""
        shown = {"picture": picture if fits else "", "words": clip(x.get("text"), _wording.TEXT)}
        cards.append({**named, **shown, "id": clip(x.get("id")), "sure": sure})
    drawn = any(c["picture"] for c in cards)
    seen = SEEN_PICTURES if drawn else SEEN_TEXTS
    return (
        {"cards": cards[:seen], "more": cards[seen:], "drawn": drawn, **_told(r, kind, len(cards), len(every))}
        if cards
        else None
    )


def _off(x: Report) -> str:
    """By how much a number is off, in words; empty where it is none."""
    try:
        gap = float(x["predicted"]) - float(x["truth"])
    except (KeyError, TypeError, ValueError):
        return ""
    return f"{number(abs(gap), 'number')} too {'high' if gap > 0 else 'low'}" if abs(gap) < float("inf") and gap else ""


def _told(r: Report, kind: str, shown: int, listed: int) -> dict[str, str]:
    """The heading of the mistakes, and the sentence under it."""
    if kind == "numbers":
        items = "The test item" if shown == 1 else f"The {shown} test items"
        return {"title": "Furthest off", "about": f"{items} whose predicted number is furthest off, the worst first."}
    wrong = _wrong(r, kind, listed)
    of = f"{shown} of {count(wrong)}" if wrong > shown else f"{count(wrong)}"
    if kind == "labels":
        items = f"{of} test item{'s' * (wrong != 1)} on which a label is missing or one too many is said"
        return {"title": "Mistakes", "about": f"{items}, the most surprising first."}
    about = f"{of} mistake{'s' * (wrong != 1)} on the test part, those it was surest of first."
    return {"title": "Mistakes", "about": about}


def _wrong(r: Report, kind: str, listed: int) -> int:
    """How many test items are answered wrongly; at least those that are listed."""
    exact = _wording.tested(r).get("exact_match") or {}
    if kind == "labels" and exact.get("value") is not None and exact.get("n"):
        return max(round((1 - float(exact["value"])) * int(exact["n"])), listed)
    return max(sum(n for i, row in enumerate(_matrix(r)) for j, n in enumerate(row) if i != j), listed)


def _matrix(r: Report) -> list[list[int]]:
    return [[int(n or 0) for n in row or []] for row in r.get("confusion") or []]


def confusion(r: Report) -> Report | None:
    """Truth against prediction: every cell up to 30 classes, above that the 15 most confused pairs."""
    grid = _matrix(r)
    if not any(map(sum, grid)):
        return None
    names = [clip(x) for x in (r.get("task") or {}).get("labels") or []]
    names += [f"class {i}" for i in range(len(names), max(len(grid), *map(len, grid)))]
    if len(names) <= MOST_CLASSES:
        heat = []
        for i, row in enumerate(grid):
            cells = [{"n": n, "share": f"{n / (sum(row) or 1):.3f}", "right": i == j} for j, n in enumerate(row)]
            heat.append({"name": names[i], "cells": cells})
        return {"heat": heat, "names": names[: len(grid[0])], "table": None, "n": len(names)}
    pairs = sorted((-n, i, j) for i, row in enumerate(grid) for j, n in enumerate(row) if i != j and n)[:MOST_PAIRS]
    rows: list[list[Cell]] = [[names[i], names[j], count(-n), number(-n / sum(grid[i]))] for n, i, j in pairs]
    head = [("Truth", "name"), ("Taken for", "name"), ("Items", "num"), ("Share of the class", "num")]
    return {"heat": None, "names": names, "table": table("Most confused pairs", head, rows), "n": len(names)}


def thresholds(r: Report) -> str:
    """How the answer is decided where the plain probabilities do not decide it."""
    return _facts.decides(r)


def classes(r: Report) -> Report | None:
    """Precision, recall and F1 of each class or label, the weakest first, with moved thresholds."""
    every = [(name, s or {}) for name, s in (r.get("per_class") or {}).items()]
    every.sort(key=lambda x: x[1]["f1"] if x[1].get("f1") is not None else 2.0)
    many, extra = _wording.kind(r) == "labels", _decisions(r)
    rows: list[list[Cell]] = []
    for name, s in every:
        scores: list[Cell] = [number(s.get(k)) for k in ("precision", "recall", "f1")]
        rows.append([clip(name), *scores, count(s.get("n")), *([extra[1].get(name, "")] if extra else [])])
    head = [("Label" if many else "Class", "name"), ("Precision", "num"), ("Recall", "num"), ("F1", "num")]
    head += [("Items", "num"), *([(extra[0], "num")] if extra else [])]
    holes = any(s.get(k) is None for _, s in every for k in ("precision", "recall"))
    label = "Per label" if many else "Per class"
    return {"table": table(label, head, rows, OPEN_ROWS), "many": many, "holes": holes} if rows else None


def _decisions(r: Report) -> tuple[str, dict[str, str]] | None:
    """(heading, a text by name) of the column that says each label's threshold, or each class's factor."""
    offsets = _facts.thresholds(r)
    if _wording.kind(r) == "labels" and offsets:
        return "Said from", {k: number(_facts.share_from(x)) for k, x in offsets.items()}
    if len(offsets) > 2:
        return "Weighed by", {k: number(v, "factor") for k, v in _facts.factors(offsets).items()}
    return None


def calibration(r: Report) -> Report | None:
    """Whether a stated probability can be believed, drawn and in words."""
    given = r.get("calibration") or {}
    found = [((b or {}).get("confidence"), (b or {}).get("accuracy"), (b or {}).get("n") or 0)
             for b in given.get("bins") or []]  # fmt: skip
    bins = [(float(c), float(a), int(n)) for c, a, n in found if c is not None and a is not None and n > 0]
    if not bins:
        return None
    total = sum(n for _, _, n in bins)
    claimed, true = (sum(b[i] * b[2] for b in bins) / total for i in (0, 1))
    size = "" if abs(claimed - true) >= 0.05 else "a little "
    lean = f"{size}too sure of itself" if claimed > true else f"{size}too modest"
    error = given.get("ece")
    return {
        "plot": _plots.reliability(bins),
        "claimed": number(claimed),
        "true": number(true),
        "lean": lean if abs(claimed - true) >= 0.01 else "about as sure as it should be",
        "off": f"{100 * error:.1f}" if error is not None else "",
        "ece": f"{error:.3f}" if error is not None else "",
        **_tempered(given),
        "many": _wording.kind(r) == "labels",
    }


def _tempered(given: Report) -> dict[str, str]:
    """The temperature, and by how many points probabilities would be off without it; empty where nothing is scaled."""
    t, before = given.get("temperature"), given.get("ece_before")
    if t is None or before is None or t == 1:
        return {"temperature": "", "before": ""}
    return {"temperature": f"{t:.3g}", "before": f"{100 * before:.1f}"}


def residuals(r: Report) -> Report | None:
    """Predicted against true numbers, drawn, and how far off they are."""
    points = _facts.pairs(r)
    if not points:
        return None
    found, n = _facts.spread(points), _wording.best(r).get("n") or len(points)
    reach = [x for pair in points for x in pair]
    errors = [p - t for t, p in points]
    bars, outside = _plots.bins(errors)
    small = abs(found["mean"]) < 0.1 * found["half"]
    shown: dict[str, Any] = {k: number(v, "number") for k, v in found.items()}
    return {
        **shown,
        "scatter": _plots.scatter(points, _plots.ticks(min(reach), max(reach), most=7), _plots.round_number),
        "histogram": _plots.histogram(bars, _plots.round_number),
        "edges": [_plots.round_number(x) for x in (bars[0][0], bars[-1][1])],
        "outside": count(outside) if outside else "",
        "lean": "" if small else f"{number(abs(found['mean']), 'number')} too {'high' if found['mean'] > 0 else 'low'}",
        "drawn": count(len(points)),
        "n": count(n),
        "thinned": n > len(points),
    }

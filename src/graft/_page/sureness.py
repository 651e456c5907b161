"""Sections on what its sureness is worth: sets and intervals with a promise, and answering only where it is sure."""

from __future__ import annotations

from graft import _plots, _wording
from graft._page.grid import Cell, table
from graft._wording import NONE, Report, clip, count, interval, number

SHOWN = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5, 0.25)  # shares answered that the page lists


def conformal(r: Report) -> Report | None:
    """How often sets and intervals hold the truth, beside what was asked of them, and how large they are."""
    given, kind = r.get("conformal") or {}, _wording.kind(r)
    levels = [x for x in given.get("levels") or [] if x and x.get("coverage") is not None]
    if not levels:
        return None
    rows: list[list[Cell]] = []
    for x in levels:
        found = x.get("measured") or {}
        held: Cell = {"text": _wording.value(found, "accuracy"), "small": interval(found, "accuracy")}
        rows.append([_asked(x["coverage"]), held, *_sizes(x, kind)])
    heads = {
        "numbers": [("Usual reach", "num"), ("Interval", "num")],
        "labels": [("Labels in a set", "num"), ("Held least", "name"), ("Held of it", "num")],
        "classes": [("Usual reach", "num"), ("Classes in a set", "num"), ("Sets of one", "num"),
                    ("Held least", "name"), ("Held of it", "num")],
    }  # fmt: skip
    head = [("Asked", "name"), ("Truth held", "num"), *heads[kind]]
    lacking = [x for x in levels if x.get("supported") is False]
    return {
        "table": table("Coverage asked and measured", head, rows),
        "kind": kind,
        "n": count(given.get("n_valid")),
        "level": _wording.level(r),
        "lacking": [f"{_asked(x['coverage'])} needs {count(x.get('needs'))}" for x in lacking],
        "everything": _everything(levels),
        "shell": f"graft predict {_wording.quoted(str(r['run']))} INPUT --coverage 0.9" if r.get("run") else "",
    }


def _asked(coverage: float) -> str:
    return f"{100 * coverage:g}%"


def _sizes(x: Report, kind: str) -> list[Cell]:
    """The cells behind asked and measured."""
    usual = interval(x.get("expected") or {}, "accuracy") or NONE
    if kind == "numbers":
        width = x.get("width")
        return [usual, "endless" if width is None else f"± {number(width / 2, 'number')}"]
    worst = x.get("worst") or {}
    least: list[Cell] = [
        clip(worst.get("label")),
        {"text": number(worst.get("value")), "small": f"{count(worst['n'])} items" if worst.get("n") else ""},
    ]
    size = number(x.get("size"), "number")
    return [size, *least] if kind == "labels" else [usual, size, number(x.get("single")), *least]


def _everything(levels: list[Report]) -> str:
    """Labels that stand in every set, of the highest coverage that has any."""
    found: list[str] = next((x["everything"] for x in reversed(levels) if x.get("everything")), [])
    shown = ", ".join(f"\u201c{clip(label)}\u201d" for label in found[:5])
    return shown + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def abstention(r: Report) -> Report | None:
    """What is right among the surest answers, by the share that is answered, drawn and listed."""
    given, kind = r.get("abstention") or {}, _wording.kind(r)
    curve = [x for x in given.get("curve") or [] if x and None not in (x.get("answered"), x.get("value"), x.get("n"))]
    if not curve or kind == "numbers":
        return None
    rows: list[list[Cell]] = []
    for x in (x for x in curve if x["answered"] in SHOWN):
        right: Cell = {"text": number(x["value"]), "small": interval(x, "accuracy")}
        rows.append([_asked(x["answered"]), count(x["n"]), number(x.get("sure")), right])
    head = [("Answered", "name"), ("Items", "num"), ("As sure as", "num"), ("Right", "num")]
    half = min(curve, key=lambda x: abs(x["answered"] - 0.5))
    points = [(float(x["answered"]), float(x["value"]), x.get("low"), x.get("high")) for x in curve]
    return {
        "plot": _plots.answered(points),
        "table": table("Right by share answered", head, rows),
        "all": number(curve[0]["value"]),
        "half": number(half["value"]),
        "share": _asked(half["answered"]),
        "aurc": number(given.get("aurc")),
        "best": number(given.get("best")),
        "unsorted": number(given.get("unsorted")),
        "many": kind == "labels",
    }

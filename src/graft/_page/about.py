"""Sections about the run itself: curves, data, how to load it, its recipe, its time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from graft import _facts, _plots, _wording
from graft._page.grid import OPEN_ROWS, Cell, table
from graft._page.scores import PARTS, short
from graft._wording import Report, clip, count, duration, number, plain, spoken

MOST_ITEMS = 50  # of a note
KINDS = {"found": "Detected", "assumed": "Assumed", "skipped": "Left out", "warning": "Warnings"}
EXAMPLES = {
    "image": '["one.jpg", "two.jpg"]',
    "text": '["a first text", "a second text"]',
    "audio": '["one.wav", "two.wav"]',
}
COLUMNS = {  # of the table that `run.predict` gives, by kind of answer
    "classes": ["label", "probability"],
    "labels": ["labels"],
    "numbers": ["value"],
}


def curves(r: Report) -> list[Report] | None:
    """Training loss and validation score over the steps of each stage."""
    m, stages = _wording.measure(r), []
    for name, c in (r.get("curves") or {}).items():
        loss = _points(zip((c or {}).get("step") or [], (c or {}).get("loss") or [], strict=False))
        valid = _points(((v or {}).get("step"), (v or {}).get("value")) for v in (c or {}).get("valid") or [])
        steps = [s for s, _ in loss + valid]
        if not steps:
            continue
        reach = (min(steps), max(steps))
        plots = [_curve(name, "training loss", loss, "loss", reach)] if loss else []
        plots += [_curve(name, f"validation {spoken(m)}", valid, m, reach, dots=True)] if valid else []
        stages.append({"name": spoken(name), "plots": plots, "first": f"{reach[0]:,.0f}", "last": f"{reach[1]:,.0f}"})
    return stages or None


def _curve(of: str, what: str, points: list[_plots.Point], m: str, reach: _plots.Point, dots: bool = False) -> Report:
    drawing = _plots.line(points, short(m), f"{what} of {spoken(of)}", reach, dots=dots)
    return {"what": plain(what), "last": number(points[-1][1], m), "drawing": drawing}


def _points(pairs: Iterable[tuple[Any, Any]]) -> list[_plots.Point]:
    return [(float(s), float(v)) for s, v in pairs if s is not None and v is not None]


def data(r: Report) -> Report | None:
    """What was detected, assumed, left out and warned of; counts per class and part."""
    d, many = r.get("data") or {}, _wording.kind(r) == "labels"
    rows: list[list[Cell]] = [
        [clip(k), *(count((v or {}).get(p)) for p in PARTS)] for k, v in (d.get("classes") or {}).items()
    ]
    head = [("Label" if many else "Class", "name"), ("Train", "num"), ("Valid", "num"), ("Test", "num")]
    facts = [(k.capitalize(), clip(d[k])) for k in ("source", "fingerprint") if d.get(k)]
    counted = table(f"Items per {'label' if many else 'class'} and part", head, rows, OPEN_ROWS) if rows else None
    notes = _notes(d.get("notes") or [])
    return {"table": counted, "facts": facts, "groups": notes, "many": many} if counted or facts or notes else None


def _notes(given: Iterable[Report | None]) -> list[Report]:
    """Notes by kind: the four that are known first, in their order."""
    groups: dict[str, list[Report]] = {k: [] for k in KINDS}
    for note in given:
        listed = [clip(x) for x in (note or {}).get("items") or []]
        shown = {
            "words": clip((note or {}).get("text"), _wording.TEXT),
            "listed": listed[:MOST_ITEMS],
            "n": len(listed),
        }
        groups.setdefault(str((note or {}).get("kind") or "found"), []).append(shown)
    return [{"kind": k, "name": KINDS.get(k, plain(k)), "notes": v} for k, v in groups.items() if v]


def usage(r: Report) -> dict[str, str] | None:
    """Five lines of Python, what they give, and one line of the command line."""
    if not r.get("run"):
        return None
    modality, kind = str((r.get("task") or {}).get("name") or "").split("_")[0], _wording.kind(r)
    columns = ", ".join(f'"{x}"' for x in ("id", *COLUMNS[kind]))
    lines = ["import graft", "", f"run = graft.load({json.dumps(str(r['run']), ensure_ascii=False)})"]
    lines += [f"answers = run.predict({EXAMPLES.get(modality, '[...]')})", f"print(answers[[{columns}]])"]
    shell = f"graft predict {_wording.quoted(str(r['run']))} INPUT"
    return {"python": "\n".join(lines), "gives": _gives(r, kind), "shell": shell}


def _gives(r: Report, kind: str) -> str:
    """What the table of answers holds."""
    if kind == "numbers":
        return "answers is a table, a row an input: value is the predicted number."
    moved = ", the thresholds above applied" if _facts.thresholds(r) else ""
    if kind == "labels":
        said = f"labels holds every label that is said (there may be none){moved}"
    else:
        said = f"label is the class that is said{moved}, probability how sure it is"
    each = "label" if kind == "labels" else "class"
    return f"answers is a table, a row an input: {said}; a column score_NAME for each {each} has its probability."


def recipe(r: Report) -> str:
    """The recipe as TOML."""
    return str(r.get("recipe") or "").strip("\n")


def decided(r: Report) -> Report | None:
    """Which rows chose what, and what was out of the ordinary in training."""
    rows: list[list[Cell]] = [
        [clip(x.get("what")), clip(x.get("by")), count(x.get("rows"))] for x in r.get("decided") or [] if x
    ]
    if not rows:
        return None
    notes = [clip(x, _wording.TEXT) for x in r.get("training_notes") or []]
    return {
        "table": table("Which rows chose what", [("What", "name"), ("By", "wide"), ("Items", "num")], rows),
        "notes": notes,
    }


def machine(r: Report) -> Report | None:
    """Where the time went, and on what it ran."""
    spans = [x for x in r.get("timeline") or [] if x and x.get("seconds") is not None]
    longest = max((x["seconds"] for x in spans), default=0.0) or 1.0
    bars = [{"what": spoken(x.get("what")), "time": duration(x["seconds"]),
             "share": f"{100 * max(x['seconds'], 0.0) / longest:.1f}"} for x in spans]  # fmt: skip
    facts = [(spoken(k), clip(v)) for k, v in (r.get("environment") or {}).items() if v is not None]
    total = duration(r["seconds"]) if r.get("seconds") is not None else ""
    return {"bars": bars, "facts": facts, "total": total} if bars or facts or total else None

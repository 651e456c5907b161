"""The sections of a report's page: what the template shows of each, or nothing where the data are missing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from graft import _plots, _wording
from graft._wording import Report, clip, count, duration, interval, number, plain, spoken

Cell = str | dict[str, str]  # a text, or {"text", "small" (a second line), "tone" (good, bad, dim, strong)}

MOST_ITEMS, MOST_MISTAKES, MOST_CLASSES = 50, 24, 30  # of a note; on the page; in a full confusion matrix
MOST_PAIRS, MOST_ROWS, OPEN_ROWS = (
    15,
    1000,
    20,
)  # confused pairs; rows of a table, and those seen without a click
MOST_PICTURES = 1_100_000  # characters of all pictures together
PICTURE = re.compile(r"data:image/(?:jpeg|png|webp|gif);base64,[A-Za-z0-9+/]+={0,2}")
PARTS = ("train", "valid", "test")
KINDS = {"warning": "Warnings", "skipped": "Skipped", "assumed": "Assumed", "found": "Found"}
EXAMPLES = {
    "image": '["one.jpg", "two.jpg"]',
    "text": '["a first text", "a second text"]',
    "audio": '["one.wav", "two.wav"]',
}


def _table(label: str, head: list[tuple[str, str]], rows: Iterable[list[Cell]], seen: int = MOST_ROWS) -> Report:
    """What the template's table takes; `head` has (words, kind) per column: "name", "num", "wide", "tag"."""
    every = list(rows)
    left = max(len(every) - MOST_ROWS, 0)
    return {"label": label, "head": head, "seen": every[:seen], "more": every[seen:MOST_ROWS], "left": left}


def headline(r: Report) -> Report:
    """Verdict, score, backbone, counts."""
    m, b, d, score = _wording.measure(r), r.get("backbone") or {}, r.get("data") or {}, _wording.best(r)
    facts = [f"{count(b['parameters'])} parameters"] if b.get("parameters") else []
    facts += [f"{b['mb']:.3g} MB"] if b.get("mb") else []
    facts += [f"trained on {clip(b['trained_on'])}"] if b.get("trained_on") else []
    facts += [f"licence {clip(b['license'])}"] if b.get("license") else []
    task, made = (
        spoken((r.get("task") or {}).get("name") or ""),
        f"graft {clip(r['graft'])}" if r.get("graft") else "",
    )
    also = [f"{spoken(k)} {number(s.get('value'), k)}" for k, s in _wording.tested(r).items() if s and k != m]
    return {
        "title": _wording.title(r),
        "verdict": _wording.verdict(r),
        "line": [x for x in (task, _wording.when(r.get("created") or ""), made) if x],
        "chosen": spoken(r.get("chosen") or ""),
        "measure": spoken(m),
        "score": number(score["value"], m) if score else "",
        "reach": interval(score, m),
        "level": _wording.level(r),
        "n": count(score.get("n")) if score.get("n") else "",
        "also": also,
        "backbone": clip(_wording.short(b.get("name") or "")),
        "facts": facts,
        "total": count(sum(d.get(k) or 0 for k in PARTS)),
        "classes": count(len((r.get("task") or {}).get("labels") or [])),
        "parts": [f"{count(d[k])} {k}" for k in PARTS if d.get(k) is not None],
    }  # fmt: skip


def controls(r: Report) -> Report | None:
    """Did carrying knowledge over help: the chosen model and its controls, drawn and listed."""
    m, rows = _wording.measure(r), _wording.compared(r)
    if all(x["chosen"] for x in rows):
        return None
    reach = [x["score"][k] for x in rows for k in ("value", "low", "high") if x["score"].get(k) is not None]
    marks = _plots.ticks(min(reach), max(reach))
    plot = []
    for x in rows:
        s, name, value = x["score"], spoken(x["name"]), number(x["score"]["value"], m)
        drawing = _plots.whisker(s["value"], s.get("low"), s.get("high"), marks, f"{name}: {value}, {interval(s, m)}")
        plot.append({"name": name, "value": value, "drawing": drawing, "chosen": x["chosen"]})
    chosen = r.get("chosen") or ""
    is_control = chosen in (r.get("controls") or {}) and all(x["chosen"] or x["name"] != chosen for x in rows)
    return {
        "plot": plot,
        "axis": _plots.scale(marks, _short(m)),
        "table": _control_table(r, m, rows),
        "itself": spoken(chosen) if is_control else "",
    }


def _short(m: str) -> Callable[[float], str]:
    return (lambda v: f"{100 * v:.4g}%") if _wording.is_percent(m) else "{:.4g}".format


def _control_table(r: Report, m: str, rows: list[Report]) -> Report:
    table: list[list[Cell]] = []
    for x in rows:
        gap, (words, tone) = x["gap"], _wording.reading(x["gap"], m)
        about = "chosen" if x["chosen"] else _wording.CONTROLS.get(x["name"], "")
        scores: list[Cell] = [number(x["score"]["value"], m), interval(x["score"], m)]
        paired: list[Cell] = [number(gap.get("difference"), m, signed=True), interval(gap, m, signed=True)]
        last: list[Cell] = ["", "", ""] if x["chosen"] else [*paired, {"text": words, "tone": tone}]
        table.append([{"text": spoken(x["name"]), "small": about, "tone": "strong" * x["chosen"]}, *scores, *last])
    unit = ", points" if _wording.is_percent(m) else ""
    head = [("Model", "name"), (plain(m), "num"), (plain(_wording.level(r)), "num")]
    head += [(f"Chosen minus this{unit}", "num"), ("Paired interval", "num"), ("Reading", "tag")]
    return _table("The chosen model and its controls", head, table)


def rungs(r: Report) -> Report | None:
    """Which methods were tried, in order, on the validation part."""
    m, rows = _wording.measure(r), []
    for x in r.get("rungs") or []:
        name: Cell = {
            "text": spoken(x.get("name")),
            "small": clip(x.get("recipe")) if x.get("recipe") != x.get("name") else "",
        }
        kept: Cell = {"text": "kept", "tone": "good"} if x.get("kept") else {"text": "not kept", "tone": "dim"}
        score = [number(x.get("value"), m), interval(x, m), duration(x.get("seconds"))]
        rows.append([name, *score, kept, clip(x.get("why"), _wording.TEXT)])
    for x in r.get("left_out") or []:
        none: list[Cell] = [_wording.NONE] * 3
        rows.append(
            [spoken(x.get("name")), *none, {"text": "not run", "tone": "dim"}, clip(x.get("why"), _wording.TEXT)]
        )
    head = [("Rung", "name"), (plain(m), "num"), (plain(_wording.level(r)), "num"), ("Time", "num")]
    return _table("Rungs climbed", [*head, ("Kept?", "tag"), ("Why", "wide")], rows) if rows else None


def mistakes(r: Report) -> Report | None:
    """The worst mistakes: those it was surest of first, with pictures as far as the page may grow."""
    every = sorted(r.get("mistakes") or [], key=lambda x: -(x.get("probability") or 0.0))
    spent, cards = 0, []
    for x in every[:MOST_MISTAKES]:
        picture = x.get("picture") or ""
        fits = spent + len(picture) <= MOST_PICTURES and PICTURE.fullmatch(picture)
        spent += len(picture) if fits else 0
        sure = number(x["probability"]) if x.get("probability") is not None else ""
        names = {k: clip(x.get(k)) for k in ("id", "truth", "predicted")}
        cards.append(
            {
                **names,
                "sure": sure,
                "picture": picture if fits else "",
                "words": clip(x.get("text"), _wording.TEXT),
            }
        )
    grid = _matrix(r)
    wrong = sum(n for i, row in enumerate(grid) for j, n in enumerate(row) if i != j)
    drawn = any(c["picture"] for c in cards)
    return {"cards": cards, "drawn": drawn, "wrong": max(wrong, len(every))} if cards else None


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
    return {"heat": None, "names": names, "table": _table("Most confused pairs", head, rows), "n": len(names)}


def classes(r: Report) -> Report | None:
    """Precision, recall and F1 of each class, the weakest first."""
    every = [(name, s or {}) for name, s in (r.get("per_class") or {}).items()]
    every.sort(key=lambda x: x[1]["f1"] if x[1].get("f1") is not None else -1.0)
    rows: list[list[Cell]] = [
        [clip(name), *(number(s.get(k)) for k in ("precision", "recall", "f1")), count(s.get("n"))] for name, s in every
    ]
    head = [("Class", "name"), ("Precision", "num"), ("Recall", "num"), ("F1", "num"), ("Items", "num")]
    return _table("Per class", head, rows, OPEN_ROWS) if rows else None


def calibration(r: Report) -> Report | None:
    """Whether a stated probability can be believed, drawn and in words."""
    given = r.get("calibration") or {}
    found = [(b.get("confidence"), b.get("accuracy"), b.get("n") or 0) for b in given.get("bins") or []]
    bins = [(float(c), float(a), int(n)) for c, a, n in found if c is not None and a is not None and n > 0]
    if not bins:
        return None
    total = sum(n for _, _, n in bins)
    claimed, true = (sum(b[i] * b[2] for b in bins) / total for i in (0, 1))
    size = "" if abs(claimed - true) >= 0.05 else "a little "
    lean = f"{size}too sure of itself" if claimed > true else f"{size}too modest"
    lean = lean if abs(claimed - true) >= 0.01 else "about as sure as it should be"
    error = f"{100 * given['ece']:.1f}" if given.get("ece") is not None else ""
    ece = f"{given['ece']:.3f}" if error else ""
    drawing = _plots.reliability(bins)
    return {
        "plot": drawing,
        "claimed": number(claimed),
        "true": number(true),
        "lean": lean,
        "off": error,
        "ece": ece,
    }


def curves(r: Report) -> list[Report] | None:
    """Training loss and validation score over the steps of each stage."""
    m, stages = _wording.measure(r), []
    for name, c in (r.get("curves") or {}).items():
        loss = _points(zip((c or {}).get("step") or [], (c or {}).get("loss") or [], strict=False))
        valid = _points((v.get("step"), v.get("value")) for v in (c or {}).get("valid") or [])
        steps = [s for s, _ in loss + valid]
        if not steps:
            continue
        reach, plots = (min(steps), max(steps)), []
        for points, what, word in (
            (loss, "training loss", "{:.4g}".format),
            (valid, f"validation {spoken(m)}", _short(m)),
        ):
            if points:
                drawing = _plots.line(points, word, f"{what} of {spoken(name)}", reach, dots=points is valid)
                plots.append(
                    {
                        "what": plain(what),
                        "last": number(points[-1][1], m if points is valid else "loss"),
                        "drawing": drawing,
                    }
                )
        stages.append({"name": spoken(name), "plots": plots, "first": f"{reach[0]:,.0f}", "last": f"{reach[1]:,.0f}"})
    return stages or None


def _points(pairs: Iterable[tuple[Any, Any]]) -> list[_plots.Point]:
    return [(float(s), float(v)) for s, v in pairs if s is not None and v is not None]


def rank(r: Report) -> Report | None:
    """The backbones that were compared before training."""
    m, given, rows = _wording.measure(r), r.get("rank") or {}, []
    for c in given.get("candidates") or []:
        chosen, tied = c.get("name") == given.get("choice"), c.get("name") in (given.get("tied") or [])
        small = "chosen" if chosen else "cannot be told from the chosen" if tied else ""
        name: Cell = {"text": clip(_wording.short(c.get("name") or "")), "small": small, "tone": "strong" * chosen}
        failed: Cell = {"text": clip(c.get("error"), _wording.TEXT), "tone": "bad"}
        sizes = [f"{c[k]:,.1f}" if c.get(k) is not None else _wording.NONE for k in ("mb", "ms")]
        scores = [number(c.get("predicted"), m), interval(c, m), number(c.get("probe"), m)]
        rows.append(
            [
                name,
                *scores,
                count(c.get("parameters")),
                *sizes,
                failed if c.get("error") else clip(c.get("license")),
            ]
        )
    head = [("Backbone", "name"), ("Predicted", "num"), (plain(_wording.level(r)), "num"), ("Probe", "num")]
    head += [("Parameters", "num"), ("MB", "num"), ("ms", "num"), ("Licence", "wide")]
    return _table("Backbones compared", head, rows, OPEN_ROWS) if rows else None


def data(r: Report) -> Report | None:
    """Counts per class and part; what was found, assumed, skipped and warned of."""
    d = r.get("data") or {}
    rows: list[list[Cell]] = [
        [clip(k), *(count((v or {}).get(p)) for p in PARTS)] for k, v in (d.get("classes") or {}).items()
    ]
    head = [("Class", "name"), ("Train", "num"), ("Valid", "num"), ("Test", "num")]
    facts = [(k.capitalize(), clip(d[k])) for k in ("source", "fingerprint") if d.get(k)]
    groups: dict[str, list[Report]] = {k: [] for k in KINDS}
    for note in d.get("notes") or []:
        listed = [clip(x) for x in note.get("items") or []]
        shown = {
            "words": clip(note.get("text"), _wording.TEXT),
            "listed": listed[:MOST_ITEMS],
            "n": len(listed),
        }
        groups.setdefault(str(note.get("kind") or "found"), []).append(shown)
    notes = [{"kind": k, "name": KINDS.get(k, plain(k)), "notes": v} for k, v in groups.items() if v]
    table = _table("Items per class and part", head, rows, OPEN_ROWS) if rows else None
    return {"table": table, "facts": facts, "groups": notes} if table or facts or notes else None


def usage(r: Report) -> dict[str, str] | None:
    """Five lines of Python and one of the command line."""
    if not r.get("run"):
        return None
    kind = str((r.get("task") or {}).get("name") or "").split("_")[0]
    lines = ["import graft", "", f"run = graft.load({json.dumps(str(r['run']), ensure_ascii=False)})"]
    lines += [f"answers = run.predict({EXAMPLES.get(kind, '[...]')})", "print(answers)"]
    return {"python": "\n".join(lines), "shell": f"graft predict {_wording.quoted(str(r['run']))} INPUT"}


def recipe(r: Report) -> str:
    """The recipe as TOML."""
    return str(r.get("recipe") or "").strip("\n")


def machine(r: Report) -> Report | None:
    """Where the time went, and on what it ran."""
    spans = [x for x in r.get("timeline") or [] if x.get("seconds") is not None]
    longest = max((x["seconds"] for x in spans), default=0.0) or 1.0
    bars = [{"what": spoken(x.get("what")), "time": duration(x["seconds"]),
             "share": f"{100 * max(x['seconds'], 0.0) / longest:.1f}"} for x in spans]  # fmt: skip
    facts = [(spoken(k), clip(v)) for k, v in (r.get("environment") or {}).items() if v is not None]
    total = duration(r["seconds"]) if r.get("seconds") is not None else ""
    return {"bars": bars, "facts": facts, "total": total} if bars or facts or total else None


SECTIONS: Mapping[str, Callable[[Report], Any]] = {
    f.__name__: f
    for f in (
        headline,
        controls,
        rungs,
        mistakes,
        confusion,
        classes,
        calibration,
        curves,
        rank,
        data,
        usage,
        recipe,
        machine,
    )
}

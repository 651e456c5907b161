"""Sections that compare: the headline, the controls, every measure, the rungs, the backbones."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from graft import _facts, _plots, _wording
from graft._page.grid import Cell, table
from graft._wording import NA, NONE, Report, clip, count, duration, interval, number, plain, spoken

PARTS = ("train", "valid", "test")
BREAKS = re.compile(r"(?<=[_:/])(?=.)")  # where a long name may go on in the next line
MOST_ALSO = 3  # measures beside the deciding one in the headline
OUTCOMES = {"classes": ("class", "classes"), "labels": ("label", "labels")}


def headline(r: Report) -> Report:
    """Verdict, score, backbone, counts."""
    m, b, score = _wording.measure(r), r.get("backbone") or {}, _wording.best(r)
    task = spoken((r.get("task") or {}).get("name") or "")
    made = f"graft {clip(r['graft'])}" if r.get("graft") else ""
    also = [f"{spoken(k)} {number(s['value'], k)}" for k, s in _wording.tested(r).items()
            if s and s.get("value") is not None and k != m]  # fmt: skip
    return {
        "title": _wording.title(r),
        "verdict": _wording.verdict(r),
        "line": [x for x in (task, _wording.when(r.get("created") or ""), made) if x],
        "chosen": spoken(r.get("chosen") or ""),
        "measure": spoken(m),
        "heading": plain(m),
        "score": _wording.value(score, m) if score else "",
        "missing": _wording.missing(r),
        "lower": _wording.lower(r, m),
        "reach": interval(score, m),
        "level": _wording.level(r),
        "n": count(score.get("n")) if score.get("n") else "",
        "also": also[:MOST_ALSO],
        "backbone": BREAKS.split(clip(_wording.short(b.get("name") or ""))),
        "facts": _backbone(b),
        **_amounts(r),
    }


def _backbone(b: Report) -> list[str]:
    facts = [f"{count(b['parameters'])} parameters"] if b.get("parameters") else []
    facts += [f"{b['mb']:.3g} MB"] if b.get("mb") else []
    facts += [f"trained on {clip(b['trained_on'])}"] if b.get("trained_on") else []
    return [*facts, f"licence {clip(b['license'])}"] if b.get("license") else facts


def _amounts(r: Report) -> Report:
    """Items, classes and warnings of the data."""
    d, n = r.get("data") or {}, len((r.get("task") or {}).get("labels") or [])
    one, many = OUTCOMES.get(_wording.kind(r), ("", ""))
    warnings = sum(1 for x in d.get("notes") or [] if (x or {}).get("kind") == "warning")
    return {
        "total": count(sum(d.get(k) or 0 for k in PARTS)),
        "classes": f"{count(n)} {one if n == 1 else many}" if n and many else "",
        "parts": [f"{count(d[k])} {k}" for k in PARTS if d.get(k) is not None],
        "warnings": f"{warnings} warning{'s' * (warnings > 1)} below, under The data" if warnings else "",
    }


def controls(r: Report) -> Report | None:
    """Did carrying knowledge over help: the chosen model and its controls, drawn and listed."""
    m, rows = _wording.measure(r), _wording.compared(r)
    if all(x["chosen"] for x in rows):
        return None
    chosen = r.get("chosen") or ""
    is_control = chosen in (r.get("controls") or {}) and all(x["chosen"] or x["name"] != chosen for x in rows)
    return {
        **_drawn(m, [x for x in rows if x["score"].get("value") is not None]),
        "table": _control_table(r, m, rows),
        "itself": spoken(chosen) if is_control else "",
        "cost": _evidence_cost(r),
        "left_out": _left_out(r),
    }


def _evidence_cost(r: Report) -> str:
    """What the controls took, of what; empty where the report does not say."""
    e = r.get("evidence") or {}
    if not e.get("controls"):
        return ""
    share = f", {100 * e['share']:.0f}% of the run" if e.get("share") is not None else ""
    return f"{plain(e.get('mode') or '')} evidence: the controls took {duration(e.get('seconds'))}{share}"


def _left_out(r: Report) -> list[str]:
    """Controls that did not run, each with the reason."""
    given = [x or {} for x in (r.get("evidence") or {}).get("left_out") or []]
    return [f"{spoken(x.get('name') or '')} was left out: {clip(x.get('why'), _wording.TEXT)}" for x in given]


def _drawn(m: str, rows: list[Report]) -> Report:
    """A dot and its interval for each model that has a value."""
    reach = [x["score"][k] for x in rows for k in ("value", "low", "high") if x["score"].get(k) is not None]
    if not reach:
        return {"plot": [], "axis": ""}
    marks, plot = _plots.ticks(min(reach), max(reach)), []
    for x in rows:
        s, name, value = x["score"], spoken(x["name"]), number(x["score"]["value"], m)
        drawing = _plots.whisker(s["value"], s.get("low"), s.get("high"), marks, f"{name}: {value}, {interval(s, m)}")
        plot.append({"name": name, "value": value, "drawing": drawing, "chosen": x["chosen"]})
    return {"plot": plot, "axis": _plots.scale(marks, short(m))}


def short(m: str) -> Callable[[float], str]:
    """How an axis writes values of a measure."""
    return (lambda v: f"{100 * v:.4g}%") if _wording.is_percent(m) else _plots.round_number


def _control_table(r: Report, m: str, rows: list[Report]) -> Report:
    listed: list[list[Cell]] = []
    for x in rows:
        gap, (words, tone) = x["gap"], _wording.reading(x["gap"], _wording.lower(r, m))
        about = "chosen" if x["chosen"] else _wording.control(r, x["name"])
        about += "; thresholds moved on validation" if _facts.thresholds(r, x["name"]) else ""
        scores: list[Cell] = [_wording.value(x["score"], m), interval(x["score"], m)]
        paired: list[Cell] = [number(gap.get("difference"), m, signed=True), interval(gap, m, signed=True)]
        last: list[Cell] = ["", "", ""] if x["chosen"] else [*paired, {"text": words, "tone": tone}]
        name: Cell = {"text": spoken(x["name"]), "small": about.lstrip("; "), "tone": "strong" * x["chosen"]}
        listed.append([name, *scores, *last])
    unit = ", points" if _wording.is_percent(m) else ""
    head = [("Model", "name"), (plain(m), "num"), (plain(_wording.level(r)), "num")]
    head += [(f"Chosen minus this{unit}", "num"), ("Paired interval", "num"), ("Reading", "tag")]
    return table("The chosen model and its controls", head, listed)


def measures(r: Report) -> Report | None:
    """Every measure of the chosen model and of each control, with its definition; the deciding one first."""
    m, names = _wording.measure(r), _wording.measured(r)
    models = dict.fromkeys(str(x["name"]) for x in _wording.compared(r))
    scored = {name: ((r.get("scores") or {}).get(name) or {}).get("test") or {} for name in models}
    if _wording.best(r):  # the deciding measure is told apart from the rest
        for x in _wording.compared(r):
            scored[str(x["name"])] = {m: x["score"], **scored[str(x["name"])]}
    rows = [_measure_row(r, name, m, [scored[x].get(name) for x in models]) for name in names]
    chosen = r.get("chosen")
    head = [("Measure", "name")] + [(plain(x) + (", chosen" if x == chosen else ""), "num") for x in models]
    return {"table": table("Every measure", head, rows), "deciding": spoken(m)} if models and names else None


def _measure_row(r: Report, name: str, deciding: str, scores: Iterable[Report | None]) -> list[Cell]:
    cells: list[Cell] = []
    for s in scores:
        missing = (s or {}).get("value") is None
        text = _wording.value(s, name) if s or _wording.definition(r, name).get("undefined") else NONE
        cells.append({"text": text, "small": interval(s or {}, name), "tone": "dim" if missing else ""})
    is_missing = any(isinstance(c, dict) and c["text"] == NA for c in cells)
    said = clip(_wording.definition(r, name).get("says"), _wording.TEXT)
    about = [said, "less is better" if _wording.lower(r, name) else ""]
    small = _wording.sentences(*about, f"no value here: {_wording.why(r, name)}" if is_missing else "")
    text = plain(name) + (" (decides)" if name == deciding else "")
    return [{"text": text, "small": small, "tone": "strong" * (name == deciding)}, *cells]


def rungs(r: Report) -> Report | None:
    """Which methods were tried, in order, on the validation part, and what each cost."""
    m, given = _wording.measure(r), [x or {} for x in r.get("rungs") or []]
    trained = any(x.get("trained") is not None for x in given)
    rows = [_rung_row(x, m, trained) for x in given]
    for x in r.get("left_out") or []:
        none: list[Cell] = [NONE] * (4 if trained else 3)
        name, state = spoken((x or {}).get("name")), {"text": "not run", "tone": "dim"}
        rows.append([name, *none, state, clip((x or {}).get("why"), _wording.TEXT)])
    head = [("Rung", "name"), (plain(m), "num"), (plain(_wording.level(r)), "num"), ("Time", "num")]
    head += [("Parameters trained", "num")] if trained else []
    spent = sum(x.get("seconds") or 0.0 for x in given)
    kept = next((x["seconds"] for x in given if x.get("kept") and x.get("seconds") is not None), None)
    return {
        "table": table("Rungs climbed", [*head, ("Kept?", "tag"), ("Why", "wide")], rows),
        "spent": duration(spent) if spent else "",
        "kept": duration(kept) if kept is not None and len(given) > 1 else "",
    } if rows else None  # fmt: skip


def _rung_row(x: Report, m: str, trained: bool) -> list[Cell]:
    recipe = clip(x.get("recipe")) if x.get("recipe") != x.get("name") else ""
    kept: Cell = {"text": "kept", "tone": "good"} if x.get("kept") else {"text": "not kept", "tone": "dim"}
    cost: list[Cell] = [duration(x.get("seconds")), *([count(x.get("trained"))] if trained else [])]
    name: Cell = {"text": spoken(x.get("name")), "small": recipe}
    return [name, _wording.value(x, m), interval(x, m), *cost, kept, clip(x.get("why"), _wording.TEXT)]

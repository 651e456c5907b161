"""The section that says which knowledge carried over: a picture and a table by stage, and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from graft import _plots, _wording
from graft._page.grid import OPEN_ROWS, Cell, table
from graft._page.scores import short
from graft._wording import NONE, Report, clip, count, interval, number, plain, spoken

SHARE = "r2"  # likeness is written as this is: a share with three decimals that may fall below zero


def layers(r: Report) -> Report | None:
    """By stage of the backbone: likeness, drift, a probe before and after."""
    given = r.get("layers") or {}
    rows = [x or {} for x in given.get("stages") or []]
    if not rows:
        return None
    m, tuned = str(given.get("measure") or _wording.measure(r)), given.get("kind") == "tuned"
    drawn = [_likeness(rows)] if tuned else []
    plots = [x for x in (*drawn, _probes(rows, m, tuned)) if x]
    return {
        "sentence": clip(given.get("sentence"), _wording.TEXT),
        "tuned": tuned,
        "n": count(given.get("n")),
        "judged": count(given.get("judged")),
        "unseen": given.get("judged") == given.get("n"),  # no training sample was needed
        "plots": plots,
        "table": _table(rows, m, tuned, _wording.lower(r, m)),
    }


def _likeness(rows: Sequence[Report]) -> Report | None:
    seen = [x for x in rows if x.get("cka") is not None]
    if not seen:
        return None
    ends = [(x["low"], x["high"]) if x.get("low") is not None and x.get("high") is not None else None for x in seen]
    lines = [("", [x["cka"] for x in seen]), ("line", [x.get("line") for x in seen])]
    drawing = _plots.profile(lines, _plots.round_number, "Likeness before and after tuning, by stage", ends)
    return _figure("Likeness to the start", "red: below it, changed", drawing, seen)


def _probes(rows: Sequence[Report], m: str, tuned: bool) -> Report | None:
    seen = [x for x in rows if x.get("before") is not None]
    if not seen:
        return None
    lines: list[tuple[str, Sequence[float | None]]] = [("start" if tuned else "", [x["before"] for x in seen])]
    if tuned:
        lines.insert(0, ("", [x.get("after") for x in seen]))
    drawing = _plots.profile(lines, short(m), f"{spoken(m)} of a probe, by stage")
    return _figure(f"Probe, {spoken(m)}", "grey: before tuning" if tuned else "", drawing, seen)


def _figure(what: str, key: str, drawing: str, rows: Sequence[Report]) -> Report:
    first, last = clip(rows[0].get("name")), clip(rows[-1].get("name"))
    ends = [end if end == name else f"{end}: {name}" for end, name in (("input", first), ("output", last))]
    return {"what": what, "key": key, "drawing": drawing, "first": ends[0], "last": ends[1]}


def _table(rows: Sequence[Report], m: str, tuned: bool, less: bool) -> Any:
    unit = ", points" if _wording.is_percent(m) else ""
    head = [("Stage", "name")]
    if tuned:
        head += [("Likeness", "num"), ("Line", "num"), ("Changed?", "tag"), ("Drift", "num")]
        head += [(f"Probe, {spoken(m)}", "num"), (f"Gain{unit}", "num")]
    else:
        head += [(f"Probe, {spoken(m)}", "num")]
    return table("By stage, from input to output", head, [_row(x, m, tuned, less) for x in rows], OPEN_ROWS)


def _row(x: Report, m: str, tuned: bool, less: bool) -> list[Cell]:
    name: Cell = {"text": plain(clip(x.get("name"))), "small": f"{count(x.get('parameters'))} parameters"}
    if not tuned:
        return [name, number(x.get("before"), m)]
    alike: Cell = {"text": number(x.get("cka"), SHARE), "small": interval(x, SHARE)}
    changed: Cell = NONE
    if x.get("changed") is not None:
        changed = {"text": "changed", "tone": "strong"} if x["changed"] else {"text": "as it was", "tone": "dim"}
    moved = x.get("drift")
    drift = NONE if moved is None else "0" if moved == 0 else number(moved, "number")
    probe: Cell = {"text": number(x.get("after"), m), "small": f"before: {number(x.get('before'), m)}"}
    if x.get("before") is None:
        probe = NONE
    gap = x.get("gain") or {}
    _, tone = _wording.reading(gap, less)
    gain: Cell = {
        "text": number(gap.get("difference"), m, signed=True), "small": interval(gap, m, signed=True), "tone": tone
    }  # fmt: skip
    return [name, alike, number(x.get("line"), SHARE), changed, drift, probe, gain]

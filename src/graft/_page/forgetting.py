"""The section on what was forgotten of an earlier task."""

from __future__ import annotations

from graft import _wording
from graft._page.grid import Cell, table
from graft._wording import Report, clip, count, interval, number, plain, spoken

WHO = (("head", "the earlier run's own head"), ("probe", "a probe fitted anew"))


def forgetting(r: Report) -> Report | None:
    """Scores on the earlier task's data before and after this run, and the drop; flagged above the limit."""
    given = r.get("forgetting") or {}
    if not given:
        return None
    head = given.get("head") or {}
    rows = [_row(given, key, name) for key, name in WHO if (given.get(key) or {}).get("drop")]
    m = str(given.get("measure") or "")
    columns = [("Asked", "name"), ("Before", "num"), ("After", "num"), ("Drop, paired", "num"), ("Items", "num")]
    columns += [("Reading", "tag")]
    return {
        "sentence": clip(given.get("sentence"), 2 * _wording.TEXT),
        "flagged": bool(given.get("flagged")),
        "source": clip(given.get("source"), _wording.TEXT),
        "why": clip(head.get("why"), _wording.TEXT),
        "flattered": bool(head.get("flattered")),
        "table": table(f"{plain(m)} on the earlier task", columns, rows) if rows else None,
    }


def _row(given: Report, key: str, name: str) -> list[Cell]:
    part = given[key]
    m = str(given.get("measure" if key == "head" else "probe_measure") or "")
    unit = " points" if _wording.is_percent(m) else ""
    before, after, drop = (part.get(k) or {} for k in ("before", "after", "drop"))
    reading: Cell = {"text": "flagged", "tone": "bad"} if part.get("flagged") else {"text": "within", "tone": "dim"}
    lost = number(drop.get("difference"), m, signed=True)
    scores: list[Cell] = [
        {"text": _wording.value(x, m), "small": interval(x, m)} for x in (before, after)
    ]  # fmt: skip
    who: Cell = {"text": name, "small": spoken(m)}
    gap: Cell = {"text": lost + unit, "small": interval(drop, m, signed=True)}
    return [who, *scores, gap, count(after.get("n")), reading]

"""The section on backbones compared before training: predictions, priors, probes, costs, and every score."""

from __future__ import annotations

import math
from typing import Any

from graft import _wording
from graft._page.grid import OPEN_ROWS, Cell, table
from graft._wording import NONE, Report, clip, count, interval, number, plain, spoken


def rank(r: Report) -> Report | None:
    """The backbones that were compared before training; None where there were not several."""
    given = r.get("rank") or {}
    rows = given.get("candidates") or []
    if not rows:
        return None
    m = str(given.get("measure") or _wording.measure(r))
    ends = _wording.level(given if given.get("level") else r)
    head = [("Backbone", "name"), (f"Predicted {spoken(m)}", "num"), (plain(ends), "num"), ("Probe", "num")]
    head += [("Prior", "num"), ("Parameters", "num"), ("MB", "num"), ("ms", "num")]
    told = [_candidate(c or {}, given, m) for c in rows]
    return {
        "table": table("Backbones compared", head, told, OPEN_ROWS),
        "origins": _origins(rows),
        "scores": _scores(rows),
        "lower": _wording.lower(r, m),
        "sentence": str(given.get("sentence") or ""),
        "rounds": ", ".join(f"{k} on {count(n)}" for n, k in given.get("rounds") or []),
    }


def _candidate(c: Report, given: dict[str, Any], m: str) -> list[Cell]:
    chosen, tied = c.get("name") == given.get("choice"), c.get("name") in (given.get("tied") or [])
    small = "chosen" if chosen else "cannot be told from the best" if tied else ""
    text, failed = clip(_wording.short(c.get("name") or "")), c.get("error")
    name: Cell = {"text": text, "small": clip(failed, _wording.TEXT) if failed else small, "tone": "strong" * chosen}
    sizes = [f"{c[k]:,.1f}" if c.get(k) is not None else NONE for k in ("mb", "ms")]
    prior = NONE if c.get("prior") is None else f"x{math.exp(c['prior']):.2f}"
    probe: Cell = {"text": number(c.get("probe"), m), "small": f"on {count(c['samples'])}" if c.get("samples") else ""}
    return [name, number(c.get("predicted"), m), interval(c, m), probe, prior, count(c.get("parameters")), *sizes]


def _origins(rows: list[Report]) -> Report | None:
    """What each was trained on, under which licence, what its prior rests on, how far the data are from its source."""
    usable = [c for c in rows if c and c.get("trained_on")]
    head = [
        ("Backbone", "name"),
        ("Trained on", "wide"),
        ("Licence", "wide"),
        ("Prior from", "wide"),
        ("Distance", "num"),
    ]
    told: list[list[Cell]] = []
    for c in usable:
        away = NONE if c.get("distance") is None else f"{c['distance']:.2f} sd"
        words = (clip(c.get(k), _wording.TEXT) for k in ("trained_on", "license", "prior_source"))
        told.append([clip(_wording.short(c["name"])), *words, away])
    made: Report = table("Where the backbones come from", head, told, OPEN_ROWS)
    return made if usable else None


def _scores(rows: list[Report]) -> Report | None:
    """Every transferability score, a row a candidate; None where none was had."""
    usable = [c for c in rows if c and not c.get("error") and c.get("scores")]
    names = [n for n in (usable[0]["scores"] if usable else {}) if any(c["scores"].get(n) is not None for c in usable)]
    if not names:
        return None
    head = [("Backbone", "name"), *((_wording.SCORES.get(n, n), "num") for n in names)]
    told: list[list[Cell]] = [
        [clip(_wording.short(c["name"])), *(_value(c["scores"].get(n)) for n in names)] for c in usable
    ]
    made: Report = table("Transferability scores", head, told, OPEN_ROWS)
    return made


def _value(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}".replace("-", _wording.MINUS)

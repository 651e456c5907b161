"""Tables on the terminal for `graft rank`: the candidates, their scores, and one looked at closely."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graft._wording import NONE, SCORES, interval, is_lower_better, number, short, spoken

if TYPE_CHECKING:
    from graft.ranking import Candidate, Explanation, Ranking

HEADINGS = ("candidate", "predicted", "90 % interval", "probe", "prior", "ms", "")
MOST_CLASSES = 12  # on the terminal, the hardest


def ranking(found: Ranking) -> Any:
    """A row a candidate, a row of its scores, where it comes from; the choice in a sentence; what was measured."""
    from rich.console import Group
    from rich.text import Text

    usable = [c for c in found.candidates if c.error is None and c.predicted is not None]
    parts: list[Any] = [_table(found)] if usable else []
    parts += [Text(f"{short(c.name)}: {c.error}") for c in found.candidates if c.error is not None]
    if any(c.scores for c in usable):
        parts += [Text("\ntransferability scores: of each, more is better", style="bold"), _scores(usable)]
    if usable:
        parts += [Text("\nwhere they come from", style="bold"), _origins(usable), Text("")]
    said = [_measured(found)] if found.choice is not None else []
    said += [f"{found.sentence()}.", found.skipped]
    return Group(*parts, *(Text(x) for x in said if x))


def _measured(found: Ranking) -> str:
    """What the columns are."""
    less = "; less is better" if is_lower_better(found.measure) else ""
    rounds = ", ".join(f"{k} on {n:,}" for n, k in found.rounds)
    basis = (
        f"learned from {found.taught} fine-tunings of graft's own"
        if found.taught
        else "the probe's, since no fine-tunings were learned from for this kind of data"
    )
    return (
        f"predicted: {spoken(found.measure)} after fine-tuning, {basis}; probe: cross-validated{less}; prior: errors "
        f"in general, as a multiple of the average published model's. Looked at: {rounds or NONE} training samples"
    )


def _table(found: Ranking) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("candidate", "") else "right", overflow="fold")
    for row in found.candidates:
        if row.error is None:
            table.add_row(*_cells(row, found))
    return table


def _cells(row: Candidate, found: Ranking) -> list[Any]:
    from rich.text import Text

    chosen = row.name == found.choice and len(found.candidates) > 1
    mark = "chosen" if chosen else "not separable" if row.name in found.tied else ""
    unknown = row.prior is None or row.prior_source.startswith(("no published figure: none", "nothing is known"))
    prior = NONE if row.prior is None or unknown else f"x{math.exp(row.prior):.2f}"
    known = row.low is not None and row.high is not None and math.isfinite(row.low) and math.isfinite(row.high)
    ends = interval({"low": row.low, "high": row.high}, found.measure) if known else NONE
    predicted, probe = (number(v, found.measure) for v in (row.predicted, row.probe))
    return [Text(brief(row.name)), predicted, ends, probe, prior, _one(row.ms), mark]


def brief(name: str) -> str:
    """A candidate's name in a table: a local model by the last part of its folder alone."""
    return short(name).removeprefix("local:")


def _one(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"


def _scores(rows: Sequence[Candidate]) -> Any:
    """Two blocks of columns where there are many, so that a usual terminal holds them."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    names = [n for n in rows[0].scores if any(c.scores.get(n) is not None for c in rows)]
    blocks = []
    for start in range(0, len(names), 6):
        block = names[start : start + 6]
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("candidate", overflow="fold")
        for name in block:
            table.add_column(SCORES.get(name, name), justify="right", no_wrap=True)
        for c in rows:
            cells = (NONE if (v := c.scores.get(n)) is None else f"{v:.3g}" for n in block)
            table.add_row(Text(brief(c.name)), *cells)
        blocks.append(table)
    return Group(*blocks)


def _origins(rows: Sequence[Candidate]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    right = ("MB", "M par.", "samples", "distance")
    for heading in ("candidate", *right, "licence", "trained on", "prior from"):
        table.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for c in rows:
        away = NONE if c.distance is None else f"{c.distance:.2f} sd"
        licence = (c.license or "").partition(" (")[0]
        size = f"{(c.parameters or 0) / 1e6:.2f}"
        said = (Text(x) for x in (licence, (c.trained_on or "").partition(" (")[0].partition(", ")[0], c.prior_source))
        table.add_row(Text(brief(c.name)), _one(c.mb), size, f"{c.samples:,}", away, *said)
    return table


def explanation(found: Explanation) -> Any:
    """One candidate: its sentence, its stages, its classes."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = [Text(f"{found.sentence()}.")]
    away = "" if found.distance is None else f"; the data are {found.distance:.2f} sd from what it was trained on"
    parts.append(Text(f"prior: x{math.exp(found.prior.value):.2f} errors ({found.prior.source}){away}"))
    if found.depths:
        table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
        for heading in ("stage", "width", "probe"):
            table.add_column(heading, justify="left" if heading == "stage" else "right")
        best = found.best_depth()
        for d in found.depths:
            style = "bold" if d is best else ""
            table.add_row(Text(d.stage), f"{d.width:,}", number(d.score, found.measure), style=style)
        parts += [Text("\nby depth", style="bold"), table]
    if found.classes:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for heading in ("class", "n", "found", "AUROC", "taken for", "nearest source classes"):
            table.add_column(
                heading, justify="right" if heading in ("n", "found", "AUROC") else "left", overflow="fold"
            )
        for c in found.classes[:MOST_CLASSES]:
            seen = ", ".join(f"{name} {100 * p:.0f} %" for name, p in c.nearest)
            auroc = NONE if c.auroc is None else f"{c.auroc:.3f}"
            table.add_row(Text(c.label), f"{c.n}", f"{100 * c.recall:.0f} %", auroc, Text(c.taken_for), Text(seen))
        more = len(found.classes) - MOST_CLASSES
        head = "by class, the hardest first" + (f" ({more} more with --json)" if more > 0 else "")
        parts += [Text(f"\n{head}", style="bold"), table]
    return Group(*parts, *([Text(found.note)] if found.note else []))

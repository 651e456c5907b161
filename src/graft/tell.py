"""Tables on the terminal for `graft rank` and `graft evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graft._wording import short
from graft.errors import some

if TYPE_CHECKING:
    from graft.ranking import Candidate, Ranking


def ranking(found: Ranking) -> Any:
    """One row a candidate, and the choice in a sentence."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("predicted", "interval", "ms", "MB", "M par.", "licence", "candidate"):
        table.add_column(heading, justify="left" if heading in ("candidate", "licence") else "right", overflow="fold")
    for row in found.candidates:
        table.add_row(*_cells(row, short(row.name)))
    said = [Text(found.sentence())]
    said += [Text(found.skipped)] if found.skipped else []
    return Group(table, *said)


def _cells(row: Candidate, name: str) -> list[Any]:
    from rich.text import Text

    if row.error is not None or row.predicted is None:
        return ["-", "", "", "", "", "", Text(f"{name}: {row.error}")]
    return [
        f"{row.predicted:.1%}",
        f"{row.low:.1%} - {row.high:.1%}",
        f"{row.ms:.1f}",
        f"{row.mb:.1f}",
        f"{(row.parameters or 0) / 1e6:.2f}",
        Text((row.license or "").partition(" (")[0]),
        Text(name),
    ]


def evaluation(found: dict[str, Any]) -> Any:
    """Measures of a run on other data, with intervals, beside the commonest class."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("measure", "value", "95 % interval"):
        table.add_column(heading, justify="left" if heading == "measure" else "right")
    for name, s in found["scores"].items():
        table.add_row(name, f"{s['value']:.3f}", f"{s['low']:.3f} - {s['high']:.3f}")
    for name, s in found["controls"].items():
        table.add_row(f"{found['measure']} of {name}", f"{s['value']:.3f}", f"{s['low']:.3f} - {s['high']:.3f}")
    said = [f"{found['n']} samples, the {found['part']} part of {found['data']}", *notes(found)]
    return Group(table, *(Text(line) for line in said))


def notes(found: dict[str, Any]) -> list[str]:
    """What was left out and what flatters, a line each with the first items."""
    told = [n for n in found["notes"] if n["kind"] in ("warning", "skipped")]
    return [f"{n['text']}{': ' if n['items'] else ''}{some(n['items'], 3)}" for n in told]

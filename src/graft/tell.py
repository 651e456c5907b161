"""Tables on the terminal for `graft rank`, `graft evaluate` and `graft doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graft._wording import clean, finite, interval, is_lower_better, short, spoken, value
from graft.errors import some

if TYPE_CHECKING:
    from graft.doctor import Findings
    from graft.findings import Finding
    from graft.ranking import Candidate, Ranking


def ranking(found: Ranking) -> Any:
    """One row a candidate, the choice in a sentence, and what was measured, as it is said elsewhere."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("predicted", "95 % interval", "ms", "MB", "M par.", "licence", "candidate"):
        table.add_column(heading, justify="left" if heading in ("candidate", "licence") else "right", overflow="fold")
    for row in found.candidates:
        table.add_row(*_cells(row, short(row.name), found.measure))
    less = "; less is better" if is_lower_better(found.measure) else ""
    what = f"predicted is the {spoken(found.measure)} of a cross-validated probe on {found.n} samples{less}"
    said = [Text(what)] if found.choice is not None else []
    said += [Text(found.sentence())]
    said += [Text(found.skipped)] if found.skipped else []
    return Group(table, *said)


def _cells(row: Candidate, name: str, measure: str) -> list[Any]:
    from rich.text import Text

    if row.error is not None or row.predicted is None:
        return ["-", "", "", "", "", "", Text(f"{name}: {row.error}")]
    return [
        *_score({"value": row.predicted, "low": row.low, "high": row.high}, measure),
        f"{row.ms:.1f}",
        f"{row.mb:.1f}",
        f"{(row.parameters or 0) / 1e6:.2f}",
        Text((row.license or "").partition(" (")[0]),
        Text(name),
    ]


def evaluation(found: dict[str, Any]) -> Any:
    """Measures of a run on other data, with intervals; below them the deciding one of each control."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("measure", "value", "95 % interval", ""):
        table.add_column(heading, justify="left" if heading in ("measure", "") else "right")
    for name, s in found["scores"].items():
        table.add_row(Text(spoken(name)), *_score(s, name), _direction(name))
    measure = found["measure"]
    for name, s in found["controls"].items():
        table.add_row(Text(f"{spoken(measure)} of {spoken(name)}"), *_score(s, measure), _direction(measure))
    said = [f"{found['n']} samples, the {found['part']} part of {found['data']}", *notes(found)]
    return Group(table, *(Text(line) for line in said))


def _score(score: dict[str, Any], measure: str) -> tuple[str, str]:
    """Value and interval as `graft fit` prints them; n/a where the measure is not defined on these samples."""
    found = finite(score)
    return value(found, measure), interval(found, measure)


def _direction(measure: str) -> str:
    return "less is better" if is_lower_better(measure) else ""


def notes(found: dict[str, Any]) -> list[str]:
    """What was left out and what flatters, a line each with the first items."""
    told = [n for n in found["notes"] if n["kind"] in ("warning", "skipped")]
    return [f"{n['text']}{': ' if n['items'] else ''}{some(n['items'], 3)}" for n in told]


def findings(found: Findings) -> Any:
    """What `graft doctor` found, a row a finding, the serious first; what was read and assumed; and the sum."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("kind", "", "count", "what, how it biases the result, what mends it"):
        table.add_column(heading, justify="right" if heading == "count" else "left", overflow="fold")
    for f in found.found:
        style = "bold red" if f.severity == "error" else "yellow"
        table.add_row(Text(f.kind), Text(f.severity, style=style), f"{f.count:,}", _finding(f))
    told = [
        Text(f"note: {clean(n.text)}{_first(n.items)}", style="dim") for n in found.notes if n.about != "unreadable"
    ]
    sizes = ", ".join(f"{n:,} {'items' if part == 'all' else part}" for part, n in found.sizes.items())
    if not found.found:
        return Group(*told, Text(f"{sizes}: nothing was found; fit would take these data", style="bold"))
    errors = sum(f.severity == "error" for f in found.found)
    verdict = "fit would refuse these data" if errors else "fit would take these data, and warn"
    said = f"{sizes}: {errors} errors, {len(found.found) - errors} warnings; {verdict}"
    return Group(table, *told, Text(said, style="bold"))


def _finding(f: Finding) -> Any:
    """A finding's sentence with its first items, how it biases the result, and what mends it, a line each."""
    from rich.text import Text

    shown = [f"{i.id} = {i.other}" if i.other else i.id for i in f.items]
    named = bool(shown) and shown[0] in f.text  # with its reason
    text = Text(clean(f.text) + ("" if named else _first(shown)))
    if f.effect:
        text.append(f"\n{clean(f.effect)}", style="dim")
    if f.fix:
        text.append(f"\n{clean(f.fix)}", style="cyan")
    return text


def _first(items: Sequence[str]) -> str:
    more = f" and {len(items) - 3} more" if len(items) > 3 else ""
    return f": {clean(', '.join(items[:3]))}{more}" if items else ""

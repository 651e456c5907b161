"""Tables on the terminal for `graft evaluate`, `graft doctor` and `graft verify`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from graft._wording import clean, finite, interval, is_lower_better, spoken, value
from graft.errors import some

if TYPE_CHECKING:
    from graft.doctor import Findings
    from graft.findings import Finding
    from graft.verify import Verified

MOST_SAID = 20  # mismatches on the terminal


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
    more = corrupted(found) if "robustness" in found else []
    return Group(table, *(Text(line) for line in said), *more)


def corrupted(found: dict[str, Any]) -> list[Any]:
    """Every rung clean and corrupted: a table of means, one by strength, and what they come to."""
    from rich.table import Table
    from rich.text import Text

    said, measure = found["robustness"], found["measure"]
    means = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("rung", "clean", "corrupted", "95 % interval", "of it left"):
        means.add_column(heading, justify="left" if heading == "rung" else "right")
    for name, s in said["rungs"].items():
        left = "n/a" if s["relative"] is None else f"{100 * s['relative']:.0f}%"
        kept = " (kept)" if name == said["kept"] else ""
        means.add_row(
            Text(spoken(name) + kept), value(finite(s["clean"]), measure), *_score(s["corrupted"], measure), left
        )
    for name, s in said["floor"].items():
        means.add_row(Text(spoken(name)), value(finite(s), measure), value(finite(s), measure), "", "")
    each = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("corruption", "rung", *map(str, said["strengths"])):
        each.add_column(heading, justify="left" if heading in ("corruption", "rung") else "right")
    for what in said["corruptions"]:
        for i, (name, by) in enumerate(found["corrupted"].items()):
            scores = (value(finite(s), measure) for s in by[what])
            each.add_row(Text("" if i else spoken(what)), Text(spoken(name)), *scores)
    less = "; less is better" if is_lower_better(measure) else ""
    size = str(said["n"]) if said["n"] == said["of"] else f"{said['n']} of {said['of']}, drawn by stratum"
    what = f"{spoken(measure)} on {size} samples, clean and under {len(said['corruptions'])} corruptions"
    last = [Text(said["sentence"], style="bold")] if said["sentence"] else []
    return [Text(f"\n{what} (mean over five strengths){less}"), means, Text(""), each, *last]


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

    sign = "=" if f.kind.startswith(("duplicate", "label_contradiction")) else "->"  # a copy of, or looks like
    shown = [f"{i.id} {sign} {i.other}" if i.other else i.id for i in f.items]
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


def verified(found: Verified) -> Any:
    """What was computed again, section by section, what does not fit, and what a hash alone holds."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("section", "computed again, equal", "not equal"):
        table.add_column(heading, justify="left" if heading == "section" else "right")
    wrong = [m.where.partition(".")[0].partition("[")[0].partition(" ")[0] for m in found.mismatches]
    for section in dict.fromkeys((*found.matches, *wrong)):
        table.add_row(Text(section), str(found.matches.get(section, 0)), str(wrong.count(section) or ""))
    said = [Text(f"mismatch: {m.sentence()}") for m in found.mismatches[:MOST_SAID]]
    more = len(found.mismatches) - MOST_SAID
    said += [Text(f"and {more} more; --json has them all")] if more > 0 else []
    said += [Text(f"changed: {name}") for name in found.changed]
    said += [Text(f"held by SHA-256 alone: {', '.join(found.held)}")] if found.held else []
    equal = sum(found.matches.values())
    verdict = (
        f"All {equal} values that follow from the saved answers are as the report says; no file changed."
        if found.whole
        else f"{equal} values are as the report says, {len(found.mismatches)} are not; "
        f"{len(found.changed)} files changed."
    )
    return Group(table, *said, Text(verdict, style="bold"))

"""A report as one self-contained HTML page, as a model card, and as a table on the terminal.

Whatever a report says of people's data - class names, file names, texts - is taken as hostile: the page's
template, the card's Markdown and the terminal's table each escape it.
"""

from __future__ import annotations

import textwrap
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from graft import _page, _wording
from graft._card import model_card
from graft._facts import explained
from graft._wording import Report, clip, count, finite, interval, number, spoken

if TYPE_CHECKING:
    from jinja2 import Template
    from rich.console import Group
    from rich.table import Table

__all__ = ["explained", "finite", "model_card", "terminal", "to_html"]

ASCII = str.maketrans({_wording.NONE: "-", _wording.MINUS: "-"})  # for terminals of any encoding
WIDEST, NARROW = 24, 14  # columns of a name in the terminal, of a measure's


def to_html(report: Report) -> str:
    """Return the whole page: one string without scripts, links or anything to fetch."""
    cleaned = _wording.clean(report)
    shown = {name: section(cleaned) for name, section in _page.SECTIONS.items()}
    return _template().render(shown)


@cache
def _template() -> Template:
    import jinja2

    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return env.get_template("report.html")


# -- the terminal


def terminal(report: Report) -> Group:
    """Return the chosen model and its controls on the test part as a table of 80 columns, and the verdict."""
    from rich.console import Group
    from rich.text import Text

    r = _wording.clean(report)
    verdict = Text(_wording.verdict(r), style="bold")
    return Group(_terminal_table(r), verdict) if _wording.compared(r) else Group(verdict)


def _terminal_table(r: Report) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    m, n, rows = _wording.measure(r), _wording.best(r).get("n"), _wording.compared(r)
    about = [f"{_wording.title(r)}, test part", f"{count(n)} items" if n else ""]
    about += ["less is better" if _wording.lower(r, m) else ""]
    title, caption = Text(", ".join(x for x in about if x)), Text(_caption(r, m))
    table = Table(
        box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="",
        caption=caption or None, caption_justify="left", caption_style="",
    )  # fmt: skip
    unit = (", %", ", points") if _wording.is_percent(m) else ("", "")
    table.add_column("model", overflow="fold", max_width=WIDEST)
    words = textwrap.fill(clip(spoken(m), 2 * WIDEST) + unit[0], NARROW)  # no number is cut off for a long name
    table.add_column(Text(words), justify="right", no_wrap=True)
    table.add_column(_wording.level(r), justify="right", no_wrap=True)
    table.add_column("chosen minus this" + unit[1], justify="right")
    for x in rows:
        cells = (c.translate(ASCII) for c in _terminal_row(x, m))
        table.add_row(*map(Text, cells), style="bold" if x["chosen"] else "")
    return table


def _caption(r: Report, m: str) -> str:
    """Why a measure has no value, where that is so."""
    missing = any(x["score"].get("value") is None for x in _wording.compared(r))
    return f"n/a: {_wording.why(r, m)}" if missing else ""


def _terminal_row(x: Report, m: str) -> list[str]:
    gap, s = x["gap"], x["score"]
    reach = interval(gap, m, signed=True)
    minus = number(gap.get("difference"), m, signed=True) + (f" ({reach})" if reach else "")
    value = _wording.NA if s.get("value") is None else number(s["value"], m, unit=False)
    name = clip(spoken(x["name"]), 2 * WIDEST)
    return [name, value, interval(s, m).rstrip("%"), "chosen" if x["chosen"] else minus]

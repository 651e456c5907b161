"""What the page's template takes as a table."""

from __future__ import annotations

from collections.abc import Iterable

from graft._wording import Report

Cell = str | dict[str, str]  # a text, or {"text", "small" (a second line), "tone" (good, bad, dim, strong)}

MOST_ROWS, OPEN_ROWS = 1000, 20  # rows of a table, and those seen without a click


def table(label: str, head: list[tuple[str, str]], rows: Iterable[list[Cell]], seen: int = MOST_ROWS) -> Report:
    """What the template's table takes; `head` has (words, kind) per column: "name", "num", "wide", "tag"."""
    every = list(rows)
    left = max(len(every) - MOST_ROWS, 0)
    return {"label": label, "head": head, "seen": every[:seen], "more": every[seen:MOST_ROWS], "left": left}

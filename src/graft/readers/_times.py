"""A column of times, as ISO dates, years or epoch numbers, in seconds since 1970 (UTC)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from graft._columns import is_number, words

_NAMES = {"date", "time", "datetime", "timestamp", "created", "created_at", "day"}
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3))  # values above: nano-, micro-, milliseconds
_PLAUSIBLE = (2e8, 5e9)  # seconds: 1976 to 2128
_SAMPLED = 50


def seconds(cells: Sequence[str | None]) -> list[float | None]:
    """Seconds since 1970 in UTC of each cell, None for one that is no time; without a zone it is UTC.

    Read are ISO dates and times, four-digit years where all are, and epoch numbers, whose unit (seconds, or
    milli-, micro-, nanoseconds) is that of the largest.
    """
    written = [c.strip() if c is not None else "" for c in cells]
    filled = [c for c in written if c]
    if filled and all(len(c) == 4 and c.isdigit() and c[0] in "12" for c in filled):
        return [_iso(f"{c}-01-01") if c else None for c in written]
    values = [_iso(c) if _is_iso(c) else _number(c) for c in written]
    epochs = [abs(v) for c, v in zip(written, values, strict=True) if v is not None and not _is_iso(c)]
    unit = next((u for least, u in _UNITS if max(epochs, default=0.0) > least), 1.0)
    return [v if v is None or _is_iso(c) else v / unit for c, v in zip(written, values, strict=True)]


def looks_like_times(column: str, cells: Sequence[str | None]) -> bool:
    """Whether all of the first cells are ISO dates, or the name says times and they are plausible epochs."""
    filled = [c.strip() for c in cells if c is not None and c.strip()][:_SAMPLED]
    if not filled:
        return False
    found = seconds(filled)
    if all(_is_iso(c) for c in filled):
        return all(v is not None for v in found)
    named = bool({column.lower(), *words(column)} & _NAMES)
    return named and all(v is not None and _PLAUSIBLE[0] <= v <= _PLAUSIBLE[1] for v in found)


def _is_iso(cell: str) -> bool:
    """Written with dashes after the year; a compact "20240102" is a date too, and no epoch anybody has."""
    return len(cell) >= 8 and (cell[4:5] == "-" or (len(cell) == 8 and cell.isdigit() and cell[:2] in ("19", "20")))


def _iso(cell: str) -> float | None:
    try:
        when = datetime.fromisoformat(cell)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _number(cell: str) -> float | None:
    value = float(cell) if is_number(cell) else math.nan
    return value if math.isfinite(value) else None

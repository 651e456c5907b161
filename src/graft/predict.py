"""Predictions out of a run: csv, jsonl or parquet, to a file or to standard output."""

from __future__ import annotations

import io
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from graft.errors import UsageError
from graft.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

SEPARATOR = "; "  # of several labels in a cell
SUFFIXES = (".csv", ".jsonl", ".parquet")


def check_out(out: str) -> None:
    """Refuse an output file of an unknown kind before any work; raises UsageError."""
    if out and Path(out).suffix not in SUFFIXES:
        raise UsageError(f"--out {out}: end the name in {', '.join(SUFFIXES)}")
    if out and not Path(out).resolve().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {Path(out).resolve().parent}")


def bad_rows(table: pd.DataFrame) -> list[str]:
    """Items that could not be read, with the reason."""
    if "error" not in table.columns:
        return []
    wrong = table[table["error"].notna()]
    return [f"{i} ({e})" for i, e in zip(wrong["id"], wrong["error"], strict=True)]


def write(table: pd.DataFrame, out: str, as_json: bool) -> None:
    """Write the table whole; to standard output as csv, or as JSON lines."""
    if out.endswith(".parquet"):
        buffer = io.BytesIO()
        table.to_parquet(buffer, index=False)
        write_whole(Path(out), buffer.getvalue())
    elif out:
        write_whole(Path(out), lines(table) if out.endswith(".jsonl") else csv(table))
    else:
        sys.stdout.write(lines(table) if as_json else csv(table))
        sys.stdout.flush()


def lines(table: pd.DataFrame) -> str:
    """JSON lines; a missing value, and the end of an interval that has none, are left out."""
    rows = table.to_dict("records")
    kept = ({k: v for k, v in r.items() if not (isinstance(v, float) and not math.isfinite(v))} for r in rows)
    return "".join(json.dumps(r, ensure_ascii=False, allow_nan=False) + "\n" for r in kept)


def csv(table: pd.DataFrame) -> str:
    """Comma-separated values; texts that a spreadsheet would run as a formula get a quote before them."""
    import pandas as pd

    safe = pd.DataFrame({_harmless(c): [_harmless(v) for v in table[c]] for c in table.columns})
    return safe.to_csv(index=False, lineterminator="\n")


def _harmless(value: object) -> object:
    value = SEPARATOR.join(map(str, value)) if isinstance(value, list) else value
    if not isinstance(value, str) or not value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return value
    try:
        float(value)  # "-1" is a label, and no formula
    except ValueError:
        return f"'{value}"
    return value

"""Rows of a table by part, once its columns are known; nothing is decoded here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft._columns import clean_label
from graft.data import Note
from graft.errors import DataError, some
from graft.readers import PARTS, Opened, Row, _names, _paths, _times, targets
from graft.readers._leaks import leaks
from graft.readers._roles import Roles, bit
from graft.recipe import Recipe
from graft.tables import Table


@dataclass
class Placed:
    """A table, the folders that its paths may be relative to, and what stands before its rows' ids."""

    table: Table
    bases: list[Path]
    prefix: str = ""


@dataclass
class _Sink:
    """What has been collected over all tables of a source."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    none: list[str] = field(default_factory=list)  # rows whose empty cell says that no label holds


def build(parts: dict[str, list[Placed]], roles: Roles, labels: bool, asked: Recipe) -> Opened:
    """Turn tables into rows by part.

    An empty cell of a column of joined labels is none of them where several labels were asked for by the task's name,
    and rows without a label are not to be dropped.

    Raises DataError for a table that lacks a column, for rows without a label unless they are dropped, and for
    cells of the time and split columns that say nothing.
    """
    sink = _Sink()
    empty_is_none = len(roles.label) == 1 and targets.empty_is_none(asked)
    for part, placed in parts.items():
        for one in placed:
            _check_columns(one.table, roles, labels)
            _collect(sink, part, one, roles, labels, empty_is_none)
    notes = [*roles.notes, *_mended(parts), *_leaks(parts, roles, labels)]
    if sink.none:
        notes.append(targets.said_none(sink.none))
    if sink.unlabelled:
        if not asked.drop_unlabelled:
            column = ",".join(roles.label)
            values = [row.y for rows in sink.rows.values() for row in rows]
            or_none = targets.or_none(values, roles.modality, asked) if len(roles.label) == 1 else ""
            raise DataError(
                f"{len(sink.unlabelled)} rows have no label in {column!r}: {some(sink.unlabelled)}; fill or remove "
                f"them, or leave them out with --drop-unlabelled{or_none}"
            )
        said = f"{len(sink.unlabelled)} rows without a label left out"
        notes.append(Note("skipped", said, tuple(sink.unlabelled), "label_missing"))
    order = [p for p in ("train", "valid", "test", "all") if sink.rows.get(p)]
    if "split" in roles.extras:
        sizes = ", ".join(f"{len(sink.rows[p])} {p}" for p in order)
        notes.append(Note("found", f"parts by column {roles.extras['split']!r}: {sizes}"))
    rows = {p: sink.rows[p] for p in order}
    if roles.modality == "picture" and len(rows) > 1 and "group" not in roles.extras:
        notes.extend(_names.shared(rows))
    return Opened(roles.modality, rows, notes, roles.columns(), sink.bad)


def _mended(parts: dict[str, list[Placed]]) -> list[Note]:
    rows = tuple(row for placed in parts.values() for one in placed for row in one.table.mended)
    said = f"{len(rows)} cells held a NUL or half of a character, which was replaced"
    return [Note("warning", said, rows)] if rows else []


def _leaks(parts: dict[str, list[Placed]], roles: Roles, labels: bool) -> list[Note]:
    """Of the first table to train on: columns that are not used and tell the label by themselves."""
    first = next((placed[0].table for name in ("train", "all") if (placed := parts.get(name))), None)
    if first is None or not labels or len(roles.label) != 1 or roles.label[0] not in first.columns:
        return []
    used = {roles.x, *roles.extras.values(), *roles.label}
    return leaks(first.columns, _targets(first, roles.label), used)


def _check_columns(table: Table, roles: Roles, labels: bool) -> None:
    needed = [roles.x, *roles.extras.values(), *(roles.label if labels else ())]
    missing = [c for c in needed if c not in table.columns and c not in table.blobs]
    if missing:
        raise DataError(
            f"{table.name} has no column {missing[0]!r}, which the first table has; it has "
            f"{some([*table.columns, *table.blobs], 8)}. Add the column, or take the file away"
        )


def _collect(sink: _Sink, part: str, placed: Placed, roles: Roles, labels: bool, empty_is_none: bool) -> None:
    table = placed.table
    xs, ids, reasons = _contents(placed, roles)
    ys = _targets(table, roles.label) if all(c in table.columns for c in roles.label) else [None] * len(table)
    groups, domains = (_words(table, roles.extras.get(role)) for role in ("group", "domain"))
    times = _seconds(table, roles.extras.get("time"))
    names = _parts(table, roles.extras.get("split"), part)
    for i, x in enumerate(xs):
        if labels and empty_is_none and ys[i] is None:
            ys[i] = ()
            sink.none.append(ids[i])
        if labels and roles.label and ys[i] is None:
            sink.unlabelled.append(ids[i])
        elif reasons[i]:
            sink.bad.append(f"{ids[i]} ({reasons[i]})")
        else:
            row = Row(x, ys[i], ids[i], groups[i], domains[i], times[i])
            sink.rows.setdefault(names[i], []).append(row)


def _contents(placed: Placed, roles: Roles) -> tuple[list[Any], list[str], list[str]]:
    """(what `Row.x` holds, ids, reasons why not: "" for none) of every row."""
    table, file = placed.table, Path(placed.table.name).name
    ids = [f"{placed.prefix}{file}:{line}" for line in table.lines]
    if roles.modality == "text":
        cells = table.columns[roles.x]
        return [c or "" for c in cells], ids, ["" if c and c.strip() else "empty text" for c in cells]
    where = _paths.places(table, roles.x, placed.bases)
    values: Sequence[object] = table.blobs.get(roles.x) or table.columns[roles.x]
    opened = [_paths.open_cell(v, where) for v in values]
    names = [placed.prefix + v.strip() if isinstance(v, str) and v.strip() else i for v, i in zip(values, ids)]
    return [x for x, _ in opened], names, [why for _, why in opened]


def _targets(table: Table, label: tuple[str, ...]) -> list[Any]:
    """Labels as they are written: a str, a tuple of str, or None for a row without one."""
    if not label:
        return [None] * len(table)
    if len(label) > 1:
        return [_held(label, [table.columns[c][i] for c in label]) for i in range(len(table))]
    cells = [c if c is not None and c.strip() else None for c in table.columns[label[0]]]
    lists = [_list(c) for c in cells]
    all_lists = all(v is not None or c is None for v, c in zip(lists, cells)) and any(v is not None for v in lists)
    return list(lists) if all_lists else list(cells)


def _held(names: Sequence[str], cells: Sequence[str | None]) -> tuple[str, ...] | None:
    """The names of the columns that say yes; None where one of them says nothing."""
    bits = [bit(c) if c is not None else None for c in cells]
    return None if None in bits else tuple(n for n, b in zip(names, bits, strict=True) if b)


def _list(cell: str | None) -> tuple[str, ...] | None:
    """The texts of a JSON list of words or numbers, else None."""
    if cell is None or not cell.lstrip().startswith("["):
        return None
    try:
        listed = json.loads(cell, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return None
    return tuple(listed) if all(isinstance(v, str) for v in listed) else None


def _words(table: Table, column: str | None) -> list[str]:
    cells = table.columns[column] if column else [None] * len(table)
    return [clean_label(c) if c is not None else "" for c in cells]


def _seconds(table: Table, column: str | None) -> list[float | None]:
    if column is None:
        return [None] * len(table)
    found = _times.seconds(table.columns[column])
    wrong = [table.row_id(i) for i, v in enumerate(found) if v is None]
    if wrong:
        first = next(c for c, v in zip(table.columns[column], found) if v is None)
        raise DataError(
            f"{len(wrong)} rows of column {column!r} (--time) hold no time: {some(wrong)} (the first is {first!r}); "
            "write ISO dates such as 2024-01-31 or 2024-01-31T12:00:00+00:00, or epoch seconds"
        )
    return found


def _parts(table: Table, column: str | None, part: str) -> list[str]:
    if column is None:
        return [part] * len(table)
    names = [PARTS.get(c.strip().lower(), "") if c is not None else "" for c in table.columns[column]]
    wrong = [table.row_id(i) for i, n in enumerate(names) if not n]
    if wrong:
        odd = {c for c, n in zip(table.columns[column], names) if not n}
        raise DataError(
            f"{len(wrong)} rows of column {column!r} (--split) name no part: {some(wrong)} hold "
            f"{some(sorted(map(repr, odd)))}; possible are {', '.join(PARTS)}"
        )
    return names

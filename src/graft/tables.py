"""Read csv, tsv, jsonl, json, parquet, frames and records strictly, as text."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft import _cells
from graft._columns import clean_label
from graft._intake import CAP, load, shown, suffix_of, text_of
from graft.errors import DataError, some

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

__all__ = [
    "Table", "clean_label", "from_arrow", "from_frame", "from_records", "read_json", "read_table",
]  # fmt: skip

POSSIBLE = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")  # each may be followed by .gz
_BATCH = 1000  # rows of parquet at a time: one long cell, repeated, is told by its size before all are read
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_HEADER = 1 << 20  # characters in which a csv's header must end for its delimiter to be found


@dataclass(frozen=True)
class Table:
    """A table of text: every cell as written, None where there is none.

    `name` is the path as shown to people; `columns` have equal lengths; `lines` has the 1-based line where
    each record starts in the file (the 1-based row for parquet and for data from memory). `blobs` are the
    columns that hold what a picture may come as (bytes, structs of bytes and a path, Pillow pictures, arrays).
    `mended` names the rows ("NAME:LINE (column)") in which a NUL became a blank or half of a surrogate pair U+FFFD.
    """

    name: str
    columns: dict[str, list[str | None]]
    lines: list[int]
    blobs: dict[str, list[object]] = field(default_factory=dict)
    mended: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.lines)

    def row_id(self, i: int) -> str:
        """Return "NAME:LINE" for the row at position `i`, from 0."""
        return f"{self.name}:{self.lines[i]}"


def read_table(path: Path, blobs: bool = False) -> Table:
    """Read one file by its suffix: csv, tsv, jsonl, ndjson or parquet, each also with .gz.

    A csv may be split by comma, semicolon or tab. Column names lose blanks around them and are in NFC. Numbers
    of jsonl and parquet become their text, true and false their JSON words, nested values JSON text. Columns of
    bytes, as parquet may have them, are refused unless `blobs` are wanted.
    Raises DataError naming file and line for what is not strictly utf-8, rectangular, named and within 2 GB,
    and SecurityError for pickles, whatever they are called.
    """
    name, kind = shown(path), suffix_of(path)
    data = load(path)
    if kind not in POSSIBLE:
        raise DataError(f"{name} is no kind of table that graft reads. Possible: {some(POSSIBLE)}, or these + .gz")
    if not data or data.isspace():
        raise DataError(f"{name} is empty; give a file with a header and rows.")
    if kind == ".parquet":
        return _parquet(name, data, blobs)
    text = text_of(data, path)
    del data
    return _csv(name, text, prefers_tab=kind == ".tsv") if kind in (".csv", ".tsv") else _jsonl(name, text)


def from_frame(frame: pd.DataFrame | pl.DataFrame, blobs: bool = False) -> Table:
    """Turn a pandas or polars frame into a table named "<frame>"; None, NaN, NaT and NA become None.

    Integers that pandas made float because some are missing are written as integers again.
    Raises DataError for duplicate or empty column names, no rows, and bytes unless `blobs` are wanted. The frame
    is not changed.
    """
    name = "<frame>"
    names = _names(name, [str(column) for column in frame.columns], "the frame")
    listed = (_series(frame, at) for at in range(len(names)))
    return _from_values(name, dict(zip(names, listed, strict=True)), len(frame), blobs)


def _series(frame: Any, at: int) -> list[object]:
    if type(frame).__module__.split(".")[0] == "polars":
        return list(frame.to_series(at).to_list())
    series = frame.iloc[:, at]
    return [None if gone else v for v, gone in zip(series.tolist(), series.isna().tolist(), strict=True)]


def from_records(
    records: Sequence[Mapping[str, object] | tuple[object, object]], blobs: bool = False, name: str = "<records>"
) -> Table:
    """Turn a list of dicts, or of (x, label) pairs, into a table named "<records>".

    Pairs give the columns "text" and "label", with `blobs` "image" and "label" where they hold pictures; keys
    that a dict lacks give None. Raises DataError for anything else, naming the record by its 1-based position.
    """
    rows: list[dict[str, object]] = []
    seen = blobs and any(isinstance(r, (tuple, list)) and len(r) == 2 and _cells.is_blob(r[0]) for r in records)
    for line, record in enumerate(records, start=1):
        if isinstance(record, Mapping):
            keys = _names(name, [str(key) for key in record], f"record {line}")
            rows.append(dict(zip(keys, record.values(), strict=True)))
        elif isinstance(record, (tuple, list)) and len(record) == 2:
            rows.append({"image" if seen else "text": record[0], "label": record[1]})
        else:
            raise DataError(f"{name}:{line} is a {type(record).__name__}: give dicts or (x, label) pairs.")
    return _from_values(name, {key: [row.get(key) for row in rows] for key in _union(rows)}, len(rows), blobs)


def from_arrow(table: Any, name: str = "<table>", blobs: bool = False) -> Table:
    """Turn a pyarrow Table into a table, as parquet is read. Raises DataError as `read_table` does."""
    names = _names(name, table.column_names, "the schema")
    _refuse_bytes(name, table.schema, blobs)
    values = _arrow_values(name, table.to_batches(max_chunksize=_BATCH), len(names))
    return _from_values(name, dict(zip(names, values, strict=True)), table.num_rows, blobs)


def read_json(path: Path) -> Any:
    """Read a JSON file strictly: utf-8, no key twice, numbers as they are written.

    Raises DataError naming the file and the place, and SecurityError for pickles, whatever they are called.
    """
    text = text_of(load(path), path)
    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=_no_constant, object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as e:
        raise DataError(f"{shown(path)} is not valid JSON: {e}. Mend it there.") from e


def _csv(name: str, text: str, prefers_tab: bool) -> Table:
    csv.field_size_limit(max(csv.field_size_limit(), CAP))
    delimiter = _delimiter(text, prefers_tab)
    records = _records(name, text, delimiter)
    header_line, header = next(records, (1, []))
    names = _names(name, header, f"line {header_line}")
    columns: list[list[str | None]] = [[] for _ in names]
    lines: list[int] = []
    for line, fields in records:
        # A line of blanks alone is no record, except where one column makes it a cell.
        if len(fields) == 1 and len(names) > 1 and not fields[0].strip():
            continue
        if len(fields) != len(names):
            raise DataError(
                f"{name}:{line} has {len(fields)} fields, the header has {len(names)} (split by {delimiter!r}). "
                "Mend that line; a cell that holds the delimiter or a line break must be in double quotes."
            )
        lines.append(line)
        for column, cell in zip(columns, fields, strict=True):
            column.append(cell)
    return _table(name, dict(zip(names, columns, strict=True)), lines)


def _records(name: str, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (line where it starts, fields) of each record that is not an empty line. Raises DataError."""
    reader = csv.reader((m.group() for m in _LINE.finditer(text)), delimiter=delimiter, strict=True)
    while True:
        start = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as e:
            raise DataError(
                f"{name}:{start}: {e} (split by {delimiter!r}). Double the quotes inside quoted cells, and close "
                "every quote."
            ) from e
        if fields:
            yield start, fields


def _delimiter(text: str, prefers_tab: bool) -> str:
    """Return the delimiter that splits the header in the most fields; ties go to the first of the list."""
    counts: dict[str, int] = {}
    for delimiter in "\t,;" if prefers_tab else ",;\t":
        try:
            counts[delimiter] = len(next(_records("", text[:_HEADER], delimiter), (1, [""]))[1])
        except DataError:  # quotes that close in mid-field: not this one
            counts[delimiter] = 0
    if prefers_tab and counts["\t"] > 1:
        return "\t"
    return max(counts, key=lambda d: counts[d])


def _jsonl(name: str, text: str) -> Table:
    rows: list[dict[str, str | None]] = []
    lines: list[int] = []
    for line, written in enumerate(text.split("\n"), start=1):
        if written.strip():
            rows.append(_json_row(f"{name}:{line}", written))
            lines.append(line)
    columns = {key: [row.get(key) for row in rows] for key in _union(rows)}
    return _table(name, columns, lines)


def _json_row(where: str, written: str) -> dict[str, str | None]:
    try:
        # Numbers stay as written: no digits are lost, and none are too many for int().
        row = json.loads(written, parse_int=str, parse_float=str, parse_constant=_no_constant, object_pairs_hook=_pairs)
        if isinstance(row, dict) and any(isinstance(v, (list, dict)) for v in row.values()):
            nested = json.loads(written)  # with its numbers as numbers
            row = {k: nested[k] if isinstance(v, (list, dict)) else v for k, v in row.items()}
    except (ValueError, RecursionError) as e:
        raise DataError(f"{where} is not valid JSON: {e}. Each line must be one JSON object.") from e
    if not isinstance(row, dict):
        hint = " A JSON array becomes lines by: jq -c '.[]' FILE" if written.lstrip().startswith("[") else ""
        raise DataError(f"{where} is a JSON {_json_kind(row)}, not an object.{hint}")
    names = _names(where, list(row), "the object")
    return {key: _cells.text(value) for key, value in zip(names, row.values(), strict=True)}


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return row


def _no_constant(word: str) -> object:
    raise ValueError(f"{word} is no JSON; write null")


def _json_kind(value: object) -> str:
    return {list: "array", bool: "boolean", type(None): "null"}.get(type(value), "string or number")


def _parquet(name: str, data: bytes, blobs: bool) -> Table:
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped,unused-ignore]

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        names = _names(name, file.schema_arrow.names, "the schema")
        _refuse_bytes(name, file.schema_arrow, blobs)
        values = _arrow_values(name, file.iter_batches(batch_size=_BATCH), len(names))
    except (pa.ArrowException, OSError, ValueError) as e:  # ValueError: text that is not utf-8 among them
        raise DataError(f"{name} is no readable parquet file: {e}. Write it again.") from e
    rows = len(values[0]) if values else 0
    return _from_values(name, dict(zip(names, values, strict=True)), rows, blobs)


def _refuse_bytes(name: str, schema: Any, blobs: bool) -> None:
    for field_ in schema:
        held = _cells.arrow_holds(field_.type)
        if held == "bytes" or (held and not blobs):
            raise DataError(f"{name}: column {field_.name!r} holds bytes ({field_.type}); write text as string.")


def _arrow_values(name: str, batches: Iterable[Any], width: int) -> list[list[object]]:
    values: list[list[object]] = [[] for _ in range(width)]
    size = 0
    for batch in batches:
        size += batch.nbytes
        if size > CAP:
            raise DataError(f"{name} unpacks to more than {CAP} bytes; split it into smaller files.")
        for column, array in zip(values, batch.columns, strict=True):
            column.extend(array.to_pylist())
    return values


def _from_values(name: str, values: Mapping[str, Sequence[object]], rows: int, blobs: bool) -> Table:
    columns: dict[str, list[str | None]] = {}
    kept: dict[str, list[object]] = {}
    for key, listed in values.items():
        texts, pictures = _cells.column(name, key, listed, blobs)
        if texts is not None:
            columns[key] = texts
        elif pictures is not None:
            kept[key] = pictures
    return _table(name, columns, list(range(1, rows + 1)), kept)


def _names(name: str, written: list[str], where: str) -> list[str]:
    """Clean column names; raises DataError for empty or duplicate ones."""
    names = [clean_label(column) for column in written]
    empty = [str(at) for at, column in enumerate(names, start=1) if not column]
    if empty:
        raise DataError(
            f"{name}: column {some(empty)} of {where} has no name; name it or take it out (pandas writes its index "
            "so; to_csv(index=False) does not)."
        )
    if len(set(names)) < len(names):
        twice = sorted({column for column in names if names.count(column) > 1})
        raise DataError(f"{name}: {some(map(repr, twice))} stands more than once in {where}; rename one of them.")
    return names


def _union(rows: Iterable[Mapping[str, object]]) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _table(
    name: str, columns: dict[str, list[str | None]], lines: list[int], blobs: dict[str, list[object]] | None = None
) -> Table:
    """Make the table, with what cannot be stored as utf-8 replaced; raises DataError without rows or columns."""
    width = len(columns) + len(blobs or {})
    if not width or not lines:
        raise DataError(f"{name} has {len(lines)} rows and {width} columns; at least one of each is needed.")
    mended = []
    for column, cells in columns.items():
        for i, cell in enumerate(cells):
            if cell and ("\0" in cell or not _is_storable(cell)):
                mended.append(f"{name}:{lines[i]} ({column})")
                whole = cell.replace("\0", " ").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
                cells[i] = whole
    return Table(name, columns, lines, blobs or {}, tuple(mended))


def _is_storable(cell: str) -> bool:
    if cell.isascii():
        return True
    try:
        cell.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True

"""Tables without some of their rows, everything else as it is written: bytes of lines, types of parquet."""

from __future__ import annotations

import gzip
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from graft import files
from graft._columns import clean_label
from graft._intake import load, suffix_of
from graft.errors import SecurityError, UsageError
from graft.readers import PARTS, _paths
from graft.readers._manifests import gather
from graft.readers._rows import Placed
from graft.tables import POSSIBLE, Table

AGAIN = "\0again"
"""Behind an id: of the rows of one part that have it, only the first stays."""
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
_MARK = b"\xef\xbb\xbf"

Gone = Mapping[tuple[str, str], tuple[str, str]]


def write(source: Path, work: Path, gone: Gone, columns: Mapping[str, str], modality: str) -> int:
    """Write the tables of `source` into the folder `work` without the rows that are gone; how many rows are left.

    Pictures that the rows left name, and that lie below the table's folder, are copied along. Raises UsageError for
    data whose rows lie in no csv, tsv, jsonl or parquet file.
    """
    found = gather(source)
    if found is None:
        raise UsageError(f"--fix mends class folders and tables ({', '.join(POSSIBLE)}), and {source} is neither")
    root = source if source.is_dir() else source.parent
    kept = 0
    for part, placed in found.parts.items():
        for one in placed:
            file = Path(one.table.name)
            if not one.table.name.removesuffix(".gz").lower().endswith(POSSIBLE) or not file.is_relative_to(root):
                raise UsageError(f"--fix mends tables in DATA ({', '.join(POSSIBLE)}); the rows come from {file}")
            stays = _staying(one, part, gone, columns, modality)
            target = work / file.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_without(file, one.table, stays))
            kept += sum(stays)
            if modality == "picture" and columns["image"] not in one.table.blobs:
                _bring(one, columns["image"], stays, root, work)
    return kept


def _staying(one: Placed, part: str, gone: Gone, columns: Mapping[str, str], modality: str) -> list[bool]:
    """Which rows of a table stay."""
    table, file = one.table, Path(one.table.name).name
    cells = table.columns.get(columns.get("image", "")) if modality == "picture" else None
    split = table.columns.get(columns.get("split", ""))
    seen: set[tuple[str, str]] = set()
    stays = []
    for i, line in enumerate(table.lines):
        where = PARTS.get((split[i] or "").strip().lower(), part) if split is not None else part
        cell = cells[i] if cells is not None else None
        by_line = f"{one.prefix}{file}:{line}"
        key = (where, one.prefix + cell.strip() if cell and cell.strip() else by_line)
        again = key in seen and (where, key[1] + AGAIN) in gone
        lost = any(name in gone for name in (key, ("", key[1]), (where, by_line), ("", by_line)))
        seen.add(key)
        stays.append(not lost and not again)
    return stays


def _without(file: Path, table: Table, stays: list[bool]) -> bytes:
    """The file's bytes without the rows that go."""
    kind, packed = suffix_of(file), file.name.lower().endswith(".gz")
    data = load(file)
    kept = _parquet(data, stays) if kind == ".parquet" else _lines(data, table, stays, kind)
    return gzip.compress(kept, mtime=0) if packed else kept


def _lines(data: bytes, table: Table, stays: list[bool], kind: str) -> bytes:
    """Records as they are written; one reaches to the line where the next begins."""
    mark = _MARK if data.startswith(_MARK) else b""
    text = data[len(mark) :].decode("utf-8")
    lines = _split(text, kind)
    starts = [line - 1 for line in table.lines]
    kept = lines[: starts[0]]
    for start, end, stay in zip(starts, [*starts[1:], len(lines)], stays, strict=True):
        if stay:
            kept += lines[start:end]
    return mark + "".join(kept).encode("utf-8")


def _split(text: str, kind: str) -> list[str]:
    """Lines with their ends, counted as the reader counts them."""
    if kind in (".csv", ".tsv"):
        return [m.group() for m in _LINE.finditer(text)]
    pieces = text.split("\n")
    return [p + "\n" for p in pieces[:-1]] + ([pieces[-1]] if pieces[-1] else [])


def _parquet(data: bytes, stays: list[bool]) -> bytes:
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-untyped,unused-ignore]

    table = pq.read_table(pa.BufferReader(data))
    sink = pa.BufferOutputStream()
    pq.write_table(table.filter(pa.array(stays)), sink)
    kept: bytes = sink.getvalue().to_pybytes()
    return kept


def _bring(one: Placed, column: str, stays: list[bool], root: Path, work: Path) -> None:
    """Copy the pictures that rows name along, where they lie below the root; others are named from where they lie."""
    where = _paths.places(one.table, clean_label(column), one.bases)
    for cell, stay in zip(one.table.columns[column], stays, strict=True):
        path, _ = _paths.open_cell(cell, where) if stay else (None, "")
        if not isinstance(path, Path) or not path.is_relative_to(root):
            continue
        try:
            files.inside(root, path.relative_to(root).as_posix())
        except SecurityError:  # a link, or dots, that lead elsewhere
            continue
        target = work / path.relative_to(root)
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)

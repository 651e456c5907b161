"""Tables of texts or of pictures: csv, tsv, jsonl, json, parquet, folders of them, frames, records, Arrow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from graft.errors import DataError, UsageError
from graft.readers import Opened, _paths
from graft.readers._manifests import Gathered, gather
from graft.readers._roles import decide
from graft.readers._rows import Placed, build
from graft.recipe import Recipe
from graft.tables import Table, from_arrow, from_frame, from_records


def open_tables(source: Any, asked: Recipe, known: Mapping[str, str], labels: bool = True) -> Opened | None:
    """Rows of a table that was handed over, or None where the source is none.

    `source` is a path (a table; a folder of tables named train, valid, test; one table in a folder, beside its
    pictures or not; a list NAME.json or NAME.csv beside a folder NAME), a pandas or polars frame, a pyarrow Table,
    or a list of dicts or (x, label) pairs. `known` has the columns of a finished run by role, tried before guessing.
    With `labels` off (to predict), rows need none. Paths of pictures are relative to the table, to the folder of
    its stem, or to one beside it, whichever has them; ids are "FILE:LINE" of texts, the path as written of pictures.

    Raises UsageError for asked columns that are not there, DataError for what cannot be read as asked, and
    SecurityError for pickles.
    """
    found = gather(source) if isinstance(source, Path) else _from_memory(source)
    if found is None or (found.doubtful and not _settled(found, asked)):
        return None
    return open_parts(found, asked, known, labels)


def open_parts(found: Gathered, asked: Recipe, known: Mapping[str, str], labels: bool = True) -> Opened:
    """Decide the columns by the first table and turn all tables into rows; raises as `open_tables` does."""
    parted = "all" not in found.parts
    if parted and asked.split:
        raise UsageError(f"the data come as parts already ({', '.join(found.parts)}); leave --split {asked.split} out")
    first = next(iter(found.parts.values()))[0]
    roles = decide(first.table, first.bases, asked, known, labels, parted)
    opened = build(found.parts, roles, labels, asked)
    opened.notes[:0] = found.notes
    return opened


def _settled(found: Gathered, asked: Recipe) -> bool:
    """Whether a table beside class folders is meant: columns were asked for, or it names pictures and labels."""
    if asked.text or asked.image or asked.label:
        return True
    first = next(iter(found.parts.values()))[0]
    if _paths.candidates(first.table, first.bases) is None:
        return False
    try:
        return bool(decide(first.table, first.bases, asked, {}, labels=False).label)
    except DataError:
        return False


def _from_memory(source: Any) -> Gathered | None:
    table = _table(source)
    return Gathered({"all": [Placed(table, [Path().resolve()])]}) if table is not None else None


def _table(source: Any) -> Table | None:
    """A frame, an Arrow table or records as a table, told by the module of their class; None for others."""
    kind = type(source)
    module, name = kind.__module__.split(".")[0], kind.__name__
    if module == "polars" and name == "LazyFrame":
        raise DataError("a polars LazyFrame has no rows yet; give its .collect()")
    if module in ("pandas", "polars") and name == "DataFrame":
        return from_frame(source, blobs=True)
    if module == "pyarrow" and name == "Table":
        return from_arrow(source, blobs=True)
    if isinstance(source, list) and source and _is_record(source[0]):
        return from_records(source, blobs=True)
    return None


def _is_record(item: object) -> bool:
    return isinstance(item, Mapping) or (isinstance(item, (tuple, list)) and len(item) == 2)

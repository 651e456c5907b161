"""Which tables a path stands for: a file, parts in a folder, a list beside or inside a folder of pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft._intake import shown
from graft.data import Note
from graft.errors import DataError, some
from graft.readers import PARTS
from graft.readers._paths import bases_of, end_as_pictures, locate, subfolders
from graft.readers._rows import Placed
from graft.tables import POSSIBLE, Table, from_records, read_json, read_table

_SHARD = re.compile(r"(\w+)-\d+-of-\d+")  # how the Hugging Face hub cuts a part's parquet
_COCO = {"images", "annotations", "categories"}
_JSON = ".json"


@dataclass
class Gathered:
    """Tables by part ("train", "valid", "test", or "all").

    `doubtful`: class folders stand beside the table, so that it counts only where it names their pictures.
    """

    parts: dict[str, list[Placed]]
    notes: list[Note] = field(default_factory=list)
    doubtful: bool = False


def gather(path: Path) -> Gathered | None:
    """The tables that a path stands for, or None where there are none of ours.

    Raises DataError for a folder whose tables name no part.
    """
    if path.is_file():
        return _file(path)
    if not path.is_dir():
        return None
    classes = _has_class_folders(path)
    tables = tables_in(path)
    if tables:
        return _folder(path, tables, classes)
    return _part_folders(path) or (None if classes else _beside(path) or _inside(path))


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table that graft reads."""
    return path.name.lower().removesuffix(".gz").endswith(POSSIBLE)


def tables_in(folder: Path) -> list[Path]:
    """The visible tables directly in a folder, by name."""
    return sorted(p for p in folder.iterdir() if is_table(p) and not p.name.startswith(".") and p.is_file())


def _file(path: Path) -> Gathered | None:
    if is_table(path):
        return Gathered({"all": [Placed(read_table(path, blobs=True), bases_of(path))]})
    if path.suffix.lower() != _JSON:
        return None
    table = _json_table(path, bases_of(path), strict=True)
    return Gathered({"all": [Placed(table, bases_of(path))]}) if table is not None else None


def _folder(folder: Path, tables: list[Path], classes: bool) -> Gathered | None:
    if len(tables) == 1:
        placed = Placed(read_table(tables[0], blobs=True), bases_of(tables[0]))
        return Gathered({"all": [placed]}, [Note("found", f"the table {tables[0].name}")], classes)
    named = [(_part(f), f) for f in tables]
    parts = {p for p, _ in named}
    whole = [p for p, f in named if _stem(f).lower() in PARTS]
    if "train" not in parts or "" in parts or len(set(whole)) < len(whole):
        if classes:
            return None
        raise DataError(
            f"{folder}: which of these tables is what? {some(f.name for f in tables)}; "
            "name them train, valid (or dev) and test, or give one file"
        )
    order = sorted(parts, key=["train", "valid", "test"].index)
    found = {p: [Placed(read_table(f, blobs=True), bases_of(f)) for name, f in named if name == p] for p in order}
    return Gathered(found, [Note("found", f"parts as given: {', '.join(order)}")], classes)


def _part(file: Path) -> str:
    """The part that a file's name says, also as a shard (train-00000-of-00002.parquet), or ""."""
    stem = _stem(file).lower()
    shard = _SHARD.fullmatch(stem)
    return PARTS.get(shard[1] if shard else stem, "")


def _stem(file: Path) -> str:
    return file.name.split(".")[0]


def _part_folders(root: Path) -> Gathered | None:
    """Tables of train/, valid/, test/ folders with one each beside their pictures."""
    parts: dict[str, list[Placed]] = {}
    for folder in subfolders(root):
        part = PARTS.get(folder.name.lower(), "")
        tables = tables_in(folder) if part else []
        if len(tables) > 1 or (tables and part in parts):
            return None
        if tables:
            prefix = f"{folder.name}/"
            parts[part] = [Placed(read_table(tables[0], blobs=True), [*bases_of(tables[0]), root], prefix)]
    if "train" not in parts:
        return None
    order = [p for p in ("train", "valid", "test") if p in parts]
    return Gathered({p: parts[p] for p in order}, [Note("found", f"parts as given: {', '.join(order)}")], True)


def _beside(folder: Path) -> Gathered | None:
    """The list of a folder NAME in NAME.json, NAME.csv ... beside it."""
    bases = [folder, folder.parent, *subfolders(folder)]
    beside = [folder.parent / f"{folder.name}{s}{packed}" for s in POSSIBLE for packed in ("", ".gz")]
    for file in [folder.parent / f"{folder.name}{_JSON}", *beside]:
        if not file.is_file():
            continue
        table = _json_table(file, bases, strict=False) if file.suffix == _JSON else read_table(file, blobs=True)
        if table is not None:
            return Gathered({"all": [Placed(table, bases)]}, [Note("found", f"the list {file.name} beside the folder")])
    return None


def _inside(folder: Path) -> Gathered | None:
    """The one JSON file in a folder that lists pictures of it."""
    bases = [folder, *subfolders(folder)]
    found = []
    for file in sorted(p for p in folder.glob(f"*{_JSON}") if p.is_file() and not p.name.startswith(".")):
        table = _json_table(file, bases, strict=False)
        if table is not None:
            found.append((file, table))
    if len(found) != 1:
        return None
    file, table = found[0]
    return Gathered({"all": [Placed(table, bases)]}, [Note("found", f"the list {file.name} in the folder")])


def _json_table(file: Path, bases: Sequence[Path], strict: bool) -> Table | None:
    """A list of objects, {file: label} or {file: {...}} as a table; None for COCO and for anything else.

    Where the user did not name the file (not `strict`), only one that lists pictures that are there counts; an
    object by files must list pictures in any case, as every settings file is an object.
    """
    content = read_json(file)
    if isinstance(content, dict) and _COCO & set(content) and isinstance(content.get("images"), list):
        return None
    rows = _json_rows(content)
    if not rows:
        return None
    table = from_records(rows, name=shown(file))
    if strict and (isinstance(content, list) or any(map(end_as_pictures, table.columns.values()))):
        return table
    named = (locate(cells, bases) for cells in table.columns.values())
    return table if any(p.found and p.found * 2 >= p.looked for p in named) else None


def _json_rows(content: Any) -> list[Mapping[str, object] | tuple[object, object]]:
    if isinstance(content, list) and content and all(isinstance(row, dict) for row in content):
        return list(content)
    if not isinstance(content, dict):
        return []
    values = list(content.values())
    if values and all(isinstance(v, dict) for v in values):
        return [{"key" if "file" in v else "file": k, **v} for k, v in content.items()]
    if values and all(isinstance(v, (str, bool, list)) or v is None for v in values):
        return [{"file": k, "label": v} for k, v in content.items()]
    return []


def _has_class_folders(root: Path) -> bool:
    """Whether two folders or more hold pictures of their own, also below train, valid and test."""
    inside = subfolders(root)
    parts = [f for f in inside if f.name.lower() in PARTS]
    holding = [f for f in inside if f not in parts and _has_picture(f)]
    return len(holding) > 1 or any(len([f for f in subfolders(p) if _has_picture(f)]) > 1 for p in parts)


def _has_picture(folder: Path) -> bool:
    from graft._formats import SUFFIXES

    try:
        return any(p.suffix.lower() in SUFFIXES and not p.name.startswith(".") for p in folder.iterdir())
    except OSError:
        return False

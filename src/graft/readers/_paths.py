"""Cells that stand for pictures: which column has them, and where their files are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graft import _cells
from graft._columns import Choice, words
from graft.errors import DataError, SecurityError, some
from graft.tables import Table

# In the order of trust; "id" counts only where files of that name are found.
IMAGE_NAMES = (
    "image", "img", "picture", "photo", "image_path", "img_path", "filepath", "file_path", "path", "file",
    "file_name", "filename", "image_name", "image_id", "id",
)  # fmt: skip
_PROBED = 20  # filled cells that are looked for
_FOLDERS = 50  # subfolders that are looked into
_ADDED = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".dcm")  # for names without an ending
_LONGEST = 4096  # bytes of a path, Linux's own limit
_MASKS = {"mask", "masks", "segmentation", "annotation"}


@dataclass(frozen=True)
class Places:
    """How the cells of one column become pictures: files under `base`, with `suffix` added.

    `found` of the `looked` cells that were tried name something.
    """

    base: Path
    suffix: str = ""
    found: int = 0
    looked: int = 0


def bases_of(table: Path) -> list[Path]:
    """Folders that a table's paths may be relative to: its own, that of the same stem, those beside it."""
    home, stem = table.parent, table.name.split(".")[0]
    return list(dict.fromkeys([home, home / stem, *subfolders(home)]))


def subfolders(folder: Path) -> list[Path]:
    """The first visible folders inside a folder, by name; none where it cannot be listed."""
    try:
        return sorted(p for p in folder.iterdir() if not p.name.startswith(".") and p.is_dir())[:_FOLDERS]
    except OSError:
        return []


def candidates(table: Table, bases: Sequence[Path]) -> Choice | None:
    """Choose the column whose cells are pictures, or paths of which at least half exist; None for none."""
    good = [c for c, values in table.blobs.items() if _are_pictures(values, bases)]
    good += [c for c, cells in table.columns.items() if _may_be_paths(c, cells) and _half(locate(cells, bases))]
    order = {n: i for i, n in enumerate(IMAGE_NAMES)}
    good.sort(key=lambda c: (bool(set(words(c)) & _MASKS), order.get(c.lower(), len(order))))
    if not good:
        return None
    why = "holds pictures" if good[0] in table.blobs else "names picture files that are there"
    return Choice(good[0], why, tuple(good[1:]))


def places(table: Table, column: str, bases: Sequence[Path]) -> Places:
    """Find where the pictures of a chosen column are.

    Raises DataError for web addresses, and where none of the first cells names a file.
    """
    if column in table.blobs:
        return Places(bases[0])
    cells = table.columns[column]
    probed = _probe(cells)
    if probed and sum(map(is_address, probed)) * 2 >= len(probed):
        raise DataError(
            f"{table.name}: column {column!r} holds web addresses (such as {probed[0]}), and graft fetches nothing "
            "by them; download the pictures and give their paths"
        )
    found = locate(cells, bases)
    if probed and not found.found:
        looked = some((str(b) for b in bases), 3)
        raise DataError(
            f"{table.name}: none of the first {found.looked} pictures of column {column!r} is there "
            f"(such as {probed[0]!r}); looked in {looked}. Write paths relative to the table, or absolute ones"
        )
    return found


def locate(cells: Sequence[str | None], bases: Sequence[Path]) -> Places:
    """The folder, and the ending to add, under which most of the first cells name a file."""
    probed = _probe(cells)
    bare = not any(_has_ending(c) for c in probed)
    best = Places(bases[0], "", 0, len(probed))
    for suffix in ("", *_ADDED) if bare else ("",):
        for base in bases:
            there = sum(_exists(base, c, suffix) for c in probed)
            if there > best.found:
                best = Places(base, suffix, there, len(probed))
            if there and there == len(probed):
                return best
    return best


def open_cell(value: Any, where: Places) -> tuple[Any, str]:
    """(what `Row.x` holds, "") of one cell, or (None, the reason why there is no picture)."""
    found = _cells.picture(value)
    if found is None or (isinstance(found, (str, bytes)) and not found.strip()):
        return None, "no picture"
    if not isinstance(found, str):
        return found, ""
    if is_address(found):
        return None, "a web address: download it first"
    if "\0" in found or len(os.fsencode(found)) > _LONGEST:
        return None, "no path: it holds a NUL or is too long"
    path = path_of(where.base, found, where.suffix)
    try:
        there = os.path.lexists(path)
    except (OSError, ValueError):
        there = False
    return (path, "") if there else (None, "no such file")


def path_of(base: Path, cell: str, suffix: str) -> Path:
    """The path that a cell names; back slashes are folders where nothing is called so."""
    written = cell.strip() + suffix
    path = base / written
    return base / written.replace("\\", "/") if "\\" in written and not os.path.exists(path) else path


def is_address(cell: str) -> bool:
    """Whether a cell is a web address."""
    return cell.lstrip().lower().startswith(("http://", "https://", "ftp://", "s3://", "gs://"))


def _probe(cells: Sequence[str | None]) -> list[str]:
    probed: list[str] = []
    for cell in cells:
        if cell is not None and cell.strip():
            probed.append(cell)
            if len(probed) == _PROBED:
                break
    return probed


def _exists(base: Path, cell: str, suffix: str) -> bool:
    try:
        return os.path.isfile(path_of(base, cell, suffix))
    except (OSError, ValueError):  # too long, or a NUL
        return False


def _half(found: Places) -> bool:
    return found.found > 0 and found.found * 2 >= found.looked


def _has_ending(cell: str) -> bool:
    from graft._formats import SUFFIXES

    return Path(cell.strip()).suffix.lower() in SUFFIXES


def end_as_pictures(cells: Sequence[str | None]) -> bool:
    """Whether most of the first cells end as the names of picture files do."""
    probed = _probe(cells)
    return bool(probed) and sum(map(_has_ending, probed)) * 2 >= len(probed)


def _may_be_paths(column: str, cells: Sequence[str | None]) -> bool:
    """Whether most of the first cells end as pictures do, or the name says so and they are single words."""
    probed = _probe(cells)
    if not probed or sum(map(is_address, probed)) * 2 >= len(probed):
        return False
    if end_as_pictures(cells):
        return True
    named = column.lower() in IMAGE_NAMES or "_".join(words(column)) in IMAGE_NAMES
    return named and all(len(c.split()) == 1 for c in probed)


def _are_pictures(values: Sequence[object], bases: Sequence[Path]) -> bool:
    probed = [p for v in values if (p := _cells.picture(v)) is not None][:_PROBED]
    return bool(probed) and sum(_is_picture(p, bases) for p in probed) * 2 >= len(probed)


def _is_picture(value: Any, bases: Sequence[Path]) -> bool:
    from graft._formats import BadPicture, sniff

    if isinstance(value, str):
        return _exists(bases[0], value, "")
    if not isinstance(value, bytes):
        return True  # a Pillow picture or an array
    try:
        sniff(value[:132], "")
    except BadPicture:
        return False
    except SecurityError:  # the reader of pictures refuses it by name
        return True
    return True

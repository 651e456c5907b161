"""From what a person hands over to rows by part: which file reads it, and what was found on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft._intake import CODE_SUFFIXES
from graft.data import Note
from graft.errors import DataError, SecurityError, some

if TYPE_CHECKING:
    from graft.recipe import Recipe

PARTS = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid",
    "dev": "valid", "test": "test", "testing": "test",
}  # fmt: skip
"""How parts are called, in lower case, and what we call them."""


@dataclass(slots=True)
class Row:
    """One item before it is opened.

    `x` is a path, a file's bytes, a Pillow picture, an array or a text; `y` is as written: a str, a tuple of
    str (a list in the data, or several label columns), or None where there is none.
    """

    x: Any
    y: Any = None
    id: str = ""
    group: str = ""
    domain: str = ""
    time: float | None = None


@dataclass
class Opened:
    """What a source holds: rows by part ("train", "valid", "test", or "all"), nothing decoded yet.

    `columns` has the columns that were used, by role, so that later data of the same make are read alike;
    `bad` names items that cannot be used, each "NAME (reason)".
    """

    modality: str
    rows: dict[str, list[Row]]
    notes: list[Note] = field(default_factory=list)
    columns: dict[str, str] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)


def open_source(source: Any, asked: Recipe, known: Mapping[str, str] | None = None, labels: bool = True) -> Opened:
    """Find the reader that a source is for, and what is in it; nothing is decoded yet.

    `known` are the columns that a finished run was trained on, tried before any guess; without `labels` no target
    is looked for, as for data to predict. Raises DataError with
    what was seen and what is possible, UsageError for columns that are not there, SecurityError for files
    that may run code, SetupError where an extra or the network is missing.
    """
    from graft.readers import arrays, datasets, folders, tabled

    refuse_code(source)
    columns = known or {}
    found = datasets.open_dataset(source, asked, columns, labels)
    if found is None and isinstance(source, Path) and source.is_dir() and not (asked.image or asked.text):
        found = folders.open_folder(source, asked)  # before arrays: class folders count more than a file beside them
    found = found or arrays.open_npz(source, asked, labels)
    found = found or tabled.open_tables(source, asked, columns, labels)
    if found is None:
        raise DataError(f"{_shown(source)}: what is this? {_seen(source)}. {POSSIBLE}")
    return found


POSSIBLE = (
    "Possible are a folder with a folder of pictures for each class (also below train, val, test, or below one "
    "folder a domain), a table (csv, tsv, jsonl, parquet, also gz) with texts or with paths of pictures and a label "
    "column, an npz with x_train and y_train, and from Python also frames, lists and Hugging Face datasets"
)


def refuse_code(source: Any) -> None:
    """A file that could run code is refused by content and by name, whatever a task would say."""
    if not isinstance(source, Path):
        return
    if source.is_file():
        from graft.tables import read_table

        if source.suffix.lower() in CODE_SUFFIXES:
            read_table(source)  # raises SecurityError
    elif source.is_dir():
        files = [p for p in source.iterdir() if p.is_file()]
        code = sorted(p.name for p in files if p.suffix.lower() in CODE_SUFFIXES)
        if code and len(code) == len(files) and not any(p.is_dir() for p in source.iterdir()):
            raise SecurityError(
                f"{source}: only {some(code)}, which may run code when read; give csv, parquet or pictures"
            )


def _seen(source: Any) -> str:
    if not isinstance(source, Path):
        return f"a {type(source).__name__} without pictures or texts with labels"
    if source.is_file():
        return f"a file that ends in {source.suffix or 'nothing'}"
    names = sorted(p.name + ("/" if p.is_dir() else "") for p in source.iterdir())
    return f"a folder with {some(names)}" if names else "an empty folder"


def _shown(source: Any) -> str:
    return str(source) if isinstance(source, Path) else type(source).__name__

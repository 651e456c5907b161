"""From what a person hands over to a task and its data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graft import registry
from graft._intake import CODE_SUFFIXES
from graft.errors import DataError, SecurityError, UsageError, did_you_mean, some
from graft.tasks import Task

TEXT_FILES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".gz", ".txt")


def resolve(data: Any) -> tuple[Any, str]:
    """(source, its name): paths are made absolute; frames and lists stay. Raises UsageError."""
    if isinstance(data, str | Path):
        path = Path(data).expanduser()
        if not path.exists():
            near = did_you_mean(path.name, (p.name for p in path.parent.iterdir())) if path.parent.is_dir() else ""
            raise UsageError(f"{data}: there is no such file or folder.{near if 'Did' in near else ''}")
        return path.resolve(), str(path.resolve())
    if isinstance(data, list):
        return data, "<list>"
    if hasattr(data, "columns"):
        return data, "<frame>"
    raise UsageError(f"data: a path, a frame or a list is expected, not {type(data).__name__}")


def task_for(source: Any, wanted: str = "auto") -> tuple[Task, str]:
    """(a fresh task, why it was chosen). Raises DataError where no task knows such data."""
    if wanted != "auto":
        return make(wanted), f"task {wanted}, as given"
    _refuse_code(source)
    for name in registry.names("tasks"):
        why = registry.load("tasks", name).recognises(source)
        if why:
            return make(name), f"{name}: {why}"
    raise DataError(f"{_shown(source)}: what is this? {_seen(source)}. {_possible()}")


def make(name: str) -> Task:
    """A fresh task by name."""
    task: Task = registry.load("tasks", name)()
    task.name = name
    return task


def _refuse_code(source: Any) -> None:
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


def _possible() -> str:
    return (
        "Possible are a folder with a folder of pictures for each class (also below train, val, test), "
        "and a table (csv, tsv, jsonl, parquet, also gz) with a text and a label column"
    )


def inputs(data: Any, modality: str = "picture") -> Sequence[Any]:
    """What to predict, as a list of paths, `-`, frames or lists. Raises UsageError for a path that is not there.

    A plain string is a path where it names something; among texts only where that is a file of a kind that is read.
    """
    if isinstance(data, str | Path):
        data = [data]
    if hasattr(data, "columns"):
        return [data]
    found: list[Any] = []
    plain: list[Any] = []
    for item in data:
        if item == "-" if isinstance(item, str) else False:
            found.append(item)
        elif isinstance(item, str | Path) and _is_path(item, modality):
            found.append(Path(item))
        else:
            plain.append(item)
    return [*found, plain] if plain else found


def _is_path(item: str | Path, modality: str) -> bool:
    if isinstance(item, Path):
        if not item.exists():
            raise UsageError(f"{item}: there is no such file or folder")
        return True
    try:
        there = 0 < len(item) < 4096 and "\n" not in item and Path(item).exists()  # "" would be this folder
        return there and (modality != "text" or (Path(item).is_file() and item.lower().endswith(TEXT_FILES)))
    except (OSError, ValueError):
        return False

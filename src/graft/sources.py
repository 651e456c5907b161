"""From what a person hands over to a task and its data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from graft import registry
from graft.errors import DataError, UsageError, did_you_mean
from graft.readers import open_source, refuse_code, samples, targets
from graft.recipe import Recipe
from graft.tasks import Task

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".bz2", ".xz", ".7z", ".rar", ".zst")
TEXT_FILES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".gz", ".txt")


def resolve(data: Any) -> tuple[Any, str]:
    """(source, its name): paths are made absolute; frames and lists stay. Raises UsageError."""
    if isinstance(data, str) and data.startswith("hf:"):
        return data, data
    if isinstance(data, str | Path):
        path = Path(data).expanduser()
        if not path.exists():
            near = did_you_mean(path.name, (p.name for p in path.parent.iterdir())) if path.parent.is_dir() else ""
            raise UsageError(f"{data}: there is no such file or folder.{near if 'Did' in near else ''}")
        if path.is_file() and path.name.lower().endswith(ARCHIVES):
            raise DataError(f"{data}: is an archive, which graft does not open; unpack it first, and give the folder")
        return path.resolve(), str(path.resolve())
    if isinstance(data, list):
        return data, "<list>"
    if hasattr(data, "columns"):
        return data, "<frame>"
    if type(data).__module__.partition(".")[0] == "datasets" or isinstance(data, dict):
        return data, f"<{type(data).__name__}>"
    raise UsageError(
        f"data: a path, hf:NAME, a frame, a list, a data set or a dict of arrays is expected, not {type(data).__name__}"
    )


def task_for(source: Any, asked: Recipe) -> tuple[Task, str]:
    """(a fresh task, why it was chosen): by what the source holds and what its targets look like.

    Raises DataError where no task knows such data, UsageError where two readings of the targets fit.
    """
    if asked.task != "auto":
        return make(asked.task), f"task {asked.task}, as given"
    refuse_code(source)
    for name in registry.names("tasks"):
        why = registry.load("tasks", name).recognises(source)
        if why:
            return make(name), f"{name}: {why}"
    opened = open_source(source, asked)
    guess = targets.guess(samples.values_of(opened))
    if not guess.kind:
        fitting = [name for name in (_named(opened.modality, kind) for kind in guess.fits) if name]
        choice = " or ".join(f"--task {n}" for n in fitting)
        raise UsageError(f"{asked.data or 'the data'}: {guess.why}; say which is meant: {choice}")
    name = _named(opened.modality, guess.kind)
    if not name:
        raise DataError(f"{asked.data or 'the data'}: no task answers {opened.modality} with {guess.kind}")
    task = make(name)
    task.opened = opened  # what was read is not read again
    rows = sum(len(part) for part in opened.rows.values())
    return task, f"{name}: {rows:,} {opened.modality}s, {guess.why}"


def _named(modality: str, kind: str) -> str:
    """The task of this modality and kind of answer, or "" where there is none."""
    for name in registry.names("tasks"):
        found = registry.load("tasks", name)
        if found.answer is not None and (found.modality, found.answer.kind) == (modality, kind):
            return name
    return ""


def make(name: str) -> Task:
    """A fresh task by name."""
    task: Task = registry.load("tasks", name)()
    task.name = name
    return task


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

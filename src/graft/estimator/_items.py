"""Items of an X into features through a frozen backbone, each item once a process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft import backbones, features, registry
from graft.data import Sample
from graft.errors import DataError, UsageError, some
from graft.model import Backbone
from graft.session import pick_device
from graft.tasks import Task

MOST_BYTES = 256_000_000  # of features kept in memory; the least lately used go first
FILES = ("model.json", "config.json")  # of a run, of a model: their times tell that a folder was written anew

Features = NDArray[np.float32]


def encoded(X: Any, backbone: str | None, device: str) -> Any:
    """Features [n, d] of items, or X itself where it is a matrix of numbers or there is no backbone.

    Raises DataError for items that cannot be read, UsageError for a name that is no backbone.
    """
    items = None if backbone is None else listed(X)
    if items is None or backbone is None:
        return X
    name = full_name(backbone)
    key = (name, pick_device(device), _stamp(name))
    loaded = load(*key)
    return _through(loaded, str(key), samples(items, loaded.modality))


def listed(X: Any) -> list[Any] | None:
    """The items in X, or None where X is a matrix of numbers (or something that scikit-learn is to judge)."""
    if hasattr(X, "columns"):  # pandas, polars
        values = X.to_numpy()
        return list(values[:, 0]) if values.shape[1] == 1 and values.dtype.kind in "OUST" else None
    if hasattr(X, "to_numpy"):  # a column of one
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        if X.ndim == 2:
            return list(X[:, 0]) if X.shape[1] == 1 and X.dtype.kind in "OUST" else None
        return list(X) if X.ndim > 2 or (X.ndim == 1 and X.dtype.kind in "OUST") else None
    if isinstance(X, list | tuple) and X:
        first = X[0]
        matrix = isinstance(first, list | tuple | int | float | np.number) or (
            isinstance(first, np.ndarray) and first.ndim < 2
        )
        return None if matrix else list(X)
    return None


def full_name(backbone: str) -> str:
    """The name with its source and an absolute path; a run's folder may be given as it is."""
    if not isinstance(backbone, str | Path):
        raise UsageError(
            f"backbone={backbone!r}: a name is expected, such as run:DIR, local:FOLDER or bundled:all-MiniLM-L6-v2"
        )
    if (Path(backbone) / FILES[0]).is_file():
        return backbones.absolute(f"run:{backbone}")
    return backbones.absolute(str(backbone))


def _stamp(name: str) -> tuple[int, ...]:
    folder = Path(name.partition(":")[2])
    return tuple((folder / f).stat().st_mtime_ns for f in FILES if (folder / f).is_file())


@lru_cache(maxsize=2)
def load(name: str, device: str, stamp: tuple[int, ...]) -> Backbone:
    """A backbone, frozen and in evaluation mode; the last two stay loaded while their files do not change."""
    return backbones.load(name).to(device).requires_grad_(False).eval()


def samples(items: Sequence[Any], modality: str) -> list[Sample]:
    """One sample an item, read as `graft predict` reads it. Raises DataError for those that cannot be read."""
    if modality == "text":
        odd = [f"item {i} ({type(x).__name__})" for i, x in enumerate(items) if not isinstance(x, str)]
        if odd:
            raise DataError(f"texts are expected: {some(odd)}")
    found, notes = _reader(modality).inputs([list(items)])
    if len(found) != len(items):
        bad = [item for n in notes if n.kind == "skipped" for item in n.items]
        raise DataError(f"{len(items) - len(found)} of {len(items)} items could not be read: {some(bad)}")
    return found


def _reader(modality: str) -> Task:
    """A task that reads items of this kind."""
    for name in registry.names("tasks"):
        kind: type[Task] = registry.load("tasks", name)
        if kind.modality == modality:
            return kind()
    raise UsageError(f"no task reads items of the kind {modality}; give their features, a matrix [n, d]")


# --------------------------------------------------------------------------------------- in memory

_memory: OrderedDict[tuple[str, str], Features] = OrderedDict()


def _through(backbone: Backbone, name: str, found: Sequence[Sample]) -> Features:
    """Features [n, d] of samples; those met before come from memory, as folds of one X meet them many times."""
    keys = [(name, s.digest or f"id {s.id}") for s in found]
    new = {k: s for k, s in zip(keys, found, strict=True) if k not in _memory}
    if new:
        table = features.extract(backbone, list(new.values()))
        fresh = dict(zip(new, table.pooled.cpu().numpy(), strict=True))
    else:
        fresh = {}
    rows = np.stack([fresh[k] if k in fresh else _memory[k] for k in keys]).astype(np.float32)
    _remember(keys, rows)
    return rows


def _remember(keys: Sequence[tuple[str, str]], rows: Features) -> None:
    most = max(1, MOST_BYTES // max(1, rows[0].nbytes))
    for key, row in zip(keys[-most:], rows[-most:], strict=True):
        _memory[key] = row.copy()
        _memory.move_to_end(key)
    while len(_memory) > most:
        _memory.popitem(last=False)

"""One frozen pass over the data, cached on disk and memory-mapped."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft.data import Sample
from graft.errors import GraftError
from graft.files import read_json, sha256, write_json
from graft.loading import batches
from graft.model import Backbone, Features, Model, fingerprint
from graft.tasks import Task

VERSION = 1
MOST_BYTES = 4_000_000_000  # of the whole cache; the least lately used go first


@dataclass(frozen=True)
class Table:
    """Pooled features [n, d] of n samples, in their order."""

    pooled: torch.Tensor
    cached: bool


def extract(
    backbone: Backbone,
    samples: Sequence[Sample],
    *,
    size: int = 32,
    keep: bool = True,
    tick: Callable[[int], None] | None = None,
) -> Table:
    """Features of samples through the backbone in evaluation mode, float32 [n, d].

    With `keep` they come from, and go to, the cache under `cache_folder()`: the key is a hash of weights,
    preprocessing and the samples' contents. `tick(n)` hears of every n samples done.
    """
    folder = _place(backbone, samples, size) if keep else None
    if folder is not None:
        found = _read(folder, len(samples), backbone.dim)
        if found is not None:
            return Table(found, True)
    pooled = _pass(backbone, samples, size, tick)
    if folder is not None:
        _write(folder, pooled)
    return Table(torch.from_numpy(pooled), False)


def is_cached(backbone: Backbone, samples: Sequence[Sample], size: int = 32) -> bool:
    """Whether `extract` would find these features on disk."""
    folder = _place(backbone, samples, size)
    return folder is not None and _read(folder, len(samples), backbone.dim) is not None


def _place(backbone: Backbone, samples: Sequence[Sample], size: int) -> Path | None:
    """Where the cache has these features, or None where there can be no cache: that is no reason to stop."""
    try:
        return cache_folder() / "features" / key(backbone, samples, size)
    except OSError:
        return None


@torch.no_grad()
def _pass(backbone: Backbone, samples: Sequence[Sample], size: int, tick: Callable[[int], None] | None) -> np.ndarray:
    backbone.eval()
    device = next(backbone.parameters()).device
    pooled = np.zeros((len(samples), backbone.dim), dtype=np.float32)
    for rows, batch in batches(samples, backbone, size):
        pooled[rows] = backbone(batch.x.to(device)).pooled.float().cpu().numpy()
        if tick is not None:
            tick(len(rows))
    return pooled


def key(backbone: Backbone, samples: Sequence[Sample], size: int) -> str:
    """What the features depend on, as a hash: weights, preprocessing, contents and their order."""
    h = hashlib.sha256(f"{VERSION}/{size}/{torch.get_num_threads()}/{next(backbone.parameters()).device.type}".encode())
    h.update(fingerprint(backbone).encode())
    h.update(json.dumps(backbone.describe(), sort_keys=True).encode())
    for s in samples:
        h.update((s.digest or s.id).encode("utf-8", "surrogatepass") + b"\0")
    return h.hexdigest()


@torch.no_grad()
def answers(model: Model, task: Task, table: Table) -> list[Any]:
    """Decoded answers of a head that reads pooled features alone, without another pass."""
    model.eval()
    device = next(model.backbone.parameters()).device
    decoded: list[Any] = []
    for start in range(0, len(table.pooled), 1024):
        pred, _ = model.head(Features(table.pooled[start : start + 1024].to(device)), None)
        decoded.extend(task.decode(pred, [None] * len(pred)))
    return decoded


# ----------------------------------------------------------------------------------------- on disk


def cache_folder() -> Path:
    """`GRAFT_CACHE`, else the system's cache folder; made private to the user."""
    given = os.environ.get("GRAFT_CACHE")
    if given:
        folder = Path(given)
    elif sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "graft" / "cache"
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches" / "graft"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graft"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def _read(folder: Path, n: int, dim: int) -> torch.Tensor | None:
    """The cached features, or None where there are none or where they were changed."""
    file = folder / "pooled.npy"
    try:
        listed = read_json(folder / "manifest.json")
        if listed["sha256"] != sha256(file):
            return None
        array = np.load(file, mmap_mode="c", allow_pickle=False)  # copy on write: torch wants it writable
        os.utime(folder)
    except (OSError, ValueError, KeyError, TypeError, GraftError):
        return None
    return torch.from_numpy(array) if array.shape == (n, dim) and array.dtype == np.float32 else None


def _write(folder: Path, pooled: np.ndarray) -> None:
    """Write whole or not at all; a full or read-only cache is no reason to stop."""
    temp = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}")
    try:
        temp.mkdir(parents=True, mode=0o700)
        np.save(temp / "pooled.npy", pooled, allow_pickle=False)
        write_json(temp / "manifest.json", {"sha256": sha256(temp / "pooled.npy"), "shape": list(pooled.shape)})
        shutil.rmtree(folder, ignore_errors=True)
        temp.rename(folder)
        _prune(folder.parent)
    except (OSError, GraftError):
        pass
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _prune(root: Path) -> None:
    entries = sorted((e for e in root.iterdir() if not e.name.startswith(".")), key=lambda e: -e.stat().st_mtime)
    total = 0
    for entry in entries:
        total += sum(f.stat().st_size for f in entry.iterdir())
        if total > MOST_BYTES:
            shutil.rmtree(entry, ignore_errors=True)

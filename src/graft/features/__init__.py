"""One frozen pass over the data, cached on disk and memory-mapped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft.data import Sample
from graft.features import _cache, _stores
from graft.features._cache import MOST_BYTES, Arrays, cache_folder
from graft.features._stages import Stages
from graft.loading import batches
from graft.model import Backbone, Features, Model, fingerprint
from graft.precision import Precision, cast, prepared
from graft.tasks import Task

__all__ = ["MOST_BYTES", "Table", "answers", "cache_folder", "extract", "is_cached", "key"]

VERSION = 3
POOLED, STAGE = "pooled", "stage/"
"""Names of arrays: that of the backbone's answer, and what a stage's name comes after."""
Tick = Callable[[int], None]


@dataclass(frozen=True)
class Table:
    """Pooled features [n, d] of n samples, in their order; `stages` has [n, d of the stage] by stage, where asked.

    They lie on disk where they can (mapped into memory, and copied where they are written to).
    """

    pooled: torch.Tensor
    cached: bool
    stages: dict[str, torch.Tensor] = field(default_factory=dict)


def extract(
    backbone: Backbone,
    samples: Sequence[Sample],
    *,
    size: int | None = None,
    keep: bool = True,
    stages: bool = False,
    precision: Precision | None = None,
    tick: Tick | None = None,
) -> Table:
    """Features of samples through the backbone in evaluation mode, float32 [n, d].

    Decoding and tokenising overlap with the computation. The rows go straight to disk, so that memory does
    not grow with their number. With `keep` they come from, and go to, the cache under `cache_folder()`: the key
    is a hash of weights, preprocessing, the samples' contents and the precision; results of one key are
    identical. `size` is the number of samples a batch (None: what suits the device; texts by their tokens);
    another one changes rounding alone. `stages` adds pooled features after each stage (see `_stages.Stages`);
    maps and tokens are never kept. `precision` is what `graft.precision.choose` found (None: fp32). `tick(n)`
    hears of every n samples done.

    Raises DataError for a picture that cannot be read any more; whatever stops a pass, nothing half-written stays.
    A cache that cannot be written to is no reason to stop.
    """
    places = _places(backbone, samples, size, stages, precision) if keep else []
    for place in places:
        found = _read(place, len(samples), backbone.dim)
        if found is not None:
            return _table(found, True, stages)
    for store in _open(places[0] if places else None, len(samples), backbone.dim):
        try:
            with store as open_store:
                return _table(_pass(backbone, samples, open_store, size, stages, precision, tick), False, stages)
        except _stores.NoRoom:
            continue
    raise AssertionError("memory takes what it is given")


def is_cached(
    backbone: Backbone, samples: Sequence[Sample], size: int | None = None, *, precision: Precision | None = None
) -> bool:
    """Whether `extract` would find these features on disk."""
    places = _places(backbone, samples, size, False, precision)
    return any(_read(p, len(samples), backbone.dim) is not None for p in places)


def key(
    backbone: Backbone, samples: Sequence[Sample], size: int | None = None, precision: Precision | None = None
) -> str:
    """What the features depend on, as a hash: weights, preprocessing, contents and their order, and arithmetic."""
    how = [VERSION, size, torch.get_num_threads(), next(backbone.parameters()).device.type]
    how.append((precision or Precision()).way)
    h = hashlib.sha256("/".join(map(str, how)).encode())
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


# ---------------------------------------------------------------------------------------- the pass


@torch.inference_mode()
def _pass(
    backbone: Backbone,
    samples: Sequence[Sample],
    store: _stores.Store,
    size: int | None,
    stages: bool,
    precision: Precision | None,
    tick: Tick | None,
) -> Arrays:
    device = next(backbone.parameters()).device
    net = prepared(backbone, precision)
    looking: Stages | None = None
    if not samples:
        store.put(POOLED, [], np.zeros((0, backbone.dim), dtype=np.float32))
    with ExitStack() as watching:
        for rows, batch in batches(samples, backbone, size):
            x = cast(batch.x.to(device, non_blocking=True), precision)
            if stages and looking is None:
                looking = Stages(net, x)
                watching.enter_context(looking.watching())
            out = net(x)
            store.put(POOLED, rows, _plain(out.pooled))
            for stage, pooled in (looking.take(out) if looking else {}).items():
                store.put(STAGE + stage, rows, _plain(pooled))
            if tick is not None:
                tick(len(rows))
    return store.finish()


def _plain(pooled: torch.Tensor) -> np.ndarray:
    array: np.ndarray = pooled.float().cpu().numpy()
    return array


def _table(arrays: Arrays, cached: bool, stages: bool) -> Table:
    found = {name: torch.from_numpy(array) for name, array in arrays.items()}
    by_stage = {n.removeprefix(STAGE): t for n, t in found.items() if n.startswith(STAGE)} if stages else {}
    return Table(found[POOLED], cached, by_stage)


# ----------------------------------------------------------------------------------------- places


def _places(
    backbone: Backbone, samples: Sequence[Sample], size: int | None, stages: bool, precision: Precision | None
) -> list[Path]:
    """Where the cache may have these features, the usual place first; none where there can be no cache."""
    try:
        root = cache_folder() / "features"
    except OSError:
        return []
    found = root / key(backbone, samples, size, precision)
    with_stages = found.with_name(f"{found.name}-stages")
    return [with_stages] if stages else [found, with_stages]


def _read(place: Path, n: int, dim: int) -> Arrays | None:
    found = _cache.read(place)
    return found if found is not None and POOLED in found and found[POOLED].shape == (n, dim) else None


def _open(place: Path | None, n: int, dim: int) -> Iterator[AbstractContextManager[_stores.Store]]:
    """The stores to try, the best first: the cache, a temporary file, memory."""
    size = n * dim * 4
    if place is not None and 0 < size <= _cache.limit():
        yield _stores.cached(place, n)
    if size > _stores.SMALL:
        yield _stores.passing(n)
    yield _stores.memory(n)

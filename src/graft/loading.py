"""Samples into batches: open, view, encode, stack; the same batch whatever the process or its history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from graft.data import Sample
from graft.errors import DataError
from graft.model import Backbone, Batch, Encoded
from graft.pictures import BadPicture
from graft.seeds import rng
from graft.views import parts, view

if TYPE_CHECKING:
    from graft.tasks import Task

Loaded = tuple[Encoded, Any, dict[str, Encoded]]


def batches(samples: Sequence[Sample], backbone: Backbone, size: int) -> Iterator[tuple[list[int], Batch]]:
    """(rows, batch) over all samples without targets; texts of like length together, the longest first."""
    order = sorted(range(len(samples)), key=lambda i: -length(samples[i]))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        yield rows, load([samples[i] for i in rows], backbone, None, "none", ("eval",), rows)


def length(sample: Sample) -> int:
    """Characters of a text; 0 for everything else, so that sorting leaves it in place."""
    return len(sample.x) if isinstance(sample.x, str) else 0


def load(
    samples: Sequence[Sample],
    backbone: Backbone,
    task: Task | None,
    spec: str,
    key: Sequence[object],
    positions: Sequence[int],
    encoders: Mapping[str, Backbone] | None = None,
    draw: int = 0,
) -> Batch:
    """One batch under the view `spec`; with a task also its targets.

    The view's randomness depends on (key, position, spec, draw) alone. Every encoder sees the same view.
    """
    others = encoders or {}

    def one(job: tuple[Sample, int]) -> Loaded:
        sample, position = job
        try:
            seen = view(sample, spec, rng(*key, position, spec, draw))
        except BadPicture as e:
            raise DataError(f"{sample.id}: {e} (it was readable when the run began); mend or remove the file") from e
        encoded = backbone.encode(seen.x, parts(spec)[1])
        y = task.target(seen, encoded.where) if task is not None else None
        return encoded, y, {name: other.encode(seen.x) for name, other in others.items()}

    jobs = list(zip(samples, positions, strict=True))
    decoding = any(isinstance(s.x, Path) for s in samples)
    loaded = list(_pool().map(one, jobs)) if decoding and len(jobs) > 1 else [one(j) for j in jobs]
    extra = {
        name: Batch(other.collate([e[2][name].x for e in loaded]), where=[e[2][name].where for e in loaded])
        for name, other in others.items()
    }
    return Batch(
        x=backbone.collate([e[0].x for e in loaded]),
        y=task.collate([e[1] for e in loaded]) if task is not None else None,
        id=[s.id for s in samples],
        domain=[s.domain for s in samples],
        task=[s.task for s in samples],
        weight=torch.tensor([s.weight for s in samples], dtype=torch.float32),
        where=[e[0].where for e in loaded],
        extra=extra,
    )


@cache
def _pool() -> ThreadPoolExecutor:
    """Pillow decodes outside the interpreter's lock, so threads are enough and cost no memory."""
    import os

    return ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="graft-load")

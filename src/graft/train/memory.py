"""Out of memory: said with its peak, and in a step answered by smaller pieces whose gradients add up."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from graft.errors import SetupError
from graft.methods import Method, owns
from graft.model import Batch
from graft.train.step import Step

# What torch's allocators say where they have no error class of their own.
_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "_ALLOC_FAILED")
# Hooks that look at the batch as a whole: a sum over its pieces would be another thing.
_WHOLE = ("sampler", "gradients", "loss", "after_step")


def ran_out(error: BaseException) -> bool:
    """Whether an error means that the memory of the host or of the device is used up."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error) for word in _WORDS)


def peak(device: torch.device | str = "cpu") -> str:
    """The most memory this process held so far, in words: of the device where that is CUDA, else of the host."""
    if torch.device(device).type == "cuda":
        return f"peak {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB on {device}"
    try:
        import resource
    except ImportError:  # Windows
        return "peak unknown"
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB"


@contextmanager
def told(what: str, device: torch.device | str = "cpu") -> Iterator[None]:
    """Turn an error of used up memory into a SetupError that says where, the peak, and what helps."""
    try:
        yield
    except (MemoryError, RuntimeError) as e:
        if not ran_out(e):
            raise
        raise SetupError(
            f"{what}: out of memory ({peak(device)}); end other programs, or take a smaller --backbone or a "
            "smaller batch (--set stage.N.batch=8); what was done stays, --resume goes on from it"
        ) from e


def cannot_split(methods: Sequence[Method], views: bool, processes: int) -> str:
    """Why a stage's batches must go through in one piece, or nothing where they need not."""
    for hook in _WHOLE:
        owner = next((m.name for m in methods if owns(m, hook)), None)
        if owner is not None:
            return f"{owner} looks at whole batches (its {hook!r}), so they cannot be split"
    if views:
        return "views of unlabelled samples are drawn for whole batches, so they cannot be split"
    return f"{processes} processes cannot agree on it in the middle of a step" if processes > 1 else ""


def pieces(step: Step, count: int, least: int = 1) -> Iterator[Step]:
    """The step over each of `count` nearly equal pieces of its batch, whose terms add up to those of the whole.

    A small batch is cut into fewer, so that each has `least` rows.
    Each piece weighs as many rows as it has (`total_rows`) and has dropout of its own. BatchNorm sees the
    pieces, not the whole. Raises SetupError where the task's targets or terms are not one for each sample.
    """
    rows = step.total_rows or len(step.batch)
    for i, at in enumerate(torch.arange(len(step.batch)).tensor_split(min(count, max(1, len(step.batch) // least)))):
        part = _cut(step.batch, int(at[0]), int(at[-1]) + 1)
        piece = replace(
            step, batch=part, total_rows=rows, key=(*step.key, "piece", i), _passes={}, _losses={}
        )  # fmt: skip
        one = next((name for name, value in piece.losses.items() if value.ndim == 0), None)
        if one is not None:
            raise SetupError(
                f"out of memory, and the term {one!r} comes as one number a batch, so batches cannot be split; "
                "take a smaller one: --set stage.N.batch=8"
            )
        yield piece


def _cut(batch: Batch, start: int, end: int) -> Batch:
    return Batch(
        x=batch.x[start:end],
        y=_rows(batch.y, len(batch), start, end),
        id=batch.id[start:end],
        domain=batch.domain[start:end],
        task=batch.task[start:end],
        weight=batch.weight[start:end],
        where=batch.where[start:end],
        extra={name: _cut(other, start, end) for name, other in batch.extra.items()},
    )


def _rows(y: Any, count: int, start: int, end: int) -> Any:
    """Rows of collated targets: a tensor or list with one entry a sample."""
    if y is None:
        return None
    if isinstance(y, torch.Tensor | list) and len(y) == count:
        return y[start:end]
    raise SetupError(
        f"out of memory, and targets of kind {type(y).__name__} cannot be split; "
        "take a smaller batch: --set stage.N.batch=8"
    )

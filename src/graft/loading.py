"""Samples into batches: open, view, encode, stack; the same batch whatever the process or its history."""

from __future__ import annotations

import math
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from graft import views
from graft._picturefile import PictureFile
from graft.backbones._picture import Preprocess
from graft.data import Sample
from graft.errors import DataError
from graft.model import Backbone, Batch, Encoded
from graft.pictures import BadPicture
from graft.seeds import rng

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from graft.tasks import Task

Loaded = tuple[Encoded, Any, dict[str, Encoded]]

AHEAD = 2
"""Batches of pictures, or windows of texts, that are made ready while the model computes."""
WINDOW = 256
"""Texts that are tokenised together and then sorted by their number of tokens."""
ROWS = {"cpu": 16, "accelerator": 128}
"""Samples a batch without gradients. On processors a batch that stays in the caches is quicker than a large one."""
TOKENS = {"cpu": 2048, "accelerator": 32_768}
"""Padded tokens a batch of texts without gradients: rows x the longest."""
LETTERS = 12
"""Letters a token after which a long text is cut before it is tokenised, if that changes nothing."""
SHARES = {"none": 1.0, "weak": math.sqrt(0.5 * 0.75), "strong": math.sqrt(0.2 * 0.75)}
"""The least part of a picture's shorter side that the crop of each view leaves (`views`: its least area and ratio)."""


def length(sample: Sample) -> int:
    """Characters of a text; 0 for everything else, so that sorting leaves it in place."""
    return len(sample.x) if isinstance(sample.x, str) else 0


# -------------------------------------------------------------------------- batches of one passage


def batches(
    samples: Sequence[Sample], backbone: Backbone, size: int | None = None, *, tokens: int | None = None
) -> Iterator[tuple[list[int], Batch]]:
    """(rows, batch) over all samples without targets, made ready by threads while the caller computes.

    A batch has at most `size` samples. Texts of like length come together, the longest first, and without a `size`
    a batch of them has at most `tokens` padded tokens. None takes what suits the backbone's device. What is held
    at a time does not grow with the number of samples. Raises DataError for a picture that cannot be read any more.
    """
    device = next(backbone.parameters()).device
    texts = any(isinstance(s.x, str) for s in samples)
    most = tokens or (sys.maxsize if size else TOKENS[_kind(device)])
    rows_most = size or (WINDOW if texts else ROWS[_kind(device)])
    order = sorted(range(len(samples)), key=lambda i: -length(samples[i]))  # stable: all but texts stay in place
    step = max(WINDOW // rows_most, 1) * rows_most if texts else rows_most
    windows = (order[start : start + step] for start in range(0, len(order), step))
    for window, encoded in _ahead(samples, windows, backbone):
        for rows in _cut([len(e.x) if texts else 0 for e in encoded], rows_most, most):
            some = [samples[window[r]] for r in rows]
            yield [window[r] for r in rows], _batch(some, [encoded[r] for r in rows], backbone)


def _kind(device: torch.device) -> str:
    return "cpu" if device.type == "cpu" else "accelerator"


def _cut(lengths: Sequence[int], size: int, most: int) -> Iterator[list[int]]:
    """Places of a window, the longest first, in groups of at most `size` and at most `most` padded tokens."""
    group: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if group and (len(group) == size or (len(group) + 1) * lengths[group[0]] > most):
            yield group
            group = []
        group.append(at)
    if group:
        yield group


def _ahead(
    samples: Sequence[Sample], windows: Iterable[list[int]], backbone: Backbone
) -> Iterator[tuple[list[int], list[Encoded]]]:
    """Each window with its samples encoded; the next ones are being worked on by the threads meanwhile."""
    waiting: deque[tuple[list[int], list[Future[list[Encoded]]]]] = deque()
    try:
        for window in windows:
            waiting.append((window, [_pool().submit(_open, part, backbone) for part in _shares(samples, window)]))
            if len(waiting) > AHEAD:
                yield _ready(*waiting.popleft())
        while waiting:
            yield _ready(*waiting.popleft())
    finally:  # where the caller stops, nobody waits for these
        for _, futures in waiting:
            for future in futures:
                future.cancel()


def _shares(samples: Sequence[Sample], window: list[int]) -> Iterator[list[Sample]]:
    """A window in pieces for one thread each: a picture alone, texts by 64, which share one call."""
    step = 64 if isinstance(samples[window[0]].x, str) else 1
    return ([samples[i] for i in window[k : k + step]] for k in range(0, len(window), step))


def _ready(window: list[int], futures: list[Future[list[Encoded]]]) -> tuple[list[int], list[Encoded]]:
    return window, [e for f in futures for e in f.result()]


def _open(samples: Sequence[Sample], backbone: Backbone) -> list[Encoded]:
    """The samples as they are under the backbone's own size."""
    return encode_all(backbone, [_opened(s, _want([backbone], "none", s)) for s in samples], None)


# ------------------------------------------------------------------------------------- one batch


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

    The view's randomness depends on (key, position, spec, draw) alone. Every encoder sees the same view. A large
    JPEG is decoded small where that leaves every encoder, after the view's crop, the pixels that it resizes to.
    """
    others = encoders or {}
    readers = [backbone, *others.values()]

    def one(job: tuple[Sample, int]) -> Loaded:
        sample, position = job
        x = _opened(sample, _want(readers, spec, sample))
        seen = views.view(replace(sample, x=x), spec, rng(*key, position, spec, draw))
        encoded = backbone.encode(seen.x, views.parts(spec)[1])
        y = task.target(seen, encoded.where) if task is not None else None
        return encoded, y, {name: other.encode(seen.x) for name, other in others.items()}

    jobs = list(zip(samples, positions, strict=True))
    decoding = any(isinstance(s.x, Path | PictureFile) for s in samples)
    loaded = list(_pool().map(one, jobs)) if decoding and len(jobs) > 1 else [one(j) for j in jobs]
    batch = _batch(samples, [e[0] for e in loaded], backbone)
    batch.y = task.collate([e[1] for e in loaded]) if task is not None else None
    batch.extra = {
        name: Batch(other.collate([e[2][name].x for e in loaded]), where=[e[2][name].where for e in loaded])
        for name, other in others.items()
    }
    return batch


def _batch(samples: Sequence[Sample], encoded: Sequence[Encoded], backbone: Backbone) -> Batch:
    return Batch(
        x=backbone.collate([e.x for e in encoded]),
        id=[s.id for s in samples],
        domain=[s.domain for s in samples],
        task=[s.task for s in samples],
        weight=torch.tensor([s.weight for s in samples], dtype=torch.float32),
        where=[e.where for e in encoded],
    )


def _opened(sample: Sample, want: int | None) -> Any:
    try:
        return views.opened(sample.x, want)
    except BadPicture as e:
        raise DataError(f"{sample.id}: {e} (it was readable when the run began); mend or remove the file") from e


def _want(readers: Sequence[Backbone], spec: str, sample: Sample) -> int | None:
    """The shorter side, in pixels, that a whole picture must keep; None: all of them.

    All are kept where y lies in the picture (boxes, a mask), whose coordinates count the file's own pixels.
    """
    if not isinstance(sample.x, Path | PictureFile) or not _is_apart(sample.y):
        return None
    name, size = views.parts(spec)
    needs = [p.shorter(size if i == 0 else None) for i, r in enumerate(readers) for p in [preprocess_of(r)] if p]
    if len(needs) < len(readers) or name not in SHARES:
        return None
    return math.ceil(max(needs) / SHARES[name])


def _is_apart(y: Any) -> bool:
    """Whether a target says something of the whole sample: a label, labels, a number."""
    return y is None or isinstance(y, str | int | float) or (isinstance(y, tuple) and all(map(_is_apart, y)))


def preprocess_of(backbone: Backbone) -> Preprocess | None:
    """How a picture backbone prepares its pictures, or None where it does not do so by a `Preprocess`."""
    return next((v for v in vars(backbone).values() if isinstance(v, Preprocess)), None)


# --------------------------------------------------------------------------------------- texts


def encode_all(backbone: Backbone, xs: Sequence[Any], size: int | None) -> list[Encoded]:
    """`backbone.encode` of each, texts in one call that holds no lock; a text far over the limit is cut first."""
    tokenizer = _tokenizer(backbone) if xs and all(isinstance(x, str) for x in xs) else None
    if tokenizer is None or size is not None or not (limit := _limit(tokenizer)):
        return [backbone.encode(x, size) for x in xs]
    starts = [start_of(x, LETTERS * limit) for x in xs]
    found = [(f.ids, f.offsets) for f in tokenizer.encode_batch(starts)]
    # A start that fills the limit says all; of another (rare letters, much white space) too much was cut off.
    short = [i for i, (ids, _) in enumerate(found) if len(ids) < limit and len(starts[i]) < len(xs[i])]
    return [
        backbone.encode(x) if i in short or not found[i][0] else Encoded(torch.tensor(found[i][0]), found[i][1])
        for i, x in enumerate(xs)
    ]


def start_of(text: str, letters: int) -> str:
    """The text up to the first white space behind `letters`, where words end for every tokenizer."""
    if len(text) <= 2 * letters:
        return text
    end = next((i for i in range(letters, len(text)) if text[i].isspace()), len(text))
    return text[:end]


def _tokenizer(backbone: Backbone) -> Tokenizer | None:
    cut = sys.modules.get("graft.backbones._cut")
    backbone = backbone.inner if cut is not None and isinstance(backbone, cut.Cut) else backbone
    module = sys.modules.get("graft.backbones.transformers")  # whoever has such a backbone has loaded it
    return backbone.tokenizer if module is not None and isinstance(backbone, module.TextEncoder) else None


def _limit(tokenizer: Tokenizer) -> int:
    cut = tokenizer.truncation
    return int(cut["max_length"]) if cut and cut["direction"] == "right" else 0


@cache
def _pool() -> ThreadPoolExecutor:
    """Pillow decodes outside the interpreter's lock, so threads are enough and cost no memory."""
    return ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1), thread_name_prefix="graft-load")

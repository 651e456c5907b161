"""The pre-flight: every picture is decoded once, so that nothing unreadable is met in mid-training."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft.data import Note, Sample
from graft.errors import DataError, UsageError
from graft.pictures import Look, PictureFile, look_each
from graft.readers import Row, _findings
from graft.recipe import Recipe

FRAMES = ("first", "all")
FULL = 65535  # white of 16-bit pictures where the data set that was learnt from had none


@dataclass
class Checked:
    """Pictures that can be used, by part, and what was found.

    `bad` names the others, each "NAME (reason)". `schema` is what decoding needs to know of the whole data set, in
    plain values that a run keeps: `channels` (3, or the number of bands), `white` (the value of 16-bit pictures that
    becomes 255, or None), `frames` ("first" or "all"). `small` has the thumbnail of every sample by its
    id, None where a picture shows too little to have one.
    """

    samples: dict[str, list[Sample]]
    bad: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    schema: dict[str, Any] = field(default_factory=dict)
    small: dict[str, bytes | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """A row's page as the pass saw it: the part, the row, its id and the look."""

    part: str
    row: Row
    id: str
    look: Look
    frame: int
    pages: int


def check(
    rows: Mapping[str, Sequence[Row]],
    asked: Recipe,
    schema: Mapping[str, Any] | None = None,
    tick: Callable[[int], None] | None = None,
) -> Checked:
    """Decode every picture once, in threads, keeping digests and thumbnails but no pixels.

    `asked.frames` is "first", a file's first page, or "all", a sample each, with the ids FILE#1, FILE#2, ... and
    the file for their group. `schema` is that of a finished run, whose channels, white and frames then hold and are not
    found anew; other keys are handed on. `tick(n)` hears of every n rows done.
    A sample's x is its path where default decoding is right, else a PictureFile, which `graft.views.opened` opens.
    Raises DataError where pictures of different channels are mixed, naming two; SecurityError for a file that could
    run code; SetupError where a package for a format is missing; UsageError for another word than first and all.
    """
    known = dict(schema or {})
    frames = str(known.get("frames") or asked.frames)
    if frames not in FRAMES:
        raise UsageError(f"frames = {frames!r}: possible are {' and '.join(FRAMES)}")
    found: list[Found] = []
    bad: list[str] = []
    for part, row, pages in _passed(rows, frames == "all", tick):
        for frame, seen in enumerate(pages):
            name = row.id if len(pages) == 1 else f"{row.id}#{frame + 1}"
            if isinstance(seen, str):
                bad.append(f"{name} ({seen})")
            else:
                found.append(Found(part, row, name, seen, frame, len(pages)))
    channels = _channels(found, known.get("channels"))
    bad += [
        f"{f.id} (has {f.look.channels} channels, {channels} are expected)"
        for f in found
        if f.look.channels != channels
    ]
    found = [f for f in found if f.look.channels == channels]
    white = known["white"] if "white" in known else max((f.look.depth for f in found if f.look.depth), default=None)
    samples: dict[str, list[Sample]] = {part: [] for part in rows}
    for f in found:
        samples[f.part].append(_sample(f, white, channels))
    return Checked(
        samples,
        bad,
        _findings.notes(rows, found, samples, white, "white" in known),
        {**known, "channels": channels, "white": white, "frames": frames},
        {f.id: f.look.small for f in found},
    )


def _passed(
    rows: Mapping[str, Sequence[Row]], pages: bool, tick: Callable[[int], None] | None
) -> Iterator[tuple[str, Row, list[Look | str]]]:
    """Every row with the looks of its pages; a file that several rows name is decoded once."""
    listed = [(part, row) for part, some in rows.items() for row in some]
    first: dict[Path, int] = {}
    fresh = [i for i, (_, r) in enumerate(listed) if not _is_path(r.x) or first.setdefault(Path(r.x), i) == i]
    shared = {Path(r.x) for i, (_, r) in enumerate(listed) if _is_path(r.x) and first[Path(r.x)] != i}
    kept: dict[Path, list[Look | str]] = {}
    looks = look_each((listed[i][1].x for i in fresh), os.cpu_count() or 1, pages)
    for i, (part, row) in enumerate(listed):
        path = Path(row.x) if _is_path(row.x) else None
        if path is None or first[path] == i:
            seen = next(looks)
            if path in shared and path is not None:
                kept[path] = seen
        else:
            seen = kept[path]
        yield part, row, seen
        if tick is not None:
            tick(1)


def _is_path(x: Any) -> bool:
    return isinstance(x, str | Path)


def _channels(found: Sequence[Found], known: int | None) -> int:
    """How many channels all pictures have. Raises DataError where they differ and no run says which is right."""
    if known is not None:
        return known
    examples: dict[int, str] = {}
    for f in found:
        examples.setdefault(f.look.channels, f.id)
    if len(examples) > 1:
        (few, a), (many, b) = sorted(examples.items())[:2]
        raise DataError(
            f"{a} has {few} channels, {b} has {many}: pictures of one data set need the same number; take the "
            "others out, or save all with the same bands"
        )
    return next(iter(examples), 3)


def _sample(f: Found, white: int | None, channels: int) -> Sample:
    path = Path(f.row.x) if _is_path(f.row.x) else None
    scale = (white or FULL) if f.look.depth is not None else None
    plain = path is not None and scale is None and f.frame == 0 and channels == 3
    x = path if plain else PictureFile(f.row.x if path is None else path, scale, f.frame, channels)
    group = f.row.group or (f.row.id if f.pages > 1 else "")
    return Sample(x, f.row.y, f.id, group=group, domain=f.row.domain, time=f.row.time, digest=_digest(f.look, scale))


def _digest(look: Look, white: int | None) -> str:
    """Of what the model will see: 16-bit pixels are digested by their own depth, and then scaled by the data set's."""
    if white is None:
        return look.digest
    return hashlib.sha256(f"{look.digest}:{look.depth}:{white}".encode()).hexdigest()

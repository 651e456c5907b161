"""What the pre-flight says about pictures that can be used, but not without a word."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from graft.data import Note, Sample
from graft.readers import Row

if TYPE_CHECKING:
    from graft.readers.checks import Found

SMALL = 32  # pixels; below it little is left of what a backbone was trained to see
LONG = 10  # longer side over shorter
CMYK = 0.01  # share of a class above which colours may be a trace of where its pictures come from

# How a picture's note begins, the kind of the finding, and what is said of all that have it.
_CHANGES: tuple[tuple[str, str, str], ...] = (
    ("is ", "warning", "files hold another picture format than their names say; read by content"),
    ("first of ", "warning", "files have several pages or frames; the first was read (all: --frames all)"),
    ("EXIF unreadable", "warning", "pictures have damaged EXIF data, so they were not turned"),
    ("colour profile", "warning", "pictures have a colour profile other than sRGB, which was not applied"),
    ("DICOM without a window", "warning", "DICOM pictures name no window; scaled by the range of their stored bits"),
    ("rotated by EXIF", "found", "pictures were turned upright as their EXIF data say"),
    ("decoded at half", "found", "pictures of more than 50 Mpx were decoded at half size"),
    ("transparency", "assumed", "pictures are transparent in places; laid on white"),
)


def notes(
    rows: Mapping[str, Sequence[Row]],
    found: Sequence[Found],
    samples: Mapping[str, Sequence[Sample]],
    white: int | None,
    fixed: bool,
) -> list[Note]:
    """Every finding with the pictures it is about; `fixed` says that `white` is a finished run's."""
    said = [
        *_changes(found),
        *_cmyk(found),
        *_depth(found, white, fixed),
        *_frames(found),
        _about(found, lambda f: _is_odd(f), f"pictures have a side under {SMALL} pixels or are over {LONG} times as "
               "long as wide", about="outlier_size"),
        _about(found, lambda f: f.look.blank, "pictures are of one colour throughout", about="outlier_blank"),
    ]  # fmt: skip
    return [n for n in (*said, *_copies(samples), *_lost(rows, samples)) if n is not None]


def _about(found: Sequence[Found], which: Callable[[Found], bool], text: str, about: str = "") -> Note | None:
    items = tuple(f.id for f in found if which(f))
    return Note("warning", f"{len(items)} {text}", items, about) if items else None


def _is_odd(f: Found) -> bool:
    short, long = sorted((f.look.width, f.look.height))
    return short < SMALL or long > LONG * short


def _changes(found: Sequence[Found]) -> list[Note | None]:
    by_start: dict[str, list[str]] = defaultdict(list)
    for f in found:
        for note in f.look.notes:
            start = next((s for s, _, _ in _CHANGES if note.startswith(s)), None)
            if start is not None:
                exact = start in ("is ", "first of ", "decoded at half")
                by_start[start].append(f"{f.id}: {note}" if exact else f.id)
    return [
        Note(kind, f"{len(by_start[start])} {text}", tuple(by_start[start]))
        for start, kind, text in _CHANGES
        if start in by_start
    ]


def _cmyk(found: Sequence[Found]) -> list[Note | None]:
    """Row 6 of the faults: a few print-shop pictures are converted, a class full of them is worth a warning."""
    mine = [f for f in found if "CMYK converted" in f.look.notes]
    if not mine:
        return []
    sizes = Counter(str(f.row.y) for f in found)
    per_class = Counter(str(f.row.y) for f in mine)
    many = [y for y, n in per_class.items() if n > CMYK * sizes[y]]
    where = f", over {CMYK:.0%} of {len(many)} classes" if many else ""
    items = tuple(f.id for f in mine)
    said = f"{len(mine)} CMYK pictures were converted to RGB{where}"
    return [Note("warning", said, items, "shortcut_cmyk") if many else Note("found", said, items)]


def _depth(found: Sequence[Found], white: int | None, fixed: bool) -> list[Note | None]:
    """Row 7: which white was taken for pictures of 16 bits, and from where."""
    deep = [f for f in found if f.look.depth is not None]
    if not deep:
        return []
    items = tuple(f.id for f in deep)
    if not fixed:
        text = f"{len(deep)} pictures of 16 bits: no value is over {white}, which is taken for white and kept"
        return [Note("warning", text, items)]
    if white is None:
        text = f"{len(deep)} pictures of 16 bits, of which the run has learnt none: 65535 is taken for white"
        return [Note("warning", text, items)]
    over = _about(deep, lambda f: (f.look.depth or 0) > white, f"pictures have values over the run's white, {white}: "
                  "cut off there")  # fmt: skip
    return [Note("found", f"{len(deep)} pictures of 16 bits: white is {white}, as in training", items), over]


def _frames(found: Sequence[Found]) -> list[Note | None]:
    """Row 10: files of which every frame became a sample of its own."""
    files = {f.row.id: f.pages for f in found if f.pages > 1}
    items = tuple(f"{name}: {n} frames" for name, n in files.items())
    return [Note("found", f"{len(files)} files gave every frame as a sample of its own", items)] if files else []


def _copies(samples: Mapping[str, Sequence[Sample]]) -> list[Note]:
    """Row 13: exact copies inside a class, and those that have two labels, in one part."""
    same: list[str] = []
    other: list[str] = []
    for part in samples.values():
        first: dict[tuple[str, str], Sample] = {}
        labels: dict[str, Sample] = {}
        for s in part:
            twin = first.setdefault((s.digest, str(s.y)), s)
            if twin is not s:
                same.append(f"{twin.id} = {s.id}")
            elif (rival := labels.setdefault(s.digest, s)) is not s:
                other.append(f"{rival.id} ({rival.y}) = {s.id} ({s.y})")
    found = []
    if same:
        said = f"{len(same)} exact copies of another picture of their class"
        found.append(Note("warning", said, tuple(same), "duplicate"))
    if other:
        said = f"{len(other)} exact copies of a picture with another label"
        found.append(Note("warning", said, tuple(other), "duplicate"))
    return found


def _lost(rows: Mapping[str, Sequence[Row]], samples: Mapping[str, Sequence[Sample]]) -> list[Note]:
    """Classes of which no picture is left; labels that hardly ever repeat are numbers or sets, not classes."""
    found = []
    for part, listed in rows.items():
        kept = {str(s.y) for s in samples[part]}
        all_of_them = {str(r.y) for r in listed if r.y is not None}
        gone = sorted(all_of_them - kept)
        if gone and 2 * len(all_of_them) <= len(listed):
            said = f"every picture of these classes in {part} is unreadable"
            found.append(Note("warning", said, tuple(gone), "class_unreadable"))
    return found

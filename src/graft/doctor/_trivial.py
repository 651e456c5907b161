"""Trivial facts of samples by family (size, format, colour, file name, length, ...), as numbers for a small tree."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graft._formats import BadPicture, opener, sniff
from graft.data import Sample
from graft.errors import SecurityError
from graft.pictures import PictureFile, open_picture

SIDE = 64  # pixels: colours and borders are looked at in a decode of about twice this
MOST_TOKENS = 60  # of file names; the commonest
_ORIENTATION, _MAKE, _MODEL = 0x0112, 0x010F, 0x0110
_SIDEWAYS = ("5", "6", "7", "8")  # orientations of which a model sees width and height exchanged
_EVEN = 8.0  # grey levels that a frame's pixels may differ by and still be one colour
_WORD = re.compile(r"[^\W\d_]+|\d+")
_MARK = re.compile(r"<[^<>]{1,60}>")
_LINK = re.compile(r"https?://|www\.")
# What Pillow's parsers raise on a damaged header; the reader has said so already, and here the fact is not known.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, LookupError, AttributeError, RuntimeError, AssertionError)


@dataclass(frozen=True)
class Facts:
    """One family's facts: values [n, k] (NaN: not known), a name a column, what the family is called in a sentence."""

    family: str
    said: str
    columns: tuple[str, ...]
    values: NDArray[np.float64]


# ---------------------------------------------------------------------------------------- pictures


def of_pictures(samples: Sequence[Sample]) -> list[Facts]:
    """What headers and a reduced decode tell of every picture: size, file, format, EXIF, brightness, colour, frame."""
    heads = [header(s.x) for s in samples]
    pixels = np.array([_colours(s.x) for s in samples]).reshape(len(samples), -1)
    width, height = (np.array([h[k] for h in heads], dtype=np.float64) for k in ("width", "height"))
    size = np.array([h["bytes"] for h in heads], dtype=np.float64)
    dense = size / (width * height)
    return [
        Facts("size", "the size in pixels", ("width", "height"), np.stack([width, height], axis=1)),
        Facts("aspect", "the ratio of width to height", ("width / height",), (width / height)[:, None]),
        Facts("file_size", "the size of the file", ("bytes", "bytes a pixel"), np.stack([size, dense], axis=1)),
        _coded("format", "the file format and its compression", heads, ("format", "mode", "quality", "coding")),
        _coded("exif", "the camera's notes in the file (EXIF)", heads, ("orientation", "camera")),
        Facts("brightness", "brightness and contrast", ("mean", "spread"), pixels[:, :2]),
        Facts("colour", "the mean colour", ("red", "green", "blue"), pixels[:, 2:5]),
        Facts("border", "a border of one colour", ("top", "bottom", "left", "right", "level"), pixels[:, 5:]),
    ]  # fmt: skip


def header(x: Any) -> dict[str, Any]:
    """What a picture says of itself without being decoded; NaN and "" for what it does not say."""
    found: dict[str, Any] = {
        "width": math.nan, "height": math.nan, "bytes": math.nan,
        "format": "", "mode": "", "quality": "", "coding": "", "orientation": "", "camera": "",
    }  # fmt: skip
    source = x.source if isinstance(x, PictureFile) else x
    if isinstance(source, np.ndarray):
        return {**found, "height": source.shape[0], "width": source.shape[1], "mode": str(source.dtype)}
    if isinstance(source, Image.Image):
        return {**found, "width": source.width, "height": source.height, "mode": source.mode}
    try:
        if isinstance(source, bytes):
            import io

            return _of_file(io.BytesIO(source), len(source), found)
        with Path(source).open("rb") as file:
            return _of_file(file, Path(source).stat().st_size, found)
    except (BadPicture, SecurityError, *_BROKEN):
        return found


def _of_file(file: Any, size: int, found: dict[str, Any]) -> dict[str, Any]:
    kind = sniff(file.read(1024), "")
    found |= {"format": kind, "bytes": size}
    if kind == "DICOM":
        return found
    file.seek(0)
    with opener(kind)(file) as picture:
        found |= {"width": picture.width, "height": picture.height, "mode": picture.mode}
        if kind == "JPEG":
            tables: dict[int, Sequence[int]] = picture.quantization  # type: ignore[attr-defined]
            found["quality"] = str(sum(tables[min(tables)])) if tables else ""
            found["coding"] = "progressive" if picture.info.get("progressive") else "baseline"
        said = picture.getexif()
        found["orientation"] = str(said.get(_ORIENTATION, ""))
        if found["orientation"] in _SIDEWAYS:
            found |= {"width": picture.height, "height": picture.width}
        found["camera"] = f"{said.get(_MAKE, '')} {said.get(_MODEL, '')}".strip()
    return found


def _colours(x: Any) -> list[float]:
    """Mean and spread of grey, the means of red, green and blue, four sides' even frame (in shares), its level."""
    try:
        picture = open_picture(x, want=SIDE)
    except (BadPicture, *_BROKEN):
        return [math.nan] * 10
    if min(picture.size) > 2 * SIDE:
        scale = 2 * SIDE / min(picture.size)
        picture = picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BOX)
    rgb = np.asarray(picture, dtype=np.float64)
    grey = rgb.mean(axis=2)
    edges = [grey, grey[::-1], grey.T, grey.T[::-1]]
    frame = [_even_lines(e) / len(e) for e in edges]
    rim = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return [grey.mean(), grey.std(), *rgb.mean(axis=(0, 1)), *frame, rim.mean() if max(frame) > 0 else -1.0]


def _even_lines(grey: NDArray[np.float64]) -> int:
    """How many of the first lines are of one colour, the first one's, up to half of all."""
    half = grey[: max(1, len(grey) // 2)]
    first = float(np.median(half[0]))
    even = np.abs(half - first).max(axis=1) <= _EVEN
    return int(even.size if even.all() else np.argmin(even))


def _coded(family: str, said: str, heads: Sequence[dict[str, Any]], keys: Sequence[str]) -> Facts:
    """Words as 0 and 1, a column for each that is neither everywhere nor alone."""
    columns = [f"{k} {v or 'unknown'}" for k in keys for v, n in Counter(h[k] for h in heads).most_common(20) if n > 1]
    values = [[float(f"{k} {h[k] or 'unknown'}" == c) for k in keys for c in columns if c.startswith(k)] for h in heads]
    return Facts(family, said, tuple(columns), np.array(values, dtype=np.float64).reshape(len(heads), len(columns)))


# ------------------------------------------------------------------------------------------- names


def of_names(samples: Sequence[Sample], labels: Sequence[str]) -> list[Facts]:
    """What the base names of files tell, folders left out: words, shape, and the first number.

    A word that is a class's own name, or begins as one does (`cat.12.jpg` of `cats`), is the label written down and
    does not count. No facts where ids are no file names, as rows of a table.
    """
    stems = [PurePosixPath(s.id).stem for s in samples]
    if not all(isinstance(source_of(s), Path | str) for s in samples) or len(set(stems)) < 2:
        return []
    own = {w for label in labels for w in _WORD.findall(str(label).casefold()) if len(w) > 1}
    words = [[w for w in _WORD.findall(stem.casefold()) if not w.isdigit()] for stem in stems]
    words = [[w for w in some if not _names_a_class(w, own)] for some in words]
    counts = Counter(w for some in words for w in set(some))
    kept = [w for w, n in counts.most_common(MOST_TOKENS) if 1 < n < len(stems)]
    shapes = [_shape(stem, own) for stem in stems]
    common = [s for s, n in Counter(shapes).most_common(20) if 1 < n < len(stems)]
    values = [
        [float(w in some) for w in kept] + [float(shape == c) for c in common] for some, shape in zip(words, shapes)
    ]
    columns = (*(f"word {w!r}" for w in kept), *(f"shape {s!r}" for s in common))
    first = [next((float(w[:15]) for w in _WORD.findall(stem) if w.isdigit()), math.nan) for stem in stems]
    return [
        Facts("file_name", "the file's name", columns, np.array(values).reshape(len(stems), len(columns))),
        Facts("file_number", "the number in the file's name", ("number",), np.array(first)[:, None]),
    ]


def source_of(sample: Sample) -> Any:
    """What a sample's picture was read from: a path, bytes, a picture, an array; a text's is the text."""
    return sample.x.source if isinstance(sample.x, PictureFile) else sample.x


def _names_a_class(word: str, own: set[str]) -> bool:
    return any(word == c or (len(word) > 2 and len(c) > 2 and (c.startswith(word) or word.startswith(c))) for c in own)


def _shape(stem: str, own: set[str]) -> str:
    """A name's build, classes' own names taken out: runs of digits as 0, of letters as a."""
    bare = _WORD.sub(lambda m: "" if _names_a_class(m[0].casefold(), own) else m[0], stem)
    return re.sub(r"[^\W\d_]+", "a", re.sub(r"\d+", "0", bare))


def of_order(parts: Sequence[Sequence[Sample]], chosen: Sequence[Sample]) -> list[Facts]:
    """Where each of the `chosen` samples stands among all of its part, from 0 to 1."""
    place = {id(s): i / max(1, len(part) - 1) for part in parts for i, s in enumerate(part)}
    values = np.array([place[id(s)] for s in chosen])[:, None]
    return [Facts("order", "the place in the file", ("place",), values)]


# ------------------------------------------------------------------------------------------- texts


def of_texts(samples: Sequence[Sample]) -> list[Facts]:
    """Length, and marks and punctuation, of texts."""
    texts = [str(s.x) for s in samples]
    length = np.array([[len(t), len(t.split())] for t in texts], dtype=np.float64)
    marks = np.array([[count(t) for _, count in _MARKS] for t in texts], dtype=np.float64).reshape(len(texts), -1)
    return [
        Facts("length", "the length of the text", ("characters", "words"), length),
        Facts("markup", "punctuation, capitals and marks", tuple(name for name, _ in _MARKS), marks),
    ]


def _share(of: Callable[[str], bool]) -> Callable[[str], float]:
    return lambda t: sum(map(of, t)) / max(1, len(t))


_MARKS: tuple[tuple[str, Callable[[str], float]], ...] = (
    ("share of capitals", _share(str.isupper)),
    ("share of digits", _share(str.isdigit)),
    ("share beyond ASCII", _share(lambda c: ord(c) > 127)),
    ("tags", lambda t: len(_MARK.findall(t))),
    ("links", lambda t: len(_LINK.findall(t))),
    ("lines", lambda t: t.count("\n")),
    ("double blanks", lambda t: t.count("  ")),
    ("begins with a capital", lambda t: t[:1].isupper()),
    ("ends with a stop", lambda t: t.endswith((".", ". ", "!", "?"))),
    *((f"number of {c!r}", lambda t, c=c: t.count(c)) for c in ".,!?;:'\"()-@#/*_$&"),
)

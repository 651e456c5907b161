"""Open a picture safely: allowed formats, upright, eight-bit RGB, or the bands of a picture that has more."""

from __future__ import annotations

import hashlib
import io
import stat
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from graft import _bands
from graft._decode import VALUE_CAP, Decoded, check_size, decode, normalise
from graft._formats import FORMATS, HEIF, SUFFIXES, BadPicture
from graft._picturefile import PictureFile
from graft._small import small_or_blank
from graft._walk import Walk, walk
from graft.errors import SecurityError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "BadPicture", "Look", "PictureFile", "Walk", "look", "look_each", "open_bands", "open_picture", "walk",
]  # fmt: skip

_DANGEROUS = ("EPS", "PDF", "PSD", "FITS")  # formats of a foreign, not yet decoded `Image`
_AT_ONCE = 512  # pictures handed to the pool at a time, so that a million paths make no million futures
_LOOKED_AT = 512  # pixels: what the pre-flight wants of a JPEG's shorter side, and so gets twice
_FLAT = 3  # grey levels between the darkest and the lightest pixel of a blank picture
_LOADING = threading.Lock()  # a Pillow picture that is read lazily must not be loaded by two threads


@dataclass(frozen=True, slots=True)
class Look:
    """What one pass over a picture found.

    `digest` is the sha256 (hex) of the size and the RGB pixels looked at, so the same picture in two formats or
    turned by EXIF has one digest; `width` and `height` are pixels of the upright picture; `format` is that of the
    content ("" for an array); `notes` say what was mended. `frames` counts the pages of the file, `depth` is the
    white (255 to 65535) that its 16-bit values suggest (None: eight bits), `channels` is 3 or the number of
    bands, `blank` says that all pixels are equal, but for three levels of noise, `small` is a grey thumbnail,
    None where the picture shows too little.
    """

    digest: str
    width: int
    height: int
    format: str
    notes: tuple[str, ...] = ()
    frames: int = 1
    depth: int | None = None
    channels: int = 3
    blank: bool = False
    small: bytes | None = None

    @property
    def note(self) -> str:
        """All notes in one line, "" for none."""
        return "; ".join(self.notes)


def open_picture(
    source: Path | str | bytes | Image.Image | NDArray[Any] | PictureFile, want: int | None = None
) -> Image.Image:
    """Return the picture in mode RGB: first frame, upright, eight bits, transparency on white.

    `source` is a path, a file's bytes, a Pillow picture, an array (uint8 or uint16, [height, width] or
    [height, width, channels]), or a PictureFile, which says page and white. Of more than three channels the first
    three are shown; `open_bands` gives all. It is decoded whole, at most 50 Mpx (a JPEG of up to 200 Mpx comes at
    half size); a given picture or array is not changed.

    `want` is the shorter side, in pixels, that the whole picture will be resized to, for speed alone: a JPEG is then
    decoded at 1/2, 1/4 or 1/8, the smallest whose shorter side is at least twice `want`, and after the resize the
    mean difference is below one grey level. A crop needs more: divide by the share of the side that is left.
    Raises BadPicture with a short reason, SecurityError for PostScript, PDF, PSD, FITS and pickles, SetupError
    where Pillow's LOAD_TRUNCATED_IMAGES is on or a package for the format is missing.
    """
    return _decoded(source, want).image


def open_bands(source: PictureFile, want: int | None = None) -> Image.Image | NDArray[np.uint8]:
    """Open a picture as its data set says: RGB for three channels, else uint8 [height, width, channels].

    Raises as `open_picture` does, and BadPicture where the number of channels is another by now.
    """
    found = _decoded(source, want)
    if source.channels != _channels(found):
        raise BadPicture(f"has {_channels(found)} channels, {source.channels} are expected")
    return found.image if found.bands is None else found.bands


def look(source: Path | str | bytes | Image.Image | NDArray[Any] | PictureFile) -> Look:
    """Open a picture, digest its pixels and say what had to be mended.

    JPEGs of 2048 pixels and more (the shorter side) are looked at in a half, a quarter or an eighth of their size,
    never below 1024: all their bytes are decoded, in a fifth of the time. 16-bit pixels are digested as their own
    depth scales them; with many bands all of them are.
    Raises BadPicture, SecurityError and SetupError as `open_picture` does.
    """
    found = _decoded(source, _LOOKED_AT)
    width, height = found.size
    content = found.image.tobytes() if found.bands is None else found.bands.tobytes()
    shape = f"{width}x{height}:" if found.bands is None else f"{width}x{height}x{_channels(found)}:"
    digest = hashlib.sha256(shape.encode())
    digest.update(content)
    small = small_or_blank(found.image)
    return Look(
        digest.hexdigest(),
        width,
        height,
        found.format,
        (*_misnamed(source, found.format), *found.notes),
        found.frames,
        found.depth,
        _channels(found),
        small is None and _is_flat(found),
        small,
    )


def look_each(sources: Iterable[Any], workers: int = 4, pages: bool = False) -> Iterator[list[Look | str]]:
    """Look at many pictures with threads: for each, in the given order, its look or the reason why there is none.

    With `pages` every page of a file has an entry, else the first alone. Only looks are kept, no pixels.
    Raises SecurityError and SetupError for the first picture, in order, that is refused so.
    """
    waiting = iter(sources)
    one = _look_at_pages if pages else _look_at_first
    with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="graft-look") as pool:
        try:
            while some := list(islice(waiting, _AT_ONCE)):
                yield from pool.map(one, some)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)  # a refusal need not wait for the rest


# ------------------------------------------------------------------------------------------ details


def _look_at_first(source: Any) -> list[Look | str]:
    try:
        return [look(source)]
    except BadPicture as e:
        return [str(e)]


def _look_at_pages(source: Any) -> list[Look | str]:
    found = _look_at_first(source)
    first = found[0]
    if not isinstance(first, str) and first.frames > 1:
        found = [_all_pages(first)]
        for frame in range(1, first.frames):
            found.extend(_look_at_first(PictureFile(source, frame=frame)))
    return found


def _all_pages(first: Look) -> Look:
    """Return the first page's look without the word that the others were left out."""
    return replace(first, notes=tuple(n for n in first.notes if not n.startswith("first of ")))


def _misnamed(source: Any, kind: str) -> list[str]:
    source = source.source if isinstance(source, PictureFile) else source
    if not isinstance(source, str | Path):
        return []
    suffix = Path(source).suffix
    return [f"is {kind}, named {suffix}"] if SUFFIXES.get(suffix.lower(), kind) != kind else []


def _channels(found: Decoded) -> int:
    return 3 if found.bands is None else int(found.bands.shape[2])


def _is_flat(found: Decoded) -> bool:
    import numpy as np

    pixels = np.asarray(found.image) if found.bands is None else found.bands
    return bool((pixels.max(axis=(0, 1)).astype(int) - pixels.min(axis=(0, 1)) <= _FLAT).all())


def _decoded(source: Any, want: int | None) -> Decoded:
    file = source if isinstance(source, PictureFile) else PictureFile(source)
    x = file.source
    if isinstance(x, bytes):
        return decode(io.BytesIO(x), "the picture given as bytes", file.frame, file.white, want)
    if isinstance(x, str | Path):
        return _decode_path(Path(x), file, want)
    if isinstance(x, Image.Image):
        return _from_pillow(x, file.white)
    return _from_array(x, file.white)


def _decode_path(path: Path, wanted: PictureFile, want: int | None) -> Decoded:
    try:
        # Asked before opening: a pipe named x.jpg would wait for a writer for ever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise BadPicture("is not a regular file")
        with path.open("rb") as file:
            return decode(file, str(path), wanted.frame, wanted.white, want)
    except OSError as e:
        raise BadPicture(f"cannot be read: {e.strerror or e}") from e
    except ValueError as e:  # a NUL in the path
        raise BadPicture(f"cannot be read: {e}") from e


def _from_pillow(picture: Image.Image, white: int | None) -> Decoded:
    kind = picture.format
    if kind in _DANGEROUS:
        raise SecurityError(f"a {kind} picture was given; it was not decoded. Convert it to PNG or JPEG first.")
    if kind not in (None, "MPO", "HEIF", *FORMATS, *HEIF):
        raise BadPicture(f"is {kind}, none of {', '.join(FORMATS)}")
    check_size(*picture.size)
    try:
        with _LOADING:
            picture.load()
    except (OSError, SyntaxError, ValueError) as e:
        raise BadPicture(f"truncated or damaged: {e}") from e
    found = normalise(picture, kind or "", white)
    return Decoded(found.image, kind or "", found.notes, found.image.size, depth=found.depth)


def _from_array(array: Any, white: int | None) -> Decoded:
    import numpy as np

    if not isinstance(array, np.ndarray):
        raise BadPicture(f"is a {type(array).__name__}, none of path, bytes, Pillow picture, array")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] >= 3)
    if array.dtype not in (np.uint8, np.uint16) or not fits or array.size > VALUE_CAP:
        raise BadPicture(
            f"is {array.dtype} {list(array.shape)}: give uint8 or uint16, [height, width] or [height, width, channels] "
            "of three channels or more"
        )
    check_size(array.shape[1], array.shape[0])
    eight, depth = _bands.eight_bit(np.ascontiguousarray(array), white)
    notes = () if depth is None else ("16-bit scaled",)
    if array.ndim == 3 and array.shape[2] > 3:
        image = _bands.preview(eight)
        return Decoded(image, "", notes, image.size, depth=depth, bands=eight)
    image = Image.fromarray(eight).convert("RGB")
    return Decoded(image, "", notes, image.size, depth=depth)

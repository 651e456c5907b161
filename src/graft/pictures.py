"""Open a picture safely: allowed formats, upright, eight-bit RGB."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from graft._decode import FORMATS, BadPicture, Decoded, check_size, decode, normalise
from graft.errors import DataError, SecurityError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["BadPicture", "Look", "Walk", "look", "look_all", "open_picture", "walk"]

_SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_UNSUPPORTED = (".heic", ".heif", ".avif")
_JUNK = ("__macosx", "@eadir", "thumbs.db", "desktop.ini")  # hidden names are junk by their dot
_DANGEROUS = ("EPS", "PDF", "PSD", "FITS")  # formats of a foreign, not yet decoded `Image`
_AT_ONCE = 512  # pictures handed to the pool at a time, so that a million paths make no million futures


@dataclass(frozen=True)
class Look:
    """What one pass over a picture found.

    `digest` is the sha256 (hex) of the size and the RGB pixels, so the same picture in two formats or turned
    by EXIF has one digest; `width` and `height` are pixels of the upright picture; `format` is that of the
    content; `note` says what was mended, "" for nothing.
    """

    digest: str
    width: int
    height: int
    format: str
    note: str


@dataclass(frozen=True)
class Walk:
    """A folder's files, sorted by path.

    `pictures` and `unsupported` (HEIC, AVIF) are paths under the given root; `skipped` (hidden files, junk of
    operating systems, files that are no pictures) and `loops` (folders met before, through a link) are
    posix paths relative to it, folders with a slash at the end.
    """

    pictures: list[Path]
    skipped: list[str]
    loops: list[str]
    unsupported: list[Path]


def open_picture(source: Path | str | bytes | Image.Image | NDArray[np.uint8]) -> Image.Image:
    """Return the picture in mode RGB: first frame, upright, eight bits, transparency on white.

    `source` is a path, a file's bytes, a Pillow picture, or a uint8 array [height, width, 3] or
    [height, width]. It is decoded whole, at most 50 Mpx (a JPEG of up to 200 Mpx comes at half size); a
    given picture or array is not changed.
    Raises BadPicture with a short reason, SecurityError for PostScript, PDF, PSD, FITS and pickles, SetupError
    where Pillow's LOAD_TRUNCATED_IMAGES is on.
    """
    if isinstance(source, bytes):
        return decode(io.BytesIO(source), "the picture given as bytes").image
    if isinstance(source, (str, Path)):
        return _decode_path(Path(source)).image
    if isinstance(source, Image.Image):
        return _from_pillow(source)
    return _from_array(source)


def look(path: Path) -> Look:
    """Open a picture, digest its pixels and say what had to be mended.

    Raises BadPicture and SecurityError as `open_picture` does.
    """
    found = _decode_path(path)
    width, height = found.image.size
    digest = hashlib.sha256(f"{width}x{height}:".encode())
    digest.update(found.image.tobytes())
    named = _SUFFIXES.get(path.suffix.lower(), found.format)
    misnamed = [f"is {found.format}, named {path.suffix}"] if named != found.format else []
    return Look(digest.hexdigest(), width, height, found.format, "; ".join([*misnamed, *found.notes]))


def look_all(
    paths: Sequence[Path], workers: int = 4, tick: Callable[[int], None] | None = None
) -> tuple[dict[Path, Look], dict[Path, str]]:
    """Look at many pictures with threads: (the good ones, the bad ones with the reason), in the given order.

    `tick(done)` is called in this thread with the number of pictures done so far.
    Raises SecurityError for the first file, in order, that is refused.
    """
    good: dict[Path, Look] = {}
    bad: dict[Path, str] = {}
    with ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="graft-look") as pool:
        for done, (path, found) in enumerate(_looks(pool, paths), start=1):
            if isinstance(found, str):
                bad[path] = found
            else:
                good[path] = found
            if tick is not None:
                tick(done)
    return good, bad


def walk(root: Path) -> Walk:
    """List the pictures under a folder, by suffix, with what was left out.

    A folder behind a link is entered once and never before the real folders, so a link cannot hide one.
    Raises DataError where the folder or one inside it cannot be listed.
    """
    found: dict[str, list[str]] = {"pictures": [], "skipped": [], "loops": [], "unsupported": []}
    seen: set[tuple[int, int]] = set()
    waiting: list[str] = [""]
    links: list[str] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        try:
            status = os.stat(root / folder)
            if (inode := (status.st_dev, status.st_ino)) in seen:
                found["loops"].append(f"{folder}/")
                continue
            seen.add(inode)
            with os.scandir(root / folder) as entries:
                listed = sorted(entries, key=lambda e: e.name)
        except OSError as e:
            raise DataError(f"{root / folder} cannot be listed: {e.strerror}. Give a folder of pictures.") from e
        for entry in listed:
            where = f"{folder}/{entry.name}" if folder else entry.name
            kind = _kind(entry)
            if kind == "folder":
                (links if entry.is_symlink() else waiting).append(where)
            else:
                found[kind].append(where + "/" * _is_folder(entry))
    ordered = {kind: sorted(names) for kind, names in found.items()}
    return Walk(
        pictures=[root / name for name in ordered["pictures"]],
        skipped=[_shown(name) for name in ordered["skipped"]],
        loops=[_shown(name) for name in ordered["loops"]],
        unsupported=[root / name for name in ordered["unsupported"]],
    )


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.name.startswith(".") or entry.name.lower() in _JUNK:
        return "skipped"
    if _is_folder(entry):
        return "folder"
    suffix = Path(entry.name).suffix.lower()
    if suffix in _UNSUPPORTED:
        return "unsupported"
    return "pictures" if suffix in _SUFFIXES else "skipped"


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _shown(name: str) -> str:
    """Make a name printable: bytes that are no utf-8 become \\x escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _looks(pool: ThreadPoolExecutor, paths: Sequence[Path]) -> Iterator[tuple[Path, Look | str]]:
    for start in range(0, len(paths), _AT_ONCE):
        some = paths[start : start + _AT_ONCE]
        yield from zip(some, pool.map(_look_or_reason, some), strict=True)


def _look_or_reason(path: Path) -> Look | str:
    try:
        return look(path)
    except BadPicture as e:
        return str(e)


def _decode_path(path: Path) -> Decoded:
    try:
        # Asked before opening: a pipe named x.jpg would wait for a writer for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BadPicture("is not a regular file")
        with path.open("rb") as file:
            return decode(file, str(path))
    except OSError as e:
        raise BadPicture(f"cannot be read: {e.strerror or e}") from e
    except ValueError as e:  # a NUL in the path
        raise BadPicture(f"cannot be read: {e}") from e


def _from_pillow(picture: Image.Image) -> Image.Image:
    kind = picture.format
    if kind in _DANGEROUS:
        raise SecurityError(f"a {kind} picture was given; it was not decoded. Convert it to PNG or JPEG first.")
    if kind not in (None, "MPO", *FORMATS):
        raise BadPicture(f"is {kind}, none of {', '.join(FORMATS)}")
    check_size(*picture.size)
    try:
        picture.load()
    except (OSError, SyntaxError, ValueError) as e:
        raise BadPicture(f"truncated or damaged: {e}") from e
    return normalise(picture, kind or "")[0]


def _from_array(array: NDArray[np.uint8]) -> Image.Image:
    import numpy as np

    if not isinstance(array, np.ndarray):
        raise BadPicture(f"is a {type(array).__name__}, none of path, bytes, Pillow picture, uint8 array")
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not fits:
        raise BadPicture(f"is {array.dtype} {list(array.shape)}: give uint8 [height, width, 3] or [height, width]")
    check_size(array.shape[1], array.shape[0])
    return Image.fromarray(np.ascontiguousarray(array)).convert("RGB")

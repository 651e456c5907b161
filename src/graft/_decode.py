"""Picture bytes to upright eight-bit RGB, or to eight-bit bands: the content names the format, never the extension."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, ImageChops, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from graft import _bands, _dicom
from graft._formats import BadPicture, opener, sniff
from graft.errors import SetupError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PIXEL_CAP = 50_000_000  # pixels; 200 MB while an RGBA picture is being flattened
VALUE_CAP = 4 * PIXEL_CAP  # of a picture with many bands
SMALLEST_SIDE = 2  # pixels
SPARE = 2  # times the side that a model wants is what scaled decoding leaves at least

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
# What Pillow's parsers raise on damaged input; a warning is among them where warnings are errors.
_BROKEN = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, OverflowError, AttributeError,
    RuntimeError, AssertionError, struct.error, zlib.error, Image.DecompressionBombError, Warning,
)  # fmt: skip


@dataclass(frozen=True)
class Decoded:
    """A picture in mode RGB, upright, with the format found in its bytes and what was done to it.

    `size` is (width, height) of the upright picture before any scaling for speed; `frames` counts the pages of the
    file; `depth` is the white (255 to 65535) that its own 16-bit values suggest, None where it has eight bits;
    `bands` are all channels, uint8 [height, width, c > 3], of which `image` shows the first three, or None.
    """

    image: Image.Image
    format: str
    notes: tuple[str, ...]
    size: tuple[int, int]
    frames: int = 1
    depth: int | None = None
    bands: NDArray[np.uint8] | None = None


def decode(file: BinaryIO, name: str, frame: int = 0, white: int | None = None, want: int | None = None) -> Decoded:
    """Decode one frame of an open file; `name` is for messages only.

    16-bit values are scaled so that `white` becomes 255 (None: by the picture's own depth). With `want` a JPEG is
    decoded at 1/2, 1/4 or 1/8, whichever is smallest with a shorter side of at least SPARE x `want` pixels.
    Raises BadPicture for what is damaged, too large, too small or no picture, SecurityError for formats
    whose parsers are not to be let near foreign bytes, SetupError where Pillow was told to fill gaps or
    where a package for this format is missing.
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:  # somebody's switch for the whole process
        raise SetupError(
            "Pillow's ImageFile.LOAD_TRUNCATED_IMAGES is on, so cut pictures would come out half grey unsaid; set "
            "it to False before calling graft."
        )
    head = file.read(1024)
    size = file.seek(0, os.SEEK_END)
    kind = sniff(head, name)
    if kind == "WEBP" and (whole := int.from_bytes(head[4:8], "little") + 8) > size:
        raise BadPicture(f"truncated: {whole - size} of {whole} bytes are missing")
    file.seek(0)
    if kind == "DICOM":
        return _from_dicom(file, frame)
    if kind == "TIFF" and _bands.many(file):
        return _from_bands(file, frame, white)
    return _from_pillow(file, kind, frame, white, want)


def check_size(width: int, height: int) -> None:
    """Raise BadPicture for more than PIXEL_CAP pixels or a side under SMALLEST_SIDE."""
    if width * height > PIXEL_CAP:
        raise BadPicture(f"{width}x{height} is {width * height / 1e6:.0f} Mpx, over the cap of {PIXEL_CAP / 1e6:.0f}")
    if min(width, height) < SMALLEST_SIDE:
        raise BadPicture(f"{width}x{height}: a side is under {SMALLEST_SIDE} pixels")


@dataclass(frozen=True)
class Normal:
    """An RGB picture of eight bits with what it took, and the depth that its values suggest."""

    image: Image.Image
    notes: tuple[str, ...]
    depth: int | None


def normalise(picture: Image.Image, kind: str, white: int | None = None, high_bytes: bool = False) -> Normal:
    """Return a new RGB picture, eight bits, on white, upright.

    `high_bytes` says that Pillow kept the upper half of 16-bit colours.
    Raises BadPicture for float pixels, 32-bit integers beyond 16 bits, and modes without a way to RGB.
    """
    notes: list[str] = []
    try:
        picture.load()
        turn = picture.getexif().get(_ORIENTATION, 1)
    except _BROKEN:  # the pixels are whole; only their orientation is unknown
        turn = 1
        notes.append("EXIF unreadable, not rotated")
    try:
        profile = picture.info.get("icc_profile") or b""
        if profile[16:20] == b"RGB " and not any("sRGB".encode(c) in profile for c in ("ascii", "utf-16-be")):
            notes.append("colour profile is not sRGB, not converted")
        image, depth = _eight_bit(picture, white, high_bytes)
        image, flat = _rgb(image, kind)
        if turn in _TURNS:
            image = image.transpose(_TURNS[turn])
            notes.append("rotated by EXIF")
    except _BROKEN as e:
        raise BadPicture(_reason(e)) from e
    image.info.clear()
    deep = "16-bit scaled" if depth is not None and picture.mode != "I" else ""
    return Normal(image, tuple(n for n in (deep, flat, *notes) if n), depth)


# ---------------------------------------------------------------------------------------- by parser


def _from_pillow(file: BinaryIO, kind: str, frame: int, white: int | None, want: int | None) -> Decoded:
    notes: list[str] = []
    try:
        if kind == "PNG":  # decoding alone does not check the checksums
            PngImagePlugin.PngImageFile(file).verify()
            file.seek(0)
        picture = opener(kind)(file)
        width, height = picture.size
        notes.append(halved := _fit(picture, want))
        frames = _count(picture)
        if frame:
            picture.seek(frame)
            width, height = picture.size
            check_size(width, height)
        turned = isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(_ORIENTATION, 1) != 1
        high_bytes = any(";16" in str(tile.args) for tile in picture.tile)
        before = picture.size
        picture.load()
    except _BROKEN as e:
        raise BadPicture(_reason(e)) from e
    notes.append(_first_of(frames, frame))
    if turned:  # Pillow turns a TIFF while it loads, and only a TIFF
        notes.append("rotated by EXIF")
    found = normalise(picture, kind, white, high_bytes)
    size = (-(-width // 2), -(-height // 2)) if halved else (width, height)
    size = size[::-1] if found.image.size != before else size
    return Decoded(found.image, kind, tuple(n for n in (*notes, *found.notes) if n), size, frames, found.depth)


def _from_dicom(file: BinaryIO, frame: int) -> Decoded:
    header = _dicom.header(file)
    check_size(header.width, header.height)
    if frame >= header.frames:
        raise BadPicture(f"has {header.frames} frames, no number {frame + 1}")
    picture, note = _dicom.pixels(header, frame)
    notes = tuple(n for n in (_first_of(header.frames, frame), note) if n)
    return Decoded(picture.convert("RGB"), "DICOM", notes, picture.size, header.frames)


def _from_bands(file: BinaryIO, frame: int, white: int | None) -> Decoded:
    stored, frames = _bands.read(file, frame, VALUE_CAP)
    check_size(stored.shape[1], stored.shape[0])
    bands, depth = _bands.eight_bit(stored, white)
    notes = tuple(n for n in (_first_of(frames, frame), "" if depth is None else "16-bit scaled") if n)
    image = _bands.preview(bands)
    return Decoded(image, "TIFF", notes, image.size, frames, depth, bands)


# ------------------------------------------------------------------------------------------ details


def _fit(picture: ImageFile.ImageFile, want: int | None) -> str:
    """Choose the scale of a JPEG; refuse, from the header, what is too large; a baseline JPEG may be halved for it."""
    width, height = picture.size
    # A progressive JPEG keeps all its coefficients in memory whatever the size of its output.
    baseline = isinstance(picture, JpegImagePlugin.JpegImageFile) and "progressive" not in picture.info
    halved = baseline and width * height > PIXEL_CAP
    if not baseline:
        check_size(width, height)
    scale = max(_scale(min(width, height), want), 2 if halved else 1)
    if scale > 1:
        picture.draft(None, (width // scale, height // scale))
    if not halved:
        check_size(width, height)
        return ""
    try:
        check_size(-(-width // 2), -(-height // 2))  # as without `want`: it never decides what can be read
    except BadPicture:
        check_size(width, height)  # says the size in the header
        raise
    return f"decoded at half of {width}x{height}"


def _scale(side: int, want: int | None) -> int:
    """The largest of 8, 4 and 2 that leaves SPARE x want pixels of the shorter side, else 1.

    A JPEG decoder averages in the frequency domain when it scales; a resize that still halves the picture
    afterwards hides the difference (mean under one grey level: `test_pictures.py`).
    """
    if want is None:
        return 1
    return next((s for s in (8, 4, 2) if side // s >= SPARE * want), 1)


def _count(picture: ImageFile.ImageFile) -> int:
    return int(getattr(picture, "n_frames", 1))  # only parsers of formats with pages have it


def _first_of(frames: int, frame: int) -> str:
    return f"first of {frames} frames" if frames > 1 and frame == 0 else ""


def _eight_bit(picture: Image.Image, white: int | None, high_bytes: bool) -> tuple[Image.Image, int | None]:
    """(the picture in a mode of eight bits, its own depth where it had more)."""
    if picture.mode == "F":
        raise BadPicture(_bands.FLOAT)
    if not picture.mode.startswith("I"):
        return _stretched(picture, white) if high_bytes else (picture, None)
    import numpy as np

    grey = np.asarray(picture).astype(np.int64)  # [height, width]
    eight, depth = _bands.eight_bit(grey, white)
    clear = picture.info.get("transparency")
    if isinstance(clear, int):
        eight[grey == clear] = 255  # white, as for every other transparency
    return Image.fromarray(eight), depth


def _stretched(picture: Image.Image, white: int | None) -> tuple[Image.Image, int]:
    """Colours of which the high byte is left, scaled like grey: coarse where few bits are used, but not black."""
    names = picture.getbands()
    counts = [picture.getchannel(c).histogram() for c in names if c != "A"]
    highest = max(v for v in range(256) if any(count[v] for count in counts))
    own = _bands.depth_of(highest * 256 + 255)
    top = white or own
    if top == 65535:
        return picture, own
    table = [min(255, round(v * 257 * 255 / top)) for v in range(256)]
    return picture.point([v for c in names for v in (range(256) if c == "A" else table)]), own


def _rgb(picture: Image.Image, kind: str) -> tuple[Image.Image, str]:
    if picture.mode == "CMYK":
        # Pillow takes every CMYK JPEG for an inverted Adobe one; without Adobe's marker it is not.
        if kind in ("JPEG", "MPO") and picture.format in ("JPEG", "MPO") and "adobe" not in picture.info:
            picture = ImageChops.invert(picture)
        return picture.convert("RGB"), "CMYK converted"
    if not picture.has_transparency_data:
        return picture.convert("RGB"), ""
    rgba = (picture.convert("LA") if picture.mode == "La" else picture).convert("RGBA")
    lowest = rgba.getchannel("A").getextrema()[0]
    if lowest == 255:
        return rgba.convert("RGB"), ""
    paper = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(paper, rgba).convert("RGB"), "transparency on white"


def _reason(error: BaseException) -> str:
    said = f"{error}" or type(error).__name__
    cut = any(word in said.lower() for word in ("truncated", "incomplete", "no more images"))
    return f"truncated: {said}" if cut or isinstance(error, EOFError) else f"damaged: {said}"

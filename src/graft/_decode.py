"""Picture bytes to upright eight-bit RGB: the content names the format, never the extension."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from graft.errors import SecurityError, SetupError

PIXEL_CAP = 50_000_000  # pixels; 200 MB while an RGBA picture is being flattened
SMALLEST_SIDE = 2  # pixels
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")

# Each format's own class instead of `Image.open`: exactly one parser ever sees the file, and the global
# bomb check, which warns between 89 and 179 Mpx and cannot be silenced per thread, is not in the way.
_OPENERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,  # an MPO is a JPEG with more pictures behind the first
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
_MAGIC: dict[bytes, str] = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_DANGER: dict[bytes, str] = {
    b"%!PS": "PostScript",  # Pillow would start Ghostscript
    b"\xc5\xd0\xd3\xc6": "EPS",
    b"%PDF": "PDF",
    b"8BPS": "PSD",
    b"SIMPLE  =": "FITS",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}
_TEXT: dict[bytes, str] = {
    b"<!doctype html": "is HTML: download failed?",
    b"<html": "is HTML: download failed?",
    b"<svg": "is SVG: export it as PNG",
    b"<": "is HTML or XML: download failed?",
    b"{": "is JSON: download failed?",
    b"[": "is JSON: download failed?",
    b"version https://git-lfs": "is a git-lfs pointer: run git lfs pull",
}
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


class BadPicture(Exception):
    """One picture cannot be used, for the short reason in its message; callers put it in quarantine."""


@dataclass(frozen=True)
class Decoded:
    """A picture in mode RGB, upright, with the format found in its bytes and what was done to it."""

    image: Image.Image
    format: str
    notes: tuple[str, ...]


def decode(file: BinaryIO, name: str) -> Decoded:
    """Decode the first frame of an open file; `name` is for messages only.

    Raises BadPicture for what is damaged, too large, too small or no picture, SecurityError for formats
    whose parsers are not to be let near foreign bytes, SetupError where Pillow was told to fill gaps.
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
    notes: list[str] = []
    try:
        file.seek(0)
        if kind == "PNG":  # decoding alone does not check the checksums
            PngImagePlugin.PngImageFile(file).verify()
            file.seek(0)
        picture = _OPENERS[kind](file)
        notes.append(_fit(picture))
        notes.append(_frames(picture))
        turned = isinstance(picture, TiffImagePlugin.TiffImageFile) and picture.tag_v2.get(_ORIENTATION, 1) != 1
        picture.load()
    except _BROKEN as e:
        raise BadPicture(_reason(e)) from e
    if turned:  # Pillow turns a TIFF while it loads, and only a TIFF
        notes.append("rotated by EXIF")
    image, more = normalise(picture, kind)
    return Decoded(image, kind, tuple(n for n in (*notes, *more) if n))


def sniff(head: bytes, name: str) -> str:
    """Name the format, one of FORMATS, that a file's first bytes show.

    Raises BadPicture with what the file is instead, SecurityError for PostScript, PDF, PSD, FITS, pickles.
    """
    if not head:
        raise BadPicture("empty file")
    for magic, kind in _DANGER.items():
        if head.startswith(magic):
            raise SecurityError(f"{name} is {kind}, not a picture; it was not parsed. Remove it from the data.")
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[4:8] == b"ftyp":
        raise BadPicture(f"is {_box_brand(head[8:12])}, not supported: convert it to JPEG or PNG")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, reason in _TEXT.items():
        if text.startswith(start):
            raise BadPicture(_TEXT[b"<svg"] if b"<svg" in text else reason)
    raise BadPicture(f"is none of {', '.join(FORMATS)}")


def check_size(width: int, height: int) -> None:
    """Raise BadPicture for more than PIXEL_CAP pixels or a side under SMALLEST_SIDE."""
    if width * height > PIXEL_CAP:
        raise BadPicture(f"{width}x{height} is {width * height / 1e6:.0f} Mpx, over the cap of {PIXEL_CAP / 1e6:.0f}")
    if min(width, height) < SMALLEST_SIDE:
        raise BadPicture(f"{width}x{height}: a side is under {SMALLEST_SIDE} pixels")


def normalise(picture: Image.Image, kind: str) -> tuple[Image.Image, list[str]]:
    """Return a new RGB picture, eight bits, on white, upright, and notes of what that took.

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
        image, scaled = _eight_bit(picture)
        image, flat = _rgb(image, kind)
        if turn in _TURNS:
            image = image.transpose(_TURNS[turn])
            notes.append("rotated by EXIF")
    except _BROKEN as e:
        raise BadPicture(_reason(e)) from e
    image.info.clear()
    return image, [n for n in (scaled, flat, *notes) if n]


def _fit(picture: ImageFile.ImageFile) -> str:
    """Refuse, from the header, what is too large; let a baseline JPEG of up to 4 caps decode at half size."""
    width, height = picture.size
    # A progressive JPEG keeps all its coefficients in memory whatever the size of its output.
    baseline = isinstance(picture, JpegImagePlugin.JpegImageFile) and "progressive" not in picture.info
    halved = baseline and width * height > PIXEL_CAP
    if halved:
        picture.draft(None, (width // 2, height // 2))
    try:
        check_size(*picture.size)
    except BadPicture:
        check_size(width, height)  # says the size in the header
        raise
    return f"decoded at half of {width}x{height}" if halved else ""


def _frames(picture: ImageFile.ImageFile) -> str:
    count = int(getattr(picture, "n_frames", 1))
    return f"first of {count} frames" if count > 1 else ""


def _eight_bit(picture: Image.Image) -> tuple[Image.Image, str]:
    if picture.mode == "F":
        raise BadPicture("has float pixels: scale them from their range to 0..255 and save as 8-bit")
    if not picture.mode.startswith("I"):
        return picture, ""
    import numpy as np

    grey = np.asarray(picture).astype(np.int64)  # [height, width]
    low, high = int(grey.min()), int(grey.max())
    if low < 0 or high > 65535:
        raise BadPicture(f"has 32-bit pixels from {low} to {high}: scale them to 0..65535 or 0..255")
    clear = picture.info.get("transparency")
    wide = picture.mode != "I" or high > 255
    if isinstance(clear, int):
        grey[grey == clear] = 65535 if wide else 255  # white, as for every other transparency
    eight = (grey + 128) // 257 if wide else grey
    # Data of 10 or 12 bits in a 16-bit file come out dark; only the whole data set shows which it is.
    note = "16-bit scaled" + (f", though no value is over {high}" if high < 16384 else "")
    return Image.fromarray(eight.astype(np.uint8)), note if wide else ""


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
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB"), "transparency on white"


def _reason(error: BaseException) -> str:
    said = f"{error}" or type(error).__name__
    cut = any(word in said.lower() for word in ("truncated", "incomplete", "no more images"))
    return f"truncated: {said}" if cut or isinstance(error, EOFError) else f"damaged: {said}"


def _box_brand(brand: bytes) -> str:
    if brand in (b"avif", b"avis"):
        return "AVIF"
    heic = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
    return "HEIC" if brand in heic else "a video"

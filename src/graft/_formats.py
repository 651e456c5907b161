"""Which picture format a file's first bytes show, and the one parser that may see it."""

from __future__ import annotations

import importlib.util
from functools import cache

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from graft.errors import SecurityError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
HEIF = ("HEIC", "AVIF")
"""Read where the extra `heic` is installed: HEIC by pillow_heif, AVIF by Pillow's own parser."""
SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".png": "PNG",
    ".webp": "WEBP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".dcm": "DICOM",
    ".dicom": "DICOM",
    ".heic": "HEIC",
    ".heif": "HEIC",
    ".avif": "AVIF",
}
"""How picture files are named, in lower case, and the format that each ending promises."""

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
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


class BadPicture(Exception):
    """One picture cannot be used, for the short reason in its message; callers put it in quarantine."""


def sniff(head: bytes, name: str) -> str:
    """Name the format, one of FORMATS, HEIF or "DICOM", that a file's first 132 bytes show.

    Raises BadPicture with what the file is instead, SecurityError for PostScript, PDF, PSD, FITS, pickles.
    """
    if not head:
        raise BadPicture("empty file")
    for magic, kind in _DANGER.items():
        if head.startswith(magic):
            raise SecurityError(f"{name} is {kind}, not a picture; it was not parsed. Remove it from the data.")
    if head[128:132] == b"DICM":  # before the others: what stands ahead of it may be anything, also a TIFF's header
        return "DICOM"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if head[4:8] == b"ftyp":
        return _boxed(head[8:12])
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for start, reason in _TEXT.items():
        if text.startswith(start):
            raise BadPicture(_TEXT[b"<svg"] if b"<svg" in text else reason)
    raise BadPicture(f"is none of {', '.join(FORMATS)}")


def opener(kind: str) -> type[ImageFile.ImageFile]:
    """Return the Pillow class that reads a format of FORMATS or HEIF.

    Raises BadPicture, naming the extra, where HEIC or AVIF cannot be read here.
    """
    if kind in _OPENERS:
        return _OPENERS[kind]
    if not readable(kind):
        raise BadPicture(f"is {kind}: pip install 'graft-learn[heic]', or convert it to JPEG or PNG")
    if kind == "AVIF":
        from PIL import AvifImagePlugin

        return AvifImagePlugin.AvifImageFile
    import pillow_heif

    heic: type[ImageFile.ImageFile] = pillow_heif.HeifImageFile
    return heic


@cache
def readable(kind: str) -> bool:
    """Whether files of this format can be read here; only HEIC and AVIF depend on what is installed."""
    if kind not in HEIF:
        return True
    return importlib.util.find_spec("pillow_heif") is not None and (kind == "HEIC" or bool(features.check("avif")))


def _boxed(brand: bytes) -> str:
    if brand in (b"avif", b"avis"):
        return "AVIF"
    if brand in _HEIC_BRANDS:
        return "HEIC"
    raise BadPicture("is a video, not supported: save single frames as JPEG or PNG")

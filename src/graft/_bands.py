"""TIFF pictures of more than three bands, and the depth of 16-bit ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

from PIL import Image, TiffImagePlugin

from graft._formats import BadPicture
from graft.errors import need

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEPTHS = (255, 1023, 4095, 16383, 65535)
"""What white may be in a file of 16 bits: 8, 10, 12, 14 or all of them are used."""
FLOAT = "has float pixels: scale them from their range to 0..255 and save as 8-bit"
_SAMPLES, _PHOTOMETRIC, _EXTRA = 277, 262, 338  # tags of TIFF 6.0


def depth_of(highest: int) -> int:
    """Return the smallest of DEPTHS that covers a value of at most 65535."""
    return next(d for d in DEPTHS if highest <= d)


def eight_bit(values: NDArray[Any], white: int | None) -> tuple[NDArray[np.uint8], int | None]:
    """(uint8 of the same shape, own depth): integers up to 65535 so that `white` becomes 255, larger ones clipped.

    Without `white` the array's own depth is taken. uint8 stays as it is, and has no depth.
    Raises BadPicture for floats, and for integers outside 0..65535.
    """
    import numpy as np

    if values.dtype == np.uint8:
        return values, None
    if not np.issubdtype(values.dtype, np.integer):
        raise BadPicture(FLOAT if np.issubdtype(values.dtype, np.floating) else f"has {values.dtype} pixels")
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise BadPicture(f"has pixels from {low} to {high}: scale them to 0..65535 or 0..255")
    own = depth_of(high)
    top = white or own
    scaled = (np.minimum(values, top).astype(np.uint32) * 255 + top // 2) // top
    return scaled.astype(np.uint8), own


def many(file: BinaryIO) -> int:
    """How many bands an open TIFF file's first page has, where Pillow would drop or refuse some; else 0.

    Grey, RGB, transparency and CMYK are Pillow's. The file's position is where it was.
    """
    start = file.tell()
    try:
        head = file.read(8)
        head += file.read(8) if head[2:3] in (b"+",) or head[3:4] in (b"+",) else b""  # BigTIFF
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
        samples, kind = int(tags.get(_SAMPLES, 1)), int(tags.get(_PHOTOMETRIC, 1))
        extra = tuple(tags.get(_EXTRA, ()))
    except Exception:  # damaged: what is wrong with it is said where it is decoded
        return 0
    finally:
        file.seek(start)
    see_through = kind == 2 and samples == 4 and extra in ((), (1,), (2,))
    return samples if kind in (0, 1, 2) and samples > 3 and not see_through else 0


def read(file: BinaryIO, frame: int, cap: int) -> tuple[NDArray[Any], int]:
    """(pixels [height, width, bands] of one page as they are stored, number of pages) of an open TIFF file.

    Raises BadPicture for more than `cap` values, a page that is not there, damage or a compression that
    needs another package, SetupError where tifffile is not installed.
    """
    tifffile = need("tifffile", "bands")
    import numpy as np

    try:
        with tifffile.TiffFile(file) as tiff:
            pages = len(tiff.pages)
            page = tiff.pages[frame]
            size = page.imagewidth * page.imagelength * page.samplesperpixel
            if size > cap:
                raise BadPicture(f"{page.imagewidth}x{page.imagelength}x{page.samplesperpixel} is over the cap")
            array = page.asarray()
            axes = page.axes
    except BadPicture:
        raise
    except Exception as e:
        wants = "imagecodecs" in str(e)
        raise BadPicture("compressed TIFF: pip install imagecodecs" if wants else f"damaged: {e}") from e
    if axes not in ("YXS", "SYX") or array.ndim != 3 or 0 in array.shape:
        raise BadPicture(f"is a TIFF with the axes {axes}: rows, columns and bands are expected")
    return (np.moveaxis(array, 0, -1) if axes == "SYX" else array), pages


def preview(bands: NDArray[np.uint8]) -> Image.Image:
    """The first three bands as an RGB picture, for people and for hashes."""
    import numpy as np

    return Image.fromarray(np.ascontiguousarray(bands[..., :3]))

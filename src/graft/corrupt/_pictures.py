"""What a camera, the light or a codec does to a picture, at five strengths.

Every function takes x, float32 [height, width, channels] between 0 and 1, the strength (1 to 5), a generator and
`unit`, the pixels of x that stand for one pixel of an input of 224; it returns values that `changed` clips. The
numbers are those of ImageNet-C, which were set for 224 pixels (Hendrycks and Dietterich 2019, section 3); those of
motion blur are our own.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from graft.errors import DataError

Values = NDArray[np.float32]
Function = Callable[[Values, int, np.random.Generator, float], Values]

MOST_RATIO = 3
"""Of the longer side to the shorter; of a longer picture the middle is taken, which is all that a model sees."""
_GAP = 3.0  # as the models' own resize has it


def noise(x: Values, strength: int, draw: np.random.Generator, unit: float) -> Values:
    """Gaussian noise, of each value its own: what a sensor does in low light."""
    sd = (0.08, 0.12, 0.18, 0.26, 0.38)[strength - 1]
    return x + np.float32(sd) * draw.standard_normal(x.shape, dtype=np.float32)


def shot_noise(x: Values, strength: int, draw: np.random.Generator, unit: float) -> Values:
    """Poisson noise: so few photons that their number varies."""
    photons = (60, 25, 12, 5, 3)[strength - 1]
    return (draw.poisson(x * photons) / photons).astype(np.float32)


def blur(x: Values, strength: int, draw: np.random.Generator, unit: float) -> Values:
    """Gaussian blur."""
    from scipy.ndimage import gaussian_filter

    sd = (1, 2, 3, 4, 6)[strength - 1] * unit
    blurred: Values = gaussian_filter(x, (sd, sd, 0))
    return blurred


def defocus(x: Values, strength: int, draw: np.random.Generator, unit: float) -> Values:
    """A lens out of focus: every point becomes a disc."""
    radius = (3, 4, 6, 8, 10)[strength - 1] * unit
    reach = math.ceil(radius)
    along = np.arange(-reach, reach + 1)
    disc = np.clip(radius + 0.5 - np.hypot(along[:, None], along[None, :]), 0, 1)  # its edge shares its pixels
    return _spread(x, disc)


def motion_blur(x: Values, strength: int, draw: np.random.Generator, unit: float) -> Values:
    """A camera that moves: every point becomes a line, in one direction for the whole picture."""
    length, angle = (6, 10, 16, 22, 28)[strength - 1] * unit, draw.uniform(0, math.pi)
    reach = math.ceil(length / 2)
    along = np.arange(-reach, reach + 1)
    down, right = along[:, None], along[None, :]
    forward = right * math.cos(angle) + down * math.sin(angle)
    aside = down * math.cos(angle) - right * math.sin(angle)
    line = np.clip(length / 2 + 0.5 - abs(forward), 0, 1) * np.clip(1 - abs(aside), 0, 1)
    return _spread(x, line)


def jpeg(x: Values, strength: int, draw: np.random.Generator, unit: float) -> Values:
    """JPEG at low quality, in eight bits; bands other than RGB each for itself."""
    quality = (25, 18, 15, 10, 7)[strength - 1]
    eight = np.round(255 * x).astype(np.uint8)
    if eight.shape[2] == 3:
        coded = _coded(eight, quality)
    else:
        bands = (np.ascontiguousarray(eight[:, :, c]) for c in range(eight.shape[2]))
        coded = np.stack([_coded(band, quality) for band in bands], axis=2)
    return coded.astype(np.float32) / np.float32(255)


def contrast(x: Values, strength: int, draw: np.random.Generator, unit: float) -> Values:
    """Less contrast: every channel nearer to its mean."""
    left = (0.4, 0.3, 0.2, 0.1, 0.05)[strength - 1]
    mean = x.mean(axis=(0, 1), keepdims=True)
    faded: Values = (x - mean) * np.float32(left) + mean
    return faded


def brightness(x: Values, strength: int, draw: np.random.Generator, unit: float) -> Values:
    """Lighter: the largest channel of each pixel is raised, and the others with it, so that colours stay."""
    more = np.float32((0.1, 0.2, 0.3, 0.4, 0.5)[strength - 1])
    top = x.max(axis=2, keepdims=True)
    lit: Values = np.where(top > 0, x * (np.minimum(top + more, 1) / np.maximum(top, 1e-6)), more)
    return lit


def _spread(x: Values, kernel: NDArray[Any]) -> Values:
    """x under a kernel of odd sides that is made to sum to 1; at the edges the picture is mirrored."""
    from scipy.fft import irfft2, next_fast_len, rfft2  # scipy.signal would take a second to import

    (high, broad), (height, width) = kernel.shape, x.shape[:2]
    wide = np.pad(x, ((high // 2,) * 2, (broad // 2,) * 2, (0, 0)), mode="symmetric")
    sides = (next_fast_len(wide.shape[0], real=True), next_fast_len(wide.shape[1], real=True))
    share = rfft2((kernel / kernel.sum()).astype(np.float32), sides)[:, :, None]
    spread: Values = irfft2(rfft2(wide, sides, axes=(0, 1)) * share, sides, axes=(0, 1))
    # What wraps around lies in the first rows and columns, outside of the picture.
    return spread[high - 1 : high - 1 + height, broad - 1 : broad - 1 + width]


def _coded(pixels: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


# ------------------------------------------------------------------------------------- the wrapping


def changed(picture: Any, function: Function, strength: int, draw: np.random.Generator, unit: float) -> Any:
    """A picture under a function, of the same kind, mode, size and type. Raises DataError for what is no picture.

    Pillow pictures L, RGB and I;16 stay what they are, the alpha of LA and RGBA is left alone, other modes become
    RGB. Arrays [h, w] or [h, w, channels] are uint8, uint16, or floats between 0 and 1.
    """
    if not isinstance(picture, Image.Image):
        return _changed_array(picture, function, strength, draw, unit)
    if picture.mode.startswith("I;16"):
        pixels = np.asarray(picture).astype(np.uint16)
        return Image.fromarray(_changed_array(pixels, function, strength, draw, unit))
    if picture.mode in ("LA", "RGBA"):
        colours = picture.convert("L" if picture.mode == "LA" else "RGB")
        found = changed(colours, function, strength, draw, unit)
        found.putalpha(picture.getchannel("A"))
        return found
    plain = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
    return Image.fromarray(_changed_array(np.asarray(plain), function, strength, draw, unit))


def _changed_array(
    array: Any, function: Function, strength: int, draw: np.random.Generator, unit: float
) -> NDArray[Any]:
    if not isinstance(array, np.ndarray) or array.ndim not in (2, 3) or array.size == 0:
        raise DataError(f"a picture is expected, or an array [height, width] or with channels; got {_kind(array)}")
    white = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}.get(str(array.dtype))
    if white is None:
        raise DataError(f"a picture of {array.dtype} cannot be corrupted: give uint8, uint16, or floats of 0 to 1")
    x = (array.astype(np.float32) / np.float32(white)).reshape(*array.shape[:2], -1)
    out = np.clip(function(x, strength, draw, unit), 0, 1).reshape(array.shape) * np.float64(white)
    return (out if white == 1 else np.round(out)).astype(array.dtype)


def _kind(array: Any) -> str:
    return f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__


def scaled(picture: Any, shorter: int, interpolation: str) -> Any:
    """A picture with its shorter side at `shorter` pixels: what the model would make of it before it cuts.

    So corruptions of large and small pictures compare, and the model's own resize has nothing left to do.
    """
    kind = Image.Resampling[interpolation.upper()]
    if isinstance(picture, Image.Image):
        return _sized(picture.crop(_middle(*picture.size)), shorter, kind)
    height, width = picture.shape[:2]
    left, top, right, bottom = _middle(width, height)
    array = picture[top:bottom, left:right]
    if array.ndim == 2:
        return _sized_band(array, shorter, kind)
    return np.stack([_sized_band(array[:, :, c], shorter, kind) for c in range(array.shape[2])], axis=2)


def _sized(picture: Image.Image, shorter: int, kind: Image.Resampling) -> Image.Image:
    scale = shorter / min(picture.size)
    width, height = (max(shorter, round(side * scale)) for side in picture.size)
    return picture.resize((width, height), kind, reducing_gap=_GAP)


def _sized_band(band: NDArray[Any], shorter: int, kind: Image.Resampling) -> NDArray[Any]:
    plain = np.ascontiguousarray(band if band.dtype == np.uint8 else band.astype(np.float32))
    sized = np.asarray(_sized(Image.fromarray(plain), shorter, kind))
    if band.dtype == np.uint16:
        sized = np.round(np.clip(sized, 0, 65535))
    return sized.astype(band.dtype)


def _middle(width: int, height: int) -> tuple[int, int, int, int]:
    """The box of the middle of a picture, where one side is many times the other; else all of it."""
    most = MOST_RATIO * min(width, height)
    left, top = max(0, (width - most) // 2), max(0, (height - most) // 2)
    return left, top, width - left, height - top

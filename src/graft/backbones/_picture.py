"""Pictures into tensors, the same way in training, evaluation and serving."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from graft.errors import DataError
from graft.model import Encoded

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}
_GAP = 3.0  # a picture over this many times its target is first averaged down by whole steps, which is much faster


@dataclass(frozen=True)
class Preprocess:
    """Shorter side to size / crop, centre crop of size x size, scaled to 0..1, then (x - mean) / std.

    `mean` and `std` have an entry for each channel, and so decide how many channels a picture must have.
    """

    size: int
    crop: float = 0.875
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def shorter(self, size: int | None = None) -> int:
        """Pixels of the shorter side that a picture is resized to, for an input of `size` (None: the usual one)."""
        return int((size or self.size) / self.crop)

    def __call__(self, picture: Image.Image | NDArray[np.uint8], size: int | None = None) -> Encoded:
        """A picture to float [channels, size, size]; `where` says input = scale x picture - (left, top).

        It is an RGB picture of Pillow, or uint8 [h, w, channels] or [h, w]. Grey becomes RGB and RGB grey where
        three channels or one are expected. The result lies in memory as [size, size, channels], as `stack`
        wants it. Raises DataError for any other number of channels.
        """
        side, bands = size or self.size, _bands(picture, len(self.mean))
        width, height = bands[0].size
        target = self.shorter(size)
        scale = target / min(width, height)
        new = (max(side, round(width * scale)), max(side, round(height * scale)))
        left, top = (new[0] - side) // 2, (new[1] - side) // 2
        box = (left, top, left + side, top + side)
        kind = _FILTERS[self.interpolation]
        cut = [np.asarray(b.resize(new, kind, reducing_gap=_GAP).crop(box)) for b in bands]
        pixels = cut[0] if len(cut) == 1 else np.stack(cut, axis=2)
        x = _normalised(pixels, self.mean, self.std)
        return Encoded(x, {"scale": (new[0] / width, new[1] / height), "left": left, "top": top, "size": side})

    def describe(self) -> dict[str, Any]:
        return asdict(self)


def _bands(picture: Image.Image | NDArray[np.uint8], channels: int) -> list[Image.Image]:
    """Pillow pictures that together have the channels: one of mode RGB or L, else one of mode L for each."""
    if isinstance(picture, np.ndarray):
        found = 1 if picture.ndim == 2 else picture.shape[2]
        if found == channels and found not in (1, 3):
            return [Image.fromarray(np.ascontiguousarray(picture[:, :, c])) for c in range(found)]
        if found not in (1, 3):
            raise _wrong(found, channels)
        picture = Image.fromarray(np.ascontiguousarray(picture.squeeze(2) if picture.shape[2:] == (1,) else picture))
    if channels not in (1, 3):
        raise _wrong(len(picture.getbands()), channels)
    mode = "RGB" if channels == 3 else "L"
    return [picture if picture.mode == mode else picture.convert(mode)]


def _wrong(found: int, channels: int) -> DataError:
    return DataError(
        f"a picture of {found} channels was given, and this backbone takes {channels}: give pictures of {channels} "
        "channels, or run `graft fit` on these anew, which adapts the backbone to them"
    )


def _normalised(pixels: NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """uint8 [side, side, c] or [side, side] to (x / 255 - mean) / std, float [c, side, side] with channels last."""
    side, channels = pixels.shape[1], len(mean)
    scale, shift = _lines(side, mean, std)
    # numpy, not torch: this runs in threads that decode, and torch would start a team of threads in each of them.
    values = pixels.reshape(len(pixels), side * channels).astype(np.float32)
    values *= scale
    values += shift
    return torch.from_numpy(values.reshape(len(pixels), side, channels)).permute(2, 0, 1)


@lru_cache(maxsize=32)
def _lines(
    side: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(scale, shift) for a line of pixels, [side * c]: loops over so few channels as three would be slow."""
    m, s = np.asarray(mean, dtype=np.float64), np.asarray(std, dtype=np.float64)
    return np.tile(1 / (255 * s), side).astype(np.float32), np.tile(-m / s, side).astype(np.float32)


def preprocess(raw: dict[str, Any]) -> Preprocess:
    """From plain values; lists become tuples."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list | tuple) else v for k, v in raw.items()}
    return Preprocess(**values)


def from_timm(config: dict[str, Any]) -> Preprocess:
    """From a timm `pretrained_cfg` or a card's `preprocessing`."""
    chosen = config.get("interpolation", "bicubic")
    return Preprocess(
        size=int(config.get("input_size", (3, 224, 224))[-1]),
        crop=float(config.get("crop_pct") or 0.875),
        mean=tuple(config.get("mean", (0.485, 0.456, 0.406))),
        std=tuple(config.get("std", (0.229, 0.224, 0.225))),
        interpolation=chosen if chosen in _FILTERS else "bicubic",
    )


def from_transformers(config: dict[str, Any]) -> Preprocess:
    """From a `preprocessor_config.json`: shortest edge and centre crop, or a plain square."""
    size = config.get("size", 224)
    square = size if isinstance(size, int) else size.get("shortest_edge") or size.get("height") or 224
    crop = config.get("crop_size") or square
    side = crop if isinstance(crop, int) else crop.get("height", square)
    side = side if config.get("do_center_crop") else square
    names = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
    plain = not config.get("do_normalize", True)
    return Preprocess(
        size=int(side),
        crop=min(1.0, side / square),
        mean=(0.0, 0.0, 0.0) if plain else tuple(config.get("image_mean", (0.5, 0.5, 0.5))),
        std=(1.0, 1.0, 1.0) if plain else tuple(config.get("image_std", (0.5, 0.5, 0.5))),
        interpolation=names.get(config.get("resample", 2), "bilinear"),
    )


def stack(xs: list[torch.Tensor]) -> torch.Tensor:
    """Pictures [c, h, w] of one size to [b, c, h, w], laid out channels last, which convolutions are quickest on.

    What `Preprocess` made lies in that order already, so that this copies whole blocks.
    """
    return torch.stack([x.permute(1, 2, 0) for x in xs]).permute(0, 3, 1, 2)

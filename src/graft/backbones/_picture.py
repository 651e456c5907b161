"""Pictures into tensors, the same way in training, evaluation and serving."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from graft.model import Encoded

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


@dataclass(frozen=True)
class Preprocess:
    """Shorter side to size / crop, centre crop of size x size, scaled to 0..1, then (x - mean) / std."""

    size: int
    crop: float = 0.875
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    interpolation: str = "bilinear"

    def __call__(self, picture: Image.Image, size: int | None = None) -> Encoded:
        """An RGB picture to [3, size, size]; `where` says input = scale x picture - (left, top)."""
        side = size or self.size
        width, height = picture.size
        target = int(side / self.crop)
        scale = target / min(width, height)
        new = (max(side, round(width * scale)), max(side, round(height * scale)))
        resized = picture.resize(new, _FILTERS[self.interpolation], reducing_gap=3.0)
        left, top = (new[0] - side) // 2, (new[1] - side) // 2
        array = np.asarray(resized.crop((left, top, left + side, top + side)), dtype=np.float32)
        x = torch.from_numpy(array.transpose(2, 0, 1).copy()) / 255.0
        x = (x - torch.tensor(self.mean).view(-1, 1, 1)) / torch.tensor(self.std).view(-1, 1, 1)
        return Encoded(x, {"scale": (new[0] / width, new[1] / height), "left": left, "top": top, "size": side})

    def describe(self) -> dict[str, Any]:
        return asdict(self)


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
    """Pictures of one size to [b, 3, h, w], laid out channels last, which convolutions are quickest on."""
    return torch.stack(xs).contiguous(memory_format=torch.channels_last)

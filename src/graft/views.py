"""Weak and strong views of a picture or a text; a view moves x and y together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft._picturefile import Altered, PictureFile
from graft.data import Boxes, Sample
from graft.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

NAMES = ("none", "weak", "strong")


def check(spec: str) -> None:
    """Refuse a view that does not exist; raises UsageError."""
    name = parts(spec)[0]
    if name not in NAMES:
        raise UsageError(f"there is no view {name!r}.{did_you_mean(name, NAMES)}")


def parts(spec: str) -> tuple[str, int | None]:
    """Split `strong:96` into the view's name and the input size it asks for (None: the backbone's own)."""
    name, _, size = spec.partition(":")
    if size and not size.isdigit():
        raise UsageError(f"view {spec!r}: write NAME or NAME:SIZE, the size in pixels")
    return name, int(size) if size else None


def view(sample: Sample, spec: str, rng: np.random.Generator) -> Sample:
    """Return the sample with x opened and varied, and y moved with it; pure in (sample, spec, rng).

    `none` only opens. Pictures: crop, flip, and for `strong` colour and a hole; boxes and a mask (a
    picture as y) move along. Texts: `strong` drops words, and from a y of one entry a word the same
    entries. Anything else is handed on as it is.
    """
    check(spec)
    name = parts(spec)[0]
    x = opened(sample.x)
    if name == "none":
        return replace(sample, x=x)
    if isinstance(x, str):
        return _drop_words(replace(sample, x=x), rng) if name == "strong" else replace(sample, x=x)
    if _is_picture(x):
        return _vary_picture(replace(sample, x=x), name, rng)
    return replace(sample, x=x)


def opened(x: Any, want: int | None = None) -> Any:
    """Decode x where it is a file of a picture; everything else is ready.

    A path, or a PictureFile of three channels, becomes an RGB picture; one of more channels a uint8 array
    [height, width, channels]; an Altered is opened, then changed. `want` lets large JPEGs be decoded small: see
    `graft.pictures.open_picture`.
    Raises BadPicture where the file cannot be read.
    """
    if isinstance(x, Path):
        from graft.pictures import open_picture

        return open_picture(x, want)
    if isinstance(x, PictureFile):
        from graft.pictures import open_bands

        return open_bands(x, want)
    if isinstance(x, Altered):
        return x.change(opened(x.source, x.want))
    return x


def _is_picture(x: Any) -> bool:
    import sys

    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(x, module.Image)


# ---------------------------------------------------------------------------------------- pictures


def _vary_picture(sample: Sample, name: str, rng: np.random.Generator) -> Sample:
    scale = (0.5, 1.0) if name == "weak" else (0.2, 1.0)
    picture: Image.Image = sample.x
    left, top, width, height = _random_crop(picture.size, scale, rng)
    flip = bool(rng.random() < 0.5)
    y = sample.y
    if isinstance(y, Boxes):
        y = _move_boxes(y, left, top, width, height, flip)
    elif _is_picture(y):
        y = _cut(y, left, top, width, height, flip)
    picture = _cut(picture, left, top, width, height, flip)
    if name == "strong":
        picture = _hole(_colours(picture, rng), rng)
    return replace(sample, x=picture, y=y)


def _cut(picture: Image.Image, left: int, top: int, width: int, height: int, flip: bool) -> Image.Image:
    from PIL import ImageOps

    picture = picture.crop((left, top, left + width, top + height))
    return ImageOps.mirror(picture) if flip else picture


def _random_crop(
    size: tuple[int, int], scale: tuple[float, float], rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """(left, top, width, height) of a crop of `scale` of the area and of a ratio between 3:4 and 4:3."""
    width, height = size
    area = rng.uniform(*scale) * width * height
    ratio = float(rng.uniform(0.75, 4 / 3))
    w = max(1, min(width, round((area * ratio) ** 0.5)))
    h = max(1, min(height, round((area / ratio) ** 0.5)))
    return int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1)), w, h


def _colours(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    from PIL import ImageEnhance

    for kind in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = kind(picture).enhance(float(rng.uniform(0.5, 1.5)))
    return picture.convert("L").convert("RGB") if rng.random() < 0.1 else picture


def _hole(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = picture.size
    w, h = max(1, width // 4), max(1, height // 4)
    left, top = int(rng.integers(0, width - w + 1)), int(rng.integers(0, height - h + 1))
    picture = picture.copy()
    picture.paste((128, 128, 128), (left, top, left + w, top + h))
    return picture


def _move_boxes(boxes: Boxes, left: int, top: int, width: int, height: int, flip: bool) -> Boxes:
    """Shift, clip and mirror boxes with the picture; those of which less than a pixel is left go."""
    import torch

    xyxy = boxes.xyxy - torch.tensor([left, top, left, top], dtype=boxes.xyxy.dtype)
    xyxy = torch.minimum(xyxy.clamp_min(0), xyxy.new_tensor([width, height, width, height]))
    if flip:
        xyxy = torch.stack([width - xyxy[:, 2], xyxy[:, 1], width - xyxy[:, 0], xyxy[:, 3]], dim=1)
    kept = ((xyxy[:, 2] - xyxy[:, 0]) >= 1) & ((xyxy[:, 3] - xyxy[:, 1]) >= 1)
    return Boxes(xyxy[kept], boxes.labels[kept])


# ------------------------------------------------------------------------------------------- texts


def _drop_words(sample: Sample, rng: np.random.Generator) -> Sample:
    """Drop a tenth of the words, never all (word dropout; Wei and Zou 2019, "EDA", section 2)."""
    words = sample.x.split()
    kept = [i for i in range(len(words)) if rng.random() >= 0.1] or list(range(len(words)))
    y = sample.y
    if isinstance(y, list | tuple) and len(y) == len(words):
        y = type(y)(y[i] for i in kept)
    return replace(sample, x=" ".join(words[i] for i in kept), y=y)

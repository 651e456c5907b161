"""Outliers: samples whose features lie far from all others, pictures of one colour, texts without a letter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from graft._formats import BadPicture
from graft.data import Sample, split_key
from graft.errors import some
from graft.findings import Finding, Item
from graft.pictures import PictureFile, open_picture
from graft.seeds import rng

FEWEST = 50  # training samples; below, nothing is said of distances
NEIGHBOURS = 5
DIMENSIONS = 64  # principal ones of the standardised features; in more, all distances grow alike
REFERENCE = 5_000  # training samples that distances are taken to
FAR = 5.0  # robust standard deviations of the logarithm of the distance
PLAIN_BYTES = 0.2  # bytes a pixel, above which a compressed file holds more than one colour
_FLAT = 3  # grey levels between the darkest and the lightest pixel of a blank picture
_SIDE = 64  # pixels


def found(parts: Mapping[str, Sequence[Sample]], looks: Mapping[str, torch.Tensor]) -> list[Finding]:
    """Up to two findings `outlier`: samples without content, and samples far from everything else.

    Without content are pictures of one colour and texts of one character or without a letter. Far is a sample
    whose mean distance to its NEIGHBOURS nearest training samples (Ramaswamy, Rastogi and Shim 2000, without its
    copies and group), in the DIMENSIONS principal components of the pooled features `looks` [n, d] of each part,
    is FAR robust standard deviations above the median in logarithms. Clean data have hardly any.
    """
    empty = {(name, i) for name, part in parts.items() for i, s in enumerate(part) if _is_empty(s.x)}
    findings = [_empty(parts, sorted(empty))] if empty else []
    far = [f for f in _far(parts, looks) if (f[1], f[2]) not in empty]
    return [*findings, _distant(parts, far)] if far else findings


def _is_empty(x: Any) -> bool:
    if isinstance(x, str):
        return len(x.strip()) < 2 or not any(c.isalpha() for c in x)
    return _is_blank(x)


def _is_blank(x: Any) -> bool:
    """Whether all pixels are equal, but for a few levels of noise; a file is decoded only where its size allows it."""
    source = x.source if isinstance(x, PictureFile) else x
    try:
        if not isinstance(source, np.ndarray | Image.Image | bytes):
            with source.open("rb") as file:
                head = file.read(2)
            size = source.stat().st_size
            from PIL import Image as pillow

            with pillow.open(source, formats=("JPEG", "PNG", "WEBP", "GIF")) if head else source.open("rb") as shown:
                if isinstance(shown, Image.Image) and size > PLAIN_BYTES * shown.width * shown.height + 4096:
                    return False
        picture = open_picture(x, want=_SIDE)
    except (BadPicture, OSError, ValueError, SyntaxError):
        return False
    return all(high - low <= _FLAT for low, high in _extremes(picture))


def _extremes(picture: Image.Image) -> Sequence[tuple[int, int]]:
    return [(int(low), int(high)) for low, high in picture.getextrema()]  # type: ignore[misc]

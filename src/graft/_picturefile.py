"""A picture that is not decoded by default: which page, which white, how many channels. Needs no Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class PictureFile:
    """Where a picture's bytes are, and what the data set says about decoding them.

    `source` is a path, a file's bytes, a Pillow picture or an array [height, width] or [height, width, channels];
    `white` is the value of 16-bit pictures that becomes 255 (None: there is none to scale); `frame` counts pages from
    0; `channels` is 3 for everything that Pillow turns into RGB, else the number of bands that must be found.
    """

    source: Any
    white: int | None = None
    frame: int = 0
    channels: int = 3

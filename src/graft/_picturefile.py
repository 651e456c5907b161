"""A picture that is not decoded yet: which page, which white, how many channels, what changes it. Needs no Pillow."""

from __future__ import annotations

from collections.abc import Callable
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


@dataclass(frozen=True, eq=False)
class Altered:
    """A picture that is changed each time it is opened, so that many of them take no memory.

    `change` gets what `views.opened(source, want)` gives, and returns a picture of that kind; `want` is the shorter
    side, in pixels, that it needs at least (None: all).
    """

    source: Any
    change: Callable[[Any], Any]
    want: int | None = None

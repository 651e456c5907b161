"""Near copies of pictures by their difference hash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_CELLS = 4_000_000  # pairs compared at a time: 32 MB of 64-bit differences
_VISIBLE = 2  # grey levels between neighbours that are more than noise
# Of 64 comparisons, how many must be of something visible. On the 2,533 pictures of Office-Caltech, many of them on
# white, 24 leave out 29 that are almost blank.
_ENOUGH = 24


def dhash(image: Image.Image) -> int:
    """Return the 64-bit difference hash: is each cell of a 9 x 8 grey thumbnail darker than its right neighbour?

    N. Krawetz, "Kind of Like That" (The Hacker Factor Blog, January 2013). The first row is in the highest bits.
    """
    return _bits(thumbnail(image))


def hash_or_blank(image: Image.Image) -> int | None:
    """Return the hash, or None where fewer than 24 of the 64 comparisons see anything.

    Blank pages and small things on white share a hash, and are no copies of each other.
    """
    import numpy as np

    small = thumbnail(image)
    seen = int((np.abs(small[:, 1:] - small[:, :-1]) >= _VISIBLE).sum())
    return _bits(small) if seen >= _ENOUGH else None


def near(
    hashes_a: Mapping[str, int | None], hashes_b: Mapping[str, int | None], most: int = 3
) -> list[tuple[str, str, int]]:
    """For each id of the first whose hash lies near one of the second: (id, nearest id of the second, distance).

    The distance is the number of bits, at most `most` of 64, that differ; of several equally near ones the first is
    named. Ids without a hash are left out, and an id is never a copy of itself, so `near(h, h)` finds copies inside
    one part. All pairs are compared, four million at a time, so time goes with the product (5e8 pairs: seconds).
    """
    import numpy as np

    names_a, a = _known(hashes_a)
    names_b, b = _known(hashes_b)
    if not names_a or not names_b:
        return []
    place = {name: j for j, name in enumerate(names_b)}
    found: list[tuple[str, str, int]] = []
    rows = max(1, _CELLS // len(b))
    for start in range(0, len(a), rows):
        distance = np.bitwise_count(a[start : start + rows, None] ^ b[None, :])  # uint8 [rows, len(b)]
        for row, name in enumerate(names_a[start : start + rows]):
            if name in place:
                distance[row, place[name]] = 255
        closest = distance.min(axis=1)
        for i in np.flatnonzero(closest <= most).tolist():
            found.append((names_a[start + i], names_b[distance[i].argmin()], int(closest[i])))
    return found


def thumbnail(image: Image.Image) -> NDArray[np.int16]:
    """A 9 x 8 thumbnail in grey, int16 [8, 9]; the shape of the picture is ignored."""
    import numpy as np

    # A box filter, or a coarser reduction before it, weighs cells unevenly: of 60 photographs enlarged 1.7 times it
    # left 37 % within 3 bits of the original, this leaves all.
    small = image.resize((9, 8), Image.Resampling.BILINEAR, reducing_gap=8.0).convert("L")
    return np.asarray(small).astype(np.int16)


def _bits(small: NDArray[np.int16]) -> int:
    import numpy as np

    return int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), "big")


def _known(hashes: Mapping[str, int | None]) -> tuple[list[str], NDArray[np.uint64]]:
    import numpy as np

    listed = [(name, h) for name, h in hashes.items() if h is not None]
    return [name for name, _ in listed], np.array([h for _, h in listed], dtype=np.uint64)

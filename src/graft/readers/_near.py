"""Pictures that look nearly the same on two sides of a split (row 14 of the faults)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from graft._dhash import near
from graft.data import Note, Parts, Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEAR = 2  # of 64 bits by which two hashes may differ; at 3, smooth backgrounds begin to look alike
# Correlation of two 32 x 32 thumbnails from which they show one picture. Of 120 photographs and scans resized, blurred,
# lightened or saved badly all are above 0.97 of their originals; of 2,266 pairs of different chest X-rays and brain
# scans with hashes within 2 bits none is above 0.93.
ALIKE = 0.95
SIDE = 32  # pixels of a thumbnail
MOST_PAIRS = 500_000_000  # of hashes compared for each two parts: seconds
MOST_OPENED = 500  # pairs whose pictures are opened and compared
_SIDES = (("train", "test"), ("train", "valid"), ("valid", "test"))


def across(parts: Parts, hashes: Mapping[str, int | None]) -> list[Note]:
    """A warning that names pictures of two parts that look nearly the same, or none.

    Difference hashes within NEAR bits make candidates, whose thumbnails must then correlate by ALIKE. `hashes` are by
    sample id, None for pictures that show too little. Exact copies are told elsewhere. Above MOST_PAIRS and MOST_OPENED
    a part of the pairs is looked at, evenly spaced, and the warning says so.
    """
    if not hashes or "all" in parts:
        return []
    of = {s.id: s for part in parts.values() for s in part}
    found: list[tuple[str, str]] = []
    partly = False
    for early, late in _SIDES:
        a, b = ({s.id: hashes[s.id] for s in parts.get(p, ()) if s.id in hashes} for p in (early, late))
        every = 1 + len(a) * len(b) // MOST_PAIRS
        partly |= every > 1
        some = dict(list(b.items())[::every])
        found += [(x, y) for x, y, _ in near(a, some, NEAR) if of[x].digest != of[y].digest]
    every = 1 + len(found) // MOST_OPENED
    seen: dict[str, NDArray[np.float32] | None] = {}
    pairs = tuple(f"{x} ~ {y}" for x, y in found[::every] if _alike(of[x], of[y], seen))
    if not pairs:
        return []
    of_some = " among those looked at" if partly or every > 1 else ""
    said = f"{len(pairs)} pairs of pictures in two parts look nearly the same{of_some}; if they show one thing, give "
    return [Note("warning", f"{said}--group", pairs)]


def _alike(a: Sample, b: Sample, seen: dict[str, NDArray[np.float32] | None]) -> bool:
    x, y = (seen[s.id] if s.id in seen else seen.setdefault(s.id, _thumbnail(s)) for s in (a, b))
    return x is not None and y is not None and float((x * y).sum()) >= ALIKE


def _thumbnail(sample: Sample) -> NDArray[np.float32] | None:
    """A grey thumbnail [side, side] of mean 0 and length 1, so that light and contrast do not count."""
    import numpy as np
    from PIL import Image

    from graft.pictures import BadPicture, open_picture

    try:
        image = open_picture(sample.x, want=SIDE)
    except BadPicture:  # it was there a moment ago; whoever needs it next says so
        return None
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
    centred: NDArray[np.float32] = grey - grey.mean()
    centred /= max(float(np.linalg.norm(centred)), 1e-6)
    return centred

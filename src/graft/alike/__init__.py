"""Near copies: pictures and texts that show or say nearly the same, found without comparing all with all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from graft.alike import _pictures, _texts

if TYPE_CHECKING:
    import torch

SIDE = _pictures.SIDE

# Pictures. Of the pairs across the parts of flowers17 that are above 0.65, all above 0.9 are copies (other crops, with
# a frame or a mark) and all below 0.77 are two flowers of a kind. Of copies of photographs (hymenoptera, flowers17,
# cats_dogs), saved badly, halved, cropped by 5 % and recoloured, none is below 0.82.
PICTURES = 0.78
# Where all pictures are alike (scans of one organ, digits), the nearer to equality the more alike they are.
_ROOM = 0.6
# What features add: at most so much for copies, and as much less for pictures that are further apart than usual.
_FEATURES = 0.2
_NEEDED = 0.05
# Texts: the likeness from which hashes alone decide, and the sum of it and half of the cosine from which both do.
TEXTS, TEXTS_WITH = 0.6, 0.8
_USUAL_ROWS = 2000  # of features, whose neighbours are looked at to know what is usual


@dataclass(frozen=True)
class Near:
    """Pairs of rows a < b that may be near copies, by hashes alone, and how alike (0 to 1) these say they are.

    `usual` is the likeness that a pair has without being copies: for each pair, the larger of what is usual in these
    data and around its two pictures. Texts have none: their likeness counts by rarity already.
    """

    modality: str
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    like: NDArray[np.float32]
    usual: NDArray[np.float32] | None = None

    def copies(self, looks: torch.Tensor | None = None) -> NDArray[np.bool_]:
        """Which pairs [pairs] are near copies; `looks` are frozen features [n, d] of all rows, where there are any.

        Hashes alone decide from a fixed likeness on; with features more is found, and what looks apart is let go.
        """
        if self.modality == "text":
            if looks is None:
                return np.asarray(self.like >= TEXTS)
            return np.asarray(self.like + _cosine(_unit(looks), self.a, self.b) / 2 >= TEXTS_WITH)
        usually = np.zeros(len(self.a)) if self.usual is None else self.usual
        enough = np.maximum(PICTURES, 1 - _ROOM * (1 - usually) ** 2)
        if looks is None:
            return np.asarray(self.like >= enough)
        centred = _unit(looks - looks.mean(dim=0))
        usual = _usual_cosine(centred)
        apart = np.clip((_cosine(centred, self.a, self.b) - usual) / max(1 - usual, 1e-6), -1, 1)
        return np.asarray(self.like + _FEATURES * apart >= enough + _NEEDED)


def pictures(small: Sequence[bytes | None]) -> Near:
    """Pairs among pictures by their thumbnails (`graft.pictures.Look.small`); those without one are left out."""
    rows = np.array([i for i, s in enumerate(small) if s is not None], dtype=np.int64)
    raw = b"".join(s for s in small if s is not None)
    listed = np.frombuffer(raw, dtype=np.uint8).reshape(len(rows), SIDE, SIDE)
    a, b, like, usual = _pictures.candidates(listed)
    return Near("picture", rows[a], rows[b], like, usual)


def texts(written: Sequence[Any]) -> Near:
    """Pairs among texts."""
    a, b, like = _texts.candidates([str(t) for t in written])
    return Near("text", a, b, like)


def _unit(looks: torch.Tensor) -> torch.Tensor:
    import torch

    return torch.nn.functional.normalize(looks.float(), dim=1)


def _cosine(unit: torch.Tensor, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.float32]:
    import torch

    found: NDArray[np.float32] = (unit[torch.from_numpy(a)] * unit[torch.from_numpy(b)]).sum(dim=1).numpy()
    return found


def _usual_cosine(unit: torch.Tensor) -> float:
    """The median, over at most _USUAL_ROWS evenly spaced rows, of the cosine to the NEIGHBOURS-th nearest of them."""
    some = unit[:: max(1, len(unit) // _USUAL_ROWS)]
    k = min(_pictures.NEIGHBOURS + 1, len(some))  # each is its own nearest
    return float((some @ some.T).topk(k, dim=1).values[:, -1].median())

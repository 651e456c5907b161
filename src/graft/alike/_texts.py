"""Texts that say nearly the same: MinHash over shingles of characters makes candidates, their shared part decides."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from graft.seeds import rng

SHINGLE = 4
"""Characters of a shingle: a typo changes four of them, another word its length and three."""
BANDS, ROWS = 32, 3
"""Texts that share half of their shingles meet in a band with probability 0.99, those that share a fifth with 0.23."""
LEAST = 0.35
"""Likeness below which a pair is of no interest."""
CROWD = 60
"""Texts of one band's bucket above which each is paired with its neighbours there alone: boilerplate fills buckets."""
_PAIRS = 200_000  # compared at a time
_MARKS = re.compile(r"[\W_]+")  # everything between words

Rows = NDArray[np.int64]


def candidates(texts: Sequence[str]) -> tuple[Rows, Rows, NDArray[np.float32]]:
    """(a, b, likeness) of pairs of rows a < b of texts whose likeness is at least LEAST.

    The likeness is the share of shingles that both have (Jaccard), each counted by how rare it is among these texts
    (its inverse document frequency): questions that begin alike and ask for different things share common ones only.
    Case, punctuation and white space do not count. A. Broder, "On the resemblance and containment of documents"
    (1997), sections 3 and 4; signatures are cut into bands as in Leskovec, Rajaraman and Ullman, "Mining of Massive
    Datasets", section 3.4. Time and memory grow with the characters and with the pairs found, not with n squared.
    """
    none = np.zeros(0, dtype=np.int64)
    if len(texts) < 2:
        return none, none, np.zeros(0, dtype=np.float32)
    of, shingles = _shingles([plain(t) for t in texts])
    starts = np.searchsorted(of, np.arange(len(texts)))
    signature = _signature(shingles, starts)
    a, b = _meeting(signature)
    kept = _estimate(signature, a, b) >= LEAST - 0.15
    a, b = a[kept], b[kept]
    like = _jaccard(of, shingles, len(texts), a, b)
    good = like >= LEAST
    return a[good], b[good], like[good]


def plain(text: str) -> str:
    """A text as it is compared: compatible letters, no case, words alone with one blank between them.

    A text without a letter or a digit stays as it is but for its blanks.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    words = _MARKS.sub(" ", folded.replace("'", "").replace("’", "")).strip()
    return words or " ".join(folded.split())


def _shingles(texts: Sequence[str]) -> tuple[Rows, NDArray[np.uint32]]:
    """(row, hash) of every distinct shingle of every text, by row; blanks at both ends make short texts have some."""
    padded = [f" {t} ".ljust(SHINGLE) for t in texts]
    lengths = np.array([len(t) for t in padded])
    points = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    of = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
    last = len(points) - SHINGLE + 1
    hashed = np.zeros(last, dtype=np.uint64)
    for k in range(SHINGLE):
        hashed = hashed * np.uint64(0x9E3779B97F4A7C15) + points[k : k + last] + np.uint64(1)
    hashed = (hashed * np.uint64(0xBF58476D1CE4E5B9)) >> np.uint64(32)
    whole = of[:last] == of[SHINGLE - 1 :]  # does not run into the next text
    keys = _distinct((of[:last][whole] << np.uint64(32)) | hashed[whole])
    return (keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)


def _distinct(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Sorted, each once: several times as fast as `numpy.unique`, which hashes."""
    keys = np.sort(keys)
    return keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys


def _signature(shingles: NDArray[np.uint32], starts: Rows) -> NDArray[np.uint32]:
    """The least of each of BANDS * ROWS hashes over a text's shingles, uint32 [n, BANDS * ROWS].

    Each is the shingle's own hash under a mask and an odd factor: a bijection, so no two shingles fall together.
    """
    draw = rng("minhash")
    count = BANDS * ROWS
    factors = draw.integers(0, 2**31, count, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    masks = draw.integers(0, 2**32, count, dtype=np.uint32)
    found = np.empty((len(starts), count), dtype=np.uint32)
    mixed = np.empty_like(shingles)
    for k in range(count):
        np.bitwise_xor(shingles, masks[k], out=mixed)
        np.multiply(mixed, factors[k], out=mixed)  # modulo 2**32: an order of all hashes of its own
        found[:, k] = np.minimum.reduceat(mixed, starts)
    return found


def _meeting(signature: NDArray[np.uint32]) -> tuple[Rows, Rows]:
    """Pairs of rows that agree in all ROWS of a band, each once."""
    n = len(signature)
    found: list[NDArray[np.uint64]] = []
    for band in range(BANDS):
        part = signature[:, band * ROWS : (band + 1) * ROWS].astype(np.uint64)
        key = np.zeros(n, dtype=np.uint64)
        for column in range(ROWS):
            key = (key ^ part[:, column]) * np.uint64(0x9E3779B97F4A7C15)
        order = np.argsort(key, kind="stable")
        a, b = _neighbours(key[order])
        found.append((order[a].astype(np.uint64) << np.uint64(32)) | order[b].astype(np.uint64))
    keys = _distinct(np.concatenate(found))
    return (keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _neighbours(key: NDArray[np.uint64]) -> tuple[Rows, Rows]:
    """Places a < b of equal keys in a sorted array: all pairs of a bucket, in crowds those CROWD / 10 apart or less."""
    edges = np.flatnonzero(np.diff(key)) + 1
    starts = np.concatenate([[0], edges])
    sizes = np.diff(np.concatenate([starts, [len(key)]]))
    reach = np.where(sizes > CROWD, CROWD // 10, sizes - 1)
    ends = np.repeat(starts + sizes, sizes)  # of the bucket that a place lies in
    far = np.repeat(reach, sizes)
    at = np.arange(len(key))
    a, b = [], []
    for step in range(1, int(far.max(initial=0)) + 1):
        ok = at[(far >= step) & (at + step < ends)]
        a.append(ok)
        b.append(ok + step)
    empty = np.zeros(0, dtype=np.int64)
    return np.concatenate(a or [empty]), np.concatenate(b or [empty])


def _estimate(signature: NDArray[np.uint32], a: Rows, b: Rows) -> NDArray[np.float32]:
    """About what share of shingles the texts of each pair have both."""
    shared = np.zeros(len(a), dtype=np.float32)
    for i in range(0, len(a), _PAIRS):
        rows, others = a[i : i + _PAIRS], b[i : i + _PAIRS]
        shared[i : i + _PAIRS] = (signature[rows] == signature[others]).mean(axis=1)
    return shared


def _jaccard(of: Rows, shingles: NDArray[np.uint32], n: int, a: Rows, b: Rows) -> NDArray[np.float32]:
    """Per pair the share of two texts' shingles that both have, counted by how rare they are."""
    from scipy.sparse import csr_matrix

    found = np.zeros(len(a), dtype=np.float32)
    if not len(a):
        return found
    _, columns, held_by = np.unique(shingles, return_inverse=True, return_counts=True)
    root = np.sqrt(np.log((n + 1) / held_by)).astype(np.float32)[columns]  # products of entries are weights
    held = csr_matrix((root, (of, columns)), shape=(n, len(held_by)))
    whole = np.bincount(of, weights=root * root, minlength=n).astype(np.float32)
    for i in range(0, len(a), _PAIRS):
        rows, others = a[i : i + _PAIRS], b[i : i + _PAIRS]
        both = np.asarray(held[rows].multiply(held[others]).sum(axis=1)).ravel()
        found[i : i + _PAIRS] = both / np.maximum(whole[rows] + whole[others] - both, 1e-9)
    return found

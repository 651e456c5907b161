"""Outliers: samples whose features lie far from all others, pictures of one colour, texts without a letter."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from graft._formats import BadPicture
from graft.data import Sample, split_key
from graft.doctor import _trivial
from graft.errors import some
from graft.findings import Finding, Item
from graft.pictures import open_picture
from graft.seeds import rng

FEWEST = 50  # training samples; below, nothing is said of distances
NEIGHBOURS = 5
REFERENCE = 5_000  # training samples that distances are taken to
FAR = 4.5  # robust standard deviations of the logarithm of the distance
PLAIN_BYTES, PLAIN_FILE = 0.2, 16_384  # bytes a pixel, and more a file, above which there is more than one colour
_COMPRESSED = ("JPEG", "PNG", "WEBP", "GIF", "HEIC", "AVIF")
_FLAT = 3  # grey levels between the darkest and the lightest pixel of a blank picture
_SIDE = 64  # pixels


def found(parts: Mapping[str, Sequence[Sample]], looks: Mapping[str, torch.Tensor]) -> list[Finding]:
    """Up to two findings `outlier`: samples without content, and samples far from everything else.

    Without content are pictures of one colour and texts of one character or without a letter. Far is a sample
    whose mean distance to its NEIGHBOURS nearest training samples (Ramaswamy, Rastogi and Shim 2000, without its
    copies and group), in the standardised pooled features `looks` [n, d] of each part, is FAR robust standard
    deviations above the median in logarithms. Clean data have hardly any. It is a coarse net: a photograph
    among scans of brains is seen, a flower among ants and bees is not.
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
    known = _trivial.header(x)
    if known["format"] in _COMPRESSED and known["bytes"] > PLAIN_BYTES * known["width"] * known["height"] + PLAIN_FILE:
        return False
    try:
        picture = open_picture(x, want=_SIDE)
    except BadPicture:
        return False  # the reader says so
    pixels = np.asarray(picture)
    return bool((pixels.max(axis=(0, 1)).astype(int) - pixels.min(axis=(0, 1)) <= _FLAT).all())


# ---------------------------------------------------------------------------------------- distance


def _far(parts: Mapping[str, Sequence[Sample]], looks: Mapping[str, torch.Tensor]) -> list[tuple[float, str, int]]:
    """(robust score, part, row) of the samples that lie FAR, the furthest first."""
    home = "train" if parts.get("train") else "all"
    mine = parts.get(home, ())
    if len(mine) < FEWEST or home not in looks:
        return []
    some_rows = np.sort(rng("outliers", "reference").permutation(len(mine))[:REFERENCE])
    seen = looks[home][torch.from_numpy(some_rows)].double()
    mean, std = seen.mean(dim=0), seen.std(dim=0)
    std = torch.where(std > 1e-6 * (1 + mean.abs()), std, torch.ones_like(std))
    z = (seen - mean) / std
    code: dict[Hashable, int] = {}
    keys = {
        name: np.array([code.setdefault(split_key(s), len(code)) for s in parts[name]], dtype=np.int64)
        for name in parts
    }
    tied = torch.from_numpy(keys[home][some_rows])
    logs = {
        name: _distances((looks[name].double() - mean) / std, torch.from_numpy(keys[name]), z, tied)
        for name in parts
        if name in looks and len(parts[name])
    }
    middle = float(np.median(logs[home]))
    scale = float(1.4826 * np.median(np.abs(logs[home] - middle)))
    if not scale > 0:
        return []
    scores = {name: (values - middle) / scale for name, values in logs.items()}
    far = [(float(v[i]), name, int(i)) for name, v in scores.items() for i in np.flatnonzero(v > FAR)]
    return sorted(far, reverse=True)


def _distances(x: torch.Tensor, keys: torch.Tensor, reference: torch.Tensor, tied: torch.Tensor) -> NDArray[np.float64]:
    """The logarithm of the mean distance [n] of x [n, d] to the nearest of the reference, rows of its own key aside."""
    found = []
    for start in range(0, len(x), 1000):
        apart = torch.cdist(x[start : start + 1000], reference)
        apart[keys[start : start + 1000, None] == tied[None]] = torch.inf
        near = apart.topk(min(NEIGHBOURS, len(reference)), largest=False).values
        near = torch.where(near.isfinite(), near, torch.nan)
        found.append(near.nanmean(dim=1).nan_to_num(1.0).clamp_min(1e-9).log())
    return torch.cat(found).numpy()


# ---------------------------------------------------------------------------------------- findings


def _empty(parts: Mapping[str, Sequence[Sample]], rows: Sequence[tuple[str, int]]) -> Finding:
    first = parts[rows[0][0]][rows[0][1]].x
    what = "texts have one character or no letter" if isinstance(first, str) else "pictures are of one colour"
    items = tuple(Item(parts[name][i].id, split=name) for name, i in rows)
    return Finding(
        "outlier",
        "warning",
        f"{len(items)} {what} throughout: {some([i.id for i in items])}",
        items,
        "nothing in them says their label: in training they teach chance, in the test part they cost points",
        "look at them; leave out those that came about by mistake (an export that failed, an empty answer)",
    )


def _distant(parts: Mapping[str, Sequence[Sample]], far: Sequence[tuple[float, str, int]]) -> Finding:
    items = tuple(Item(parts[name][i].id, split=name) for _, name, i in far)
    return Finding(
        "outlier",
        "warning",
        f"{len(items)} samples look like no other (furthest first): {some([i.id for i in items])}",
        items,
        "a model has nothing alike to learn them from: its answers on them are guesses, and one of them in a small "
        "class is a large part of what it learns",
        "look at them; leave out what does not belong, or gather more samples like those that do",
    )

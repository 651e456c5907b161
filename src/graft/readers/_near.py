"""Pictures that look nearly the same on two sides of a split (row 14 of the faults)."""

from __future__ import annotations

from collections.abc import Mapping

from graft import alike
from graft.data import Note, Parts


def across(parts: Parts, small: Mapping[str, bytes | None]) -> list[Note]:
    """A warning that names pictures of two parts that look nearly the same, or none.

    `small` are thumbnails by sample id, None for pictures that show too little. Exact copies are told elsewhere.
    """
    listed = [(name, s) for name, part in parts.items() for s in part]
    if not small or "all" in parts:
        return []
    near = alike.pictures([small.get(s.id) for _, s in listed])
    pairs = []
    for a, b in zip(near.a[near.copies()].tolist(), near.b[near.copies()].tolist(), strict=True):
        (part, x), (other, y) = listed[a], listed[b]
        if part != other and x.digest != y.digest:
            pairs.append(f"{x.id} ~ {y.id}")
    if not pairs:
        return []
    said = f"{len(pairs)} pairs of pictures in two parts look nearly the same; if they show one thing, give --group"
    return [Note("warning", said, tuple(pairs), "duplicate")]

"""Pictures that look nearly the same on two sides of a split (row 14 of the faults)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from graft.data import Note

if TYPE_CHECKING:
    from graft.doctor import Candidates


def across(found: Candidates) -> list[Note]:
    """A warning that names pictures of two parts that look nearly the same, or none; exact copies are no pairs."""
    same = found.near.copies()
    pairs = []
    for a, b in zip(found.near.a[same].tolist(), found.near.b[same].tolist(), strict=True):
        other, one = found.rows[a], found.rows[b]  # rows begin with the test part: train is named first
        if one.part != other.part:
            pairs.append(f"{one.sample.id} ~ {other.sample.id}")
    if not pairs:
        return []
    said = f"{len(pairs)} pairs of pictures in two parts look nearly the same; if they show one thing, give --group"
    return [Note("warning", said, tuple(pairs), "duplicate")]

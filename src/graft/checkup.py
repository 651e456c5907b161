"""The doctor's look at the data of a fit, with the frozen features that the run has anyway."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from graft import doctor, features
from graft.data import Note
from graft.errors import DataError, some
from graft.findings import Finding
from graft.session import Session

PARTS = ("train", "valid", "test")
TOLD = ("duplicate_across", "duplicate_near_across")
"""What reading says already: copies that were left out, and pictures that look nearly the same."""


def look(s: Session) -> list[Finding]:
    """All findings; those that reading did not tell already are told now, and stand with the data's notes."""
    found = _found(s, everything=False)
    told = {n.about for n in s.data.notes if n.about} | set(TOLD if s.task.modality == "picture" else TOLD[:1])
    for f in found:
        if f.kind not in told and not _told(f, s.data.notes):
            s.data.notes.append(Note("warning", f.text, tuple(_item(i.id, i.other) for i in f.items), f.kind))
            s.voice.say(f"  doctor: {f.text}")
    return found


def refuse(s: Session) -> None:
    """Before anything is trained, with all features: raises DataError where there is any finding (`--strict`)."""
    found = _found(s, everything=True)
    if found:
        kinds = some([f"{f.kind} ({f.count})" for f in found], 8)
        raise DataError(
            f"{s.recipe.data}: {len(found)} findings, and --strict allows none: {kinds}; `graft doctor` says more and "
            "mends what leaving out mends (--fix DIR)"
        )


def _found(s: Session, everything: bool) -> list[Finding]:
    if s.task.first_look is None:
        return []
    parts = {name: s.part(name) for name in PARTS}
    return doctor.after(s.task.first_look(), parts, _looks(s, everything), s.task.labels)


def _looks(s: Session, everything: bool) -> dict[str, torch.Tensor]:
    """Frozen features by part: those at hand, or all of them."""
    base, how = s.origin(), s.precision()
    at_hand = [n for n in PARTS if everything or features.is_cached(base, s.part(n), precision=how)]
    return {name: s.table(name).pooled for name in at_hand}


def _told(f: Finding, notes: Sequence[Note]) -> bool:
    """Whether a warning names all items of a finding already."""
    ids = [i.id for i in f.items]
    named = (" ".join(n.items) for n in notes if n.kind == "warning")
    return bool(ids) and any(all(i in items for i in ids) for items in named)


def _item(name: str, other: str) -> str:
    return f"{name} = {other}" if other else name

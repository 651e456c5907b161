"""Copies as findings: exact and near ones, across parts and within them, each pair in one finding alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from graft import alike
from graft.alike import Near
from graft.data import Sample
from graft.findings import Finding, Item

ORDER = ("test", "valid", "train", "all")
"""Of two copies the one in the earlier part stays; in one part, the one that comes first."""
_FLATTERS = "the model is tested on what it has learned from, so the score flatters"
_WITHIN = "counts such items several times, and a random split that parts them flatters the score"


@dataclass(frozen=True)
class Placed:
    """A sample and the part it stands in."""

    part: str
    sample: Sample


def placed(parts: Mapping[str, Sequence[Sample]]) -> list[Placed]:
    """All samples, in the order in which copies stay."""
    return [Placed(part, s) for part in ORDER for s in parts.get(part, ())]


def exact(rows: Sequence[Placed]) -> list[tuple[Placed, Placed]]:
    """(copy, first): every sample whose content an earlier one has, with the first that has it."""
    first: dict[str, Placed] = {}
    found = []
    for row in rows:
        if row.sample.digest:
            other = first.setdefault(row.sample.digest, row)
            if other is not row:
                found.append((row, other))
    return found


@dataclass(frozen=True)
class Candidates:
    """Rows without exact copies, and the pairs among them that may be near copies."""

    rows: list[Placed]
    near: Near

    def pairs(self, looks: torch.Tensor | None = None) -> list[tuple[Placed, Placed]]:
        """(copy, other) of near copies; `looks` [n, d] are features of `rows`, None where there are none.

        A row is named with its nearest earlier row of each other part, and with its nearest earlier row of its own:
        so a group of k copies gives k - 1 pairs or more, and nothing of it is left once every copy named is taken out.
        """
        rank = {part: i for i, part in enumerate(ORDER)}
        same = self.near.copies(looks)
        a, b, like = self.near.a[same].tolist(), self.near.b[same].tolist(), self.near.like[same].tolist()
        best: dict[tuple[int, str], tuple[float, int]] = {}
        for i, j, value in zip(a, b, like, strict=True):
            early, late = sorted((i, j), key=lambda k: (rank[self.rows[k].part], k))
            key = (late, self.rows[early].part)
            best[key] = max(best.get(key, (-1.0, 0)), (value, -early))
        return [(self.rows[late], self.rows[-early]) for (late, _), (_, early) in sorted(best.items())]

    def looks(self, of: Mapping[str, torch.Tensor], parts: Mapping[str, Sequence[Sample]]) -> torch.Tensor | None:
        """Features of `rows` [n, d] from those of whole parts, or None where a part has none."""
        held = {part for part in ORDER if parts.get(part)}
        if not self.rows or not held <= set(of):
            return None
        at = {id(s): (part, i) for part in held for i, s in enumerate(parts[part])}
        wanted: list[tuple[str, int]] = [at[id(row.sample)] for row in self.rows]
        return torch.stack([of[part][i] for part, i in wanted]).float().cpu()


def candidates(rows: Sequence[Placed], modality: str, small: Mapping[str, bytes | None]) -> Candidates:
    """Pairs that may be near copies, by the hashes of the first of each content; nothing is opened."""
    copies = {id(copy.sample) for copy, _ in exact(rows)}
    lone = [r for r in rows if id(r.sample) not in copies]
    if modality == "text":
        return Candidates(lone, alike.texts([r.sample.x for r in lone]))
    return Candidates(lone, alike.pictures([small.get(r.sample.id) for r in lone]))


def exact_findings(rows: Sequence[Placed], fix: str) -> list[Finding]:
    """Exact copies across parts and within one, and those that contradict each other."""
    pairs = exact(rows)
    across, within = _parted(pairs)
    torn = [(a, b) for a, b in pairs if a.sample.y != b.sample.y]
    said = [
        _pairs("duplicate_across", across, "exact copies stand in two parts; fit leaves out the copy in train (then "
               "valid)", _FLATTERS, fix),
        _pairs("duplicate_within", within, "exact copies of another item of their part", _WITHIN, fix),
    ]  # fmt: skip
    if torn:
        labels = ", ".join(f"{a.sample.id} is {a.sample.y!r}, {b.sample.id} is {b.sample.y!r}" for a, b in torn[:3])
        text = f"{len(torn)} exact copies have another label than the first: one of the two is wrong ({labels})"
        effect = "one of two labels is wrong: it teaches a mistake, or counts a right answer as one"
        said.append(Finding("label_contradiction", "warning", text, _items(torn), effect, "correct one of the labels"))
    return [f for f in said if f is not None]


def near_findings(pairs: Sequence[tuple[Placed, Placed]], fix: str, hashes_alone: bool, modality: str) -> list[Finding]:
    """Near copies across parts and within one."""
    alike = "look nearly the same" if modality == "picture" else "read nearly the same"
    across, within = _parted(pairs)
    by = ", by hashes alone (no features were at hand)" if hashes_alone else ""
    said = (
        _pairs("duplicate_near_across", across, f"pairs in two parts {alike}{by}", _FLATTERS, fix),
        _pairs("duplicate_near_within", within, f"pairs in one part {alike}{by}", _WITHIN, fix),
    )
    return [f for f in said if f is not None]


def _parted(
    pairs: Iterable[tuple[Placed, Placed]],
) -> tuple[list[tuple[Placed, Placed]], list[tuple[Placed, Placed]]]:
    across: list[tuple[Placed, Placed]] = []
    within: list[tuple[Placed, Placed]] = []
    for a, b in pairs:
        (within if a.part == b.part else across).append((a, b))
    return across, within


def _pairs(kind: str, pairs: Sequence[tuple[Placed, Placed]], text: str, effect: str, fix: str) -> Finding | None:
    return Finding(kind, "warning", f"{len(pairs)} {text}", _items(pairs), effect, fix) if pairs else None


def _items(pairs: Iterable[tuple[Placed, Placed]]) -> tuple[Item, ...]:
    return tuple(Item(a.sample.id, b.sample.id, a.part) for a, b in pairs)

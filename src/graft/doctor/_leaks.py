"""Leaks between parts, and columns that are no content: groups and times on both sides, ids taken for texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from graft.data import Sample
from graft.findings import Finding, Item

LATE = 0.05
"""Share of a part's samples that may be older than the newest training sample before a split by time is doubted."""
ID_LIKE = 0.9
"""Share of a column's values that must be single words with a digit, and different, to be ids."""
_FEWEST = 20  # rows; below, distinct values say little


def groups(parts: Mapping[str, Sequence[Sample]]) -> list[Finding]:
    """Groups that stand in more than one part, with every sample of theirs but those of the first part."""
    held: dict[str, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for name, part in parts.items():
        for s in part:
            if s.group:
                held[s.group][name].append(s)
    torn = {g: by for g, by in held.items() if len(by) > 1}
    if not torn:
        return []
    items = []
    for by in torn.values():
        other = next(iter(by.values()))[0].id
        items += [Item(s.id, other, name) for name in list(by)[1:] for s in by[name]]
    shown = ", ".join(sorted(torn)[:5]) + (" ..." if len(torn) > 5 else "")
    text = f"{len(torn)} groups stand in more than one part: {shown}"
    effect = "the score is that of groups seen in training, and flatters for new ones"
    fix = "give no split, so that fit cuts by group, or move each group to one part"
    return [Finding("leak_group", "warning", text, tuple(items), effect, fix)]


def times(parts: Mapping[str, Sequence[Sample]], column: str = "") -> list[Finding]:
    """Samples to be tested on that are older than the newest training sample, where samples have times."""
    newest = max((s.time for s in parts.get("train", ()) if s.time is not None), default=None)
    if newest is None:
        return []
    later = [(name, s) for name in ("valid", "test") for s in parts.get(name, ()) if s.time is not None]
    older = [(name, s) for name, s in later if s.time is not None and s.time < newest]
    if len(older) <= LATE * len(later):
        return []
    of = f" (column {column!r})" if column else ""
    text = f"{len(older)} of {len(later)} samples to be tested on are older than the newest training sample{of}"
    effect = "where later data are what the model is for, it is tested on a past whose future it has seen"
    fix = f"--time {column or 'NAME'} on data without a split makes the latest samples the test part"
    return [Finding("leak_time", "warning", text, tuple(Item(s.id, "", name) for name, s in older), effect, fix)]


def ids(parts: Mapping[str, Sequence[Sample]], columns: Mapping[str, str], outputs: str) -> list[Finding]:
    """Columns of a table that were taken for the texts, or for the labels, and hold an id a row."""
    samples = [s for part in parts.values() for s in part]
    found = []
    if "text" in columns and _are_ids([s.x for s in samples]):
        found.append(_id_finding(columns["text"], "texts", "an id says nothing that holds for new rows", "--text NAME"))
    labels = [s.y for s in samples]
    if "label" in columns and outputs == "classes" and _are_ids(labels):
        found.append(_id_finding(columns["label"], "labels", "an id a row cannot be learned", "--label NAME"))
    if "label" in columns and outputs == "numbers" and _counts_up(labels):
        said = "a count of the rows says nothing about their content"
        found.append(_id_finding(columns["label"], "labels", said, "--label NAME"))
    return found


def _id_finding(column: str, role: str, effect: str, option: str) -> Finding:
    text = f"column {column!r} was taken for the {role}, and looks like an id: a value of its own in every row"
    return Finding("column_id", "warning", text, (Item(column),), effect, f"name the column that is meant: {option}")


def _are_ids(values: Sequence[Any]) -> bool:
    words = [v for v in values if isinstance(v, str)]
    if len(words) < _FEWEST or len(words) < len(values):
        return False
    coded = sum(len(w.split()) == 1 and any(c.isdigit() for c in w) for w in words)
    return coded >= ID_LIKE * len(words) and len(set(words)) >= ID_LIKE * len(words)


def _counts_up(values: Sequence[Any]) -> bool:
    try:
        numbers = [float(v) for v in values]
    except (TypeError, ValueError):
        return False
    steps = {b - a for a, b in pairwise(numbers)}
    return len(numbers) >= _FEWEST and steps == {1.0}

"""What is wrong with data, before anything is trained: findings, each with what it does and what mends it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from graft import readers, sources
from graft.data import Note, Parts, Sample, arrange
from graft.doctor import _copies, _leaks, _looks, _mend, _more, _notes
from graft.doctor._copies import Candidates
from graft.errors import DataError, UsageError
from graft.findings import Finding, ordered
from graft.readers import _names, samples
from graft.readers._roles import TIMES
from graft.recipe import Recipe
from graft.tasks import Task
from graft.voice import Voice

__all__ = ["Before", "Candidates", "Findings", "after", "before", "examine", "fix", "near_copies"]


@dataclass
class Seen:
    """What a look was taken at: parts as they were read, thumbnails by sample id, features by part."""

    parts: Parts
    small: Mapping[str, bytes | None]
    modality: str
    looks: Mapping[str, torch.Tensor]
    columns: Mapping[str, str]


@dataclass
class Findings:
    """All that was found, the serious first, how much was looked at, and what was read and assumed (`notes`)."""

    source: str
    task: str
    sizes: dict[str, int]
    found: list[Finding] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)
    seen: Seen | None = field(default=None, repr=False)

    @property
    def serious(self) -> bool:
        """Whether `fit` would refuse these data."""
        return any(f.severity == "error" for f in self.found)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "data": self.source, "task": self.task, "sizes": self.sizes, "serious": self.serious,
            "findings": [f.plain() for f in self.found],
            "notes": [{"kind": n.kind, "text": n.text, "items": list(n.items)} for n in self.notes],
        }  # fmt: skip


def examine(
    data: Any,
    *,
    task: str = "auto",
    text: str = "",
    image: str = "",
    label: str = "",
    group: str = "",
    time: str = "",
    split: str = "",
    backbone: str = "auto",
    zoo: str | Path | None = None,
    device: str = "auto",
    max_bad: float = 0.01,
    voice: Voice | None = None,
) -> Findings:
    """Look at data as `graft fit` would read them: `graft doctor`.

    Found are unreadable items, rows without a label, exact and near copies (within and across parts, and those with
    different labels), groups, names and times on both sides, columns that tell the label or are ids, label errors,
    shortcuts, outliers, classes that are too small, out of balance or only in a later part, and too few samples.
    What readers noticed besides is in `notes`.

    `backbone` names the model whose frozen features are looked at: "auto" is the bundled one for texts and, for
    pictures, one of the `zoo` folders; "none" is to do without. Raises UsageError, SecurityError, SetupError, and
    DataError only where nothing can be read at all, or where several labels were asked for by the task's name and a
    row has nothing in one of their columns.
    """
    voice = voice or Voice(quiet=True)
    asked = Recipe(
        task=task, text=text, image=image, label=label, group=group, time=time, split=split, max_bad=1.0,
        drop_unlabelled=not task.endswith("multilabel"),  # there an empty cell is an answer, which must be counted
    )  # fmt: skip
    source, name = sources.resolve(data)
    asked = replace(asked, data=name)
    chosen, read, places, column = _read(source, asked, voice)
    assert chosen.answer is not None
    fix = _notes.fix_command(name)
    sizes = {k: len(v) for k, v in read.parts.items()}
    found = Findings(name, chosen.name, sizes, notes=_notes.plain_notes(read.notes))
    found.found += _notes.findings(read.notes, places, sum(sizes.values()), max_bad, name)
    found.found += _copies.exact_findings(_copies.placed(read.parts), fix)
    found.found += _leaks.times(read.parts, column)
    found.found += _leaks.groups(read.parts)
    found.found += _leaks.ids(read.parts, read.schema.get("columns", {}), chosen.outputs)
    settled = _settle(chosen, read, asked, places, found)
    net = _looks.choose(chosen.modality, backbone, zoo)
    looks, said = _looks.take(read.parts, chosen.modality, net, chosen.schema or read.schema, device, voice)
    found.notes.append(Note("found", said))
    found.seen = Seen(read.parts, read.small, chosen.modality, looks, read.schema.get("columns", {}))
    near = _copies.candidates(_copies.placed(read.parts), chosen.modality, read.small)
    features = near.looks(looks, read.parts)
    found.found += _copies.near_findings(near.pairs(features), fix, features is None, chosen.modality)
    if settled is not None:
        moved = _moved(looks, read.parts, settled)
        found.found = _more.merged(found.found, _more.found(settled, moved, chosen.labels, chosen.modality))
    found.found = ordered(found.found)
    return found


def fix(found: Findings, out: str | Path, overwrite: bool = False) -> _mend.Left:
    """Write a mended copy of what `examine` looked at: `graft doctor DATA --fix out/`; the data are not changed.

    Left out are unreadable items, rows without a label and copies, as `doctor.json` there says; looked at again, the
    copy shows no finding of these kinds. What leaving out cannot mend (shortcuts, balance, wrong labels) is only named.
    Raises UsageError for data in memory, of the hub, or in arrays, and for an `out` that is not empty, but for an
    earlier copy with `overwrite`; SetupError where it cannot be written: then nothing is left behind.
    """
    source = Path(found.source)
    if found.seen is None or not source.exists():
        raise UsageError(f"--fix writes a copy of files, and {found.source} is none; leave the rows out where they are")
    seen = found.seen
    return _mend.mend(
        source, Path(out), found.found, seen.parts, seen.modality, seen.small, seen.looks, seen.columns, overwrite
    )


def _read(source: Any, asked: Recipe, voice: Voice) -> tuple[Task, samples.Found, dict[str, str], str]:
    """(the task, what was read, the part of every row by id, the column of times)."""
    chosen, why = sources.task_for(source, asked)
    voice.say(f"{asked.data} -> {why}")
    opened = chosen.opened or readers.open_source(source, asked)
    column = asked.time
    hint = next((n.items[0] for n in opened.notes if n.about == TIMES), "")
    if hint and "all" not in opened.rows:  # parts are given, so times change no split: they are only looked at
        with contextlib.suppress(DataError):  # a cell without a time: then it is no column of times
            opened, column = readers.open_source(source, replace(asked, time=hint)), hint
    places = {r.id: part for part, rows in opened.rows.items() for r in rows}
    read = samples.read(source, asked, chosen.modality, None, opened)
    return chosen, read, places, column


def _settle(
    task: Task, read: samples.Found, asked: Recipe, places: Mapping[str, str], found: Findings
) -> dict[str, list[Sample]] | None:
    """Settle labels and split as `fit` would; train, valid and test, or None where it would refuse."""
    assert task.answer is not None
    notes: list[Note] = []
    schema = dict(read.schema)
    columns = f"--label NAME, if {found.source} has another column"
    try:
        task.labels = task.answer.settle(read.parts, notes, asked, schema)
    except DataError as e:
        few = len({str(s.y) for s in read.parts.get("train") or [s for p in read.parts.values() for s in p]}) < 2
        kind, effect = ("class_one", "nothing can be learned") if few else ("label_refused", "fit refuses these labels")
        found.found.append(Finding(kind, "error", str(e), (), effect, columns if few else str(e).rpartition("; ")[2]))
    found.notes += _notes.plain_notes(notes)
    found.found += _notes.findings(notes, places, 0, None, found.source)
    if any(f.kind in ("class_one", "label_refused") for f in found.found):
        return None
    try:
        arranged, more = arrange(read.parts, Recipe().seed, strata=task.answer.strata)
    except DataError as e:
        said = Finding("class_few", "error", str(e), (), "there is nothing to test on", "give more samples")
        found.found.append(said)
        return None
    made = "all" in read.parts
    if made and task.modality == "picture" and not any(s.group for s in read.parts["all"]):
        more += _names.shared(arranged, made=True)
    found.notes += _notes.plain_notes(more)
    here = [n for n in more if n.about != "leak_group" or made]  # of given parts, `_leaks.groups` says more
    found.found += _notes.findings(here, places, 0, None, found.source)
    return arranged


def _moved(
    looks: Mapping[str, torch.Tensor], read: Parts, arranged: Mapping[str, Sequence[Sample]]
) -> dict[str, torch.Tensor]:
    """Features by part as `fit` cuts them, from those of the parts as they were read."""
    at = {id(s): (part, i) for part, rows in read.items() if part in looks for i, s in enumerate(rows)}
    found = {}
    for part, rows in arranged.items():
        if rows and all(id(s) in at for s in rows):
            where = [at[id(s)] for s in rows]
            found[part] = torch.stack([looks[p][i] for p, i in where])
    return found


# ---------------------------------------------------------------------------------------- for a fit


@dataclass(frozen=True)
class Before:
    """What can be found without features, and near copies that features may decide on."""

    findings: list[Finding]
    near: Candidates
    modality: str
    fix: str


def near_copies(cut: Mapping[str, Sequence[Sample]], modality: str, small: Mapping[str, bytes | None]) -> Candidates:
    """Pairs of train, valid and test that may be near copies; `small` are thumbnails by sample id (none for texts)."""
    return _copies.candidates(_copies.placed(cut), modality, small)


def before(
    given: Parts,
    cut: Mapping[str, Sequence[Sample]],
    notes: Sequence[Note],
    small: Mapping[str, bytes | None],
    modality: str,
    data: str = "",
    near: Candidates | None = None,
) -> Before:
    """What `fit` can say from what it has read already: no item is opened, nothing goes through a network.

    `given` are the parts as they were read, exact copies still in them; `cut` those that `fit` works with (train,
    valid, test); `small` are thumbnails by sample id (none for texts), not needed where `near` is what `near_copies`
    gave for `cut`.
    """
    fix = _notes.fix_command(data)
    places = {s.id: part for part, rows in (*given.items(), *cut.items()) for s in rows}
    found = _notes.findings(notes, places, 0, None, data)
    found = _more.merged(found, [*_leaks.groups(given), *_leaks.times(given)])
    found += _copies.exact_findings(_copies.placed(given), fix)
    near = near_copies(cut, modality, small) if near is None else near
    found += _copies.near_findings(near.pairs(), fix, True, modality)
    return Before(ordered(found), near, modality, fix)


def after(
    first: Before,
    cut: Mapping[str, list[Sample]],
    looks: Mapping[str, torch.Tensor],
    labels: Sequence[str],
) -> list[Finding]:
    """All findings, once features [n, d] of the parts are at hand: near copies are told anew, by both.

    `cut` are the parts that `before` was given; `looks` may lack some of them, and near copies are then those of
    `before`.
    """
    found = list(first.findings)
    features = first.near.looks(looks, cut)
    if features is not None:
        found = [f for f in found if not f.kind.startswith("duplicate_near")]
        found += _copies.near_findings(first.near.pairs(features), first.fix, False, first.modality)
    return ordered(_more.merged(found, _more.found(cut, looks, labels, first.modality)))

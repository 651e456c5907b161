"""What is wrong with data, before anything is trained: findings, each with what `fit` would do about it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from graft import readers, sources
from graft.data import Note, Parts, Sample, arrange
from graft.errors import DataError
from graft.readers import _names, _near, samples
from graft.recipe import Recipe
from graft.tasks import Task
from graft.voice import Voice

LEVELS = ("refused", "warning", "note")


@dataclass(frozen=True)
class Finding:
    """One thing about the data: `level` is refused (by `fit`), warning or note; `items` names what it concerns."""

    level: str
    what: str
    text: str
    items: tuple[str, ...] = ()


@dataclass
class Findings:
    """All that was found, the serious first, and how much was looked at."""

    source: str
    task: str
    sizes: dict[str, int]
    found: list[Finding] = field(default_factory=list)

    @property
    def serious(self) -> bool:
        """Whether `fit` would refuse these data."""
        return any(f.level == "refused" for f in self.found)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "serious": self.serious}


def examine(
    data: Any,
    *,
    task: str = "auto",
    text: str = "",
    image: str = "",
    label: str = "",
    group: str = "",
    max_bad: float = 0.01,
    voice: Voice | None = None,
) -> Findings:
    """Look at data as `graft fit` would read them: `graft doctor`.

    Unreadable items, empty texts, missing labels, one class only, classes of one sample, labels in test but not
    in train, too few samples for a split, exact copies across parts and inside them, copies with different labels, near
    copies of pictures across parts (as given, or as `fit` would cut them), groups across parts, and everything the
    readers noticed. Raises UsageError, SecurityError,
    SetupError, and DataError only where nothing can be read at all, or where several labels were asked for by the
    task's name and a row has nothing in one of their columns.
    """
    voice = voice or Voice(quiet=True)
    source, name = sources.resolve(data)
    asked = Recipe(
        data=name, task=task, text=text, image=image, label=label, group=group, max_bad=1.0,
        drop_unlabelled=not task.endswith("multilabel"),  # there an empty cell is an answer, which must be counted
    )  # fmt: skip
    chosen, why = sources.task_for(source, asked)
    voice.say(f"{name} -> {why}")
    opened = chosen.opened or readers.open_source(source, asked)
    read = samples.read(source, asked, chosen.modality, None, opened)
    found = Findings(name, chosen.name, {k: len(v) for k, v in read.parts.items()})
    found.found += _from_notes(read.notes, found.sizes, max_bad)
    found.found += _copies(read.parts)
    found.found += _groups(read.parts)
    labels = _labels(chosen, read.parts, read.schema, asked)
    found.found += [*labels, *_split(chosen, read, not any(f.level == "refused" for f in labels))]
    found.found.sort(key=lambda f: LEVELS.index(f.level))
    return found


def _from_notes(notes: Sequence[Note], sizes: dict[str, int], max_bad: float) -> list[Finding]:
    """What the readers noticed; unreadable items above the limit are what `fit` refuses."""
    total, found = sum(sizes.values()), []
    for n in notes:
        if n.kind == "skipped" and ("unreadable" in n.text or "empty" in n.text):
            share = len(n.items) / max(1, total + len(n.items))
            level = "refused" if share > max_bad else "warning"
            found.append(Finding(level, "unreadable", f"{n.text} ({share:.1%} of all)", n.items))
        elif n.kind == "skipped" and "without a label" in n.text:
            said = f"{len(n.items)} rows have no label; fill them, or --drop-unlabelled leaves them out"
            found.append(Finding("refused", "unlabelled", said, n.items))
        else:
            level = "warning" if n.kind == "warning" else "note"
            found.append(Finding(level, n.kind, n.text, n.items))
    return found


def _copies(parts: Parts) -> list[Finding]:
    across: list[str] = []
    inside: list[str] = []
    torn: list[str] = []
    first: dict[str, tuple[str, Sample]] = {}
    for name in ("test", "valid", "train", "all"):
        for s in parts.get(name, ()):
            if not s.digest:
                continue
            if s.digest not in first:
                first[s.digest] = (name, s)
                continue
            where, other = first[s.digest]
            (inside if where == name else across).append(f"{s.id} = {other.id}")
            if s.y != other.y:
                torn.append(f"{s.id} is {s.y!r}, {other.id} is {other.y!r}")
    found = []
    if across:
        said = f"{len(across)} exact copies stand in two parts; fit leaves the copy in train (then valid) out"
        found.append(Finding("warning", "copies across parts", said, tuple(across)))
    if inside:
        said = f"{len(inside)} exact copies stand in one part; a split keeps them on one side"
        found.append(Finding("note", "copies inside a part", said, tuple(inside)))
    if torn:
        said = f"{len(torn)} copies have another label than the first: one of the two is wrong"
        found.append(Finding("warning", "contradictory labels", said, tuple(torn)))
    return found


def _split(task: Task, read: samples.Found, settled: bool) -> list[Finding]:
    """Whether parts can be made of settled labels, and pictures that look or are called alike on two sides."""
    assert task.answer is not None
    parts = read.parts
    try:
        if settled:
            parts, _ = arrange(parts, Recipe().seed, strata=task.answer.strata)
    except DataError as e:
        return [Finding("refused", "split", str(e))]
    found = [Finding("warning", "near copies across parts", n.text, n.items) for n in _near.across(parts, read.hashes)]
    if settled and task.modality == "picture" and "all" in read.parts and not any(s.group for s in read.parts["all"]):
        found += [Finding("warning", "names across parts", n.text, n.items) for n in _names.shared(parts, made=True)]
    return found


def _groups(parts: Parts) -> list[Finding]:
    held: dict[str, set[str]] = defaultdict(set)
    for name, part in parts.items():
        for s in part:
            if s.group:
                held[s.group].add(name)
    torn = sorted(g for g, names in held.items() if len(names) > 1)
    if not torn:
        return []
    said = f"{len(torn)} groups stand in more than one part: the score flatters"
    return [Finding("warning", "groups across parts", said, tuple(torn))]


def _labels(task: Task, parts: Parts, schema: dict[str, Any], asked: Recipe) -> list[Finding]:
    """What settling the labels would say or refuse."""
    assert task.answer is not None
    notes: list[Note] = []
    found: list[Finding] = []
    try:
        task.answer.settle(parts, notes, asked, dict(schema))
    except DataError as e:
        found.append(Finding("refused", "labels", str(e)))
    found += [Finding("warning" if n.kind == "warning" else "note", n.kind, n.text, n.items) for n in notes]
    if task.outputs == "classes":
        sizes = Counter(s.y for part in parts.values() for s in part)
        shown = ", ".join(f"{k}: {n}" for k, n in sizes.most_common(10)) + (" ..." if len(sizes) > 10 else "")
        found.append(Finding("note", "classes", f"{len(sizes)} classes ({shown})"))
    return found

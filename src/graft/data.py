"""Samples, parts and how they are cut: by label, with exact copies kept together."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from graft.errors import DataError, some
from graft.seeds import rng

if TYPE_CHECKING:
    import torch

Parts = dict[str, list["Sample"]]


@dataclass(slots=True)
class Sample:
    """One item. `x` is what a view takes (a path, picture, text, array), `y` what the task asks for."""

    x: Any
    y: Any = None
    id: str = ""
    group: str = ""
    domain: str = ""
    task: str = ""
    time: float | None = None
    weight: float = 1.0
    digest: str = ""  # of the content, so that copies and caches know it again


@dataclass(frozen=True)
class Boxes:
    """Boxes of one picture: xyxy [n, 4] in its pixels, and labels [n]."""

    xyxy: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Note:
    """Something a person should know about the data: `kind` is found, assumed, skipped or warning."""

    kind: str
    text: str
    items: tuple[str, ...] = ()


@dataclass
class Data:
    """What a task read: three parts, the labels in order, and what a backbone source needs (`schema`)."""

    train: list[Sample]
    valid: list[Sample]
    test: list[Sample]
    unlabeled: Sequence[Sample] = ()
    labels: tuple[str, ...] = ()
    schema: Any = None
    notes: list[Note] = field(default_factory=list)

    def fingerprint(self) -> str:
        """SHA-256 over every part's ids, contents and labels, in order."""
        h = hashlib.sha256(repr(self.labels).encode())
        for part in (self.train, self.valid, self.test, self.unlabeled):
            h.update(b"|part|")
            for s in part:
                h.update(f"{s.id}\0{s.digest}\0{s.y}\0{s.weight}\n".encode("utf-8", "surrogatepass"))
        return h.hexdigest()


def digest(content: bytes | str) -> str:
    """SHA-256 of a text or of bytes."""
    raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.sha256(raw).hexdigest()


# ------------------------------------------------------------------------------------------ labels


def vocabulary(parts: Parts, notes: list[Note]) -> tuple[str, ...]:
    """The sorted labels of the training samples; every other part must use no others.

    Raises DataError for fewer than two classes or for labels that only a later part has.
    """
    source = parts.get("train") or [s for part in parts.values() for s in part]
    counts = Counter(s.y for s in source)
    if len(counts) < 2:
        only = f"only {next(iter(counts))!r}" if counts else "none"
        raise DataError(f"at least two classes are needed to train on; {only} was found")
    for name, part in parts.items():
        strange = sorted({s.y for s in part} - set(counts))
        if strange:
            where = next(s.id for s in part if s.y == strange[0])
            raise DataError(
                f"the {name} part has labels that the training part has not: {some(strange)} (first: {where}); "
                "add training samples for them or take these out"
            )
    single = sorted(label for label, n in counts.items() if n == 1)
    if single:
        notes.append(Note("warning", f"{len(single)} classes have one sample, which stays in train", tuple(single)))
    return tuple(sorted(counts))


# ------------------------------------------------------------------------------------------ splits


def arrange(parts: Parts, seed: int, test: float = 0.2, valid: float = 0.2) -> tuple[Parts, list[Note]]:
    """Turn the parts that were found into train, valid and test.

    Existing splits are kept; a `valid` without `test` serves as test; what is missing is cut from
    train by label, from the seed, with exact copies (equal digests) on one side.
    """
    notes: list[Note] = []
    train, have_valid, have_test = parts.get("train", []), parts.get("valid", []), parts.get("test", [])
    if parts.get("all"):
        rest, have_test = cut(parts["all"], test, seed, "test")
        train, have_valid = cut(rest, valid, seed, "valid")
        notes.append(Note("assumed", f"no split was given: cut by label from seed {seed}"))
    elif not have_test and have_valid:
        have_test = have_valid
        train, have_valid = cut(train, valid, seed, "valid")
        notes.append(Note("assumed", "there is no test part: the validation part serves as test"))
        notes.append(Note("assumed", f"validation is cut from train by label, seed {seed}"))
    else:
        if not have_test:
            train, have_test = cut(train, test, seed, "test")
            notes.append(Note("assumed", f"there is no test part: cut from train by label, seed {seed}"))
        if not have_valid:
            train, have_valid = cut(train, valid, seed, "valid")
            notes.append(Note("assumed", f"there is no validation part: cut from train by label, seed {seed}"))
    arranged = {"train": train, "valid": have_valid, "test": have_test}
    for name, part in arranged.items():
        if not part:
            raise DataError(
                f"the {name} part would be empty: too few samples per class ({len(train)} to train on); "
                "give at least five samples of each class, or a test and a validation part of your own"
            )
    notes.extend(_copies(arranged))
    return arranged, notes


def cut(samples: Sequence[Sample], share: float, seed: int, stream: str) -> tuple[list[Sample], list[Sample]]:
    """Split off `share` of the samples, by label; (kept, cut off), both in the given order.

    Samples with one digest move together. A class keeps at least one sample, and gives at least one
    where it has three or more.
    """
    copies: dict[Hashable, list[int]] = defaultdict(list)
    for i, s in enumerate(samples):
        copies[s.digest or ("", i)].append(i)
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for group in copies.values():
        by_label[str(samples[group[0]].y)].append(group)
    gone: set[int] = set()
    for label in sorted(by_label):
        groups, total = by_label[label], sum(len(g) for g in by_label[label])
        want = max(round(total * share), 1 if total >= 3 else 0)
        taken = 0
        for k in rng(seed, "cut", stream, label).permutation(len(groups)):
            size = len(groups[k])
            if taken + size <= want and taken + size < total:
                gone.update(groups[k])
                taken += size
    return [s for i, s in enumerate(samples) if i not in gone], [samples[i] for i in sorted(gone)]


def _copies(parts: Parts) -> list[Note]:
    """Exact copies across given splits are kept, counted and named: they flatter the test score."""
    seen: dict[str, tuple[str, str]] = {}
    across: list[str] = []
    for name, part in parts.items():
        for s in part:
            if s.digest and s.digest in seen and seen[s.digest][0] != name:
                across.append(f"{seen[s.digest][1]} = {s.id}")
            elif s.digest:
                seen.setdefault(s.digest, (name, s.id))
    if not across:
        return []
    return [Note("warning", f"{len(across)} exact copies stand on both sides of the given split", tuple(across))]


def scale_weights(samples: Iterable[Sample]) -> list[Sample]:
    """Scale weights to mean 1, as the loop's weighted mean expects."""
    listed = list(samples)
    mean = sum(s.weight for s in listed) / max(len(listed), 1)
    return [replace(s, weight=s.weight / mean) for s in listed] if listed and mean not in (0.0, 1.0) else listed


def subset(samples: Sequence[Sample], most: int, seed: int, stream: str) -> list[Sample]:
    """At most `most` samples, by label, from the seed, in the given order."""
    if len(samples) <= most:
        return list(samples)
    kept, _ = cut(samples, 1 - most / len(samples), seed, stream)
    return kept

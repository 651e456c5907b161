"""Samples, parts and how they are cut: by label, group or time, with exact copies kept together."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
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


def vocabulary(parts: Parts, notes: list[Note], unknown: str = "refuse") -> tuple[str, ...]:
    """The sorted labels of the training samples; every other part must use no others.

    With `unknown="drop"` samples with other labels leave their part, and a note says so. Raises DataError
    for fewer than two classes or for labels that only a later part has.
    """
    source = parts.get("train") or [s for part in parts.values() for s in part]
    counts = Counter(s.y for s in source)
    if len(counts) < 2:
        only = f"only {next(iter(counts))!r}" if counts else "none"
        raise DataError(f"at least two classes are needed to train on; {only} was found")
    for name, part in parts.items():
        strange = sorted({s.y for s in part} - set(counts))
        if strange and unknown == "drop":
            gone = [s.id for s in part if s.y not in counts]
            parts[name] = [s for s in part if s.y in counts]
            said = f"{len(gone)} samples of {name} with labels that train has not ({some(strange)}) were dropped"
            notes.append(Note("skipped", said, tuple(gone)))
        elif strange:
            where = next(s.id for s in part if s.y == strange[0])
            raise DataError(
                f"the {name} part has labels that the training part has not: {some(strange)} (first: {where}); "
                "add training samples for them, or leave these out with --unknown drop"
            )
    single = sorted(label for label, n in counts.items() if n == 1)
    if single:
        notes.append(Note("warning", f"{len(single)} classes have one sample, which stays in train", tuple(single)))
    return tuple(sorted(counts))


# ------------------------------------------------------------------------------------------ splits

Strata = Callable[[Sequence[Sample]], list[str]]
"""What a split is balanced by, one entry a sample."""


def by_label(samples: Sequence[Sample]) -> list[str]:
    """Balance by the target as it is."""
    return [str(s.y) for s in samples]


def arrange(
    parts: Parts, seed: int, test: float = 0.2, valid: float = 0.2, strata: Strata = by_label
) -> tuple[Parts, list[Note]]:
    """Turn the parts that were found into train, valid and test.

    Existing splits are kept; a `valid` without `test` serves as test; what is missing is cut from train from
    the seed, balanced by `strata` (and by domain), with exact copies (equal digests) and samples of one group
    on one side. Where samples have times, the latest are cut off instead. Of copies across given splits the
    training (then the validation) copy is left out.
    """
    kept, notes = _without_copies(parts)
    parts = kept
    how = _how(parts, seed)

    def off(samples: list[Sample], share: float, stream: str) -> tuple[list[Sample], list[Sample]]:
        if any(s.time is not None for s in samples):
            return latest(samples, share)
        return cut(samples, share, seed, stream, strata)

    train, have_valid, have_test = parts.get("train", []), parts.get("valid", []), parts.get("test", [])
    if parts.get("all"):
        rest, have_test = off(parts["all"], test, "test")
        train, have_valid = off(rest, valid, "valid")
        notes.append(Note("assumed", f"no split was given: cut {how}"))
    elif not have_test and have_valid:
        have_test = have_valid
        train, have_valid = off(train, valid, "valid")
        notes.append(Note("assumed", "there is no test part: the validation part serves as test"))
        notes.append(Note("assumed", f"validation is cut from train {how}"))
    else:
        if not have_test:
            train, have_test = off(train, test, "test")
            notes.append(Note("assumed", f"there is no test part: cut from train {how}"))
        if not have_valid:
            train, have_valid = off(train, valid, "valid")
            notes.append(Note("assumed", f"there is no validation part: cut from train {how}"))
    arranged = {"train": train, "valid": have_valid, "test": have_test}
    for name, part in arranged.items():
        if not part:
            raise DataError(
                f"the {name} part would be empty: too few samples per class or group ({len(train)} to train on); "
                "give at least five samples of each class, or a test and a validation part of your own"
            )
    notes.extend(_groups_across(arranged))
    return arranged, notes


def _how(parts: Parts, seed: int) -> str:
    samples = [s for part in parts.values() for s in part]
    if any(s.time is not None for s in samples):
        return "by time, the latest samples last"
    return f"by {'group and label' if any(s.group for s in samples) else 'label'} from seed {seed}"


def latest(samples: Sequence[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
    """Split off the latest `share`; samples of one moment stay together, on the later side.

    Raises DataError where a sample has no time.
    """
    timeless = [s.id for s in samples if s.time is None]
    if timeless:
        raise DataError(f"{len(timeless)} samples have no time to split by: {some(timeless)}; fill or remove them")
    times = sorted(s.time for s in samples if s.time is not None)
    first = times[min(len(times) - 1, round(len(times) * (1 - share)))]
    return [s for s in samples if (s.time or 0.0) < first], [s for s in samples if (s.time or 0.0) >= first]


def cut(
    samples: Sequence[Sample], share: float, seed: int, stream: str, strata: Strata = by_label
) -> tuple[list[Sample], list[Sample]]:
    """Split off `share` of the samples, by stratum; (kept, cut off), both in the given order.

    Samples with one digest, or of one group, move together. A stratum keeps at least one sample, and gives
    at least one where it has three or more.
    """
    units = _together(samples)
    of = [
        f"{s.domain}\0{stratum}" if s.domain else stratum for s, stratum in zip(samples, strata(samples), strict=True)
    ]
    totals = Counter(of)
    # A group of several strata counts towards each of them; it is offered under its commonest.
    by_stratum: dict[str, list[list[int]]] = defaultdict(list)
    for unit in units:
        by_stratum[Counter(of[i] for i in unit).most_common(1)[0][0]].append(unit)
    gone: set[int] = set()
    taken: Counter[str] = Counter()
    for stratum in sorted(by_stratum):
        groups, total = by_stratum[stratum], totals[stratum]
        want = max(round(total * share), 1 if total >= 3 else 0)
        for k in rng(seed, "cut", stream, stratum).permutation(len(groups)):
            held = Counter(of[i] for i in groups[k])
            fits = taken[stratum] + held[stratum] <= want
            if fits and all(taken[name] + n < totals[name] for name, n in held.items()):
                gone.update(groups[k])
                taken.update(held)
    return [s for i, s in enumerate(samples) if i not in gone], [samples[i] for i in sorted(gone)]


def _together(samples: Sequence[Sample]) -> list[list[int]]:
    """Rows that must not be parted: chains of equal digests and equal groups, in order of their first row."""
    parent = list(range(len(samples)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    first: dict[Hashable, int] = {}
    for i, s in enumerate(samples):
        for key in (("digest", s.digest) if s.digest else None, ("group", s.group) if s.group else None):
            if key is not None:
                a, b = root(first.setdefault(key, i)), root(i)
                parent[max(a, b)] = min(a, b)
    units: dict[int, list[int]] = defaultdict(list)
    for i in range(len(samples)):
        units[root(i)].append(i)
    return list(units.values())


def _without_copies(parts: Parts) -> tuple[Parts, list[Note]]:
    """Of exact copies on both sides of a given split, only the later part's copy stays."""
    kept: Parts = {}
    out: dict[str, list[str]] = {}
    seen: dict[str, tuple[str, str]] = {}
    for name in ("all", "test", "valid", "train"):
        if name not in parts:
            continue
        kept[name] = []
        for s in parts[name]:
            before = seen.get(s.digest) if s.digest else None
            if before is not None and before[0] != name:
                out.setdefault(f"{name}, because {before[0]} has them too", []).append(f"{s.id} = {before[1]}")
                continue
            kept[name].append(s)
            if s.digest and before is None:
                seen[s.digest] = (name, s.id)
    notes = [
        Note("warning", f"{len(ids)} exact copies were left out of {where}", tuple(ids)) for where, ids in out.items()
    ]
    return {name: kept[name] for name in parts}, notes


def _groups_across(parts: Parts) -> list[Note]:
    """Groups on both sides of a given split are kept, counted and named: they flatter the test score."""
    train = {s.group for s in parts["train"] if s.group}
    across = sorted(train & {s.group for name in ("valid", "test") for s in parts[name] if s.group})
    if not across:
        return []
    said = f"{len(across)} groups stand on both sides of the given split: the score flatters; give no split, or mend it"
    return [Note("warning", said, tuple(across))]


def scale_weights(samples: Iterable[Sample]) -> list[Sample]:
    """Scale weights to mean 1, as the loop's weighted mean expects."""
    listed = list(samples)
    mean = sum(s.weight for s in listed) / max(len(listed), 1)
    return [replace(s, weight=s.weight / mean) for s in listed] if listed and mean not in (0.0, 1.0) else listed


def subset(samples: Sequence[Sample], most: int, seed: int, stream: str, strata: Strata = by_label) -> list[Sample]:
    """At most `most` samples, by stratum, from the seed, in the given order."""
    if len(samples) <= most:
        return list(samples)
    # Groups need not stay together here: nothing is held out against what is left.
    lone = [replace(s, group="") for s in samples]
    kept, _ = cut(lone, 1 - most / len(samples), seed, stream, strata)
    ids = {id(s): i for i, s in enumerate(lone)}
    return [samples[ids[id(s)]] for s in kept]

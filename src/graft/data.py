"""Samples, parts and how they are cut: by label, group or time, with exact copies kept together."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from graft._grouped import WholeGroups, filed_by
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
    """Something a person should know about the data: `kind` is found, assumed, skipped or warning.

    `about` is the kind of finding that `graft doctor` makes of it, "" where it is none.
    """

    kind: str
    text: str
    items: tuple[str, ...] = ()
    about: str = ""


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
        said = f"{len(single)} classes have one sample, which stays in train"
        notes.append(Note("warning", said, tuple(single), "class_single"))
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
    on one side. Where samples have times, the latest are cut off instead. Of copies across given splits, and
    across a split by time, the training (then the validation) copy is left out. Raises DataError where a part
    would be empty.
    """
    parts, notes = _without_copies(parts)
    how = _how(parts, seed)
    made: dict[str, tuple[int, float]] = {}  # part that was cut off here -> (of how many samples, share)
    timed: set[str] = set()  # those of them that were cut by time

    def off(samples: list[Sample], share: float, name: str) -> tuple[list[Sample], list[Sample]]:
        made[name] = (len(samples), share)
        if any(s.time is not None for s in samples):
            timed.add(name)
            return latest(samples, share)
        return cut(samples, share, seed, name, strata)

    train, have_valid, have_test = parts.get("train", []), parts.get("valid", []), parts.get("test", [])
    if parts.get("all"):
        rest, have_test = off(parts["all"], test, "test")
        train, have_valid = off(rest, valid, "valid") if rest else ([], [])
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
            train, have_valid = off(train, valid, "valid") if train else ([], [])
            notes.append(Note("assumed", f"there is no validation part: cut from train {how}"))
    arranged = {"train": train, "valid": have_valid, "test": have_test}
    if timed:
        arranged, more = _without_copies(arranged)
        notes.extend(more)
    _refuse_empty(arranged, made, timed)
    notes.extend(_small(arranged, made))
    notes.extend(_groups_across(arranged, made.keys(), timed))
    return arranged, notes


def _refuse_empty(parts: Parts, made: dict[str, tuple[int, float]], timed: set[str]) -> None:
    """Raises DataError, with what would be enough, for a part without samples."""
    empty = next((name for name, part in parts.items() if not part), None)
    if empty is None:
        return
    own = "or a test and a validation part of your own"
    sources = [s for name, part in parts.items() if name == "train" or name in made for s in part]
    groups = {s.group for s in sources if s.group}
    if timed:
        times = len({s.time for s in sources})
        why = f"{len(sources)} samples of {times} different times are too few to split by time; give more, {own}"
    elif groups and made:
        ways = "three" if len(made) == 2 else "two"
        each = "" if _of_numbers(sources) else ", three or more of each class"
        why = f"{len(groups)} groups are too few to split {ways} ways; give at least five groups{each}, {own}"
    else:
        why = (
            f"too few samples per class ({len(parts['train'])} to train on); "
            f"give at least five samples of each class, {own}"
        )
    raise DataError(f"the {empty} part would be empty: {why}")


def _small(parts: Parts, made: dict[str, tuple[int, float]]) -> list[Note]:
    """A warning for each part that was cut here and got less than half of what it should have."""
    return [
        Note(
            "warning",
            f"the {name} part got {len(parts[name])} of {n} samples where {share * n:.0f} were meant: samples that "
            "must stay together (groups, copies, classes of few) leave no better split",
        )
        for name, (n, share) in made.items()
        if len(parts[name]) < share * n / 2
    ]


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
    at least one where it has three or more. With groups, whole groups are moved so that each stratum, then the
    whole, comes as near to `share` as they allow; a class keeps a sample, and gives a group where it has three
    or more. Numbers (y a float) have no classes: there the strata only guide.
    """
    labels = strata(samples)
    of = [f"{s.domain}\0{label}" if s.domain else label for s, label in zip(samples, labels, strict=True)]
    if any(s.group for s in samples):
        numbers = _of_numbers(samples)
        gone = WholeGroups(_together(samples), of, [] if numbers else labels, share).chosen(seed, stream)
    else:
        gone = _rows(_together(samples), of, share, seed, stream)
    return [s for i, s in enumerate(samples) if i not in gone], [samples[i] for i in sorted(gone)]


def _of_numbers(samples: Sequence[Sample]) -> bool:
    return all(isinstance(s.y, float) for s in samples)


def _rows(units: Sequence[list[int]], of: Sequence[str], share: float, seed: int, stream: str) -> set[int]:
    """The rows to cut off where nothing but copies must stay together."""
    totals = Counter(of)
    gone: set[int] = set()
    taken: Counter[str] = Counter()
    for stratum, filed in filed_by(units, of).items():
        want = max(round(totals[stratum] * share), 1 if totals[stratum] >= 3 else 0)
        for k in rng(seed, "cut", stream, stratum).permutation(len(filed)):
            unit = units[filed[k]]
            held = Counter(of[i] for i in unit)
            fits = taken[stratum] + held[stratum] <= want
            if fits and all(taken[name] + n < totals[name] for name, n in held.items()):
                gone.update(unit)
                taken.update(held)
    return gone


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
    """Of exact copies on two sides of a split, only the later part's copy stays (test, then validation)."""
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
        Note("warning", f"{len(ids)} exact copies were left out of {where}", tuple(ids), "duplicate")
        for where, ids in out.items()
    ]
    return {name: kept[name] for name in parts}, notes


def _groups_across(parts: Parts, made: Collection[str], timed: set[str]) -> list[Note]:
    """Groups on two sides of a given split, or of one by time, are kept, counted and named: they flatter the score."""
    groups = {name: {s.group for s in part if s.group} for name, part in parts.items()}
    by_time = [groups[name] for name in parts if name == "train" or name in timed]
    parted = sorted(g for g, n in Counter(g for part in by_time for g in part).items() if n > 1)
    # What was cut from the training part here stood on its side of the given split.
    own = {g for name in parts if name == "train" or name in made for g in groups[name]}
    given = sorted(own & {g for name in parts if name != "train" and name not in made for g in groups[name]})
    notes = []
    if given:
        said = "groups stand on both sides of the given split: the score flatters; give no split, or mend it"
        notes.append(Note("warning", f"{len(given)} {said}", tuple(given), "leak_group"))
    if parted:
        said = f"the split by time parts {len(parted)} groups: the score is that of later samples of groups seen before"
        notes.append(Note("warning", said, tuple(parted), "leak_group"))
    return notes


def split_key(sample: Sample) -> Hashable:
    """What ties a sample to others that must not be parted from it: its group, else its content, else itself."""
    if sample.group:
        return ("group", sample.group)
    if sample.digest:
        return ("digest", sample.digest)
    return ("id", sample.id) if sample.id else ("sample", id(sample))


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


def nested(strata: Sequence[str], first: int, seed: int, stream: str) -> list[int]:
    """Rows in an order whose every prefix has each stratum by its share; the first so many of each come before all."""
    drawn = rng(seed, stream, len(strata)).permutation(len(strata))
    total: dict[str, int] = {}
    for name in strata:
        total[name] = total.get(name, 0) + 1
    shift = {name: float(rng(seed, stream, "shift", name).random()) for name in total}
    seen: dict[str, int] = {}
    keys = []
    for place, row in enumerate(int(i) for i in drawn):
        name = strata[row]
        rank = seen[name] = seen.get(name, -1) + 1
        share = (rank + shift[name]) / total[name]
        keys.append((rank - first if rank < first else share, place, row))
    return [row for *_, row in sorted(keys)]

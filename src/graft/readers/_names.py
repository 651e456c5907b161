"""What file names give away: pictures of one patient, scene or user share the start of their names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from graft.data import Note, Sample
from graft.errors import some
from graft.readers import Row

_LAST = re.compile(r"[ _.\-()]+[^ _.\-()]*[ _.\-()]*$")  # the last separator and what stands behind it
_DIGITS = re.compile(r"[ _.\-()]*\d+$")
_MANY = 0.5  # share of all files above which a prefix is how the collection is named, not who is seen
_PLAIN = 10  # so many prefixes without a digit make names of persons or places likely
_CLASS = 0.2  # and none of them may name more than this share of a class


def prefix(stem: str) -> str:
    """The leading token of a file's name without suffix: before the last separator, else before the last digits.

    `patient12_a` and `patient12-b` give `patient12`, `scene3 (4)` gives `scene3`, `frame0017` gives `frame`, and a
    name with neither stays whole.
    """
    cut = _LAST.sub("", stem)
    if cut == stem or not cut:
        cut = _DIGITS.sub("", stem)
    return cut or stem


def shared(rows: Mapping[str, Sequence[Row] | Sequence[Sample]], made: bool = False) -> list[Note]:
    """A warning where names of one prefix stand in several parts (row 15 of the faults).

    A prefix counts where it says who or what is seen: it has a digit and is not that of half of all files; or it is
    one of at least ten, and names no more than a fifth of a class. With `made`, for parts that were cut at random, the
    latter holds for every prefix: one that names a class by its number stands in all parts, and says nothing.
    """
    where: dict[str, set[str]] = defaultdict(set)
    example: dict[tuple[str, str], str] = {}
    files: Counter[str] = Counter()
    classes: Counter[tuple[str, str]] = Counter()
    sizes: Counter[str] = Counter()
    for part, listed in rows.items():
        for row in listed:
            stem = PurePosixPath(row.id).stem
            token = prefix(stem)
            if token == stem or len(token) < 2:
                continue
            where[token].add(part)
            example.setdefault((token, part), row.id)
            files[token] += 1
            classes[token, str(row.y)] += 1
            sizes[str(row.y)] += 1
    largest: dict[str, float] = defaultdict(float)
    for (token, label), n in classes.items():
        largest[token] = max(largest[token], n / sizes[label])
    total = sum(len(listed) for listed in rows.values())
    across = [t for t, parts in where.items() if len(parts) > 1]
    plain = sum(n > 1 and not _has_digit(t) for t, n in files.items())
    telling = [t for t in across if _tells(t, files[t] / total, largest[t], plain)]
    telling = [t for t in telling if not made or largest[t] <= _CLASS]
    if not telling:
        return []
    items = tuple(" and ".join(example[t, part] for part in rows if (t, part) in example) for t in sorted(telling))
    text = (
        f"{len(telling)} names share their start across parts ({some(sorted(telling), 3)}): one patient, scene or user "
        "on both sides flatters the test; --group prefix, or a table with --group COLUMN, keeps them together"
    )
    return [Note("warning", text, items, "leak_names")]


def _tells(token: str, share: float, of_a_class: float, plain: int) -> bool:
    if _has_digit(token):
        return share <= _MANY
    return plain >= _PLAIN and of_a_class <= _CLASS


def _has_digit(token: str) -> bool:
    return any(c.isdigit() for c in token)

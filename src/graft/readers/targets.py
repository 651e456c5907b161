"""What is asked of the labels: one class each, several labels each, or a number, told by their values."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from graft._columns import clean_label
from graft.data import Note
from graft.errors import some
from graft.recipe import Recipe

CLASSES, LABELS, NUMBERS = "classes", "labels", "numbers"
SEPARATORS = (";", "|", ", ", ",")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_FEW = 10  # distinct integers that need no more than two rows each to be classes
_SOME = 20  # distinct integers that may start anywhere, and fractions that may be steps of a scale
_MANY = 50  # distinct integers with gaps that are no longer taken for classes
_EVEN = 1.5  # how much the usual values may differ in rows, to be ids some of which are not there
_REPEATED = 5.0  # rows a value, on average, of class ids
_ODD = 0.05  # share of values that are no numbers, up to which the rest decides


@dataclass(frozen=True)
class Guess:
    """`kind` is "classes", "labels" (several each), "numbers", or "" where two readings fit, named in `fits`.

    `why` is a sentence part; `separator` joins the labels within one text, "" for tuples.
    """

    kind: str
    why: str
    separator: str = ""
    fits: tuple[str, ...] = ()


def guess(values: Sequence[object]) -> Guess:
    """Say what labels ask for. `values` are str, tuples of str, or None for none.

    Tuples are several labels; beside texts, an empty one is a cell without any of them. A text with ";", "|" or a
    comma is several where its pieces recombine: fewer distinct pieces than texts, most of them in several texts.
    Numbers with fractions are numbers; integers are classes where they are few, contiguous and often repeated, or
    from -1, 0 or 1 on with as many rows each, and numbers where most differ or many leave gaps. Leading zeros
    ("007") are names. What two readings fit is left to the caller (`fits`).
    """
    tuples = [v for v in values if isinstance(v, tuple)]
    if any(tuples) or (tuples and not any(isinstance(v, str) for v in values)):
        return _of_tuples(tuples)
    texts = [clean_label(v) for v in values if isinstance(v, str) and v.strip()]
    if not texts:
        return Guess("", "there are no labels")
    share = sum(1 for t in texts if number(t) is not None) / len(texts)
    if share == 1.0:
        return _of_numbers(texts)
    if all(_DECIMAL_COMMA.fullmatch(t) or number(t) is not None for t in texts):
        odd = next(t for t in texts if number(t) is None)
        why = f"values such as {odd!r} may be numbers with a decimal comma, or several labels"
        return Guess("", why, ",", (NUMBERS, LABELS))
    if share >= 1 - _ODD:
        found = _of_numbers([t for t in texts if number(t) is not None])
        if found.kind == NUMBERS:
            strange = sorted({t for t in texts if number(t) is None})
            return Guess(NUMBERS, f"{found.why}; no numbers are {some(map(repr, strange))}")
    return _of_texts(texts)


def split(value: str, separator: str) -> tuple[str, ...]:
    """The labels within one text, cleaned, each once, in the order written; ("",) never."""
    pieces = (clean_label(p) for p in (value.split(separator) if separator else [value]))
    return tuple(dict.fromkeys(p for p in pieces if p))


def empty_is_none(asked: Recipe) -> bool:
    """Whether an empty cell of joined labels says that none holds: several were asked for, and nothing is dropped."""
    return asked.task.endswith("multilabel") and not asked.drop_unlabelled


def said_none(ids: Sequence[str]) -> Note:
    """What is said of items whose empty cell was taken for none of the labels."""
    return Note("assumed", f"{len(ids)} empty cells were read as none of the labels", tuple(ids))


def or_none(values: Sequence[object], modality: str, asked: Recipe) -> str:
    """What else empty cells may mean, for a refusal that ends so; "" where these values cannot be several labels."""
    if asked.task != "auto" or guess(values).kind == NUMBERS:
        return ""
    task = f"{'image' if modality == 'picture' else 'text'}_multilabel"
    return f"; or, where an empty cell means none of the labels, say --task {task}"


def number(value: str) -> float | None:
    """The number that a text is, in digits with a point; None for "nan", "inf", "1,5", "€1.200" and words."""
    return float(value) if _NUMBER.fullmatch(value.strip()) else None


def _of_tuples(values: Sequence[tuple[object, ...]]) -> Guess:
    if len(values) > 1 and all(len(v) == 1 for v in values) and len(set(values)) > 1:
        return Guess("", "every row has exactly one of the labels", "", (CLASSES, LABELS))
    return Guess(LABELS, "rows have lists of labels")


def _of_texts(texts: Sequence[str]) -> Guess:
    distinct = set(texts)
    for separator in SEPARATORS:
        with_it = sum(1 for t in texts if separator in t) / len(texts)
        if not with_it:
            continue
        share, pieces = _recombined(distinct, separator)
        fewer = pieces < len(distinct)
        shown = repr(separator.strip())
        if separator in (";", "|"):
            if fewer and share >= 0.5:
                return Guess(
                    LABELS, f"{pieces} labels, joined by {shown}, recombine in {len(distinct)} ways", separator
                )
            if with_it > 0.5:
                return Guess("", f"{shown} stands in most labels", separator, (LABELS, CLASSES))
        elif pieces * 2 <= len(distinct) and share >= 0.8 and _are_short(distinct, separator):
            return Guess(LABELS, f"{pieces} labels, joined by {shown}, recombine in {len(distinct)} ways", separator)
        elif fewer and share >= 0.5:
            return Guess("", f"labels with {shown} may be names or lists", separator, (LABELS, CLASSES))
    return Guess(CLASSES, f"{len(distinct)} distinct names")


def _recombined(distinct: set[str], separator: str) -> tuple[float, int]:
    """(the share of pieces that stand in two texts or more, the number of distinct pieces)."""
    found: dict[str, int] = defaultdict(int)
    for text in distinct:
        for piece in split(text, separator):
            found[piece] += 1
    return sum(1 for n in found.values() if n > 1) / max(len(found), 1), len(found)


def _are_short(distinct: set[str], separator: str) -> bool:
    return all(len(piece.split()) <= 3 for text in distinct for piece in split(text, separator))


def _of_numbers(texts: Sequence[str]) -> Guess:
    if any(re.fullmatch(r"[+-]?0\d+", t) for t in texts):
        return Guess(CLASSES, "leading zeros, as names have")
    numbers = [v for t in texts if (v := number(t)) is not None]
    distinct, n = set(numbers), len(numbers)
    d = len(distinct)
    if not all(v.is_integer() for v in distinct):
        if d > _SOME or d * 2 > n:
            return Guess(NUMBERS, f"{d} distinct values with fractions")
        return Guess("", f"only {d} distinct values, with fractions", "", (NUMBERS, CLASSES))
    return _of_integers(Counter(numbers))


def _of_integers(counts: Counter[float]) -> Guess:
    d, n, low, high = len(counts), counts.total(), min(counts), max(counts)
    repeats = n / d
    contiguous = high - low + 1 == d
    span = f"{low:.0f} to {high:.0f}"
    if d <= 2:
        return Guess(CLASSES, f"{d} distinct integers")
    if d * 2 > n:
        return Guess(NUMBERS, f"{d} distinct integers in {n} rows")
    few = d <= _FEW or repeats >= _REPEATED
    if contiguous and few and (d <= _SOME or low in (-1, 0, 1)):
        return Guess(CLASSES, f"the {d} integers {span}, {repeats:.0f} rows each on average")
    usual = sorted(counts.values())[d // 10 : d - d // 10]
    dense = d * 2 >= high - low + 1
    if dense and repeats >= _REPEATED and low in (-1, 0, 1) and usual[-1] <= _EVEN * usual[0]:
        return Guess(CLASSES, f"{d} integers from {span}, about {usual[len(usual) // 2]} rows each, as ids have")
    if not contiguous and d > _MANY:
        return Guess(NUMBERS, f"{d} distinct integers from {span}, with gaps")
    gaps = "" if contiguous else ", with gaps"
    return Guess("", f"{d} distinct integers from {span}{gaps}", "", (CLASSES, NUMBERS))

"""Which column is the text and which the label: by name, then by what is in them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from graft.errors import DataError, UsageError, did_you_mean

Columns = Mapping[str, list[str | None]]

# In the order of trust; a title is the text only where nothing longer is named.
TEXT_NAMES = ("text", "sentence", "review", "message", "content", "body", "title")
LABEL_NAMES = ("label", "class", "category", "target", "sentiment", "intent", "y")
# Few distinct values, and never what is asked for.
NO_LABEL_NAMES = ("split", "fold", "partition", "subset", "set")
_SAMPLED = 1000  # rows looked at for the kind of a column


@dataclass(frozen=True)
class _Choice:
    name: str
    why: str
    others: tuple[str, ...] = ()  # as good by the same rule


def clean_label(value: str) -> str:
    """Return a label without blanks around it and in Unicode's NFC; case and leading zeros stay."""
    return unicodedata.normalize("NFC", value.strip())


def guess(name: str, columns: Columns, text: str | None, label: str | None) -> tuple[str, str | None, str]:
    """Return (text column, label column or None, a sentence that says why); see `tables.guess_columns`."""
    for option, given in (("--text", text), ("--label", label)):
        if given is not None and given not in columns:
            raise UsageError(f"{name} has no column {given!r} ({option}).{did_you_mean(given, columns)}")
    if text is not None and text == label:
        raise UsageError(f"{text!r} cannot be both --text and --label. Possible: {', '.join(columns)}.")
    text_choice = _Choice(text, "as given") if text is not None else _text(name, columns, label)
    rest = {c: cells for c, cells in columns.items() if c != text_choice.name}
    label_choice = _Choice(label, "as given") if label is not None else _label(rest)
    said = _say("text", text_choice)
    if label_choice is None:
        return text_choice.name, None, f"{said}; no column looks like a label (--label NAME says which is)."
    return text_choice.name, label_choice.name, f"{said}; {_say('label', label_choice)}."


def _say(role: str, choice: _Choice) -> str:
    also = " or ".join(repr(o) for o in choice.others)
    return f"{role} is {choice.name!r} ({choice.why}" + (f"; {also} would do too: --{role} NAME)" if also else ")")


def _text(name: str, columns: Columns, label: str | None) -> _Choice:
    wordy = {c: cells for c, cells in columns.items() if c != label and _is_wordy(cells)}
    unique = {c: cells for c, cells in wordy.items() if _mostly_unique(cells)}
    named = _by_name(wordy, TEXT_NAMES) or _by_word(
        [c for c in unique if not set(_words(c)) & set(LABEL_NAMES)], TEXT_NAMES
    )
    if named is not None:
        return named
    long = {c: _mean_length(cells) for c, cells in unique.items()}
    if not long:
        seen = "; ".join(f"{c!r} (such as {_sample(cells)})" for c, cells in columns.items())
        raise DataError(
            f"{name} has no column that looks like text. It has: {seen}. Say which: --text NAME --label NAME"
        )
    return _best(long, max(long.values()), lambda v: f"longest and mostly unique, {v:.0f} characters on average")


def _label(columns: Columns) -> _Choice | None:
    named = _by_name(columns, LABEL_NAMES)
    if named is not None:
        return named
    counts: dict[str, float] = {}
    for column, cells in columns.items():
        filled = [clean_label(c) for c in cells if c is not None and c.strip()]
        distinct = len(set(filled))
        # All distinct is an id, however few rows there are.
        few = 2 <= distinct <= max(2, len(cells) // 2) and distinct < len(filled)
        if few and column.lower() not in NO_LABEL_NAMES:
            counts[column] = distinct
    named = _by_word(counts, LABEL_NAMES)
    if named is not None or not counts:
        return named
    return _best(counts, min(counts.values()), lambda v: f"fewest distinct values, {v:.0f}")


def _best(scores: dict[str, float], best: float, why: Callable[[float], str]) -> _Choice:
    first, *others = [c for c, score in scores.items() if score == best]
    return _Choice(first, why(best) + (", the first of equals" if others else ""), tuple(others))


def _by_name(columns: Iterable[str], names: tuple[str, ...]) -> _Choice | None:
    """Choose by the whole name ("Text", "labels"), in the order of `names`."""
    return _first([c for n in names for c in columns if c.lower() in (n, n + "s")], "by its name")


def _by_word(columns: Iterable[str], names: tuple[str, ...]) -> _Choice | None:
    """Choose by the last word of a name: "review_text" and "reviewText" are texts, "text_id" is an id."""
    return _first([c for n in names for c in columns if _words(c)[-1:] == [n]], "by a word of its name")


def _first(columns: list[str], why: str) -> _Choice | None:
    if not columns:
        return None
    return _Choice(columns[0], why, tuple(columns[1:]))


def _words(column: str) -> list[str]:
    return [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", column)]


def _filled(cells: list[str | None]) -> list[str]:
    step = max(1, len(cells) // _SAMPLED)
    return [c for c in cells[::step] if c is not None and c.strip()]


def _is_wordy(cells: list[str | None]) -> bool:
    """Say whether most cells hold letters and are no codes: numbers, dates, ids, links and paths are not."""
    filled = _filled(cells)
    words = [c for c in filled if any(x.isalpha() for x in c) and not _is_number(c)]
    return len(words) > len(filled) / 2 and sum(map(_is_code, words)) < 0.9 * len(words)


def _is_number(cell: str) -> bool:
    try:
        float(cell)  # "1e5", "nan" and "inf" have letters
    except ValueError:
        return False
    return True


def _is_code(cell: str) -> bool:
    whole = cell.isascii() and len(cell.split()) == 1
    return whole and any(c.isdigit() or c in "/\\@_" for c in cell)


def _mostly_unique(cells: list[str | None]) -> bool:
    filled = [c for c in cells if c is not None and c.strip()]
    return len(set(filled)) > len(filled) / 2


def _mean_length(cells: list[str | None]) -> float:
    filled = [c for c in cells if c is not None and c.strip()]
    return sum(map(len, filled)) / len(filled)


def _sample(cells: list[str | None]) -> str:
    first = next((c for c in cells if c is not None and c.strip()), "")
    return repr(first if len(first) <= 40 else first[:39] + "…")

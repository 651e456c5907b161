"""Which column is the text and which the label: by name, then by what is in them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from graft.errors import DataError

Columns = Mapping[str, list[str | None]]

# In the order of trust; a title is the text only where nothing longer is named.
TEXT_NAMES = ("text", "sentence", "review", "message", "content", "body", "title")
LABEL_NAMES = (
    "label", "class", "category", "target", "sentiment", "intent", "y", "emotion", "topic", "diagnosis",
    "score", "rating",
)  # fmt: skip
# Few distinct values, and never what is asked for.
NO_LABEL_NAMES = (
    "split", "fold", "partition", "subset", "set", "id", "index", "idx", "item", "user", "year", "month", "day",
    "date", "time", "timestamp", "author", "publisher", "url", "link", "source", "lang", "language",
)  # fmt: skip
_SAMPLED = 1000  # rows looked at for the kind of a column
_SHOWN = 8  # columns shown in a message


@dataclass(frozen=True)
class Choice:
    """A column, the reason for it, and the columns that were as good."""

    name: str
    why: str
    others: tuple[str, ...] = ()  # as good by the same rule


def clean_label(value: str) -> str:
    """Return a label without blanks around it and in Unicode's NFC; case and leading zeros stay."""
    return unicodedata.normalize("NFC", value.strip())


def say(role: str, choice: Choice) -> str:
    """Return "text is 'body' (by its name; 'title' would do too: --text NAME)"."""
    also = " or ".join(repr(o) for o in choice.others)
    return f"{role} is {choice.name!r} ({choice.why}" + (f"; {also} would do too: --{role} NAME)" if also else ")")


def text_column(name: str, columns: Columns) -> Choice:
    """Choose the texts by name, else the longest mostly unique words. Raises DataError naming what is there."""
    wordy = {c: cells for c, cells in columns.items() if _is_wordy(cells)}
    unique = {c: cells for c, cells in wordy.items() if _mostly_unique(cells)}
    named = _by_name(wordy, TEXT_NAMES) or _by_word(
        [c for c in unique if not set(words(c)) & set(LABEL_NAMES)], TEXT_NAMES
    )
    if named is not None:
        return named
    long = {c: _mean_length(cells) for c, cells in unique.items()}
    if not long:
        seen = "; ".join(f"{c!r} (such as {_sample(cells)})" for c, cells in [*columns.items()][:_SHOWN])
        more = f"; and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
        raise DataError(
            f"{name} has no column that looks like text. It has: {seen}{more}. "
            "Say which: --text NAME --label NAME, or --image NAME for paths of pictures"
        )
    return _best(long, max(long.values()), lambda v: f"longest and mostly unique, {v:.0f} characters on average")


def named_label(columns: Columns) -> Choice | None:
    """Choose the label by its name: "Label", "labels", or "trueLabel" where its values are few."""
    named = _by_name(columns, LABEL_NAMES)
    return named if named is not None else _by_word(_few_values(columns), LABEL_NAMES)


def found_label(columns: Columns) -> Choice | None:
    """Choose the label by content: the fewest distinct values, at least 2 and at most half as many as rows.

    Three in four values must stand in two rows or more: one-offs are free text, or several labels joined.
    """
    few = {c: n for c, n in _few_values(columns).items() if not {c.lower(), *words(c)[-1:]} & set(NO_LABEL_NAMES)}
    counts = {c: n for c, n in few.items() if _repeats(columns[c])}
    return _best(counts, min(counts.values()), lambda v: f"fewest distinct values, {v:.0f}") if counts else None


def _repeats(cells: list[str | None]) -> bool:
    counts = Counter(clean_label(c) for c in cells if c is not None and c.strip())
    return sum(1 for n in counts.values() if n > 1) * 4 >= 3 * len(counts)


def _few_values(columns: Columns) -> dict[str, float]:
    counts: dict[str, float] = {}
    for column, cells in columns.items():
        filled = [clean_label(c) for c in cells if c is not None and c.strip()]
        distinct = len(set(filled))
        # All distinct is an id, however few rows there are.
        few = 2 <= distinct <= max(2, len(cells) // 2) and distinct < len(filled)
        if few and column.lower() not in NO_LABEL_NAMES:
            counts[column] = distinct
    return counts


def only_numbers(columns: Columns) -> Choice | None:
    """Choose the one column of numbers that is neither an id nor a count of the rows, for a number to predict."""
    found = []
    for column, cells in columns.items():
        filled = [c for c in cells if c is not None and c.strip()]
        named_else = {column.lower(), *words(column)[-1:]} & set(NO_LABEL_NAMES)
        if len(set(filled)) > 1 and not named_else and all(map(is_number, filled)) and not _counts_up(filled):
            found.append(column)
    return Choice(found[0], "the only other column of numbers") if len(found) == 1 else None


def _counts_up(filled: list[str]) -> bool:
    steps = {float(b) - float(a) for a, b in pairwise(filled)}
    return steps == {1.0}


def _best(scores: dict[str, float], best: float, why: Callable[[float], str]) -> Choice:
    first, *others = [c for c, score in scores.items() if score == best]
    return Choice(first, why(best) + (", the first of equals" if others else ""), tuple(others))


def _by_name(columns: Iterable[str], names: tuple[str, ...]) -> Choice | None:
    """Choose by the whole name ("Text", "labels"), in the order of `names`."""
    return _first([c for n in names for c in columns if c.lower() in (n, n + "s")], "by its name")


def _by_word(columns: Iterable[str], names: tuple[str, ...]) -> Choice | None:
    """Choose by the last word of a name: "review_text" and "reviewText" are texts, "text_id" is an id."""
    return _first([c for n in names for c in columns if words(c)[-1:] == [n]], "by a word of its name")


def _first(columns: list[str], why: str) -> Choice | None:
    if not columns:
        return None
    return Choice(columns[0], why, tuple(columns[1:]))


def words(column: str) -> list[str]:
    """Split a name into lower-case words: "trueLabel" and "true_label" give true, label."""
    return [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", column)]


def _filled(cells: list[str | None]) -> list[str]:
    step = max(1, len(cells) // _SAMPLED)
    return [c for c in cells[::step] if c is not None and c.strip()]


def _is_wordy(cells: list[str | None]) -> bool:
    """Say whether most cells hold letters and are no codes: numbers, dates, ids, links and paths are not."""
    filled = _filled(cells)
    words = [c for c in filled if any(x.isalpha() for x in c) and not is_number(c)]
    return len(words) > len(filled) / 2 and sum(map(_is_code, words)) < 0.9 * len(words)


def is_number(cell: str) -> bool:
    """Say whether Python reads a cell as a number, infinities and nan among them."""
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

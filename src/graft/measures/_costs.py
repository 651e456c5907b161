"""Costs of decisions: a small table [true, predicted], and the decisions that cost least under probabilities."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from graft._intake import load, shown, text_of
from graft.errors import DataError, UsageError, did_you_mean, some
from graft.tables import clean_label

if TYPE_CHECKING:
    import numpy as np

Costs = tuple[tuple[float, ...], ...]
_CAP = 64 << 20  # bytes: costs of 2,000 classes have 4 million cells


def number(text: str) -> float | None:
    """A finite number as written, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def read(file: str, labels: Sequence[str]) -> Costs:
    """Read costs [true, predicted], in the order of `labels`, from a csv with comma, semicolon or tab.

    Its header and its first column are the labels, each once, in any order; the corner may hold anything.
    Raises UsageError for a missing file and for labels that are not those of the data; DataError naming the line for
    cells that are no finite numbers.
    """
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"cost:{file}: there is no such file; give a csv of costs, or cost:fp=1,fn=5 for two classes")
    lines = _lines(path)
    predicted = [clean_label(cell) for cell in lines[0][1][1:]]
    _check(shown(path), "header", predicted, labels)
    rows: dict[str, dict[str, float]] = {}
    _check(shown(path), "first column", [clean_label(cells[0]) for _, cells in lines[1:]], labels)
    for line, cells in lines[1:]:
        rows[clean_label(cells[0])] = dict(zip(predicted, _numbers(f"{shown(path)}:{line}", cells, predicted)))
    found = tuple(tuple(rows[t][p] for p in labels) for t in labels)
    if all(len(set(row)) == 1 for row in found):
        raise UsageError(
            f"{shown(path)}: every decision costs the same, so none is better; wrong ones should cost more"
        )
    return found


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """(line, cells) of each line that is not empty, split by the delimiter that the header has most of."""
    text = text_of(load(path, _CAP), path)
    header = text.lstrip().partition("\n")[0]
    reader = csv.reader(text.splitlines(), delimiter=max(",;\t", key=header.count), strict=True)
    try:
        found = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as e:
        raise DataError(f"{shown(path)}:{reader.line_num}: {e}. Double the quotes inside quoted cells.") from e
    if not found:
        raise DataError(f"{shown(path)} is empty; give a table of costs: labels as header and first column.")
    return found


def _check(name: str, where: str, given: Sequence[str], labels: Sequence[str]) -> None:
    """Refuse labels that are not exactly those of the data."""
    strange = [label for label in given if label not in labels]
    missing = [label for label in labels if label not in given]
    if strange:
        near = did_you_mean(strange[0], labels)
        raise UsageError(f"{name}: no class is called {some(map(repr, strange))} ({where}).{near}")
    if missing:
        raise UsageError(f"{name}: its {where} lacks {some(map(repr, missing))}; every class needs its costs")
    if len(given) != len(labels):
        twice = [label for label in labels if given.count(label) > 1]
        raise UsageError(f"{name}: its {where} has {some(map(repr, twice))} twice; leave one of them")


def _numbers(where: str, cells: Sequence[str], predicted: Sequence[str]) -> list[float]:
    if len(cells) != len(predicted) + 1:
        raise DataError(f"{where} has {len(cells)} cells, the header {len(predicted) + 1}; mend that line")
    values = [number(cell.strip()) for cell in cells[1:]]
    wrong = next((i for i, value in enumerate(values) if value is None), None)
    if wrong is not None:
        raise DataError(
            f"{where}: the cost of answering {predicted[wrong]!r} is {cells[wrong + 1]!r}; a number is expected, "
            "with a point before its decimals"
        )
    return [value for value in values if value is not None]


def cheapest(weights: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """The class [n] with the least expected cost (Elkan 2001, section 1); ties go to the likelier one.

    weights [n, c] are probabilities, up to a factor a sample; costs [true, predicted].
    """
    import numpy as np

    expected = weights @ costs
    least = expected.min(axis=1, keepdims=True)
    near = 1e-12 * np.abs(costs).max() * weights.sum(axis=1, keepdims=True)  # sums differ in their last digits
    found: np.ndarray = np.where(expected <= least + near, weights, -1.0).argmax(axis=1)
    return found

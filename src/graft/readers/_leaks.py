"""Columns that tell the label by themselves: an id, a date or a file name that leaks it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Container, Mapping, Sequence

import numpy as np

from graft.data import Note
from graft.readers import _times

AUC, DETERMINED, RANKED = 0.98, 0.98, 0.995
FEWEST, MOST = 30, 20_000  # rows looked at
MOST_CLASSES = 50


def leaks(columns: Mapping[str, Sequence[str | None]], y: Sequence[object], used: Container[str]) -> list[Note]:
    """A warning that names the columns, not in `used`, that tell the label by themselves.

    A column is tried as a number or a time, and as a category by the class shares of the other rows with the same value
    (leave-one-out target encoding, Micci-Barreca 2001), whole and without its digits, as names of files want it: it
    tells where it ranks the classes with an AUC above AUC. Of many or small classes, where it determines them: the
    commonest label of the other rows with its value is a row's own in DETERMINED of all. Of numbers, where its rank
    correlation with them is above RANKED. What a model is shown is not among the columns, so nothing is lost but an
    early sign that rows of a class were gathered apart from the others.
    """
    labels = [v if isinstance(v, str) else "" for v in y]
    counts = Counter(labels)
    if len(labels) < FEWEST or len(counts) < 2:
        return []
    step = max(1, len(labels) // MOST)
    truth = np.array(labels)[::step]
    few = len(counts) <= MOST_CLASSES and min(counts.values()) >= 5
    found = []
    for name, cells in columns.items():
        said = "" if name in used else _told(list(cells)[::step], truth, few)
        if said:
            found.append(f"{name} ({said})")
    if not found:
        return []
    text = f"{len(found)} other columns tell the label by themselves; the model is not shown them, but ask why they do"
    return [Note("warning", text, tuple(found), "leak_column")]


def _told(cells: Sequence[str | None], truth: np.ndarray, few: bool) -> str:
    """How well a column tells the label, in words; "" where it does not, or not suspiciously well."""
    if few:
        best = max(_numeric(cells, truth), _category(cells, truth), _category([_stem(c) for c in cells], truth))
        return f"AUC {best:.3f}" if best > AUC else ""
    ranked = _ranked(cells, truth)
    if ranked > RANKED:
        return f"rank correlation {ranked:.3f}"
    share = _determined(cells, truth)
    return f"determines {share:.1%}" if share > DETERMINED else ""


def _ranked(cells: Sequence[str | None], truth: np.ndarray) -> float:
    """The absolute rank correlation (Spearman) of a column and labels that are numbers; 0 where either is none."""
    from scipy.stats import spearmanr

    values, wanted = _values(cells), _values(truth.tolist())
    if values is None or wanted is None:
        return 0.0
    both = np.isfinite(values) & np.isfinite(wanted)
    if both.mean() < 0.9 or len(set(values[both])) < 2 or len(set(wanted[both])) < 2:
        return 0.0
    return float(abs(spearmanr(values[both], wanted[both]).statistic))


def _determined(cells: Sequence[str | None], truth: np.ndarray) -> float:
    """The share of rows whose label is the commonest of the other rows with their value; 0 where few values repeat."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for cell, label in zip(cells, truth.tolist(), strict=True):
        rows[cell or ""][label] += 1
    if len(rows) < 2 or len(rows) > len(cells) / 2 or Counter(truth.tolist()).most_common(1)[0][1] > len(truth) / 2:
        return 0.0
    right = 0
    for labels in rows.values():
        (_, n), *_ = labels.most_common(1)
        right += n if n > 1 else 0  # of a value that stands in one row no other row speaks
    return right / len(cells)


def _numeric(cells: Sequence[str | None], truth: np.ndarray) -> float:
    """The mean AUC over classes of the column as a number, whichever way round; 0 where it is none."""
    values = _values(cells)
    if values is None or np.isnan(values).mean() > 0.1:
        return 0.0
    kept = np.isfinite(values)
    classes = np.unique(truth[kept])
    if len(classes) < 2:
        return 0.0
    each = [auc(values[kept], truth[kept] == c) for c in classes]
    return float(np.mean([max(a, 1 - a) for a in each]))


def _values(cells: Sequence[str | None]) -> np.ndarray | None:
    """Cells as numbers, or as times; None where one of them is neither."""
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError:
        pass
    times = _times.seconds(cells)
    if any(t is None and cell for t, cell in zip(times, cells, strict=True)):
        return None
    return np.array([np.nan if t is None else t for t in times])


def _stem(cell: str | None) -> str:
    """A value without its digits: of `cat_0012.txt` what all cats share."""
    return re.sub(r"\d+", "", cell or "")


def _category(cells: Sequence[str | None], truth: np.ndarray) -> float:
    """The mean AUC over classes of the column as a category; 0 where most values stand alone."""
    rows: dict[str, list[int]] = defaultdict(list)
    for i, cell in enumerate(cells):
        rows[cell or ""].append(i)
    if len(rows) > len(cells) / 2 or len(rows) < 2:
        return 0.0
    each = []
    for c in np.unique(truth):
        held = truth == c
        share = np.zeros(len(cells))
        for group in rows.values():
            total, hits = len(group), int(held[group].sum())
            share[group] = (hits - held[group] + held.mean()) / total  # of the others, with one row's worth of prior
        each.append(auc(share, held))
    return float(np.mean(each))


def auc(values: np.ndarray, held: np.ndarray) -> float:
    """Area under the ROC curve of values [n] for held [n] (bool), ties half; 0.5 without both."""
    from scipy.stats import rankdata

    positive = int(held.sum())
    negative = len(held) - positive
    if not positive or not negative:
        return 0.5
    ranks = rankdata(values)
    return float((ranks[held].sum() - positive * (positive + 1) / 2) / (positive * negative))

"""PARC: against SciPy's Spearman of correlation distances, a pair at a time."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import score_worlds as worlds
from scipy.stats import spearmanr

from graft.scores import Material, NoScore, parc


def by_definition(x: np.ndarray, marks: np.ndarray) -> float:
    alike, wanted = np.corrcoef(x), np.round(np.corrcoef(marks), 9)
    pairs = list(combinations(range(len(x)), 2))
    return float(spearmanr([alike[p] for p in pairs], [wanted[p] for p in pairs])[0])


def test_classes_are_their_one_hot_rows() -> None:
    for c in (2, 5):
        x, y = worlds.classes(c=c)
        assert parc.parc(Material.of(x, y, "classes")) == pytest.approx(by_definition(x, np.eye(c)[y]), abs=1e-9)


def test_labels_are_rows_of_marks_and_rows_without_contrast_are_left_out() -> None:
    x, y = worlds.labels(c=4)
    kept = np.ptp(y, axis=1) > 0
    assert 10 < kept.sum() < 60
    assert parc.parc(Material.of(x, y, "labels")) == pytest.approx(by_definition(x[kept], y[kept]), abs=1e-9)


def test_samples_whose_features_are_all_equal_are_left_out() -> None:
    x, y = worlds.classes()
    flat = x.copy()
    flat[:5] = 3.0
    assert parc.parc(Material.of(flat, y, "classes")) == pytest.approx(by_definition(x[5:], np.eye(4)[y[5:]]), abs=1e-9)


def test_one_column_has_no_correlation_and_equal_pairs_have_no_ranks() -> None:
    x, y = worlds.classes()
    with pytest.raises(NoScore, match="one column"):
        parc.parc(Material.of(x[:, :1], y, "classes"))
    with pytest.raises(NoScore, match="by the features"):
        parc.parc(Material.of(np.arange(60.0)[:, None] * [1, 2, 3] + 1, y, "classes"))


def test_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = worlds.classes(n=400)
    m = Material.of(x, y, "classes")
    monkeypatch.setattr(parc, "MOST_ROWS", 80)
    rows = m.sample(80)
    assert parc.parc(m) == pytest.approx(by_definition(x[rows], np.eye(4)[y[rows]]), abs=1e-9)

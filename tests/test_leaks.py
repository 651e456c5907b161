"""Row 31: a column that tells the label by itself is named."""

from __future__ import annotations

from pathlib import Path

import models
import numpy as np
import pandas as pd
import pytest

from graft import recipe, sources
from graft.readers._leaks import auc, leaks


def test_row_31_an_id_that_grows_with_the_class_and_a_source_that_is_the_class_are_named() -> None:
    draw = np.random.default_rng(0)
    y = ["a"] * 60 + ["b"] * 60
    columns = {
        "id": [str(i) for i in range(120)],
        "source": ["clinic" if v == "a" else "web" for v in y],
        "noise": [str(v) for v in draw.normal(size=120)],
        "kind": list(draw.choice(["x", "y", "z"], 120)),
        "text": [f"t{i}" for i in range(120)],
    }
    said = leaks(columns, y, {"text"})
    assert len(said) == 1 and said[0].kind == "warning"
    assert [item.partition(" ")[0] for item in said[0].items] == ["id", "source"]


def test_row_31_categories_of_one_row_each_say_nothing() -> None:
    y = ["a", "b"] * 40
    assert leaks({"name": [f"n{i * 7919 % 80}x" for i in range(80)]}, y, ()) == []


def test_row_31_reaches_the_notes_of_a_fit(tmp_path: Path) -> None:
    rows = [(t, y, "2024" if y == "good" else "2025") for t, y in models.texts(80)]
    path = models.write_csv(tmp_path / "t.csv", rows, ("text", "label", "year"))
    asked = recipe.Recipe(text="text", label="label")
    data = sources.task_for(path, asked)[0].read(path, asked)
    assert any("tell the label by themselves" in n.text and n.items[0].startswith("year") for n in data.notes)


def test_the_area_is_scikit_learns() -> None:
    from sklearn.metrics import roc_auc_score

    draw = np.random.default_rng(1)
    values, held = draw.integers(0, 6, 200).astype(float), draw.random(200) < 0.3
    assert auc(values, held) == pytest.approx(roc_auc_score(held, values))
    assert pd.Series(values).nunique() == 6

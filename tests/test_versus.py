"""Two runs compared on what both answered, recomputed by hand."""

from __future__ import annotations

import json
from pathlib import Path

import models
import numpy as np
import pandas as pd
import pytest
from command import call

import graft
from graft import DataError


@pytest.fixture(scope="module")
def runs(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("versus")
    data = models.write_csv(place / "t.csv", models.texts(120))
    made = []
    for name, recipe in (("probe", "probe"), ("one", "nearest_neighbour:k=1")):
        made.append(place / name)
        graft.fit(data, backbone=f"local:{bert}", recipe=recipe, out=made[-1], quiet=True)
    return made[0], made[1]


def chosen(folder: Path) -> pd.Series:
    table = pd.read_parquet(folder / "predictions.parquet")
    own = table[(table["split"] == "test") & (table["model"] == "recipe")].set_index("id")
    scores = own.filter(like="score_")
    said = scores.columns.to_numpy()[scores.to_numpy().argmax(axis=1)]
    return pd.Series(said == "score_" + own["truth"], index=own.index)


def test_the_difference_is_that_of_the_saved_predictions(runs: tuple[Path, Path]) -> None:
    found = graft.compare(*runs)
    right = [chosen(r) for r in runs]
    gain = right[0].astype(float) - right[1].reindex(right[0].index).astype(float)
    assert found.n == len(gain)
    assert np.isclose(found.difference, gain.mean())
    assert np.isclose(found.value_a, right[0].mean())
    assert found.low <= found.difference <= found.high


def test_a_run_cannot_be_told_from_itself(runs: tuple[Path, Path]) -> None:
    said = call("compare", runs[0], runs[0], "--json")
    found = json.loads(said.out)
    assert found["difference"] == 0
    assert found["low"] == -found["high"] < 0  # equal on n samples is not equal for ever
    assert found["p"] == 1
    assert "cannot be told from" in call("compare", runs[0], runs[0]).out


def test_runs_of_other_questions_are_refused(
    runs: tuple[Path, Path], text_run: graft.Run, bert: Path, tmp_path: Path
) -> None:
    other = models.write_csv(tmp_path / "o.csv", [(t, f"{y}!") for t, y in models.texts(40)])
    graft.fit(other, backbone=f"local:{bert}", recipe="probe", out=tmp_path / "other", quiet=True)
    with pytest.raises(DataError, match="different questions"):
        graft.compare(runs[0], tmp_path / "other")
    assert call("compare", runs[0], tmp_path / "other").code == 3
    assert call("compare", runs[0], tmp_path / "none").code == 2


@pytest.mark.slow
def test_rows_of_other_files_with_the_same_name_are_no_common_samples(home: Path, bert: Path, tmp_path: Path) -> None:
    runs = []
    for i in range(2):
        path = models.write_csv(tmp_path / str(i) / "data.csv", models.texts(60, seed=20 + i))
        runs.append(
            graft.fit(path, backbone=f"local:{bert}", recipe="probe:l2=0.1", out=tmp_path / f"run{i}", quiet=True)
        )
    with pytest.raises(graft.DataError, match="no test sample in common"):
        graft.compare(runs[0].folder, runs[1].folder)


@pytest.mark.slow
def test_runs_decided_by_different_measures_ask_for_one(bert: Path, reviews: Path, tmp_path: Path) -> None:
    runs = [
        graft.fit(reviews, backbone=f"local:{bert}", recipe="probe:l2=0.1", measure=m, out=tmp_path / m, quiet=True)
        for m in ("accuracy", "log_loss")
    ]
    with pytest.raises(graft.UsageError, match="--measure"):
        graft.compare(runs[0].folder, runs[1].folder)
    assert graft.compare(runs[0].folder, runs[1].folder, "log_loss").measure == "log_loss"

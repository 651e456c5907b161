"""Temperatures, sets and intervals of real runs: the same in the report, the files, the library and the command."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import models
import numpy as np
import pandas as pd
import pytest
import reports
from command import call, refused
from pages import Page, shown

import graft
from graft import _plots, calibrate, conformal, measures, report, sources, storage
from graft.errors import UsageError
from graft.run import Run


@pytest.fixture(scope="module")
def sure_run(home: Path, bert: Path) -> Run:
    """A probe without a penalty on 80 texts, a third of them with a wrong label: far too sure."""
    draw = np.random.default_rng(0)
    flip = {"good": "bad", "bad": "good"}
    parts = ["train"] * 80 + ["valid"] * 200 + ["test"] * 320
    rows = [(text, flip[label] if draw.random() < 0.33 else label, part)
            for (text, label), part in zip(models.texts(600), parts, strict=True)]  # fmt: skip
    path = models.write_csv(home / "noisy.csv", rows, ("text", "label", "split"))
    return graft.fit(path, backbone=f"local:{bert}", recipe="probe:l2=0.000001", out=home / "sure", quiet=True)


def own(run: Run, split: str, model: str = "") -> pd.DataFrame:
    table = pd.read_parquet(run.folder / "predictions.parquet")
    return table[(table["split"] == split) & (table["model"] == (model or run.report["chosen"]))]


def answers(run: Run, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities, class indices) as predictions.parquet has them."""
    table = own(run, split)
    truth = np.array([run.labels.index(t) for t in table["truth"]])
    return table[[f"score_{label}" for label in run.labels]].to_numpy(), truth


# ------------------------------------------------------------------------------------ temperature


def test_a_run_that_is_too_sure_is_brought_down(sure_run: Run) -> None:
    assert sure_run.temperature > 1.3
    assert sure_run.meta["temperatures"][sure_run.report["chosen"]] == sure_run.temperature
    said = sure_run.report["calibration"]
    assert said["temperature"] == sure_run.temperature and said["ece"] < said["ece_before"] - 0.05
    p, truth = answers(sure_run, "test")
    assert said["ece"] == pytest.approx(measures.expected_calibration_error(p, truth)[0])
    before = calibrate.apply("classes", p, 1 / sure_run.temperature)
    assert said["ece_before"] == pytest.approx(measures.expected_calibration_error(before, truth)[0])
    assert {"what": "temperatures", "by": "valid, cross-fitted", "rows": 200} in sure_run.report["decided"]
    # Its own validation answers, at the temperature they were given, want no other.
    p, truth = answers(sure_run, "valid")
    again = calibrate.temperature("classes", p, truth)
    assert again == pytest.approx(1, abs=0.01)


def test_predictions_have_the_temperature_and_the_model_has_not(sure_run: Run, home: Path) -> None:
    table = own(sure_run, "test").set_index("id")
    told = sure_run.predict(home / "noisy.csv").set_index("id").loc[table.index]
    columns = [f"score_{label}" for label in sure_run.labels]
    np.testing.assert_allclose(told[columns].to_numpy(), table[columns].to_numpy(), atol=1e-6)
    model, task, _ = storage.load_model(sure_run.folder)  # the golden check holds: it is of the bare scores
    texts = pd.read_csv(home / "noisy.csv")["text"].tolist()[:20]
    samples, _ = task.inputs(sources.inputs(texts, "text"))
    bare = np.stack(model.predict(samples, task))
    expected = calibrate.apply("classes", bare, sure_run.temperature)
    np.testing.assert_allclose(sure_run.predict(texts)[columns].to_numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(sure_run.as_sklearn().predict_proba(texts), expected, atol=1e-5)


def test_evaluate_measures_calibrated_answers_of_the_model_and_the_controls(sure_run: Run, home: Path) -> None:
    kept = own(sure_run, "test")
    texts = pd.read_csv(home / "noisy.csv")
    rows = [int(i.rpartition(":")[2]) - 2 for i in kept["id"]]  # noisy.csv:LINE, below a header
    found = sure_run.evaluate(texts.iloc[rows])
    said = sure_run.report["scores"][sure_run.report["chosen"]]["test"]
    assert found["scores"]["log_loss"]["value"] == pytest.approx(said["log_loss"]["value"], abs=1e-5)
    for name, control in sure_run.report["controls"].items():
        if name in ("scratch", "random_probe"):  # of the fit alone: their weights are not kept
            continue
        assert found["controls"][name]["value"] == pytest.approx(control["value"], abs=1e-5)


@pytest.mark.slow
def test_without_calibration_there_is_no_temperature(sure_run: Run, home: Path, bert: Path, tmp_path: Path) -> None:
    run = graft.fit(
        home / "noisy.csv", backbone=f"local:{bert}", recipe="probe:l2=0.000001", set=["calibrate=false"],
        out=tmp_path / "bare", quiet=True,
    )  # fmt: skip
    assert run.temperature == 1.0 and run.meta["temperatures"] == {}
    assert run.report["headline"] == sure_run.report["headline"]  # accuracy: no decision moved
    assert run.report["calibration"]["ece"] == pytest.approx(run.report["calibration"]["ece_before"])
    assert run.report["calibration"]["ece"] == pytest.approx(sure_run.report["calibration"]["ece_before"], abs=1e-6)
    assert "temperature" not in shown(run.report, "calibration")
    assert "without the temperature" in report.model_card(sure_run.report)
    assert "temperature" not in report.model_card(run.report)


def test_a_run_of_before_has_a_temperature_of_one(sure_run: Run) -> None:
    old = Run(sure_run.folder)
    del old.meta["temperatures"]
    assert old.temperature == 1.0
    p = own(sure_run, "test")[[f"score_{label}" for label in sure_run.labels]].to_numpy()
    assert old.predict(["lovely great day"])["probability"][0] > 0 and p.shape[1] == 2


# --------------------------------------------------------------------------------- sets in a run


def test_the_report_measures_the_sets_that_predict_gives(sure_run: Run, home: Path) -> None:
    said = sure_run.report["conformal"]
    assert said["n_valid"] == len(own(sure_run, "valid")) == 200
    kept = own(sure_run, "test").set_index("id")
    for row in said["levels"]:
        told = sure_run.predict(home / "noisy.csv", coverage=row["coverage"]).set_index("id").loc[kept.index]
        held = [t in s for t, s in zip(kept["truth"], told["set"], strict=True)]
        assert np.mean(held) == pytest.approx(row["measured"]["value"])
        assert np.mean([len(s) for s in told["set"]]) == pytest.approx(row["size"])
        assert all(s[0] == label for s, label in zip(told["set"], told["label"], strict=True))
    p, truth = answers(sure_run, "test")
    offsets = sure_run.offsets
    assert sure_run.report["abstention"] == conformal.abstention("classes", p, truth, offsets)
    assert said == conformal.measured("classes", *answers(sure_run, "valid"), p, truth, sure_run.labels, offsets)


def test_the_command_writes_sets_in_every_form(sure_run: Run, tmp_path: Path) -> None:
    lines = "lovely day\nawful day\n"
    command = ("predict", sure_run.folder, "-", "--coverage", "0.95", "--quiet")
    told = call(*command, stdin=lines)
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines()[0] == "id,label,probability,score_bad,score_good,set"
    sets = sure_run.predict(["lovely day", "awful day"], coverage=0.95)["set"].tolist()
    assert [row.rpartition(",")[2] for row in told.out.splitlines()[1:]] == ["; ".join(s) for s in sets]
    rows = [json.loads(line) for line in call(*command, "--json", stdin=lines).out.splitlines()]
    assert [r["set"] for r in rows] == sets
    assert call(*command, "--out", tmp_path / "p.parquet", stdin=lines).code == 0
    assert [list(s) for s in pd.read_parquet(tmp_path / "p.parquet")["set"]] == sets


@pytest.mark.parametrize("coverage", ["0", "1", "1.5", "-0.2", "90"])
def test_a_coverage_that_is_none_is_refused_before_anything_is_read(sure_run: Run, coverage: str) -> None:
    refused(call("predict", sure_run.folder, "gone.txt", "--coverage", coverage), 2, "--coverage", "as 0.9")
    with pytest.raises(UsageError, match="coverage"):
        sure_run.predict(["a"], coverage=float(coverage))


def test_a_row_that_cannot_be_read_has_no_set(picture_run: Run, tmp_path: Path) -> None:
    models.picture("disc", 1).save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    table = picture_run.predict([tmp_path / "good.png", tmp_path / "bad.png"], coverage=0.5)
    good, bad = table.to_dict("records")
    assert set(good["set"]) <= set(picture_run.labels) and good["label"] in good["set"]
    assert isinstance(bad["error"], str) and isinstance(bad["set"], float) and math.isnan(bad["set"])


def test_one_warning_says_how_many_validation_samples_are_needed(
    text_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    n = len(own(text_run, "valid"))
    told = text_run.predict(["a lovely day", "awful"], coverage=0.99)
    assert all(set(s) == set(text_run.labels) for s in told["set"])
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "needs at least 99 validation samples" in err and f"has {n}" in err
    row = conformal.measured("classes", *answers(text_run, "valid"), *answers(text_run, "test"), text_run.labels,
                             levels=[0.99])["levels"][0]  # fmt: skip
    assert not row["supported"] and row["size"] == 2 and row["needs"] == 99


# ------------------------------------------------------------------------------------------- page


def lacking(r: dict[str, Any]) -> dict[str, Any]:
    levels = [{**x, "supported": False, "width": None, "expected": None} for x in r["conformal"]["levels"]]
    return {**r, "conformal": {**r["conformal"], "levels": levels}}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("classes", ["80% needs 4", "95% needs 19", "sets hold every class there"]),
        ("labels", ["that hold a label: 80% needs 4", "every label is in every set there"]),
        ("numbers", ["endless", "intervals are endless there"]),
    ],
)
def test_the_page_says_where_validation_is_too_small(kind: str, words: list[str]) -> None:
    r = reports.KINDS[kind]()
    assert "Too few" not in shown(r, "conformal")
    said = shown(lacking(r), "conformal")
    assert "Too few validation items" in said and all(w in said for w in words)
    assert not any(x in report.model_card(lacking(r)) for x in ("nine times in ten", "nine true numbers"))


def test_the_page_names_labels_that_are_in_every_set() -> None:
    r = reports.of_labels()
    r["conformal"]["levels"][2]["everything"] = [f"<{i}>" for i in range(7)]
    said = shown(r, "conformal")
    assert "In every set" in said and "“<0>”, “<1>”" in said and "and 2 more" in said


@pytest.mark.parametrize("kind", reports.KINDS)
def test_the_table_has_the_numbers_of_the_report(kind: str) -> None:
    r, said = reports.KINDS[kind](), ""
    said = shown(r, "conformal")
    for row in r["conformal"]["levels"]:
        assert f"{100 * row['measured']['value']:.1f}%" in said
        assert f"{100 * row['measured']['low']:.1f} to {100 * row['measured']['high']:.1f}%" in said
    card = report.model_card(r)
    assert f"{100 * r['conformal']['levels'][1]['measured']['value']:.1f}%" in card


@pytest.mark.parametrize(
    "points",
    [
        [(1.0, 1.0, 0.5, 1.0)], [(1.0, 0.2, 0.1, 0.3), (0.5, 1.0, 0.9, 1.0)], [(1.0, 0.0, None, None)],
        [(1.0, 0.99, 0.98, 1.0), (0.05, 1.0, 0.97, 1.0)],
    ],
)  # fmt: skip
def test_the_curve_is_drawn_within_its_frame(points: list[tuple[float, float, float | None, float | None]]) -> None:
    drawing = _plots.answered(points)
    Page(f"<div>{drawing}</div>")
    assert "100%</text>" in drawing and "110%" not in drawing and drawing.count("<circle") == len(points)

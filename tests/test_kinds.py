"""Every kind of answer for pictures and texts, from a file to predictions and a report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import models
import numpy as np
import pandas as pd
import pytest
from command import call, refused

import graft
from graft import thresholds
from graft.errors import DataError
from graft.run import Run
from graft.tasks.text_classification import TextClassification


def several(path: Path, n: int = 120, separator: str = ";") -> Path:
    """Texts with any of the labels praise, complaint and time."""
    draw = np.random.default_rng(0)
    rows: dict[str, str] = {}
    while len(rows) < n:
        held = [bool(draw.random() < 0.5) for _ in range(3)]
        words = [w for h, w in zip(held, ("lovely", "awful", "today"), strict=True) if h]
        words += list(draw.choice([w for w in models.FILLER if w != "today"], int(draw.integers(3, 7))))
        labels = [w for h, w in zip(held, ("praise", "complaint", "time"), strict=True) if h]
        if labels:
            rows.setdefault(" ".join(draw.permutation(words)), separator.join(labels))
    return models.write_csv(path, list(rows.items()), ("text", "tags"))


def stars(path: Path, n: int = 120) -> Path:
    """Texts with a number that their words decide."""
    draw = np.random.default_rng(1)
    rows: dict[str, str] = {}
    while len(rows) < n:
        good = int(draw.integers(0, 5))
        words = [*draw.choice(models.GOOD, good), *draw.choice(models.BAD, 4 - good), *draw.choice(models.FILLER, 3)]
        rows.setdefault(" ".join(draw.permutation(words)), f"{good + draw.normal() / 10:.3f}")
    return models.write_csv(path, list(rows.items()), ("text", "score"))


@pytest.fixture(scope="module")
def tags_run(home: Path, bert: Path) -> Run:
    return graft.fit(
        several(home / "tags.csv"),
        backbone=f"local:{bert}",
        recipe="probe > finetune:depth=1",
        set=["stage.1.epochs=2"],
        out=home / "tags",
        quiet=True,
    )


@pytest.fixture(scope="module")
def stars_run(home: Path, bert: Path) -> Run:
    return graft.fit(stars(home / "stars.csv"), backbone=f"local:{bert}", budget="60s", out=home / "stars", quiet=True)


# ---------------------------------------------------------------------------------- several labels


def test_several_labels_are_seen_in_the_cells(tags_run: Run) -> None:
    assert tags_run.meta["task"]["name"] == "text_multilabel"
    assert tags_run.labels == ("complaint", "praise", "time")
    assert tags_run.report["measure"] == "map" and set(tags_run.report["controls"]) >= {"base_rates", "probe"}
    assert "base_rates" in tags_run.report["against"]


def test_several_labels_beat_their_shares_and_every_number_can_be_computed_again(tags_run: Run) -> None:
    from sklearn.metrics import average_precision_score, f1_score

    table = pd.read_parquet(tags_run.folder / "predictions.parquet")
    own = table[(table["split"] == "test") & (table["model"] == tags_run.report["chosen"])]
    scores = own[[f"score_{label}" for label in tags_run.labels]].to_numpy()
    truth = np.array([[label in t for label in tags_run.labels] for t in own["truth"]])
    said = {k: v["value"] for k, v in tags_run.report["scores"][tags_run.report["chosen"]]["test"].items()}
    assert said["map"] == pytest.approx(average_precision_score(truth, scores, average="macro"))
    offsets = np.zeros(3) if tags_run.offsets is None else tags_run.offsets
    decided = np.log(scores / (1 - scores)) + offsets > 0
    assert said["macro_f1"] == pytest.approx(f1_score(truth, decided, average="macro", zero_division=0))
    assert said["map"] > tags_run.report["controls"]["base_rates"]["value"] + 0.1


def test_several_labels_are_predicted_as_a_list(tags_run: Run) -> None:
    table = tags_run.predict(["lovely film today", "awful room", ""])
    assert list(table.columns) == ["id", "labels", "score_complaint", "score_praise", "score_time"]
    assert all(isinstance(labels, list) and set(labels) <= set(tags_run.labels) for labels in table["labels"])
    out = call("predict", tags_run.folder, "-", "--json", "--quiet", stdin="lovely film today\n").out
    assert set(json.loads(out)) >= {"id", "labels"}


def test_several_labels_have_sets_that_hold_more_than_is_said(tags_run: Run) -> None:
    said = tags_run.predict(["lovely film today", "awful room", ""], coverage=0.8)
    assert list(said.columns)[-1] == "set"
    assert all(set(s) <= set(tags_run.labels) and isinstance(s, list) for s in said["set"])
    row = tags_run.report["conformal"]["levels"][0]
    assert row["coverage"] == 0.8 and 0 < row["measured"]["value"] <= 1 and row["worst"]["label"] in tags_run.labels
    table = pd.read_parquet(tags_run.folder / "predictions.parquet")
    own = table[(table["split"] == "valid") & (table["model"] == tags_run.report["chosen"])]
    most = max(int(sum(label in t for t in own["truth"])) for label in tags_run.labels)
    assert tags_run.report["abstention"]["curve"][0]["answered"] == 1.0
    told = call("predict", tags_run.folder, "-", "--coverage", 1 - 1 / (10 * most), "-q", stdin="lovely film today\n")
    assert told.err.count("\n") == 1 and "that hold a label; complaint, praise, time have fewer" in told.err
    line = told.out.splitlines()[1]
    assert sorted(line.rpartition(",")[2].split("; ")) == list(tags_run.labels)


def test_several_labels_are_evaluated_and_compared(tags_run: Run, home: Path) -> None:
    found = tags_run.evaluate(home / "tags.csv")
    assert (
        found["measure"] == "map"
        and 0 < found["value"] <= 1
        and found["controls"]["base_rates"]["value"] < found["value"]
    )
    same = graft.compare(tags_run.folder, tags_run.folder)
    assert same.difference == 0 and same.measure == "map"


def test_one_hot_columns_are_several_labels(home: Path, bert: Path) -> None:
    frame = pd.read_csv(several(home / "tags2.csv"))
    for label in ("praise", "complaint", "time"):
        frame[label] = frame["tags"].str.contains(label).astype(int)
    run = graft.fit(
        frame.drop(columns="tags"),
        label="praise,complaint,time",
        backbone=f"local:{bert}",
        recipe="probe:l2=0.1",
        out=home / "hot",
        quiet=True,
    )
    assert run.meta["task"]["name"] == "text_multilabel" and run.labels == ("complaint", "praise", "time")


# --------------------------------------------------------------------------------------- numbers


def test_numbers_are_seen_and_the_smallest_error_wins(stars_run: Run) -> None:
    report = stars_run.report
    assert report["task"]["name"] == "text_regression" and report["measure"] == "mae" and stars_run.labels == ()
    assert report["headline"]["value"] < report["controls"]["constant"]["value"] * 0.8
    assert report["against"]["constant"]["high"] < 0  # less is better, and it is less
    assert "better than always the same number" in report["comparisons"]
    assert report["transfer"]["without"] in report["controls"] and report["transfer"]["with"] == report["chosen"]
    assert len(report["residuals"]["truth"]) == report["headline"]["n"]


def test_numbers_can_be_computed_again(stars_run: Run) -> None:
    table = pd.read_parquet(stars_run.folder / "predictions.parquet")
    own = table[(table["split"] == "test") & (table["model"] == stars_run.report["chosen"])]
    error = np.abs(own["prediction"] - own["truth"]).mean()
    assert stars_run.report["headline"]["value"] == pytest.approx(error)


def test_numbers_are_predicted_in_their_own_unit(stars_run: Run) -> None:
    table = stars_run.predict(["lovely great happy bright", "awful broken sad grim"])
    assert list(table.columns) == ["id", "value"]
    assert table["value"][0] > table["value"][1] + 1


def test_numbers_have_intervals(stars_run: Run) -> None:
    row = stars_run.report["conformal"]["levels"][0]
    told = stars_run.predict(["lovely great happy bright", "awful broken sad grim"], coverage=0.8)
    assert list(told.columns) == ["id", "value", "low", "high"]
    assert np.allclose(told["high"] - told["low"], row["width"]) and np.allclose(
        told["low"] + told["high"], 2 * told["value"]
    )
    assert stars_run.report["abstention"]["curve"] is None and "calibration" not in stars_run.report
    assert stars_run.temperature == 1.0
    endless = call("predict", stars_run.folder, "-", "--coverage", "0.999", "--json", "-q", stdin="awful\n")
    assert "every interval is endless" in endless.err and set(json.loads(endless.out)) == {"id", "value"}
    assert (
        call("predict", stars_run.folder, "-", "--coverage", "0.999", "-q", stdin="awful\n")
        .out.strip()
        .endswith(",-inf,inf")
    )


def test_numbers_are_evaluated(stars_run: Run, home: Path) -> None:
    found = stars_run.evaluate(home / "stars.csv")
    assert found["measure"] == "mae" and found["value"] < found["controls"]["constant"]["value"]
    assert found["scores"]["r2"]["value"] > 0.2


@pytest.mark.slow
def test_numbers_of_pictures(home: Path, zoo: Path) -> None:
    rows = []
    for i in range(60):
        image = models.picture("disc", i).convert("RGB").point(lambda v, k=i: min(255, v * (k + 20) // 80))
        (home / "bright").mkdir(exist_ok=True)
        image.save(home / "bright" / f"{i}.png")
        rows.append((f"bright/{i}.png", f"{i / 10 + 0.05:.2f}"))
    manifest = models.write_csv(home / "bright.csv", rows, ("file", "light"))
    run = graft.fit(manifest, zoo=zoo, recipe="probe", measure="rmse", out=home / "light", quiet=True)
    assert run.report["task"]["name"] == "image_regression" and run.report["measure"] == "rmse"
    assert run.report["headline"]["value"] < run.report["controls"]["constant"]["value"]
    assert list(run.predict([home / "bright" / "3.png"]).columns) == ["id", "value"]


def test_several_labels_of_pictures(home: Path, zoo: Path) -> None:
    rows = []
    (home / "marks").mkdir()
    for i in range(60):
        label = ("disc", "square")[i % 2]
        image = models.picture(label, i)
        if i % 3 == 0:
            image = image.convert("L").convert("RGB")
        image.save(home / "marks" / f"{i}.png")
        rows.append((f"marks/{i}.png", "|".join([label, *(["grey"] if i % 3 == 0 else [])])))
    manifest = models.write_csv(home / "marks.csv", rows, ("image", "labels"))
    run = graft.fit(manifest, zoo=zoo, recipe="probe:l2=0.1", out=home / "marks-run", quiet=True)
    assert run.report["task"]["name"] == "image_multilabel" and run.labels == ("disc", "grey", "square")


# ------------------------------------------------------------------------------- what decides, where


@pytest.mark.slow
def test_the_measure_that_was_asked_for_decides(home: Path, bert: Path, reviews: Path) -> None:
    run = graft.fit(
        reviews, measure="log_loss", backbone=f"local:{bert}", budget="40s", out=home / "by-loss", quiet=True
    )
    report = run.report
    assert report["measure"] == "log_loss" and run.meta["task"]["measures"][0] == "log_loss"
    by_value = {r["name"]: r["value"] for r in report["rungs"]}
    kept = next(r["name"] for r in report["rungs"] if r["kept"])
    assert by_value[kept] <= min(by_value.values()) + 0.2  # less is better: never the largest
    assert set(report["scores"][report["chosen"]]["test"]) >= {"accuracy", "macro_f1", "auroc", "calibration_error"}


def test_a_measure_that_does_not_exist_or_fit_is_refused(reviews: Path, bert: Path, home: Path) -> None:
    refused(
        call("fit", reviews, "--backbone", f"local:{bert}", "--measure", "acuracy", "--out", home / "no"), 2, "accuracy"
    )
    refused(call("fit", reviews, "--backbone", f"local:{bert}", "--measure", "mae", "--out", home / "no"), 2, "mae")


def unequal(path: Path) -> Path:
    rows = [r for i, r in enumerate(models.texts(400)) if r[1] == "good" or i % 32 == 1]
    return models.write_csv(path, rows)


def test_unequal_classes_get_a_rung_that_counts_them_alike(home: Path, bert: Path) -> None:
    run = graft.fit(
        unequal(home / "unequal.csv"),
        measure="balanced_accuracy",
        backbone=f"local:{bert}",
        budget="60s",
        out=home / "unequal-run",
        quiet=True,
    )
    names = [r["name"] for r in run.report["rungs"]]
    assert "balanced_probe" in names
    assert any("very different size" in n["text"] for n in run.report["data"]["notes"])  # row 29
    assert run.report["measure"] == "balanced_accuracy"


def test_thresholds_move_only_where_held_out_halves_gain() -> None:
    task = TextClassification()
    task.name, task.labels, task.measures = "text_classification", ("a", "b"), ("balanced_accuracy",)
    draw = np.random.default_rng(0)
    truth = (draw.random(400) < 0.1).astype(int)
    score = draw.normal(size=400) + 2.0 * truth - 4.0  # well separated, far too modest about b
    p = 1 / (1 + np.exp(-score))
    offsets = thresholds.choose(task, np.stack([1 - p, p], axis=1), truth, 0)
    assert offsets is not None and offsets[1] > offsets[0]
    honest = draw.random(400)  # calibrated: a move of the threshold can only lose
    truth = (draw.random(400) < honest).astype(int)
    task.measures = ("accuracy",)
    assert thresholds.choose(task, np.stack([1 - honest, honest], axis=1), truth, 0) is None
    task.measures = ("auroc",)
    assert thresholds.choose(task, np.stack([1 - p, p], axis=1), truth, 0) is None  # an order has no threshold


def test_two_readings_of_the_targets_are_asked_about(home: Path, bert: Path) -> None:
    draw = np.random.default_rng(0)
    rows = [(f"{text} {i}", str(int(draw.integers(0, 40)))) for i, (text, _) in enumerate(models.texts(120))]
    path = models.write_csv(home / "either.csv", rows)
    said = refused(call("fit", path, "--backbone", f"local:{bert}", "--out", home / "either"), 2, "--task")
    assert "text_classification" in said and "text_regression" in said
    run = graft.fit(
        path, task="text_regression", backbone=f"local:{bert}", recipe="probe:l2=1.0", out=home / "e", quiet=True
    )
    assert run.report["task"]["name"] == "text_regression"


def test_a_target_that_is_no_number_is_named(home: Path, bert: Path) -> None:
    rows = [(text, str(i) if i != 7 else "about 3") for i, (text, _) in enumerate(models.texts(60))]
    path = models.write_csv(home / "words.csv", rows)
    with pytest.raises(DataError, match=r"words\.csv:9"):
        graft.fit(path, task="text_regression", backbone=f"local:{bert}", out=home / "w", quiet=True)
    with pytest.raises(DataError, match="picture"):
        graft.fit(path, task="image_regression", backbone=f"local:{bert}", out=home / "w", quiet=True)


@pytest.mark.slow
def test_options_reach_the_recipe_and_a_repeat_is_the_same(stars_run: Run, home: Path, bert: Path) -> None:
    run: Any = graft.fit(
        home / "stars.csv",
        backbone=f"local:{bert}",
        recipe="probe:l2=1.0",
        measure="rmse",
        label="score",
        out=home / "first",
        quiet=True,
    )
    again = graft.fit(run.folder / "recipe.toml", out=home / "second", quiet=True)
    assert again.report["measure"] == "rmse" and again.report["headline"] == run.report["headline"]


@pytest.mark.slow
def test_a_stage_that_gets_no_better_is_ended_early_and_repeats_alike(home: Path, bert: Path, reviews: Path) -> None:
    more: dict[str, Any] = {"backbone": f"local:{bert}", "recipe": "probe:l2=0.1 > finetune", "quiet": True}
    numbers = ["stage.1.epochs=9", "stage.1.lr=1e-9"]
    run = graft.fit(reviews, set=numbers, out=home / "stalled", **more)
    lines = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    lines = [x for x in lines if x["rung"] == "recipe"]
    values = [x["valid"] for x in lines if "valid" in x]
    assert len(values) == 4 and max(values) == values[0]  # the first, and three without a gain
    text = (run.folder / "recipe.toml").read_text()
    assert "patience = 3" in text and f"stop = {lines[-1]['step']}" in text
    again = graft.fit(run.folder / "recipe.toml", out=home / "stalled-again", quiet=True)
    assert again.report["headline"] == run.report["headline"]
    never = graft.fit(reviews, set=[*numbers, "stage.1.patience=0"], evidence="off", out=home / "patient", **more)
    assert sum('"valid"' in line for line in (never.folder / "log.jsonl").read_text().splitlines()) == 8


def test_a_cost_decides_the_answers_everywhere(home: Path, bert: Path, reviews: Path) -> None:
    run = graft.fit(
        reviews,
        measure="cost:fp=1,fn=9",
        backbone=f"local:{bert}",
        recipe="probe:l2=10.0",
        out=home / "dear",
        quiet=True,
    )
    table = run.predict([text for text, _ in models.texts(60, seed=7)])
    assert (table["label"] == np.where(table["score_good"] > 0.1, "good", "bad")).all()  # fp / (fp + fn)
    grid = np.array(run.report["confusion"])
    cost = (grid[0, 1] * 1 + grid[1, 0] * 9) / grid.sum()
    assert run.report["headline"]["value"] == pytest.approx(cost)


def test_what_was_decided_stands_in_the_predictions(tags_run: Run, stars_run: Run) -> None:
    for run in (tags_run, stars_run):
        table = pd.read_parquet(run.folder / "predictions.parquet")
        own = table[(table["split"] == "test") & (table["model"] == run.report["chosen"])]
        if run is stars_run:
            assert (own["decided"] == own["prediction"]).all()
        else:
            held = [[label in row for label in run.labels] for row in own["decided"]]
            truth = [[label in row for label in run.labels] for row in own["truth"]]
            right = np.mean([a == b for a, b in zip(held, truth, strict=True)])
            assert run.report["scores"][run.report["chosen"]]["test"]["exact_match"]["value"] == pytest.approx(right)


def test_a_rare_class_leaves_a_wide_interval() -> None:
    from graft import evaluate

    task = TextClassification()
    task.name, task.labels, task.measures = "text_classification", ("a", "b"), ("balanced_accuracy", "accuracy")
    truth = np.array([1] * 2 + [0] * 20)
    always = np.tile([0.9, 0.1], (22, 1))
    found = evaluate.scores(task, always, truth, 0)
    assert (
        found["balanced_accuracy"].low < 0.4 and found["balanced_accuracy"].high > 0.6
    )  # of two samples little is known
    assert found["accuracy"].low < found["accuracy"].high
    right = np.eye(2)[truth] * 0.8 + 0.1
    task.measures = ("macro_f1", "accuracy")
    assert evaluate.scores(task, right, truth, 0)["accuracy"].low == pytest.approx(0.8513, abs=1e-3)  # Wilson, not 1.0


def test_the_control_of_several_labels_is_as_good_as_constants_are() -> None:
    from graft.data import Sample
    from graft.tasks._labels import Labels

    train = [Sample("", ("a",)) for _ in range(3)] + [Sample("", ("b",)), *[Sample("", ("c", "a")) for _ in range(6)]]
    labels = ("a", "b", "c")
    assert ((Labels().always(train, labels, 1, "macro_f1") > 0.5) == [[True, True, True]]).all()
    assert ((Labels().always(train, labels, 1, "micro_f1") > 0.5) == [[True, False, True]]).all()
    assert ((Labels().always(train, labels, 1, "exact_match") > 0.5) == [[True, False, True]]).all()
    assert Labels().always(train, labels, 2, "map").tolist() == [[0.9, 0.1, 0.6]] * 2

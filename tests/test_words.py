"""What commands say of measures, of empty cells, and of numbers that JSON has not."""

from __future__ import annotations

import json
from pathlib import Path

import models
import numpy as np
import pandas as pd
import pytest
from command import Said, call, lines, refused

import graft
from graft import _wording, constant, measures, outcome
from graft.cli._saying import print_json
from graft.data import Note
from graft.errors import DataError, UsageError
from graft.ranking import Candidate, Ranking
from graft.readers import open_source, samples, targets
from graft.recipe import Recipe, Rung, Stage
from graft.request import Request, settle

TAGS = ("good", "bad")


def tagged(folder: Path, n: int = 60) -> Path:
    """Texts whose tags are joined by ";", and nothing where none holds: every third row."""
    words = {"good": "a lovely film", "bad": "a dull story", "": "the weather today"}
    held = [("good",), ("good", "bad"), (), ("bad",), ("bad", "good"), ()]
    rows = [(f"{' and '.join(words[t] for t in h or ('',))} {i}", ";".join(h)) for i in range(n) for h in [held[i % 6]]]
    return models.write_csv(folder / "tags.csv", rows, ("text", "tags"))


def spoken_of(said: Said) -> dict[str, list[str]]:
    """The cells of a table of measures by the first; cells stand two blanks apart."""
    rows = [[c for c in line.split("  ") if c.strip()] for line in lines(said.out)]
    return {r[0].strip(): [c.strip() for c in r[1:]] for r in rows}


# -- one class, and other holes


def test_data_of_one_class_are_evaluated_with_null_where_a_measure_has_no_value(
    text_run: graft.Run, tmp_path: Path
) -> None:
    good = [row for row in models.texts(40) if row[1] == "good"]
    path = models.write_csv(tmp_path / "one.csv", good)
    said = call("evaluate", text_run.folder, path, "--json")
    assert said.code == 0, said.err
    found = json.loads(said.out, parse_constant=pytest.fail)
    assert set(outcome.SUMMARY) - {"verdict"} | {"scores", "part", "data", "notes"} <= set(found)
    assert found["scores"]["auroc"]["value"] is None and 0 <= found["scores"]["accuracy"]["value"] <= 1
    assert (found["part"], found["data"]) == ("all", str(path))
    assert spoken_of(call("evaluate", text_run.folder, path))["AUROC"] == ["n/a"]


def test_numbers_that_json_has_not_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [np.float32("inf"), (1, np.float64(0.5))], "c": {"d": "NaN"}})
    assert capsys.readouterr().out == '{"a": null, "b": [null, [1, 0.5]], "c": {"d": "NaN"}}\n'


# -- measures in words


@pytest.mark.parametrize("name", [m.name for m in measures.table() if m.name != "sensitivity"])
def test_a_measure_has_one_name_in_words(name: str) -> None:
    assert _wording.spoken(name) == measures.spoken(name)
    assert _wording.plain(name)[1:] == measures.spoken(name)[1:]


def test_what_is_no_measure_keeps_its_words() -> None:
    assert _wording.spoken("base_rates") == "the labels' shares"
    assert _wording.spoken("cost:nothing") == "cost (nothing)"
    assert _wording.plain("mAP") == "mAP" and _wording.plain("nearest_neighbour") == "Nearest neighbour"


def test_evaluate_speaks_as_fit_does(text_run: graft.Run, reviews: Path) -> None:
    said = call("evaluate", text_run.folder, reviews)
    assert said.code == 0, said.err
    table, found = spoken_of(said), text_run.evaluate(reviews)
    for name in ("accuracy", "macro_f1", "log_loss"):
        score = found["scores"][name]
        expected = [_wording.value(score, name), _wording.interval(score, name)]
        assert table[_wording.spoken(name)][:2] == expected
    assert table["log loss"][-1] == "less is better" and len(table["accuracy"]) == 2
    assert "accuracy of nearest neighbour" in table


def test_rank_names_its_measure_and_says_where_less_is_better(capsys: pytest.CaptureFixture[str]) -> None:
    from graft import tell_rank
    from graft.cli._saying import show

    row = Candidate("local:/zoo/a", 0.25, 0.2, 0.3, probe=0.26, parameters=10, mb=1.0, ms=2.0, license="MIT")
    show(tell_rank.ranking(Ranking([row, Candidate("b", error="broken")], "local:/zoo/a", n=40, measure="log_loss")))
    out = " ".join(capsys.readouterr().out.split())
    assert "predicted: log loss after fine-tuning" in out and "less is better" in out
    assert "0.250" in out and "0.200 to 0.300" in out and "b: broken" in out
    row = Candidate("a", 0.25, float("nan"), float("nan"), parameters=10, mb=1.0, ms=2.0)
    show(tell_rank.ranking(Ranking([row], "a", n=40, measure="macro_f1")))
    out = " ".join(capsys.readouterr().out.split())
    assert "macro F1" in out and "25.0%" in out and "nan" not in out and "less is better" not in out


# -- empty cells of joined labels


def test_an_empty_cell_is_none_of_the_labels_where_several_are_asked_for(bert: Path, tmp_path: Path) -> None:
    path, run = tagged(tmp_path), tmp_path / "run"
    more = ("--label", "tags", "--backbone", f"local:{bert}", "--recipe", "probe:l2=0.1", "--out", run, "--quiet")
    refused(call("fit", path, *more), 3, "20 rows have no label", "--drop-unlabelled", "say --task text_multilabel")
    said = call("fit", path, *more, "--task", "text_multilabel")
    assert said.code == 0, said.err
    report = graft.load(run).report
    assert [report["data"][part] for part in ("train", "valid", "test")] == [38, 10, 12]
    told = [n for n in report["data"]["notes"] if n["text"] == "20 empty cells were read as none of the labels"]
    assert len(told) == 1 and told[0]["items"][0] == "tags.csv:4"
    table = pd.read_parquet(run / "predictions.parquet")
    assert any(len(t) == 0 for t in table["truth"])


def test_the_figures_of_labels_can_be_computed_again_from_what_was_decided(bert: Path, tmp_path: Path) -> None:
    run = graft.fit(
        tagged(tmp_path), label="tags", task="text_multilabel", backbone=f"local:{bert}", recipe="probe:l2=0.1",
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    p = pd.read_parquet(run.folder / "predictions.parquet")
    p = p[(p["split"] == "test") & (p["model"] == run.report["chosen"])]
    exact = np.mean([set(d) == set(t) for d, t in zip(p["decided"], p["truth"], strict=True)])
    assert exact == pytest.approx(run.report["scores"][run.report["chosen"]]["test"]["exact_match"]["value"])


def asked(**given: object) -> Recipe:
    return Recipe(label="tags", **given)  # type: ignore[arg-type]


def test_rows_without_a_label_are_dropped_where_that_is_asked_for(tmp_path: Path) -> None:
    path = tagged(tmp_path)
    opened = open_source(path, asked(task="text_multilabel", drop_unlabelled=True))
    assert len(opened.rows["all"]) == 40
    opened = open_source(path, asked(task="text_multilabel"))
    assert len(opened.rows["all"]) == 60 and sum(row.y == () for row in opened.rows["all"]) == 20
    assert samples.separator_of(opened) == ";"
    with pytest.raises(DataError) as caught:  # one class a row: an empty cell is no answer
        open_source(path, asked(task="text_classification"))
    assert "multilabel" not in str(caught.value)


def test_lists_and_arrays_have_empty_cells_too() -> None:
    frame = pd.DataFrame({"text": ["a b", "c d", "e f"], "tags": ['["x", "y"]', None, '["y"]']})
    assert [r.y for r in open_source(frame, asked(task="text_multilabel")).rows["all"]] == [("x", "y"), (), ("y",)]
    pixels = np.zeros((3, 8, 8, 3), np.uint8)
    arrays = {"X": pixels, "y": np.array(["x;y", "", "y"])}
    opened = open_source(arrays, Recipe(task="image_multilabel"))
    assert [r.y for r in opened.rows["all"]] == ["x;y", (), "y"]
    assert Note("assumed", "1 empty cells were read as none of the labels", ("X[1]",)) in opened.notes
    with pytest.raises(DataError, match="say --task image_multilabel"):
        open_source(arrays, Recipe())


def test_an_empty_tuple_beside_texts_is_a_cell_without_labels() -> None:
    values = ["red;blue", "blue;green", (), "red;green", "red", "blue"]
    assert targets.guess(values) == targets.guess([v for v in values if v != ()])
    assert targets.guess([(), ("a",), ("b",)]).kind == "labels"
    assert targets.or_none(["1.5", "2.5", "3.25"], "text", Recipe()) == ""


def test_doctor_counts_empty_cells_as_answers(tmp_path: Path) -> None:
    found = graft.examine(tagged(tmp_path), label="tags", task="text_multilabel")
    assert not found.serious and found.sizes == {"all": 60}
    assert graft.examine(tagged(tmp_path), label="tags").serious


# -- options that errors advise


def test_evaluate_and_rank_leave_rows_without_a_label_out(text_run: graft.Run, bert: Path, tmp_path: Path) -> None:
    rows = [*models.texts(40), ("a text without a label", "")]
    path = models.write_csv(tmp_path / "gap.csv", rows)
    refused(call("evaluate", text_run.folder, path), 3, "1 rows have no label", "--drop-unlabelled")
    said = call("evaluate", text_run.folder, path, "--drop-unlabelled", "--json")
    assert said.code == 0 and json.loads(said.out)["n"] == 40
    words = ("rank", path, "--candidates", f"local:{bert}", "--quiet")
    refused(call(*words), 3, "1 rows have no label", "--drop-unlabelled")
    said = call(*words, "--drop-unlabelled", "--json")
    assert said.code == 0 and json.loads(said.out)["choice"] == f"local:{bert}"


def test_rank_reads_data_as_fit_does(bert: Path, tmp_path: Path) -> None:
    rows = [(t, y, f"p{i // 4}", "test" if i % 5 == 0 else "train") for i, (t, y) in enumerate(models.texts(60))]
    rows[0] = (rows[0][0], "strange", *rows[0][2:])
    path = models.write_csv(tmp_path / "t.csv", rows, ("text", "label", "who", "part"))
    words = ("rank", path, "--candidates", f"local:{bert}", "--split", "part", "--quiet")
    refused(call(*words), 3, "strange", "--unknown drop")
    said = call(*words, "--unknown", "drop", "--group", "who", "--domain", "who")
    assert said.code == 0, said.err
    for option in ("--group", "--domain", "--time"):
        refused(call(*words, option, "nowhere"), 2, "nowhere", option)


def test_compare_takes_the_measure_that_its_error_asks_for(text_run: graft.Run) -> None:
    said = call("compare", text_run.folder, text_run.folder, "--measure", "macro_f1", "--json")
    assert said.code == 0 and json.loads(said.out)["measure"] == "macro_f1"


@pytest.mark.parametrize("name", constant.BASELINES)
def test_no_rung_has_the_name_of_a_control(name: str, tmp_path: Path, reviews: Path) -> None:
    from graft.recipe import dump_toml

    file = tmp_path / "r.toml"
    file.write_text(dump_toml(Recipe(data=str(reviews), rungs=(Rung(name, (Stage(("probe",)),)),))), "utf-8")
    with pytest.raises(UsageError, match=f"cannot be called '{name}'"):
        settle(Request(file))


@pytest.mark.parametrize(("key", "possible"), [("unknown", "drop"), ("frames", "all"), ("long_texts", "head_tail")])
def test_a_word_that_is_none_is_refused_with_the_possible(key: str, possible: str, reviews: Path) -> None:
    with pytest.raises(UsageError, match=f"--{key.replace('_', '-')} odd: possible are .*{possible}"):
        settle(Request(reviews, {key: "odd"}))

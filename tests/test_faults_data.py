"""Rows 1 to 34 and 44 to 50 of the list of faults, through the command line: every case of the hostile corpus, then
what takes more than one bad file."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile
import models
import numpy as np
import pandas as pd
import pytest
from command import Said, call, names, refused
from hostile import CASES, Case
from PIL import Image

import graft
from graft.errors import DataError
from graft.run import Run

DOCTOR_SAYS = {
    "lone": ("fewer than 5 samples", "alone"),
    "lone_text": ("fewer than 5 samples", "lone"),
    "imbalance": ("very different size",),
}
"""Where the doctor has other words than reading has."""
MOST = "0.2"  # of items that may be bad, where one of 25 is


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole corpus, as the script writes it."""
    root = tmp_path_factory.mktemp("hostile")
    hostile.main(root)
    return root


@pytest.fixture(scope="session")
def listed(corpus: Path) -> dict[str, dict[str, Any]]:
    """What the corpus says of itself, by the name of the case."""
    return {c["name"]: c for c in json.loads((corpus / "expected.json").read_text("utf-8"))}


@pytest.fixture
def fit(bert: Path, zoo: Path, tmp_path: Path) -> Callable[..., Said]:
    """`graft fit` by the cheapest recipe, into tmp_path / "run"; each call replaces the run of the one before."""

    def fitted(data: object, *more: object, modality: str = "picture") -> Said:
        backbone = f"local:{bert if modality == 'text' else zoo / 'tiny'}"
        given = ("--backbone", backbone, "--recipe", "probe:l2=0.1", "--out", tmp_path / "run", "--overwrite")
        return call("fit", data, *given, "--json", *more)

    return fitted


def report(run: Path) -> dict[str, Any]:
    """A run's report; no number in it that JSON has not."""
    found: dict[str, Any] = json.loads((run / "report.json").read_text("utf-8"), parse_constant=pytest.fail)
    return found


def notes(run: Path, *parts: str, kind: str = "") -> list[dict[str, Any]]:
    """The report's notes that say all of these, in the text or in an item."""

    def says(note: dict[str, Any]) -> bool:
        whole = " ".join([note["text"], *note["items"]])
        return all(p in whole for p in parts) and kind in ("", note["kind"])

    return [n for n in report(run)["data"]["notes"] if says(n)]


def by_doctor(data: Path, *parts: str) -> tuple[int, list[str]]:
    """(exit code, severities of the findings and kinds of the notes that say all of these) of `graft doctor`."""
    said = call("doctor", data, "--json", "--backbone", "none")
    if not said.out:
        return said.code, ["error"] if all(p in said.err for p in parts) else []
    told = json.loads(said.out)
    assert (said.code == 3) == bool(told["findings"])
    listed = [
        (f["severity"], f["text"], [i["id"] + (f" ~ {i['with']}" if i["with"] else "") for i in f["items"]])
        for f in told["findings"]
    ]
    listed += [(n["kind"], n["text"], n["items"]) for n in told["notes"]]
    return said.code, [level for level, text, items in listed if all(p in f"{text} {', '.join(items)}" for p in parts)]


# ------------------------------------------------------------------------------------ the corpus


def test_the_corpus_lists_every_case_with_its_code(listed: dict[str, dict[str, Any]], corpus: Path) -> None:
    assert len(listed) == len(CASES) == len({c.name for c in CASES})
    assert {c.row for c in CASES} >= {*range(1, 30), 31, 32, 34, *range(44, 50)}
    assert {c.code for c in CASES} == set(hostile.EXITS)
    assert names(corpus) == {*listed, "expected.json"}
    for c in CASES:
        assert listed[c.name]["code"] == c.code and (corpus / listed[c.name]["data"]).exists()


def without(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine on which an extra is not installed."""
    if extra == "dicom":
        monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    if extra == "heic":
        for module in ("graft._formats", "graft._walk"):
            monkeypatch.setattr(f"{module}.readable", lambda kind: kind not in ("HEIC", "AVIF"))


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.row:02}-{c.code}-{c.name}")
@pytest.mark.slow
def test_hostile(
    case: Case,
    corpus: Path,
    listed: dict[str, dict[str, Any]],
    fit: Callable[..., Said],
    text_run: Run,
    picture_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each bad file ends as its code says: in `fit`, in `doctor`, and where it is something to predict."""
    if case.name == "five_bands":
        pytest.importorskip("tifffile", reason="needs the extra bands")
    without(case.lacks, monkeypatch)
    data = corpus / listed[case.name]["data"]
    said = fit(data, *case.options, modality=case.modality)
    assert said.code == case.exits, said.err
    if case.code in ("R", "Q", "S", "X"):
        refused(said, case.exits, *case.says, case.item)
        assert not names(tmp_path) - {"run.lock"}, "nothing is left behind"
        if not case.late:
            code, levels = by_doctor(data, *case.says)
            assert code == case.exits and "error" in levels
    if case.code == "S":
        refused(fit(data, "--max-bad", "0.9", modality=case.modality), 6, *case.says)
        refused(call("predict", picture_run.folder, data), 6, *case.says)
    if case.code == "Q":
        quarantined(case, data, fit, text_run if case.modality == "text" else picture_run, tmp_path / "run")
    if case.code in ("W", "F"):
        (note,) = notes(tmp_path / "run", *case.says)
        assert note["kind"] == "warning" if case.code == "W" else note["kind"] in ("found", "assumed", "skipped")
        assert note["text"] in said.err, "it is said at once, too"
        page = (tmp_path / "run" / "report.html").read_text("utf-8")
        assert re.split("['\"&<]", note["text"])[0] in page
        if not case.late:
            code, levels = by_doctor(data, *DOCTOR_SAYS.get(case.name, case.says))
            assert code in (0, 3) and len(levels) >= 1
            assert set(levels) <= ({"warning"} if case.code == "W" else {"found", "assumed", "skipped"})


def quarantined(case: Case, data: Path, fit: Callable[..., Said], other: Run, run: Path) -> None:
    """A bad item is left out where that is allowed, named with its reason, and has a row of its own in answers."""
    said = fit(data, "--max-bad", MOST, modality=case.modality)
    assert said.code == 0, said.err
    (note,) = notes(run, *case.says, case.item, kind="skipped")
    assert [i.partition(" (")[0] for i in note["items"]] == [case.item]
    card = report(run)["data"]
    assert card["train"] + card["valid"] + card["test"] == (24 if case.modality == "picture" else 40)
    table = other.predict(data)
    bad = table[table["error"].notna()]
    assert len(bad) == 1 and bad["id"].iloc[0].endswith(case.item) and bad["label"].isna().all()
    assert all(p in bad["error"].iloc[0] for p in case.says)
    assert len(table) == 1 + card["train"] + card["valid"] + card["test"]


# ------------------------------------------------------------------------------------ pictures


def test_row_07_pictures_of_16_bits_are_answered_as_they_were_trained(fit: Callable[..., Said], tmp_path: Path) -> None:
    """The depth is that of the data set: a dark one alone would look lighter than it did among the others."""
    for i in range(24):
        folder = tmp_path / "data" / ("dim", "light")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        values = np.random.default_rng(i).integers(0, (500, 4096)[i % 2], (32, 32), dtype=np.uint16)
        Image.fromarray(values).save(folder / f"{i}.png")
    assert fit(tmp_path / "data").code == 0
    run = graft.load(tmp_path / "run")
    assert run.meta["task"]["schema"]["white"] == 4095
    table = pd.read_parquet(run.folder / "predictions.parquet")
    own = table[(table["split"] == "test") & (table["model"] == run.report["chosen"])].set_index("id")
    assert {Path(i).parts[0] for i in own.index} == {"dim", "light"}
    for name in own.index:
        alone = run.predict([tmp_path / "data" / name]).iloc[0]
        assert alone["score_dim"] == pytest.approx(own.loc[name, "score_dim"], abs=1e-5)


def test_row_10_all_frames_are_samples_of_one_file(fit: Callable[..., Said], tmp_path: Path) -> None:
    data = hostile.good(tmp_path / "data")
    for i in range(6):
        frames = [hostile.fresh(10 * i + k) for k in range(4)]
        frames[0].save(data / "disc" / f"film{i}.gif", save_all=True, append_images=frames[1:])
    assert fit(data, "--frames", "all").code == 0
    run = graft.load(tmp_path / "run")
    card = run.report["data"]
    assert card["train"] + card["valid"] + card["test"] == 24 + 6 * 4
    table = pd.read_parquet(run.folder / "predictions.parquet").drop_duplicates(["id", "split"])
    films = table[table["id"].str.contains("#")]
    of = films["id"].str.partition("#")[0]
    assert len(films) and films.groupby(of)["split"].nunique().eq(1).all()
    assert films.groupby(of).size().eq(4).all()
    answers = run.predict([data / "disc" / "film0.gif"])  # by the run's rule, without being told again
    assert [i.partition("#")[2] for i in answers["id"]] == ["1", "2", "3", "4"]


def test_row_14_the_training_copy_is_left_out_and_the_test_part_stays(
    corpus: Path, fit: Callable[..., Said], tmp_path: Path
) -> None:
    assert fit(corpus / "copies_across").code == 0
    card = report(tmp_path / "run")["data"]
    assert card["test"] == 12 and card["train"] + card["valid"] == 24
    assert not pd.read_parquet(tmp_path / "run" / "predictions.parquet")["id"].str.contains("train/disc/copy").any()


def test_row_14_pictures_that_only_look_alike_in_small_are_no_near_copies(
    fit: Callable[..., Said], tmp_path: Path
) -> None:
    """One light falls on all of them, so coarsely they agree; what they show differs. Blank pages have no thumbnail."""
    light = np.linspace(0, 200, 96)[None, :, None] + np.linspace(0, 20, 96)[:, None, None]
    for i in range(40):
        folder = tmp_path / "data" / ("train", "test")[i // 28] / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        marks = np.random.default_rng(i).choice([-20.0, 20.0], (32, 32, 1)).repeat(3, 0).repeat(3, 1)
        Image.fromarray(np.clip(light + 27 + marks, 0, 255).astype(np.uint8).repeat(3, 2)).save(folder / f"{i}.png")
    from graft import alike
    from graft._small import small_or_blank

    near = alike.pictures([small_or_blank(Image.open(p)) for p in sorted((tmp_path / "data").rglob("*.png"))])
    assert len(near.a) > 40 and not near.copies().any(), "candidates there are"
    blank = hostile.blank_pages(tmp_path / "blank")
    for data in (tmp_path / "data", blank):
        assert fit(data).code == 0
        assert not notes(tmp_path / "run", "look nearly the same")


def test_row_16_junk_shifts_no_class(corpus: Path, fit: Callable[..., Said], tmp_path: Path) -> None:
    assert fit(corpus / "junk").code == 0
    assert graft.load(tmp_path / "run").labels == ("disc", "square")


# ------------------------------------------------------------------------------ labels and splits


def test_row_22_what_cannot_be_measured_has_no_number(corpus: Path, fit: Callable[..., Said], tmp_path: Path) -> None:
    assert fit(corpus / "lone").code == 0
    found = report(tmp_path / "run")
    assert found["data"]["classes"]["alone"] == {"train": 1, "valid": 0, "test": 0}
    assert found["per_class"]["alone"] == {"precision": None, "recall": None, "f1": None, "n": 0}
    whole = found["per_class"]
    scores = found["scores"][found["chosen"]]["test"]
    mean = np.mean([whole[c]["recall"] for c in ("disc", "square")])
    assert scores["balanced_accuracy"]["value"] == pytest.approx(mean), "of the classes that are there"
    assert "no test item holds it" in (tmp_path / "run" / "report.html").read_text("utf-8")


def three(n: int, seed: int, but: str = "") -> list[tuple[str, str]]:
    """Texts of the classes a, b and c, which one word tells; without the class `but`."""
    words = {"a": "lovely", "b": "awful", "c": "today"}
    draw = np.random.default_rng(seed)
    rows = [
        (" ".join([words[y], *draw.choice(models.FILLER[:-1], 5), f"{seed}{i}"]), y)
        for i, y in enumerate("abc"[k % 3] for k in range(n))
    ]
    return [r for r in rows if r[1] != but]


def test_row_23_one_vocabulary_for_all_parts(fit: Callable[..., Said], tmp_path: Path) -> None:
    """A test part without `b`: whoever numbers the classes of each part anew takes every c for b."""
    models.write_csv(tmp_path / "data" / "train.csv", three(60, 0))
    models.write_csv(tmp_path / "data" / "test.csv", three(30, 1, but="b"))
    assert fit(tmp_path / "data", modality="text").code == 0
    run = graft.load(tmp_path / "run")
    assert run.labels == ("a", "b", "c") == tuple(run.meta["task"]["labels"])
    assert run.report["headline"]["value"] > 0.9
    later = models.write_csv(tmp_path / "later.csv", three(30, 2, but="b"))
    assert run.evaluate(later)["value"] > 0.9
    models.write_csv(later, [*three(30, 2), ("a stranger", "d")])
    refused(call("evaluate", tmp_path / "run", later), 3, "does not know: d", "a, b, c")


def test_row_23_a_test_part_of_unknown_labels_alone(fit: Callable[..., Said], tmp_path: Path) -> None:
    models.write_csv(tmp_path / "data" / "train.csv", models.texts(40))
    models.write_csv(tmp_path / "data" / "test.csv", [(f"{t} again", "other") for t, _ in models.texts(9, 1)])
    refused(fit(tmp_path / "data", modality="text"), 3, "other", "--unknown drop")
    assert fit(tmp_path / "data", "--unknown", "drop", modality="text").code == 0
    assert len(notes(tmp_path / "run", "9 samples of test", "were dropped")) == 1
    assert len(notes(tmp_path / "run", "there is no test part: cut from train")) == 1


def test_row_25_no_label_is_never_a_class(bert: Path, tmp_path: Path) -> None:
    """None, NaN and pandas' NA in a frame; nothing of them becomes a label called nan."""
    frame = pd.DataFrame(models.texts(60), columns=["text", "label"]).astype(object)
    for i, nothing in enumerate((None, float("nan"), pd.NA, "", "  ")):
        frame.loc[7 * i, "label"] = nothing
    given: dict[str, Any] = {"backbone": f"local:{bert}", "recipe": "probe:l2=0.1", "quiet": True}
    with pytest.raises(DataError, match=r"5 rows have no label in 'label': <frame>:1, <frame>:8"):
        graft.fit(frame, out=tmp_path / "a", **given)
    run = graft.fit(frame, out=tmp_path / "b", drop_unlabelled=True, **given)
    assert run.labels == ("bad", "good")
    assert run.report["data"]["train"] + run.report["data"]["valid"] + run.report["data"]["test"] == 55


def test_row_26_words_for_nothing_are_classes(corpus: Path, fit: Callable[..., Said], tmp_path: Path) -> None:
    assert fit(corpus / "words_for_nothing" / "t.csv", modality="text").code == 0
    assert graft.load(tmp_path / "run").labels == ("NA", "None", "nan", "null")


def test_row_27_zeros_stay_blanks_go_and_case_is_only_proposed(fit: Callable[..., Said], tmp_path: Path) -> None:
    labels = (*hostile.LABELS, "007", "7", "07", "Cat")
    rows = [(f"{t} {i}", labels[i % 8]) for i, (t, _) in enumerate(models.texts(64))]
    said = fit(models.write_csv(tmp_path / "t.csv", rows), "--task", "text_classification", modality="text")
    assert said.code == 0, said.err
    assert graft.load(tmp_path / "run").labels == ("007", "07", "7", "Café", "Cat", "cat")


def test_row_27_of_several_labels_too(fit: Callable[..., Said], tmp_path: Path) -> None:
    rows = [
        (f"{t} {i}", f"{hostile.LABELS[i % 4]}; {('Old', 'old')[i % 2]}") for i, (t, _) in enumerate(models.texts(48))
    ]
    said = fit(models.write_csv(tmp_path / "t.csv", rows), "--task", "text_multilabel", modality="text")
    assert said.code == 0, said.err
    assert graft.load(tmp_path / "run").labels == ("Café", "Old", "cat", "old")
    assert len(notes(tmp_path / "run", "12 labels lost blanks around them or were put into Unicode's NFC")) == 1
    assert len(notes(tmp_path / "run", "differ in case alone", "Old / old")) == 1


def test_row_28_labels_are_names_and_a_damaged_list_of_them_is_refused(text_run: Run, tmp_path: Path) -> None:
    """No index comes from outside: it is a name's place. So what is left to damage is the list of names."""
    for i, labels in enumerate((["bad"], ["bad", "good", "more"], ["good", "bad"], [], "bad")):
        copy = Path(shutil.copytree(text_run.folder, tmp_path / str(i)))
        meta = json.loads((copy / "model.json").read_text("utf-8"))
        meta["task"]["labels"] = labels
        (copy / "model.json").write_text(json.dumps(meta), "utf-8")
        refused(call("predict", copy, "-", stdin="a lovely film\n"), 3, "model.json")


def test_row_28_an_index_without_a_name_is_refused(tmp_path: Path) -> None:
    """Numbers of a Hugging Face ClassLabel, written to the Arrow table behind its back."""
    datasets = pytest.importorskip("datasets", reason="needs the extra datasets")
    names_ = datasets.ClassLabel(names=["bad", "good"])
    rows = [(t, int(y == "good")) for t, y in models.texts(40)]
    for wrong, feature in ((2, names_), ([0, 2], datasets.List(names_)), ([-1], datasets.List(names_))):
        import pyarrow as pa

        ys = [[y] if isinstance(wrong, list) else y for _, y in rows]
        table = pa.table({"text": [t for t, _ in rows], "label": [*ys[:-1], wrong]})
        features = datasets.Features({"text": datasets.Value("string"), "label": feature})
        data = datasets.Dataset(table, datasets.DatasetInfo(features=features))
        with pytest.raises(DataError, match=r"<dataset>:40: label -?\d is out of range, for 2 classes have names"):
            graft.fit(data, recipe="probe:l2=0.1", out=tmp_path / "run", quiet=True)


def test_row_29_what_hides_behind_accuracy_is_always_shown(
    corpus: Path, fit: Callable[..., Said], tmp_path: Path
) -> None:
    assert fit(corpus / "imbalance" / "t.csv", modality="text").code == 0
    found = report(tmp_path / "run")
    assert {"accuracy", "balanced_accuracy", "macro_f1"} <= set(found["scores"][found["chosen"]]["test"])
    majority = found["scores"]["majority"]["test"]
    assert majority["accuracy"]["value"] > 0.9 and majority["balanced_accuracy"]["value"] == pytest.approx(0.5)
    assert "majority" in found["controls"] and "always the commonest class" in found["comparisons"]


@pytest.mark.parametrize("modality", ["text", "picture"])
@pytest.mark.slow
def test_row_30_flipped_labels_are_named(modality: str, fit: Callable[..., Said], tmp_path: Path) -> None:
    wrong = {7, 20, 41, 66, 83, 110}
    if modality == "text":
        other = {"good": "bad", "bad": "good"}
        rows = [(t, other[y] if i in wrong else y) for i, (t, y) in enumerate(models.texts(240))]
        models.write_csv(tmp_path / "data" / "train.csv", rows[:200])
        models.write_csv(tmp_path / "data" / "test.csv", rows[200:])
        flipped = {f"train.csv:{i + 2}" for i in wrong}
    else:
        models.picture_folder(tmp_path / "data" / "train", 200)
        models.picture_folder(tmp_path / "data" / "valid", 20, seed=1)
        models.picture_folder(tmp_path / "data" / "test", 20, seed=2)
        flipped = set()
        for i in wrong:
            mine, theirs = (("disc", "square"), ("square", "disc"))[i % 2]
            name = f"{i:03}.png"
            (tmp_path / "data" / "train" / mine / name).rename(tmp_path / "data" / "train" / theirs / name)
            flipped.add(f"train/{theirs}/{name}")
    assert fit(tmp_path / "data", modality=modality).code == 0
    (note,) = notes(tmp_path / "run", "labels may be wrong", kind="warning")
    named = {i.partition(" = ")[0] for i in note["items"]}
    assert len(named & flipped) >= 4, "most of them; some may have gone to validation"
    assert len(named - flipped) <= 2


def test_row_30_clean_labels_are_left_alone(picture_run: Run) -> None:
    assert not notes(picture_run.folder, "may be wrong")


def test_row_31_what_tells_nothing_is_not_accused(fit: Callable[..., Said], tmp_path: Path) -> None:
    rows = [
        (t, y, str(i), f"2024-0{1 + i % 9}-{1 + i % 28:02}", f"review_{i:04}.txt", ("x", "y", "z")[i % 3])
        for i, (t, y) in enumerate(models.texts(90))
    ]
    data = models.write_csv(tmp_path / "t.csv", rows, ("text", "label", "id", "seen", "file", "kind"))
    assert fit(data, modality="text").code == 0
    assert not notes(tmp_path / "run", "tell the label by themselves")


def test_row_33_the_report_says_which_rows_chose(picture_run: Run) -> None:
    found = picture_run.report
    card, page = ((picture_run.folder / n).read_text("utf-8") for n in ("README.md", "report.html"))
    assert "kept out of every choice" in card
    assert "each compared with the best before it on the validation part" in card
    assert "compared with the best before it on the validation part" in page
    assert "same unseen test part" in page
    assert found["headline"]["n"] == found["data"]["test"]
    for rung in found["rungs"]:
        assert "valid" in found["scores"][rung["name"]], "what decided is on validation"
    others = [r["name"] for r in found["rungs"] if r["name"] != found["chosen"] and r["name"] not in found["controls"]]
    assert all("test" not in found["scores"][name] for name in others), "the test part met the chosen alone"


@pytest.mark.parametrize(("train", "batch"), [(9, 8), (9, 64), (17, 8), (9, 1)])
@pytest.mark.slow
def test_row_34_a_last_batch_of_one_or_fewer_rows_than_a_batch(
    train: int, batch: int, fit: Callable[..., Said], tmp_path: Path
) -> None:
    """With BatchNorm one sample alone has no variance; with batches of one it keeps its statistics."""
    models.picture_folder(tmp_path / "data" / "train", train)
    models.picture_folder(tmp_path / "data" / "valid", 4, seed=1)
    models.picture_folder(tmp_path / "data" / "test", 4, seed=2)
    said = fit(
        tmp_path / "data", "--recipe", "finetune", "--set", f"stage.0.batch={batch}", "--set", "stage.0.epochs=1"
    )
    assert said.code == 0, said.err
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    steps = [line for line in log if "terms" in line and line["rung"] == "recipe"]
    assert len(steps) == {(9, 8): 1, (9, 64): 1, (17, 8): 2, (9, 1): 9}[train, batch]
    assert all(np.isfinite(line["terms"]["cross_entropy"]) for line in steps)


def test_row_34_fewer_rows_than_folds(reviews: Path, bert: Path, fit: Callable[..., Said], tmp_path: Path) -> None:
    """The penalty is chosen by cross-validation, of four training samples here; ranking does the same."""
    models.write_csv(tmp_path / "few.csv", models.texts(8))
    assert fit(tmp_path / "few.csv", "--recipe", "probe", modality="text").code == 0
    assert report(tmp_path / "run")["data"]["train"] == 4
    said = call("rank", tmp_path / "few.csv", "--candidates", f"local:{bert}", "--json")
    assert said.code == 0, said.err
    (candidate,) = json.loads(said.out)["candidates"]
    assert candidate["error"] is None and 0 <= candidate["low"] <= candidate["high"] <= 1


# --------------------------------------------------------------------------------------- texts


def test_row_44_an_empty_text_given_from_python_has_an_answer(text_run: Run) -> None:
    """A list has an answer for each of its items, so "" is a text of its own there."""
    table = text_run.predict(["", "  ", "\u200b", "lovely film"])
    assert len(table) == 4 and table["label"].notna().all()
    scores = table[["score_bad", "score_good"]].to_numpy()
    assert np.isfinite(scores).all() and np.allclose(scores[0], scores[2])


def test_row_45_a_text_of_a_hundred_thousand_tokens_is_answered(text_run: Run, tmp_path: Path) -> None:
    long = "lovely " * 100_000
    models.write_csv(tmp_path / "t.csv", [(long, "good"), ("lovely film", "good")])
    said = call("predict", text_run.folder, tmp_path / "t.csv", "--quiet", "--json")
    assert said.code == 0, said.err
    first, second = (json.loads(line) for line in said.out.splitlines())
    assert first["label"] == second["label"] == "good"


def test_row_46_standard_input_and_lines_of_other_encodings(text_run: Run, tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes("a lovely café\n".encode("latin-1"))
    refused(call("predict", text_run.folder, tmp_path / "t.txt"), 3, "t.txt", "not UTF-8 at byte 12", "iconv")
    (tmp_path / "t.txt").write_bytes("\ufeffa lovely café\n".encode())
    assert call("predict", text_run.folder, tmp_path / "t.txt", "-q").code == 0


def test_row_47_odd_characters_to_predict(text_run: Run) -> None:
    odd = ["nul \0 lovely", "half \ud800 lovely", "x" * 1_000_005, "bell \x07", "\u202elovely"]
    table = text_run.predict(odd)
    assert len(table) == len(odd) and table["label"].isin(text_run.labels).all()

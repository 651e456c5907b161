"""From data to a run folder and back: what is written can be recomputed, repeated and used."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import models
import numpy as np
import pandas as pd
import pytest
from command import call, names, refused, run

import graft
from graft import recipe, sources
from graft.errors import DataError, UsageError
from graft.run import Run

KEPT = {
    "recipe.toml", "model.json", "weights.safetensors", "log.jsonl", "predictions.parquet", "report.json",
    "report.html", "README.md",
}  # fmt: skip
SUMMARY = {"run", "task", "backbone", "measure", "value", "low", "high", "n", "controls", "rungs", "seconds", "verdict"}
RUNG = {"name", "value", "low", "high", "seconds", "kept", "why"}
CANDIDATE = {
    "name", "predicted", "low", "high", "prior", "prior_se", "prior_source", "probe", "samples", "scores", "reasons",
    "parameters", "mb", "gflops", "ms", "license", "trained_on", "distance", "error",
}  # fmt: skip


def predictions(run: Run) -> pd.DataFrame:
    return pd.read_parquet(run.folder / "predictions.parquet")


def scored(rows: pd.DataFrame, labels: tuple[str, ...]) -> np.ndarray:
    return rows[[f"score_{label}" for label in labels]].to_numpy()


def accuracy(rows: pd.DataFrame, labels: tuple[str, ...]) -> float:
    said = [labels[i] for i in scored(rows, labels).argmax(axis=1)]
    return float(np.mean([a == b for a, b in zip(said, rows["truth"], strict=True)]))


def same_predictions(a: Run, b: Run) -> bool:
    return predictions(a).equals(predictions(b))


def quick(data: Any, bert: Path, out: Path, **more: Any) -> Run:
    more = {"recipe": "probe:l2=0.1", **more}
    return graft.fit(data, backbone=f"local:{bert}", out=out, quiet=True, **more)


@pytest.fixture(scope="session")
def plain_run(home: Path, bert: Path, reviews: Path) -> Run:
    """The cheapest run on the reviews."""
    return quick(reviews, bert, home / "plain")


# ------------------------------------------------------------------------------- what a run writes


def test_a_run_folder_holds_exactly_what_the_design_says(text_run: Run, picture_run: Run) -> None:
    assert names(picture_run.folder) == KEPT | ({"rungs"} if picture_run.meta["rungs"] else set())
    assert names(text_run.folder) == KEPT | {"assets"}
    assert names(text_run.folder / "assets") == {"tokenizer.json"}
    assert not Path(f"{text_run.folder}.partial").exists()


@pytest.mark.parametrize("which", ["text_run", "picture_run"])
def test_every_number_of_the_report_is_recomputable_from_the_predictions(
    which: str, request: pytest.FixtureRequest
) -> None:
    found: Run = request.getfixturevalue(which)
    said, table = found.report, predictions(found)
    first = ["id", "content", "split", "model", "truth", "decided"]
    assert list(table.columns) == [*first, *(f"score_{label}" for label in found.labels)]
    test, valid = table[table["split"] == "test"], table[table["split"] == "valid"]
    assert set(table["split"]) == {"test", "valid"}
    assert accuracy(test[test["model"] == said["chosen"]], found.labels) == said["headline"]["value"]
    assert {"majority", "nearest_neighbour", "probe"} <= set(said["controls"])
    left = {x["name"] for x in said["evidence"]["left_out"]}
    assert set(said["controls"]) | left == {"majority", "nearest_neighbour", "probe", "random_probe", "scratch"}
    for name, control in said["controls"].items():
        assert accuracy(test[test["model"] == name], found.labels) == control["value"], name
    for rung in said["rungs"]:
        assert accuracy(valid[valid["model"] == rung["name"]], found.labels) == rung["value"], rung["name"]
    assert set(test["id"]).isdisjoint(valid["id"])
    for name, rows in test.groupby("model"):
        assert len(rows) == said["headline"]["n"], name
        assert rows["id"].is_unique
        assert np.allclose(scored(rows, found.labels).sum(axis=1), 1)


def test_summary_has_the_keys_of_the_contract(text_run: Run, picture_run: Run) -> None:
    from graft import outcome

    for found in (text_run, picture_run):
        said = outcome.summary(found.report)
        assert set(said) == SUMMARY
        assert all(set(r) == RUNG for r in said["rungs"])
        assert sum(r["kept"] for r in said["rungs"]) == 1
        assert all(set(c) == {"value", "low", "high"} for c in said["controls"].values())
        assert said["measure"] == "accuracy"
        assert 0 <= said["low"] <= said["value"] <= said["high"] <= 1


def test_the_tiny_models_learn(text_run: Run, picture_run: Run) -> None:
    for found in (text_run, picture_run):
        assert found.report["headline"]["value"] > found.report["controls"]["majority"]["value"] + 0.2
        assert found.report["headline"]["value"] >= 0.8


def test_the_ladder_ran_in_order_and_says_what_it_left_out(picture_run: Run) -> None:
    order = ["nearest_neighbour", "probe", "finetune", "probe_finetune"]
    ran, left = [r["name"] for r in picture_run.report["rungs"]], [r["name"] for r in picture_run.report["left_out"]]
    assert [n for n in order if n in ran] == ran
    assert set(ran) | set(left) == set(order)
    assert all(r["why"] for r in picture_run.report["left_out"])


def test_a_recipe_with_every_number_is_written(text_run: Run) -> None:
    made = recipe.load_toml(text_run.folder / "recipe.toml")
    probe, tuned = made.rungs[0].stages
    assert probe.methods == ("probe:l2=0.0,balance=false",)
    assert tuned.methods == ("finetune:depth=1,decay=0.8,head=10.0,norms_from=2000",)  # later defaults change nothing
    assert (tuned.epochs, tuned.view) == (2.0, "weak")
    assert tuned.lr
    assert tuned.batch
    assert Path(made.data).is_absolute()


def test_the_log_has_a_line_a_step_and_the_losses_by_name(text_run: Run) -> None:
    said = [json.loads(line) for line in (text_run.folder / "log.jsonl").read_text().splitlines()]
    said = [line for line in said if line["rung"] == "recipe"]
    steps = [line for line in said if "terms" in line]
    assert [line["step"] for line in steps] == list(range(1, len(steps) + 1))
    assert all(set(line["terms"]) == {"cross_entropy"} and line["stage"] == 1 for line in steps)
    assert any("valid" in line for line in said)


def test_every_file_of_a_run_is_sealed(text_run: Run) -> None:
    listed = text_run.meta["files"]
    assert set(listed) == (KEPT - {"model.json"}) | {"assets/tokenizer.json"}


def test_a_changed_run_is_not_loaded(plain_run: Run, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(plain_run.folder, tmp_path / "copy"))
    weights = bytearray((copy / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "weights.safetensors").write_bytes(bytes(weights))
    with pytest.raises(DataError, match="damaged"):
        graft.load(copy)


def test_no_test_row_decides_anything(bert: Path, tmp_path: Path) -> None:
    """Other labels on the test part change its score, and nothing else."""
    rows = models.texts(60)
    for name, part in (("train", rows[:36]), ("dev", rows[36:48]), ("test", rows[48:])):
        models.write_csv(tmp_path / "a" / f"{name}.csv", part)
        turned = [(t, {"good": "bad", "bad": "good"}[y]) for t, y in part] if name == "test" else part
        models.write_csv(tmp_path / "b" / f"{name}.csv", turned)
    a, b = (quick(tmp_path / n, bert, tmp_path / f"run-{n}", recipe="finetune", set=["stage.0.epochs=1"]) for n in "ab")
    assert a.report["rungs"][0]["value"] == b.report["rungs"][0]["value"]
    assert (a.folder / "weights.safetensors").read_bytes() == (b.folder / "weights.safetensors").read_bytes()
    left, right = predictions(a), predictions(b)
    assert [Path(i).name for i in left["id"]] == [Path(i).name for i in right["id"]]
    assert np.array_equal(scored(left, a.labels), scored(right, b.labels))
    assert a.report["headline"]["n"] == 12
    assert a.report["headline"]["value"] == pytest.approx(1 - b.report["headline"]["value"])


# ------------------------------------------------------------------------------ repeating and seeds


def test_its_recipe_repeats_a_run(text_run: Run, tmp_path: Path) -> None:
    again = graft.fit(text_run.folder / "recipe.toml", out=tmp_path / "again", quiet=True)
    assert same_predictions(text_run, again)
    assert (again.folder / "weights.safetensors").read_bytes() == (text_run.folder / "weights.safetensors").read_bytes()


def test_its_recipe_repeats_a_run_with_a_clock(picture_run: Run, tmp_path: Path) -> None:
    again = graft.fit(picture_run.folder / "recipe.toml", out=tmp_path / "again", quiet=True)
    assert again.report["chosen"] == picture_run.report["chosen"]
    assert same_predictions(picture_run, again)


def test_the_seed_decides_the_split(plain_run: Run, bert: Path, reviews: Path, tmp_path: Path) -> None:
    again = quick(reviews, bert, tmp_path / "same", seed=0)
    other = quick(reviews, bert, tmp_path / "other", seed=1)
    assert same_predictions(plain_run, again)
    assert set(predictions(plain_run)["id"]) != set(predictions(other)["id"])


def test_set_changes_what_it_names(bert: Path, reviews: Path, tmp_path: Path) -> None:
    changed = ["stage.0.epochs=0.5", "stage.0.finetune.depth=2", "stage.0.lr=2e-4", "seed=4", "max_bad=0.2"]
    made = quick(reviews, bert, tmp_path / "run", recipe="finetune", set=changed)
    kept = recipe.load_toml(made.folder / "recipe.toml")
    stage = kept.rungs[0].stages[0]
    assert (stage.epochs, stage.lr) == (0.5, 2e-4)
    assert stage.methods == ("finetune:depth=2,decay=0.8,head=10.0,norms_from=2000",)
    assert (kept.seed, kept.max_bad) == (4, 0.2)


@pytest.mark.parametrize(
    ("setting", "hint"),
    [
        ("stage.0.epoch=1", "epochs"),
        ("stage.0.probe.l3=1", "l2"),
        ("sed=1", "seed"),
        ("stage.7.epochs=1", "stage"),
        ("stage.0.epochs=many", "float"),
        ("stage.0.epochs=-1", "above 0"),
        ("stage.0.view=sideways", "weak"),
    ],
)
def test_set_refuses_what_is_not_there(bert: Path, reviews: Path, tmp_path: Path, setting: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        quick(reviews, bert, tmp_path / "run", recipe="probe", set=[setting])
    assert names(tmp_path) == set()


# --------------------------------------------------------------------------------- data from memory


def test_frames_and_lists_are_data(bert: Path, plain_run: Run, tmp_path: Path) -> None:
    rows = models.texts(80)
    frame = pd.DataFrame(rows, columns=["text", "label"])
    made = {"frame": frame, "pairs": rows, "dicts": [{"text": t, "label": y} for t, y in rows]}
    for name, data in made.items():
        found = quick(data, bert, tmp_path / name)
        assert found.report["headline"]["value"] == plain_run.report["headline"]["value"], name
        assert graft.load(tmp_path / name).labels == ("bad", "good")


def test_pictures_in_a_list_are_data(zoo: Path, tmp_path: Path) -> None:
    pictures = [(models.picture(("disc", "square")[i % 2], i), ("disc", "square")[i % 2]) for i in range(30)]
    found = graft.fit(
        pictures, backbone=f"local:{zoo / 'tiny'}", recipe="probe:l2=0.1", out=tmp_path / "run", quiet=True
    )
    assert found.labels == ("disc", "square")
    assert len(found.predict([p for p, _ in pictures])) == 30


def test_folders_with_parts_are_kept_as_they_are(zoo: Path, tmp_path: Path) -> None:
    for seed, (part, n) in enumerate([("train", 20), ("val", 8)]):
        models.picture_folder(tmp_path / "data" / part, n, seed=seed)
    found = graft.fit(
        tmp_path / "data", backbone=f"local:{zoo / 'tiny'}", recipe="probe:l2=0.1", out=tmp_path / "run", quiet=True
    )
    table = predictions(found)
    test = set(table[table["split"] == "test"]["id"])
    assert test == {f"val/{y}/{i:03d}.png" for i in range(8) for y in [("disc", "square")[i % 2]]}
    assert all(i.startswith("train/") for i in table[table["split"] == "valid"]["id"])
    assert any("serves as test" in n["text"] for n in found.report["data"]["notes"])


@pytest.mark.parametrize("suffix", [".tsv", ".jsonl", ".parquet", ".csv.gz"])
def test_every_kind_of_table_gives_the_same_data(reviews: Path, tmp_path: Path, suffix: str) -> None:
    frame, file = pd.DataFrame(models.texts(80), columns=["text", "label"]), tmp_path / f"reviews{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(file)
    elif suffix == ".jsonl":
        frame.to_json(file, orient="records", lines=True)
    else:
        frame.to_csv(file, index=False, sep="\t" if suffix == ".tsv" else ",")
    found, wanted = (sources.task_for(f, recipe.Recipe())[0].read(f, recipe.Recipe()) for f in (file, reviews))
    for part in ("train", "valid", "test"):
        assert [(s.x, s.y) for s in getattr(found, part)] == [(s.x, s.y) for s in getattr(wanted, part)]


def test_exact_copies_never_straddle_a_made_split(bert: Path, tmp_path: Path) -> None:
    rows = [row for row in models.texts(30) for _ in range(3)]
    found = quick(models.write_csv(tmp_path / "t.csv", rows), bert, tmp_path / "run")
    table = predictions(found)[["id", "split"]].drop_duplicates()
    place = dict(table.itertuples(index=False))
    text = {f"t.csv:{line}": t for line, (t, _) in enumerate(rows, 2)}
    assert set(place) <= set(text), "ids name the file's lines"
    for content in set(text.values()):
        assert len({place.get(i, "train") for i, t in text.items() if t == content}) == 1


# ------------------------------------------------------------------------------------- using a run


def test_predictions_equal_those_of_the_run(text_run: Run, reviews: Path) -> None:
    table = predictions(text_run)
    test = table[(table["split"] == "test") & (table["model"] == text_run.report["chosen"])].set_index("id")
    said = graft.load(text_run.folder).predict(reviews).set_index("id")
    columns = [f"score_{label}" for label in text_run.labels]
    assert len(said) == 80
    assert np.allclose(said.loc[test.index, columns], test[columns], atol=1e-5)
    best = said[columns].to_numpy().argmax(axis=1)
    assert list(said["label"]) == [text_run.labels[i] for i in best]
    assert np.allclose(said["probability"], said[columns].max(axis=1))


def test_picture_predictions_equal_those_of_the_run(picture_run: Run, photos: Path) -> None:
    table = predictions(picture_run)
    test = table[(table["split"] == "test") & (table["model"] == picture_run.report["chosen"])]
    columns = [f"score_{label}" for label in picture_run.labels]
    files = [photos / i for i in test["id"]]
    found = graft.load(picture_run.folder)
    for asked in (photos, files, [str(f) for f in files]):
        said = found.predict(asked).set_index("id")
        assert np.allclose(said.loc[[str(f) for f in files], columns], test[columns], atol=1e-5)
    assert len(found.predict(photos)) == 48
    assert len(found.predict(files[0])) == 1


def test_texts_are_answered_one_for_one(text_run: Run, tmp_path: Path) -> None:
    (warm, _), (cold, _) = models.texts(2)
    asked = [warm, "", cold, "=cmd()"]
    said = text_run.predict(asked)
    assert len(said) == 4
    assert list(said["label"])[::2] == ["good", "bad"]
    (tmp_path / "t.txt").write_text(f"{warm}\n\n{cold}\n")
    frame = pd.DataFrame({"text": [warm, cold]})
    table = models.write_csv(tmp_path / "n.csv", [(warm,), (cold,)], ["words"])
    for source in (tmp_path / "t.txt", frame, [{"text": warm}, {"text": cold}], table):
        assert list(text_run.predict(source)["label"]) == ["good", "bad"]
    two = text_run.predict(warm, top_k=9)
    assert (two["label"][0], two["label_2"][0]) == ("good", "bad")
    assert two["probability"][0] + two["probability_2"][0] == pytest.approx(1)


def test_an_unreadable_picture_is_a_row_with_its_reason(picture_run: Run, tmp_path: Path) -> None:
    models.picture("disc", 1).save(tmp_path / "good (1).png")
    (tmp_path / "bad (2).png").write_bytes(b"<html>no</html>")
    (tmp_path / "cut (a (b)).png").write_bytes((tmp_path / "good (1).png").read_bytes()[:100])
    said = picture_run.predict(tmp_path).set_index("id")
    assert said["label"][str(tmp_path / "good (1).png")] in picture_run.labels
    assert "HTML" in said["error"][str(tmp_path / "bad (2).png")]
    assert said["error"][str(tmp_path / "cut (a (b)).png")]
    with pytest.raises(DataError, match="nothing could be read"):
        picture_run.predict(tmp_path / "bad (2).png")


def test_evaluate_measures_the_test_part_else_all(text_run: Run, reviews: Path, tmp_path: Path) -> None:
    found = text_run.evaluate(reviews)
    assert set(found) >= SUMMARY - {"verdict"}
    assert found["n"] == 80
    assert found["part"] == "all"
    rows = models.texts(40, seed=7)
    for part, some in (("train", rows[:20]), ("test", rows[20:])):
        models.write_csv(tmp_path / "parts" / f"{part}.csv", some)
    assert (text_run.evaluate(tmp_path / "parts")["n"], text_run.evaluate(tmp_path / "parts")["part"]) == (20, "test")
    renamed = pd.DataFrame(rows, columns=["sentence", "kind"])
    assert text_run.evaluate(renamed)["value"] == text_run.evaluate(rows)["value"]
    with pytest.raises(DataError, match=r"does not know: strange"):
        text_run.evaluate([*rows, ("hm hm", "strange")])


def test_a_run_is_a_backbone(text_run: Run, picture_run: Run, reviews: Path, photos: Path, tmp_path: Path) -> None:
    for earlier, data in ((text_run, reviews), (picture_run, photos)):
        found = graft.fit(
            data,
            backbone=f"run:{earlier.folder}",
            recipe="probe:l2=0.1",
            out=tmp_path / earlier.folder.name,
            quiet=True,
        )
        assert found.report["headline"]["value"] >= 0.8
        assert graft.load(found.folder).predict(data)["label"].notna().all()


def test_backbones_must_fit_the_task(zoo: Path, reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes a picture"):
        graft.fit(reviews, backbone=f"local:{zoo / 'tiny'}", recipe="probe", out=tmp_path / "run", quiet=True)
    assert names(tmp_path) == set()


# -------------------------------------------------------------------------------------- the command


def test_the_command_equals_the_library(text_run: Run, bert: Path, reviews: Path, tmp_path: Path) -> None:
    """In a process of its own: one JSON line, words on standard error, the same numbers."""
    said = run(
        "fit", reviews, "--backbone", f"local:{bert}", "--recipe", "probe > finetune:depth=1", "--set",
        "stage.1.epochs=2", "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert said.out.count("\n") == 1
    found = json.loads(said.out)
    assert set(found) == SUMMARY
    assert found["run"] == str(tmp_path / "run")
    assert found["value"] == text_run.report["headline"]["value"]
    assert same_predictions(text_run, graft.load(tmp_path / "run"))
    assert "validation" in said.err


def test_fit_prints_the_comparison_and_where_it_lies(bert: Path, reviews: Path, tmp_path: Path) -> None:
    said = call(
        "fit", reviews, "--backbone", f"local:{bert}", "--recipe", "probe:l2=0.1", "--out", tmp_path / "run", "--quiet"
    )
    assert said.code == 0, said.err
    assert said.err == ""
    assert "majority" in said.out
    assert said.out.rstrip().endswith("report.html")


def test_predict_writes_every_form(text_run: Run, reviews: Path, tmp_path: Path) -> None:
    frames = {}
    for suffix, read in (
        (".csv", pd.read_csv),
        (".parquet", pd.read_parquet),
        (".jsonl", lambda f: pd.read_json(f, lines=True)),
    ):
        said = call("predict", text_run.folder, reviews, "--out", tmp_path / f"p{suffix}", "--quiet")
        assert (said.code, said.out, said.err) == (0, "", "")
        frames[suffix] = read(tmp_path / f"p{suffix}")
    said = call("predict", text_run.folder, reviews, "--json")
    frames["json"] = pd.DataFrame([json.loads(line) for line in said.out.splitlines()])
    for name, frame in frames.items():
        assert list(frame["id"]) == list(frames[".csv"]["id"]), name
        assert np.allclose(frame["score_good"], frames[".parquet"]["score_good"]), name
    csv = call("predict", text_run.folder, "-", "--top-k", "2", stdin="a lovely day\nan awful day\n").out.splitlines()
    assert csv[0] == "id,label,probability,label_2,probability_2,score_bad,score_good"
    assert len(csv) == 3


def test_evaluate_prints_the_contract(text_run: Run, reviews: Path) -> None:
    said = call("evaluate", text_run.folder, reviews, "--json")
    assert said.out.count("\n") == 1
    found = json.loads(said.out)
    assert set(found) == SUMMARY - {"verdict"} | {"scores", "part", "data", "notes"}
    assert found["run"] == str(text_run.folder)
    assert found["measure"] == "accuracy"
    assert found["n"] == 80
    shown = call("evaluate", text_run.folder, reviews)
    assert shown.code == 0
    assert "accuracy" in shown.out


# ----------------------------------------------------------------------------------------- ranking


@pytest.fixture(scope="module")
def mixed_zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good candidates, and one of each way to be broken."""
    import torch
    from safetensors.torch import load_file, save_file

    root = tmp_path_factory.mktemp("mixed")
    models.timm_folder(root / "good")
    models.torchvision_folder(root / "squeeze")
    models.timm_folder(root / "auto_map", auto_map={"AutoModel": "evil.Model"})
    (models.timm_folder(root / "script") / "modeling.py").write_text("raise SystemExit('it ran')\n")
    models.timm_folder(root / "shapes", architecture="test_byobnet", num_classes=9)
    models.timm_folder(root / "stranger", architecture="test_byobnet", seed=1)
    (root / "stranger" / "config.json").write_text(json.dumps({"architecture": "no_such_net"}))
    cut = models.timm_folder(root / "cut") / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-50])
    (root / "pickled").mkdir()
    torch.save({"a": torch.zeros(2)}, root / "pickled" / "pytorch_model.bin")
    (root / "pickled" / "config.json").write_text((root / "good" / "config.json").read_text())
    huge = models.timm_folder(root / "huge") / "model.safetensors"
    save_file({k: v * 1e30 if v.ndim == 4 else v for k, v in load_file(huge).items()}, huge)
    return root


def test_rank_gives_a_row_for_each_candidate(mixed_zoo: Path, photos: Path) -> None:
    said = call("rank", photos, "--candidates", mixed_zoo, "--json")
    assert said.code == 0, said.err
    assert said.out.count("\n") == 1
    found = json.loads(said.out)
    assert set(found) >= {"candidates", "choice", "tied", "pairs", "sentence", "level", "rounds", "measure"}
    rows = {Path(c["name"]).name: c for c in found["candidates"]}
    assert set(rows) == names(mixed_zoo)
    for row in found["candidates"]:
        assert set(row) == CANDIDATE
        assert (row["error"] is None) == (row["predicted"] is not None)
    good = {n for n, row in rows.items() if row["error"] is None}
    assert good == {"good", "squeeze"}
    assert found["choice"] in (found["candidates"][0]["name"], *found["tied"])
    assert Path(found["choice"]).name in good
    reasons = {
        "auto_map": "auto_map", "script": "modeling.py", "shapes": "shape", "stranger": "no_such_net", "cut": "damaged",
        "pickled": "pytorch_model.bin", "huge": "finite",
    }  # fmt: skip
    for name, part in reasons.items():
        assert part in rows[name]["error"], rows[name]
    for name in good:
        assert rows[name]["low"] <= rows[name]["predicted"] <= rows[name]["high"]
        assert min(rows[name]["parameters"], rows[name]["mb"], rows[name]["ms"]) > 0


def test_rank_speaks_to_people_too(mixed_zoo: Path, photos: Path) -> None:
    said = call("rank", photos, "--candidates", f"{mixed_zoo / 'good'},local:{mixed_zoo / 'cut'}")
    assert said.code == 0, said.err
    assert "good" in said.out
    assert "cut" in said.out


def test_the_library_ranks(zoo: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_ZOO", str(zoo))
    found = graft.rank(photos)
    assert [c.name for c in found.candidates] == [f"local:{zoo / 'tiny'}"]
    assert found.choice == f"local:{zoo / 'tiny'}"


def test_fit_takes_its_candidates_from_the_environment(
    zoo: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAFT_ZOO", str(zoo))
    said = call("fit", photos, "--recipe", "probe:l2=0.1", "--out", tmp_path / "run", "--json")
    assert json.loads(said.out)["backbone"] == f"local:{zoo / 'tiny'}"


# ----------------------------------------------------------------------------------------- plugins

PLUGIN = '''"""Pull the scores together: a method from outside."""
from dataclasses import dataclass

from graft.methods import Method


@dataclass
class Anything(Method):
    weight: float = 0.5

    def loss(self, step):
        return self.weight * step.out.pred.square().mean()
'''
BARE = '''"""No options at all."""
from graft.methods import Method


class Bare(Method):
    def loss(self, step):
        return 0.1 * step.out.features.pooled.square().mean()
'''


@pytest.mark.slow
def test_a_method_from_outside_is_one_file(bert: Path, reviews: Path, tmp_path: Path) -> None:
    stem = f"calm_{time.time_ns()}"  # the registry of this process remembers names
    (tmp_path / f"{stem}.py").write_text(PLUGIN)
    (tmp_path / f"{stem}_bare.py").write_text(BARE)
    listed = call("list", "methods", "--plugin", tmp_path / f"{stem}.py", "--json")
    assert {"name": stem, "sentence": "Pull the scores together: a method from outside."} in json.loads(listed.out)[
        "methods"
    ]
    said = call(
        "fit", reviews, "--backbone", f"local:{bert}", "--recipe", f"finetune + {stem}:weight=0.25 + {stem}_bare",
        "--set", "stage.0.epochs=1", "--plugin", tmp_path / f"{stem}.py", "--plugin", tmp_path / f"{stem}_bare.py",
        "--out", tmp_path / "run", "--json",
    )  # fmt: skip
    assert said.code == 0, said.err
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(set(line["terms"]) == {"cross_entropy", stem, f"{stem}_bare"} for line in log if "terms" in line)
    assert refused(call("fit", tmp_path / "run" / "recipe.toml", "--out", tmp_path / "again"), 2, "--plugin")
    wrong = call(
        "fit",
        reviews,
        "--recipe",
        f"finetune + {stem}:wieght=1",
        "--plugin",
        tmp_path / f"{stem}.py",
        "--out",
        tmp_path / "no",
    )
    refused(wrong, 2, "wieght", "did you mean 'weight'")


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("probe.py", BARE, "graft's own"),
        ("nothing.py", "x = 1\n", "no subclass"),
        ("broken.py", "1 / 0\n", "ZeroDivisionError"),
        ("two.py", BARE + "\n\nclass Second(Method):\n    pass\n", "exactly one"),
    ],
)
def test_a_plugin_that_cannot_be_one_is_refused(tmp_path: Path, name: str, content: str, part: str) -> None:
    (tmp_path / name).write_text(content)
    refused(call("list", "methods", "--plugin", tmp_path / name), 2, name, part)
    refused(call("list", "methods", "--plugin", tmp_path / "absent.py"), 2, "absent.py")
    assert f"graft_plugin_{name.removesuffix('.py')}" not in sys.modules or name != "broken.py"


# ------------------------------------------------------------------------ what must not flatter a score


def test_samples_that_were_learned_from_are_known_again(
    text_run: Run, reviews: Path, bert: Path, tmp_path: Path
) -> None:
    learned = len(text_run.predict(reviews)) - text_run.report["headline"]["n"]
    said = next(n for n in text_run.evaluate(reviews)["notes"] if "learned from" in n["text"])
    assert said["text"].startswith(f"{learned} of ")
    assert len(said["items"]) == learned
    new = quick([("words nobody wrote before", "good"), *models.texts(60)], bert, tmp_path / "new")
    assert new.report["data"]["fingerprint"] != text_run.report["data"]["fingerprint"]


def test_a_run_as_backbone_tells_which_test_samples_it_knows(text_run: Run, reviews: Path, tmp_path: Path) -> None:
    run = graft.fit(
        reviews, backbone=f"run:{text_run.folder}", recipe="probe:l2=0.1", seed=5, out=tmp_path / "run", quiet=True
    )
    notes = [n for n in run.report["data"]["notes"] if "learned from" in n["text"]]
    before = pd.read_parquet(text_run.folder / "predictions.parquet")
    test_before = set(before.loc[before["split"] == "test", "id"])
    mine = set(predictions(run).query("split == 'test'")["id"])
    assert set(notes[0]["items"]) == mine - test_before


@pytest.mark.parametrize("name", ["majority", "probe", "nearest_neighbour", "scratch", "random_probe"])
def test_a_rung_cannot_take_the_name_of_a_control(name: str, reviews: Path, bert: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    method = "probe" if name != "probe" else "nearest_neighbour"
    file.write_text(f'data = "{reviews}"\n[[rungs]]\nname = "{name}"\n[[rungs.stages]]\nmethods = ["{method}"]\n')
    with pytest.raises(graft.UsageError, match="that is a control"):
        graft.fit(file, backbone=f"local:{bert}", out=tmp_path / "run", quiet=True)


def test_resume_of_a_finished_run_with_another_recipe_is_refused(text_run: Run, reviews: Path, bert: Path) -> None:
    with pytest.raises(graft.UsageError, match="another rungs"):
        graft.fit(
            reviews, backbone=f"local:{bert}", recipe="nearest_neighbour", out=text_run.folder, resume=True, quiet=True
        )


def test_a_limited_pass_is_said_where_it_matters(reviews: Path, bert: Path, tmp_path: Path) -> None:
    run = quick(reviews, bert, tmp_path / "run", recipe="probe:l2=0.1", set=["stage.0.limit=20"])
    saw = f"on 20 of {run.report['data']['train']} training samples"
    assert saw in run.report["verdict"]
    assert saw in run.report["rungs"][0]["recipe"]

"""The commands and flags that came with the spine, from the outside."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import models
import numpy as np
import pyarrow.parquet as pq
import pytest
from command import call, refused

import graft
from graft.run import Run


def test_features_are_written_with_ids_parts_and_labels(reviews: Path, bert: Path, tmp_path: Path) -> None:
    said = call("features", reviews, "--backbone", f"local:{bert}", "--out", tmp_path / "f.npz", "--stages", "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["n"] == 80
    with np.load(tmp_path / "f.npz", allow_pickle=False) as found:
        assert found["pooled"].shape == (80, 32) and found["pooled"].dtype == np.float32
        assert set(found["label"].tolist()) == {"good", "bad"} and found["id"][0] == "reviews.csv:2"
        assert any(k.startswith("stage/") for k in found.files)
    assert call("features", reviews, "--backbone", f"local:{bert}", "--out", tmp_path / "f.parquet").code == 0
    table = pq.read_table(tmp_path / "f.parquet")
    assert table.num_rows == 80 and {"id", "label", "pooled"} <= set(table.column_names)


def test_features_of_a_run_are_those_of_its_backbone(text_run: Run, reviews: Path, tmp_path: Path) -> None:
    assert call("features", reviews, "--backbone", f"run:{text_run.folder}", "--out", tmp_path / "f.npz").code == 0
    with np.load(tmp_path / "f.npz") as found:
        from graft import features
        from graft.data import Sample

        seen = features.extract(text_run.model.backbone, [Sample(models.texts(80)[0][0], id="a")], keep=False)
        assert np.allclose(found["pooled"][0], seen.pooled[0].numpy(), atol=1e-5)
    refused(call("features", reviews, "--out", tmp_path / "f.txt"), 2, ".npz", ".parquet")
    refused(call("features", reviews, "--out", tmp_path / "gone" / "f.npz"), 2, f"no folder {tmp_path / 'gone'}")
    assert not (tmp_path / "gone").exists()


def test_a_report_is_written_anew(text_run: Run, tmp_path: Path) -> None:
    run = Path(shutil.copytree(text_run.folder, tmp_path / "run"))
    before = (run / "report.html").read_text("utf-8")
    (run / "report.html").write_text("lost", "utf-8")
    (run / "README.md").unlink()
    said = call("report", run)
    assert said.code == 0 and "report.html" in said.err
    assert (run / "report.html").read_text("utf-8") == before and (run / "README.md").is_file()
    assert graft.load(run).predict(["lovely film"])["label"][0] == "good"  # its hashes are whole again
    weights = run / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    refused(call("report", run), 3, "weights.safetensors")


def test_a_bare_weights_file_with_its_architecture_is_a_backbone(zoo: Path, photos: Path, tmp_path: Path) -> None:
    bare = tmp_path / "net.safetensors"
    shutil.copy(zoo / "tiny" / "model.safetensors", bare)
    said = call(
        "fit", photos, "--backbone", f"local:{bare}", "--architecture", "timm/test_byobnet", "--recipe", "probe:l2=0.1",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert said.code == 0, said.err
    assert list(graft.load(tmp_path / "run").predict([next(photos.rglob("*.png"))]).columns)[:2] == ["id", "label"]
    refused(call("fit", photos, "--backbone", f"local:{bare}", "--out", tmp_path / "no"), 2, "architecture")


def test_tensorboard_files_hold_losses_and_validation(reviews: Path, bert: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    said = call(
        "fit", reviews, "--backbone", f"local:{bert}", "--recipe", "finetune", "--set", "stage.0.epochs=2",
        "--tensorboard", tmp_path / "tb", "--out", tmp_path / "run",
    )  # fmt: skip
    assert said.code == 0, said.err
    folders = {p.parent for p in (tmp_path / "tb").rglob("events*")}
    tags = set()
    for folder in folders:
        found = EventAccumulator(str(folder))
        found.Reload()
        tags |= set(found.Tags()["scalars"])
    assert any("cross_entropy" in t for t in tags) and any("accuracy" in t or "valid" in t for t in tags)


def test_the_lists_show_measures_and_tasks() -> None:
    rows = json.loads(call("list", "measures", "--json").out)["measures"]
    assert {"accuracy", "macro_f1", "auroc", "mae", "map", "cost", "sensitivity"} <= {r["name"] for r in rows}
    names = {r["name"] for r in json.loads(call("list", "tasks", "--json").out)["tasks"]}
    assert names >= {f"{m}_{k}" for m in ("image", "text") for k in ("classification", "multilabel", "regression")}


def test_a_group_and_a_time_decide_the_split(bert: Path, tmp_path: Path) -> None:
    rows = [(t, y, f"p{i // 4}", f"2024-01-{i // 4 + 1:02d}") for i, (t, y) in enumerate(models.texts(100))]
    path = models.write_csv(tmp_path / "t.csv", rows, ("text", "label", "who", "day"))
    more = ("--backbone", f"local:{bert}", "--recipe", "probe:l2=0.1", "--quiet")
    assert call("fit", path, "--group", "who", "--out", tmp_path / "g", *more).code == 0
    assert call("fit", path, "--time", "day", "--out", tmp_path / "t", *more).code == 0
    notes = {k: [n["text"] for n in graft.load(tmp_path / k).report["data"]["notes"]] for k in ("g", "t")}
    assert any("by group and label" in n for n in notes["g"]) and any("by time" in n for n in notes["t"])
    table = pq.read_table(tmp_path / "t" / "predictions.parquet").to_pandas()
    lines = {s: {int(i.rpartition(":")[2]) for i in table[table["split"] == s]["id"]} for s in ("valid", "test")}
    assert max(lines["valid"]) < min(lines["test"]) and max(lines["test"]) == 101

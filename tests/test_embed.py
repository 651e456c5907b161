"""`graft features`: what is in the file, what is read, and that it is there whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import models
import numpy as np
import pandas as pd
import pytest
import torch

from graft import backbones, embed
from graft.data import Sample
from graft.embed import Embedded
from graft.errors import DataError, SecurityError, SetupError, UsageError
from graft.features import Table, extract
from graft.recipe import Recipe


@pytest.fixture
def texts(bert: Path, reviews: Path, tmp_path: Path) -> Any:
    """Features of the reviews with the tiny encoder."""

    def run(out: str = "f.npz", data: Any = reviews, **more: Any) -> tuple[Embedded, Path]:
        options = {"backbone": f"local:{bert}", "asked": Recipe(precision="fp32"), **more}
        return embed.features(data, out=tmp_path / out, **options), tmp_path / out

    return run


def opened(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def test_npz_has_ids_labels_parts_and_features(texts: Any, bert: Path) -> None:
    made, path = texts()
    found = opened(path)
    assert set(found) == {"id", "label", "part", "pooled", "meta"}
    assert found["pooled"].shape == (80, made.dim) == (made.n, 32) and found["pooled"].dtype == np.float32
    assert found["id"][0] == "reviews.csv:2" and set(found["label"]) == {"good", "bad"}
    assert set(found["part"]) == {"all"}
    rows = models.texts(80)
    assert found["label"].tolist() == [label for _, label in rows]
    alone = extract(backbones.load(f"local:{bert}"), [Sample(t, id=t) for t, _ in rows], keep=False)
    assert np.allclose(found["pooled"], alone.pooled.numpy(), atol=1e-5)
    meta = json.loads(str(found["meta"]))
    assert meta["precision"]["dtype"] == "fp32" and len(meta["weights"]) == 64
    json.dumps(made.plain(), allow_nan=False)


def test_parquet_says_the_same(texts: Any) -> None:
    import pyarrow.parquet as pq

    (_, npz), (_, parquet) = texts(stages=True), texts("f.parquet", stages=True)
    found, table = opened(npz), pq.read_table(parquet)
    assert table.column_names == [n for n in found if n != "meta"]
    assert json.loads(table.schema.metadata[b"graft"]) == json.loads(str(found["meta"]))
    for name in table.column_names:
        column = table[name].combine_chunks()
        if found[name].ndim == 2:
            assert column.type.list_size == found[name].shape[1]
            column = column.flatten().to_numpy().reshape(found[name].shape)
            assert np.array_equal(column, found[name])
        else:
            assert column.to_pylist() == found[name].tolist()


def test_stages_are_arrays_beside(texts: Any) -> None:
    made, path = texts(stages=True)
    found = opened(path)
    assert [n.removeprefix("stage/") for n in found if n.startswith("stage/")] == list(made.stages)
    assert all(found[f"stage/{n}"].shape == (80, d) for n, d in made.stages.items()) and len(made.stages) >= 3


def test_a_second_time_it_is_the_cached_pass_and_the_same_file(texts: Any) -> None:
    (_, one), (made, two) = texts(), texts("again.npz")
    assert made.cached
    assert one.read_bytes() == two.read_bytes()


def test_given_parts_are_named(texts: Any, tmp_path: Path) -> None:
    rows = models.texts(30)
    for name, part in {"train": rows[:20], "dev": rows[20:24], "test": rows[24:]}.items():
        models.write_csv(tmp_path / "data" / f"{name}.csv", part)
    found = opened(texts(data=tmp_path / "data")[1])
    assert found["part"].tolist() == ["train"] * 20 + ["valid"] * 4 + ["test"] * 6


def test_pictures_of_class_folders(photos: Path, zoo: Path, tmp_path: Path) -> None:
    made = embed.features(photos, out=tmp_path / "f.npz", zoo=zoo)
    found = opened(tmp_path / "f.npz")
    assert made.backbone.endswith("tiny") and made.n == 48
    assert found["id"][0] == "disc/000.png" and set(found["label"]) == {"disc", "square"}


def test_pictures_without_labels(zoo: Path, tmp_path: Path) -> None:
    folder = tmp_path / "flat"
    folder.mkdir()
    for i in range(5):
        models.picture("disc", i).save(folder / f"{i}.png")
    made = embed.features(folder, out=tmp_path / "f.npz", backbone=f"local:{zoo}/tiny")
    found = opened(tmp_path / "f.npz")
    assert "label" not in found and found["pooled"].shape[0] == 5 and set(found["part"]) == {"all"}
    assert "without labels" in made.notes[0].text


@pytest.mark.parametrize("kind", ["csv", "list", "txt"])
def test_texts_without_labels(texts: Any, tmp_path: Path, kind: str) -> None:
    lines = [t for t, _ in models.texts(12)]
    (tmp_path / "lines.txt").write_text("\n".join(lines))
    data = {
        "csv": models.write_csv(tmp_path / "plain.csv", [(t,) for t in lines], ("text",)),
        "list": lines,
        "txt": tmp_path / "lines.txt",
    }[kind]
    found = opened(texts(data=data)[1])
    assert "label" not in found and len(found["id"]) == 12


def test_labels_of_every_kind(tmp_path: Path) -> None:
    table = Table(torch.zeros(3, 2), False)
    for ys, expected in [
        ([1, 2.5, None], [1.0, 2.5, np.nan]),
        (["a", None, "b"], ["a", "", "b"]),
        ([("x", "y"), (), ("z",)], ['["x", "y"]', "[]", '["z"]']),
    ]:
        samples = [Sample("t", y, str(i)) for i, y in enumerate(ys)]
        embed.write(tmp_path / "f.npz", table, samples, ["all"] * 3, {})
        embed.write(tmp_path / "f.parquet", table, samples, ["all"] * 3, {})
        assert opened(tmp_path / "f.npz")["label"].tolist() == pytest.approx(expected, nan_ok=True)
        assert pd.read_parquet(tmp_path / "f.parquet")["label"].tolist() == pytest.approx(expected, nan_ok=True)


def test_names_of_odd_bytes_can_be_written(tmp_path: Path) -> None:
    table, samples = Table(torch.zeros(1, 2), False), [Sample("t", "b", "a\udcff.png")]
    for name in ("f.npz", "f.parquet"):
        embed.write(tmp_path / name, table, samples, ["all"], {})
    assert opened(tmp_path / "f.npz")["id"][0] == "a\\udcff.png"
    assert pd.read_parquet(tmp_path / "f.parquet")["id"][0] == "a\\udcff.png"


def test_many_rows_are_several_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow.parquet as pq

    monkeypatch.setattr(embed, "ROWS", 4)
    pooled = torch.arange(22.0).reshape(11, 2)
    embed.write(
        tmp_path / "f.parquet", Table(pooled, False), [Sample("t", id=str(i)) for i in range(11)], ["all"] * 11, {}
    )
    assert pq.ParquetFile(tmp_path / "f.parquet").num_row_groups == 3
    assert np.array_equal(np.stack(pd.read_parquet(tmp_path / "f.parquet")["pooled"].tolist()), pooled.numpy())


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("name", ["f.npz", "f.parquet"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    texts: Any, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    texts(f"out/{name}")
    before = (folder / name).read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SetupError, match="No space left"):
        embed.write(folder / name, Table(torch.zeros(1, 2), False), [Sample("t", id="1")], ["all"], {})
    assert (folder / name).read_bytes() == before
    assert [p.name for p in folder.iterdir()] == [name]


@pytest.mark.parametrize(
    ("out", "says"), [("f.csv", r"ends in \.npz or \.parquet"), ("", "ends in"), ("folder.npz", "this is a folder")]
)
def test_where_it_cannot_go_is_said_before_anything_is_read(tmp_path: Path, out: str, says: str) -> None:
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(UsageError, match=says):
        embed.features(tmp_path / "nothing", out=tmp_path / out)


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("file", "gone/deep"):
        with pytest.raises(UsageError, match=f"there is no folder .*{name}$"):
            embed.features(tmp_path, out=tmp_path / name / "f.npz")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_unknown_precision(texts: Any) -> None:
    with pytest.raises(UsageError, match=r"fp23.*possible are auto, fp32, bf16.*fp32"):
        texts(asked=Recipe(precision="fp23"))


def test_a_backbone_of_another_kind(texts: Any, zoo: Path) -> None:
    with pytest.raises(UsageError, match="takes a picture"):
        texts(backbone=f"local:{zoo}/tiny")


def test_too_many_bad_pictures_are_refused_not_read_without_labels(photos: Path, zoo: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(photos, tmp_path / "data")
    for i in range(20):
        (tmp_path / "data" / "disc" / f"{2 * i:03d}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="max-bad"):
        embed.features(tmp_path / "data", out=tmp_path / "f.npz", zoo=zoo)
    assert not (tmp_path / "f.npz").exists()


def test_code_is_refused(texts: Any, tmp_path: Path) -> None:
    (tmp_path / "data.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(SecurityError):
        texts(data=tmp_path / "data.pkl")


def test_without_labels_and_with_a_choice_a_name_is_asked_for(zoo: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        models.timm_folder(tmp_path / "zoo" / name)
    (tmp_path / "flat").mkdir()
    models.picture("disc", 0).save(tmp_path / "flat" / "0.png")
    with pytest.raises(UsageError, match="name one with --backbone"):
        embed.features(tmp_path / "flat", out=tmp_path / "f.npz", zoo=tmp_path / "zoo")


@pytest.mark.slow
def test_labels_choose_among_several(photos: Path, tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        models.timm_folder(tmp_path / "zoo" / name, seed=seed)
    made = embed.features(photos, out=tmp_path / "f.npz", zoo=tmp_path / "zoo")
    assert made.backbone.rpartition("/")[2] in ("one", "two")

"""What is wrong with data, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path

import models
from command import call
from PIL import Image

from graft.doctor import Findings, examine


def of(found: Findings, what: str) -> list[str]:
    return [item for f in found.found if f.what == what for item in f.items]


def test_whole_data_have_nothing_serious(reviews: Path) -> None:
    found = examine(reviews)
    assert not found.serious and found.task == "text_classification" and found.sizes == {"all": 80}
    said = call("doctor", reviews)
    assert said.code == 0 and "fit would take these data" in said.out


def test_texts_that_are_empty_unlabelled_copied_or_contradicted_are_named(tmp_path: Path) -> None:
    rows = [*models.texts(40), ("", "good"), ("lovely film", ""), ("twice said", "good"), ("twice said", "bad")]
    path = models.write_csv(tmp_path / "t.csv", rows)
    found = examine(path)
    assert found.serious
    assert of(found, "unreadable") == ["t.csv:42 (empty text)"]
    assert of(found, "unlabelled") == ["t.csv:43"]
    assert of(found, "copies inside a part") == ["t.csv:45 = t.csv:44"]
    assert of(found, "contradictory labels") == ["t.csv:45 is 'bad', t.csv:44 is 'good'"]
    said = call("doctor", path, "--json")
    assert said.code == 3 and json.loads(said.out)["serious"] is True


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    path = models.write_csv(tmp_path / "t.csv", [(f"{t} {i}", "only") for i, (t, _) in enumerate(models.texts(30))])
    found = examine(path, label="label")
    assert [f.text for f in found.found if f.level == "refused"] == [
        "at least two classes are needed to train on; only 'only' was found"
    ]


def test_labels_in_test_alone_and_classes_of_one_sample(tmp_path: Path) -> None:
    rows = models.texts(40)
    models.write_csv(tmp_path / "d" / "train.csv", [*rows[:30], ("a lone text", "lone")])
    models.write_csv(tmp_path / "d" / "test.csv", [*rows[30:], rows[0], ("a strange text", "strange")])
    found = examine(tmp_path / "d")
    assert any(f.level == "refused" and "strange" in f.text for f in found.found)
    assert of(found, "copies across parts") == ["train.csv:2 = test.csv:12"]
    models.write_csv(tmp_path / "d" / "test.csv", rows[30:])
    again = examine(tmp_path / "d")
    assert not again.serious and ["lone"] in [list(f.items) for f in again.found if "one sample" in f.text]


def test_pictures_unreadable_and_nearly_alike_across_parts(tmp_path: Path) -> None:
    models.picture_folder(tmp_path / "p" / "train", 24)
    models.picture_folder(tmp_path / "p" / "test", 12, seed=5)
    big = models.picture("disc", 0).resize((256, 256), Image.Resampling.BICUBIC)
    big.save(tmp_path / "p" / "train" / "disc" / "big.png")
    big.resize((200, 200)).save(tmp_path / "p" / "test" / "disc" / "smaller.jpg", quality=80)
    (tmp_path / "p" / "train" / "disc" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = examine(tmp_path / "p")
    assert found.serious and of(found, "unreadable")[0].startswith("train/disc/torn.png (")
    near = of(found, "near copies across parts")
    assert "train/disc/big.png ~ test/disc/smaller.jpg" in near


def test_groups_in_two_parts(tmp_path: Path) -> None:
    rows = [(t, y, f"p{i % 7}") for i, (t, y) in enumerate(models.texts(40))]
    for part, some in (("train", rows[:30]), ("test", rows[30:])):
        models.write_csv(tmp_path / "d" / f"{part}.csv", some, ("text", "label", "patient"))
    found = examine(tmp_path / "d", group="patient")
    assert of(found, "groups across parts") == [f"p{i}" for i in range(7)]

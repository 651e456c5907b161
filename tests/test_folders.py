"""Class folders: parts, domains and what is refused, from names and places alone."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from graft.data import Note
from graft.errors import DataError, UsageError
from graft.readers import Opened, _names
from graft.readers.folders import manifests, open_folder
from graft.recipe import Recipe

VISION = Path(__file__).parents[2] / "shared" / "data" / "vision"
needs_shared = pytest.mark.skipif(not VISION.is_dir(), reason="needs ../shared")


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def opened(root: Path, asked: Recipe | None = None) -> Opened:
    found = open_folder(root, asked or Recipe())
    assert found is not None and found.modality == "picture"
    return found


def placed(found: Opened) -> dict[str, set[tuple[str, str, str]]]:
    return {part: {(r.id, r.y, r.domain) for r in rows} for part, rows in found.rows.items()}


def note(found: Opened, words: str) -> Note:
    (one,) = [n for n in found.notes if words in n.text]
    return one


def refused(root: Path, asked: Recipe | None = None) -> str:
    with pytest.raises(DataError) as caught:
        open_folder(root, asked or Recipe())
    return str(caught.value)


# --- shapes


def test_classes(tmp_path: Path) -> None:
    found = opened(touch(tmp_path, "cat/1.jpg", "cat/2.png", "dog/1.jpg", "train/1.jpg", "dog/notes.txt"))
    assert placed(found) == {
        "all": {("cat/1.jpg", "cat", ""), ("cat/2.png", "cat", ""), ("dog/1.jpg", "dog", ""),
                ("train/1.jpg", "train", "")}
    }  # fmt: skip
    assert [r.x for r in found.rows["all"]] == [tmp_path / r.id for r in found.rows["all"]]
    assert [r.id for r in found.rows["all"]] == sorted(r.id for r in found.rows["all"])
    assert note(found, "class folders").text == "3 class folders: 4 pictures"
    assert note(found, "no pictures").items == ("dog/notes.txt",)


def test_parts_by_any_of_their_names(tmp_path: Path) -> None:
    found = opened(touch(tmp_path, "Training/a/1.jpg", "testing/a/1.jpg", "dev/b/1.jpg", "Training/b/2.jpg"))
    assert placed(found) == {
        "train": {("Training/a/1.jpg", "a", ""), ("Training/b/2.jpg", "b", "")},
        "valid": {("dev/b/1.jpg", "b", "")},
        "test": {("testing/a/1.jpg", "a", "")},
    }
    assert list(found.rows) == ["train", "valid", "test"]
    assert found.notes[0].text == "2 class folders: 2 train, 1 valid, 1 test"


def test_domains_above_classes(tmp_path: Path) -> None:
    found = opened(touch(tmp_path, "web/a/1.jpg", "web/b/1.jpg", "shop/a/1.jpg", "shop/b/1.jpg", "shop/c/1.jpg"))
    assert ("shop/c/1.jpg", "c", "shop") in placed(found)["all"]
    assert {r.domain for r in found.rows["all"]} == {"web", "shop"}
    assert note(found, "domains").text == "2 domains with classes of the same names: shop, web"


@pytest.mark.parametrize("order", ["{part}/{domain}/{label}", "{domain}/{part}/{label}"])
def test_domains_with_parts(tmp_path: Path, order: str) -> None:
    names = [
        order.format(part=part, domain=domain, label=label) + "/1.jpg"
        for part in ("train", "test") for domain in ("day", "night") for label in ("car", "bus")
    ]  # fmt: skip
    found = opened(touch(tmp_path, *names))
    assert {part: len(rows) for part, rows in found.rows.items()} == {"train": 4, "test": 4}
    for part, rows in found.rows.items():
        assert {(r.domain, r.y) for r in rows} == {(d, y) for d in ("day", "night") for y in ("car", "bus")}
        assert all(part in r.id and r.domain in r.id for r in rows)


def test_a_folder_around_everything_and_one_below_each_class(tmp_path: Path) -> None:
    found = opened(touch(tmp_path, "data/v1/train/a/images/1.jpg", "data/v1/train/b/images/1.jpg"))
    assert placed(found) == {
        "train": {("data/v1/train/a/images/1.jpg", "a", ""), ("data/v1/train/b/images/1.jpg", "b", "")}
    }
    assert note(found, "everything lies in").text == "everything lies in data/v1/"


def test_labels_are_cleaned(tmp_path: Path) -> None:
    found = opened(touch(tmp_path, " Café/1.jpg", unicodedata.normalize("NFD", "Café") + "/2.jpg", "007/1.jpg"))
    assert {r.y for r in found.rows["all"]} == {"Café", "007"}


# --- row 18: what is refused, with a tree


@pytest.mark.parametrize(
    ("names", "why", "line"),
    [
        (("1.jpg", "2.jpg"), "lie in one folder", "  (itself)  2 pictures"),
        (("1.jpg", "cat/2.jpg", "dog/2.jpg"), "at several depths", "  (itself)  1 pictures"),
        (("cat/1.jpg", "cat/old/2.jpg", "dog/1.jpg"), "at several depths", "  cat/old/  1 pictures"),
        (("train/1.jpg", "test/1.jpg"), "no folder a class", "  test/  1 pictures"),
        (("test/a/1.jpg", "test/b/1.jpg"), "there is test but no train folder", "  test/a/  1 pictures"),
        (("train/a/1.jpg", "train/b/1.jpg", "extra/a/1.jpg"), "train are parts of the data, but extra are not", "  ex"),
        (("p/q/r/s/1.jpg", "p/q/r/t/1.jpg", "o/q/r/t/1.jpg"), "more levels", "  o/q/r/t/  1 pictures"),
        (("a/b/c/1.jpg", "d/e/f/1.jpg"), "more levels", "  a/b/c/  1 pictures"),
        (("images/1.jpg", "masks/1.png"), "images, masks are kinds of files", "  masks/  1 pictures"),
        (("train/images/1.jpg", "test/images/1.jpg"), "no folder a class", "  train/images/  1 pictures"),
        (("a/img1/1.jpg", "b/img1/1.jpg"), "one folder of the same name", "  a/img1/  1 pictures"),
    ],
)
def test_row_18_other_shapes_are_refused_with_a_tree(
    tmp_path: Path, names: tuple[str, ...], why: str, line: str
) -> None:
    said = refused(touch(tmp_path / "pics", *names))
    first, *tree, possible = said.splitlines()
    assert why in first and first.startswith(str(tmp_path))
    assert any(seen.startswith(line) for seen in tree)
    assert possible.startswith("Possible: CLASS/picture")


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (("pets/cat/1.jpg", "pets/dog/1.jpg", "cars/vw/1.jpg", "cars/bmw/1.jpg"), "cars, pets share no class names"),
        (("pets/cat/1.jpg", "pets/dog/1.jpg", "pets/misc/1.jpg", "cars/vw/1.jpg", "cars/misc/1.jpg", "cars/bmw/1.jpg"),
         "too few class names are shared"),
        (("x/a/1.jpg", "x/b/1.jpg", "y/a/1.jpg", "y/b/1.jpg", "z/c/1.jpg"), "z share no class names with the others"),
    ],
)  # fmt: skip
def test_row_18_upper_folders_that_share_no_classes_are_no_domains(
    tmp_path: Path, names: tuple[str, ...], why: str
) -> None:
    assert why in refused(touch(tmp_path, *names))


def test_long_trees_are_cut(tmp_path: Path) -> None:
    said = refused(touch(tmp_path, "1.jpg", *(f"{i:02}/1.jpg" for i in range(30))))
    assert "... and 19 more folders" in said
    assert len(said.splitlines()) == 1 + 12 + 1 + 1


# --- manifests


@pytest.mark.parametrize(
    "table", ["labels.csv", "train/labels.tsv", "labels.jsonl.gz", "a.parquet", "../pics.csv", "../pics.json",
              "train.json", "data.npz"]
)  # fmt: skip
def test_pictures_without_classes_but_with_a_table_are_left_to_its_reader(tmp_path: Path, table: str) -> None:
    root = touch(tmp_path / "pics", "train/1.jpg", "test/1.jpg")
    assert "no folder a class" in refused(root)
    touch(root, table)
    assert [p.name for p in manifests(root)] == [Path(table).name]
    assert open_folder(root, Recipe()) is None


def test_other_json_files_are_no_table(tmp_path: Path) -> None:
    root = touch(tmp_path / "pi[c]s", "train/1.jpg", "meta.json", ".hidden.csv")
    touch(tmp_path, "pic.csv")  # a pattern, read as one, would match it
    assert manifests(root) == []


def test_class_folders_win_over_a_table_unless_it_is_asked_for(tmp_path: Path) -> None:
    root = touch(tmp_path, "a/1.jpg", "b/1.jpg", "labels.csv")
    assert note(opened(root), "labels.csv was not read").kind == "assumed"
    assert open_folder(root, Recipe(label="grade")) is None
    (root / "labels.csv").unlink()
    with pytest.raises(UsageError, match=r"--label grade: a folder of classes has no columns"):
        open_folder(root, Recipe(label="grade"))
    one = touch(tmp_path / "one", "photos2021/1.jpg", "labels.csv")
    assert open_folder(one, Recipe()) is None


def test_no_pictures_is_another_readers(tmp_path: Path) -> None:
    assert open_folder(touch(tmp_path, "train.csv", "a/notes.txt"), Recipe()) is None


# --- rows 15, 16, 17, 24, 68, and runs


def test_row_15_names_that_share_prefixes_across_parts(tmp_path: Path) -> None:
    names = ["train/sick/patient12_a.jpg", "test/sick/patient12_b.jpg", "train/well/patient7_a.jpg"]
    found = opened(touch(tmp_path, *names, "test/well/patient9_a.jpg", "train/sick/patient1_a.jpg"))
    warning = note(found, "--group")
    assert warning.kind == "warning"
    assert warning.text.startswith("1 names share their start across parts (patient12)")
    assert warning.items == ("train/sick/patient12_a.jpg and test/sick/patient12_b.jpg",)


@pytest.mark.parametrize(
    "name", ["image_{i:04}.jpg", "cat.{i}.jpg", "frame{i}.jpg", "IMG ({i}).jpg", "{i}_{i}aed5c.jpg", "exp1-{i}.jpg"]
)
def test_row_15_names_of_a_collection_are_no_groups(tmp_path: Path, name: str) -> None:
    names = [f"{'train' if i % 2 else 'test'}/{'ab'[i % 3 % 2]}/{name.format(i=i)}" for i in range(40)]
    assert not [n for n in opened(touch(tmp_path, *names)).notes if n.kind == "warning"]


def test_row_15_names_of_persons_without_digits(tmp_path: Path) -> None:
    people = ["abel", "bea", "carl", "dora", "emil", "fay", "gus", "hilda", "ida", "jon", "kim", "lea"]
    names = [f"{'train' if k else 'test'}/{'xy'[i % 2]}/{p}_{k}.jpg" for i, p in enumerate(people) for k in range(3)]
    assert note(opened(touch(tmp_path, *names)), "--group").text.startswith("12 names share")


def test_group_by_prefix(tmp_path: Path) -> None:
    root = touch(tmp_path, "train/a/p1_1.jpg", "test/a/p1_2.jpg", "train/b/p2-left.jpg", "train/b/whole.jpg")
    found = opened(root, Recipe(group="prefix"))
    assert {r.id: r.group for rows in found.rows.values() for r in rows} == {
        "train/a/p1_1.jpg": "p1", "test/a/p1_2.jpg": "p1", "train/b/p2-left.jpg": "p2", "train/b/whole.jpg": "whole",
    }  # fmt: skip
    assert not [n for n in found.notes if "--group" in n.text]
    with pytest.raises(UsageError, match="--group patient"):
        open_folder(root, Recipe(group="patient"))


@pytest.mark.parametrize(
    ("stem", "want"),
    [("patient12_a", "patient12"), ("scene3 (4)", "scene3"), ("frame0017", "frame"), ("a.b.c", "a.b"), ("7", "7"),
     ("x-1-2", "x-1"), ("_1", "_1"), ("whole", "whole"), ("p12s3", "p12s"), ("中文_1", "中文")],
)  # fmt: skip
def test_prefix(stem: str, want: str) -> None:
    assert _names.prefix(stem) == want


def test_row_16_junk_is_skipped_and_listed(tmp_path: Path) -> None:
    found = opened(
        touch(
            tmp_path, ".ipynb_checkpoints/1.jpg", "a/1.jpg", "b/1.jpg", "b/.DS_Store", "b/Thumbs.db", "__MACOSX/1.jpg"
        )
    )
    assert {r.y for r in found.rows["all"]} == {"a", "b"}
    assert note(found, "no pictures").items == (".ipynb_checkpoints/", "__MACOSX/", "b/.DS_Store", "b/Thumbs.db")
    assert not [n for n in found.notes if "hold no picture" in n.text]


def test_row_17_loops(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg")
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    found = opened(tmp_path)
    assert len(found.rows["all"]) == 2
    assert note(found, "links lead to folders met before").items == ("a/again/",)


def test_row_24_empty_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "test/a/1.jpg")
    (tmp_path / "train" / "c").mkdir()
    (tmp_path / "test" / "b").mkdir()
    found = opened(tmp_path)
    assert note(found, "are no class").items == ("train/c",)
    assert note(found, "found elsewhere").items == ("test/b",)
    (tmp_path / "train" / "c").rmdir()
    (tmp_path / "test" / "b").rmdir()
    assert not [n for n in opened(tmp_path).notes if "hold no picture" in n.text]


def test_runs_of_graft_inside_are_skipped(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/1.jpg", "runs/model.json", "runs/weights.safetensors", "runs/worst/1.png")
    found = opened(tmp_path)
    assert {r.y for r in found.rows["all"]} == {"a", "b"}
    assert (note(found, "runs of graft").kind, note(found, "runs of graft").items) == ("skipped", ("runs/",))
    assert not [n for n in found.notes if "hold no picture" in n.text]


def test_row_68_twins_of_names(tmp_path: Path) -> None:
    nfc, nfd = "caf\u00e9", "cafe\u0301"
    touch(tmp_path, f"a/{nfc}.jpg", f"a/{nfd}.jpg", "a/B.jpg", "a/b.jpg", "Cat/1.jpg", "cat/2.jpg")
    found = opened(tmp_path)
    paths = note(found, "paths differ")
    assert paths.kind == "warning"
    assert sorted(paths.items) == ["a/B.jpg = a/b.jpg", f"a/{nfd}.jpg = a/{nfc}.jpg"]
    assert note(found, "classes differ").items == ("Cat = cat",)


def test_row_68_any_name_is_safe(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    touch(tmp_path, f"{odd}/{odd}.jpg", "a b/new\nline.jpg", "中文/😀.jpg", "long/" + "x" * 240 + ".jpg")
    found = opened(tmp_path)
    assert {r.y for r in found.rows["all"]} == {"caf\\xe9", "a b", "中文", "long"}
    for row in found.rows["all"]:
        assert row.x.is_file()
        f"{row.id}{row.y}{row.group}".encode()
    for one in opened(tmp_path, Recipe(group="prefix")).rows["all"]:
        one.group.encode()
    touch(tmp_path, "1.jpg")
    refused(tmp_path).encode()


# --- real data


@needs_shared
@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "classes", "sizes", "domains"),
    [
        ("office_caltech10", 10, {"all": 2533}, {"amazon", "caltech10", "dslr", "webcam"}),
        ("brain_tumor_mri", 4, {"train": 400, "test": 184}, {""}),
        ("hymenoptera", 2, {"train": 244, "valid": 153}, {""}),
        ("flowers17", 17, {"train": 680, "valid": 340, "test": 340}, {""}),
        ("cats_dogs", 2, {"train": 400, "test": 200}, {""}),
    ],
)
def test_real_folders(name: str, classes: int, sizes: dict[str, int], domains: set[str]) -> None:
    found = opened(VISION / name)
    rows = [r for part in found.rows.values() for r in part]
    assert {part: len(listed) for part, listed in found.rows.items()} == sizes
    assert len({r.y for r in rows}) == classes
    assert {r.domain for r in rows} == domains
    assert not [n for n in found.notes if n.kind == "warning"]


@needs_shared
@pytest.mark.shared
def test_pictures_beside_masks_are_no_classes() -> None:
    assert "images, masks are kinds of files, not classes" in refused(VISION / "magnetic_tile")

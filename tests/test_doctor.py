"""What is wrong with data, before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from command import call, refused
from PIL import Image

import graft
from graft import doctor
from graft.data import Note, Sample, arrange, digest
from graft.doctor import Findings, examine
from graft.findings import Item


def of(found: Findings, kind: str) -> list[tuple[str, str]]:
    """(id, with) of all items of a kind."""
    return [(i.id, i.other) for f in found.found if f.kind == kind for i in f.items]


def kinds(found: Findings) -> set[str]:
    """The kinds of what was found."""
    return {f.kind for f in found.found}


def cloud(seed: int) -> Image.Image:
    """A small picture with shapes of several sizes, unlike all others."""
    picture: Image.Image = models.cloud(seed, 96, 80)
    return picture


def clouds(root: Path, n: int = 24, start: int = 0) -> Path:
    """Class folders a and b of pictures that are not alike."""
    for i in range(n):
        (root / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        cloud(start + i).save(root / "ab"[i % 2] / f"{i:03d}.png")
    return root


SENTENCES = [
    f"{a} {b} {c} beside the {d} while {e} waited for the {f} number {i}"
    for i, (a, b, c, d, e, f) in enumerate(
        zip(
            *(
                np.random.default_rng(k).permutation([f"{stem}{tail}" for stem in stems for tail in tails]).tolist()
                for k, (stems, tails) in enumerate(
                    [
                        (
                            ("quiet", "eager", "pale", "stern", "merry"),
                            ("er sailors", "est farmers", " poets", " clerks"),
                        ),
                        (
                            ("carried", "painted", "mended", "counted", "buried"),
                            (" old", " seven", " heavy", " silver"),
                        ),
                        (("lan", "bas", "cur", "mar", "fen"), ("terns", "kets", "tains", "bles")),
                        (("har", "gar", "win", "bar", "can"), ("bour", "den", "dow", "nyard")),
                        (("Oli", "Mar", "Ju", "Hen", "Vic"), ("via", "tin", "lia", "rietta")),
                        (("tra", "fer", "car", "boa", "mes"), ("in", "ry", "riage", "senger")),
                    ]
                )
            ),
            strict=True,
        )
    )
]


def sentences(path: Path, *more: tuple[str, str]) -> Path:
    """A csv of twenty unlike sentences of two classes, and some more rows."""
    return models.write_csv(path, [*((t, "ab"[i % 2]) for i, t in enumerate(SENTENCES)), *more])


def test_whole_data_have_no_finding(tmp_path: Path) -> None:
    path = sentences(tmp_path / "t.csv")
    found = examine(path)
    assert not found.found and not found.serious
    assert found.task == "text_classification" and found.sizes == {"all": 20}
    assert any(n.text.startswith("features are those of bundled:") for n in found.notes)
    said = call("doctor", path, "-q", "--backbone", "none")
    assert said.code == 0 and "nothing was found; fit would take these data" in said.out


def test_json_is_complete_and_as_promised(tmp_path: Path) -> None:
    rows = [(f"{SENTENCES[0]}{'' if i % 2 else '!'}", "a") for i in range(9)]
    path = sentences(tmp_path / "t.csv", *rows)
    said = call("doctor", path, "--json", "-q", "--backbone", "none")
    assert said.code == 3
    told = json.loads(said.out)
    assert {"data", "task", "sizes", "findings", "notes"} <= set(told)
    for f in told["findings"]:
        assert set(f) == {"kind", "severity", "count", "items", "effect", "fix", "text"}
        assert f["severity"] in ("error", "warning") and f["effect"] and f["fix"]
        assert all(set(i) == {"id", "with", "split"} for i in f["items"])
        if f["kind"].startswith("duplicate"):
            assert f["count"] == len(f["items"]) and "--fix out/" in f["fix"]
    pairs = [frozenset((i["id"], i["with"])) for f in told["findings"] if f["kind"].startswith("dup")
             for i in f["items"]]  # fmt: skip
    assert len(pairs) == len(set(pairs)) == 9, "a group of ten gives nine pairs, each once"
    shown = call("doctor", path, "-q", "--backbone", "none")
    assert shown.code == 3 and "duplicate_within" in shown.out and "and 5 more" in shown.out


def test_texts_that_are_empty_unlabelled_copied_or_contradicted_are_named(tmp_path: Path) -> None:
    path = sentences(
        tmp_path / "t.csv", ("", "a"), ("lovely film", ""), ("twice said by me", "a"), ("twice said by me", "b")
    )
    found = examine(path, backbone="none")
    assert found.serious
    assert of(found, "unreadable") == [("t.csv:22", "")]
    assert of(found, "label_missing") == [("t.csv:23", "")]
    assert of(found, "duplicate_within") == [("t.csv:25", "t.csv:24")]
    assert of(found, "label_contradiction") == [("t.csv:25", "t.csv:24")]
    (torn,) = [f for f in found.found if f.kind == "label_contradiction"]
    assert "t.csv:25 is 'b', t.csv:24 is 'a'" in torn.text
    assert [f.severity for f in found.found if f.kind in ("unreadable", "label_missing")] == ["error", "error"]
    assert not [
        f for f in examine(path, max_bad=0.2, backbone="none").found if f.kind == "unreadable" and f.severity == "error"
    ]


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    path = models.write_csv(tmp_path / "t.csv", [(t, "only") for t in SENTENCES])
    (refusal,) = [f for f in examine(path, label="label", backbone="none").found if f.severity == "error"]
    assert refusal.kind == "class_one"
    assert refusal.text == "at least two classes are needed to train on; only 'only' was found"


def test_labels_in_test_alone_too_few_samples_and_copies_across_parts(tmp_path: Path) -> None:
    rows = [(t, "ab"[i % 2]) for i, t in enumerate(SENTENCES)]
    models.write_csv(tmp_path / "d" / "train.csv", rows[:14])
    models.write_csv(tmp_path / "d" / "test.csv", [*rows[14:], rows[0], ("a strange text", "strange")])
    found = examine(tmp_path / "d", backbone="none")
    assert any(f.severity == "error" and f.kind == "label_refused" and "strange" in f.text for f in found.found)
    (pair,) = [i for f in found.found if f.kind == "duplicate_across" for i in f.items]
    assert pair == Item("train.csv:2", "test.csv:8", "train")
    few = examine(
        models.write_csv(tmp_path / "few.csv", [("one here", "a"), ("two there", "b")]), label="label", backbone="none"
    )
    assert "class_few" in kinds(few) and few.serious


CHANGES = {
    "jpeg": lambda p: p,
    "half": lambda p: p.resize((p.width // 2, p.height // 2)),
    "crop": lambda p: p.crop((4, 2, p.width - 1, p.height - 2)),
    "light": lambda p: p.point(lambda v: min(255, int(v * 0.8) + 10)),
    "mirror": lambda p: p.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turn": lambda p: p.transpose(Image.Transpose.ROTATE_90),
}


def test_changed_copies_of_pictures_across_parts_are_paired_with_their_originals(tmp_path: Path) -> None:
    clouds(tmp_path / "p" / "train", 40)
    clouds(tmp_path / "p" / "test", 16, start=100)
    wanted = set()
    for k, (name, change) in enumerate(CHANGES.items()):
        change(cloud(k)).save(tmp_path / "p" / "test" / "a" / f"{name}.jpg", quality=60)
        wanted.add((f"train/{'ab'[k % 2]}/{k:03d}.png", f"test/a/{name}.jpg"))
    (tmp_path / "p" / "train" / "a" / "scene3 (4).png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = examine(tmp_path / "p")
    assert set(of(found, "duplicate_near_across")) == wanted
    assert of(found, "unreadable") == [("train/a/scene3 (4).png", "")]
    assert "duplicate_near_within" not in kinds(found)
    assert any("by hashes alone" in f.text for f in found.found)


def test_features_of_a_zoo_are_used_where_there_is_one(tmp_path: Path, zoo: Path) -> None:
    clouds(tmp_path / "p", 30)
    cloud(3).save(tmp_path / "p" / "a" / "again.jpg", quality=50)
    found = examine(tmp_path / "p", zoo=zoo)
    assert of(found, "duplicate_near_within") == [("b/003.png", "a/again.jpg")]
    assert not any("by hashes alone" in f.text for f in found.found)
    assert any(n.text == f"features are those of local:{zoo / 'tiny'}" for n in found.notes)
    assert not examine(tmp_path / "p", zoo=zoo, backbone="none").seen.looks  # type: ignore[union-attr]
    with pytest.raises(graft.errors.UsageError, match="takes a text"):
        examine(tmp_path / "p", backbone="bundled:all-MiniLM-L6-v2")


EDITS = {
    "typo": lambda t: t.replace("beside", "besde"),
    "case": str.upper,
    "marks": lambda t: t.replace(" while", ", while") + "!",
    "dropped": lambda t: t.replace(" waited", ""),
    "changed": lambda t: t.replace("beside", "under"),
}


@pytest.mark.parametrize("backbone", ["auto", "none"])
def test_small_edits_of_texts_are_found_with_and_without_features(tmp_path: Path, backbone: str) -> None:
    rows = [(t, "ab"[i % 2]) for i, t in enumerate(SENTENCES)]
    models.write_csv(tmp_path / "d" / "train.csv", rows[:14])
    models.write_csv(tmp_path / "d" / "test.csv", [*rows[14:], *((e(SENTENCES[k]), "a")
                                                              for k, e in enumerate(EDITS.values()))])  # fmt: skip
    found = examine(tmp_path / "d", backbone=backbone)
    assert of(found, "duplicate_near_across") == [(f"train.csv:{k + 2}", f"test.csv:{k + 8}") for k in range(5)]
    assert "duplicate_near_within" not in kinds(found)


def test_groups_and_times_on_both_sides(tmp_path: Path) -> None:
    rows = [(t, "ab"[i % 2], f"p{i % 7}", f"2024-01-{i + 1:02d}") for i, t in enumerate(SENTENCES)]
    header = ("text", "label", "patient", "date")
    for part, some in (("train", rows[6:]), ("test", rows[:6])):
        models.write_csv(tmp_path / "d" / f"{part}.csv", some, header)
    found = examine(tmp_path / "d", group="patient", backbone="none")
    assert {i for i, _ in of(found, "leak_group")} == {f"test.csv:{k}" for k in range(2, 8)}
    (text,) = [f.text for f in found.found if f.kind == "leak_group"]
    assert text.startswith("6 groups stand in more than one part: p0, p1")
    assert of(found, "leak_time") == [(f"test.csv:{k}", "") for k in range(2, 8)]
    (fix,) = [f.fix for f in found.found if f.kind == "leak_time"]
    assert "--time date" in fix
    lone = [(t, y, f"p{i}", date) for i, (t, y, _, date) in enumerate(rows)]
    models.write_csv(tmp_path / "e" / "train.csv", lone[:14], header)
    models.write_csv(tmp_path / "e" / "test.csv", lone[14:], header)
    assert not kinds(examine(tmp_path / "e", group="patient", backbone="none")) & {"leak_time", "leak_group"}


def test_a_column_that_tells_the_label_and_ids_that_were_taken_for_texts(tmp_path: Path) -> None:
    rows = [(f"x{i}", "ab"[i % 2], "cd"[i % 2]) for i in range(40)]
    path = models.write_csv(tmp_path / "t.csv", rows, ("code", "label", "source"))
    found = examine(path, text="code", backbone="none")
    assert of(found, "leak_column") == [("source", "")]
    assert of(found, "column_id") == [("code", "")]
    ids = models.write_csv(tmp_path / "ids.csv", [(t, str(i + 7)) for i, t in enumerate(SENTENCES)], ("text", "nr"))
    assert of(examine(ids, label="nr", backbone="none"), "column_id") == [("nr", "")]


def test_data_in_memory_have_findings_too() -> None:
    rows = [{"text": t, "label": "ab"[i % 2]} for i, t in enumerate([*SENTENCES, SENTENCES[4]])]
    found = examine(rows, backbone="none")
    assert of(found, "duplicate_within") == [("<records>:21", "<records>:5")]
    with pytest.raises(graft.errors.UsageError, match="--fix writes a copy of files"):
        doctor.fix(found, "out")


# -- for a fit


def test_before_and_after_say_the_same_as_examine_for_a_fit() -> None:
    texts = [*SENTENCES, EDITS["dropped"](SENTENCES[0]), SENTENCES[1]]
    given = {"train": [Sample(t, "ab"[i % 2], f"r{i}", digest=digest(t)) for i, t in enumerate(texts[:14])],
             "test": [Sample(t, "ab"[i % 2], f"s{i}", digest=digest(t)) for i, t in enumerate(texts[14:])]}  # fmt: skip
    cut, notes = arrange({k: list(v) for k, v in given.items()}, 0)
    notes.append(Note("skipped", "1 empty texts left out", ("r99 (empty)",), "unreadable"))
    first = doctor.before(given, cut, notes, {}, "text")
    told = {f.kind: [(i.id, i.other) for i in f.items] for f in first.findings}
    assert told["duplicate_across"] == [("r1", "s7")] and told["unreadable"] == [("r99", "")]
    assert told["duplicate_near_across"] == [("r0", "s6")]
    assert all(f.severity == "warning" for f in first.findings)

    import torch

    apart = {name: torch.ones(len(rows), 4) * (1 if name == "train" else -1) for name, rows in cut.items()}
    later = doctor.after(first, cut, apart, ("a", "b"))
    assert "duplicate_near_across" not in {f.kind for f in later}, "features that differ let a weak pair go"
    assert {"duplicate_across", "unreadable"} <= {f.kind for f in later}
    without = doctor.after(first, cut, {}, ("a", "b"))
    assert "duplicate_near_across" in {f.kind for f in without}, "without all features, what hashes said stands"


# -- mending


def listed(out: Path) -> dict[str, Any]:
    """What a mended copy says of itself."""
    told: dict[str, Any] = json.loads((out / "doctor.json").read_text("utf-8"))
    return told


def test_fix_of_class_folders_leaves_out_copies_and_keeps_the_test_part(tmp_path: Path) -> None:
    data = tmp_path / "p"
    clouds(data / "train", 30)
    clouds(data / "test", 12, start=100)
    cloud(102).save(data / "train" / "a" / "exact.bmp")
    cloud(103).save(data / "train" / "a" / "near.jpg", quality=50)
    cloud(4).save(data / "train" / "a" / "within.jpg", quality=50)
    (data / "train" / "b" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    before = {p: p.read_bytes() for p in data.rglob("*") if p.is_file()}
    said = call("doctor", data, "--fix", tmp_path / "out", "--json")
    assert said.code == 3 and json.loads(said.out)["fixed"]["kept"] == 42
    assert {p: p.read_bytes() for p in data.rglob("*") if p.is_file()} == before, "the data are not changed"
    out = tmp_path / "out"
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} - {"doctor.json"}
    gone = {p.relative_to(data).as_posix() for p in before} - names
    assert gone == {f"train/{n}" for n in ("a/exact.bmp", "a/near.jpg", "a/within.jpg", "b/torn.png")}
    why = {i["id"]: (i["kind"], i["with"]) for i in listed(out)["left_out"]}
    assert why == {
        "train/a/exact.bmp": ("duplicate_across", "test/a/002.png"),
        "train/a/near.jpg": ("duplicate_near_across", "test/b/003.png"),
        "train/a/within.jpg": ("duplicate_near_within", "train/a/004.png"),
        "train/b/torn.png": ("unreadable", ""),
    }
    assert not [f for f in examine(out).found if f.kind.startswith(("dup", "unreadable"))]


def test_fix_of_tables_keeps_bytes_and_refuses_what_it_would_harm(tmp_path: Path) -> None:
    quick = ("-q", "--backbone", "none")
    (tmp_path / "d").mkdir()
    lines = ["\ufefftext,label,more", *(f'"{t}",{"ab"[i % 2]},"two\r\nlines"' for i, t in enumerate(SENTENCES))]
    lines += [f'"{SENTENCES[3].upper()}",a,x', ",a,x", f'"{SENTENCES[5]}",b,x', "a row without label,,x"]
    path = tmp_path / "d" / "t.csv"
    path.write_bytes("\r\n".join(lines).encode("utf-8"))
    said = call("doctor", path, "--fix", tmp_path / "out", *quick)
    assert said.code == 3
    kept = (tmp_path / "out" / "t.csv").read_bytes()
    assert kept == ("\r\n".join(lines[:21]) + "\r\n").encode("utf-8")
    assert {i["kind"] for i in listed(tmp_path / "out")["left_out"]} == {
        "duplicate_near_within", "unreadable", "duplicate_within", "label_missing",
    }  # fmt: skip
    assert call("doctor", tmp_path / "out" / "t.csv", *quick).code == 0
    refused(call("doctor", path, "--fix", tmp_path / "out", "--json", *quick), 2, "is not empty", "--overwrite")
    assert call("doctor", path, "--fix", tmp_path / "out", "--overwrite", *quick).code == 3
    refused(call("doctor", path, "--fix", tmp_path / "d", "--overwrite", *quick), 2, "lies in the data, or around them")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    refused(call("doctor", path, "--fix", tmp_path / "mine", "--overwrite", *quick), 2, "holds no doctor.json")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".graft")], "nothing half-written is left"


def test_fix_of_parquet_jsonl_and_a_list_of_pictures(tmp_path: Path) -> None:
    import pandas as pd
    import pyarrow.parquet as pq

    frame = pd.DataFrame({"text": [*SENTENCES, SENTENCES[0]], "label": [*"ab" * 10, "a"], "n": range(21)})
    (tmp_path / "q").mkdir()
    frame.to_parquet(tmp_path / "q" / "t.parquet")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    for source, name in ((tmp_path / "q", "t.parquet"), (tmp_path / "t.jsonl", "t.jsonl")):
        out = tmp_path / f"out-{name}"
        doctor.fix(examine(source, backbone="none"), out)
        found = examine(out / name, backbone="none")
        assert found.sizes == {"all": 20} and not found.found
    assert pq.read_schema(tmp_path / "out-t.parquet" / "t.parquet").field("n").type == "int64"

    clouds(tmp_path / "m", 24)
    cloud(3).save(tmp_path / "m" / "a" / "again.jpg", quality=60)
    rows = [(p.relative_to(tmp_path / "m").as_posix(), p.parent.name) for p in sorted((tmp_path / "m").glob("*/*"))]
    models.write_csv(tmp_path / "m" / "list.csv", [*rows, rows[0]], ("path", "label"))
    found = examine(tmp_path / "m" / "list.csv", image="path")
    assert found.sizes == {"all": 26}
    left = doctor.fix(found, tmp_path / "out-m")
    assert left.kept == 24 and len(left.items) == 2
    again = examine(tmp_path / "out-m" / "list.csv", image="path")
    assert again.sizes == {"all": 24} and not [f for f in again.found if f.kind.startswith("dup")]


def test_fix_that_is_stopped_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clouds(tmp_path / "p", 20)
    found = examine(tmp_path / "p")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("graft.doctor._mend.shutil.copy2", full)
    with pytest.raises(graft.errors.SetupError, match="No space left on device; free some space"):
        doctor.fix(found, tmp_path / "out")
    assert {p.name for p in tmp_path.iterdir()} == {"p"}

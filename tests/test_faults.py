"""Every bad input of the first cut, through the command line: its exit code, and a line that says what to do."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import models
import pandas as pd
import pytest
from command import SOURCE, Said, call, names, refused, run, start

import graft
from graft.errors import DataError

ROWS = models.texts(40)


@pytest.fixture
def fit(bert: Path, tmp_path: Path) -> Callable[..., Said]:
    """`graft fit` of texts by the cheapest recipe, into tmp_path / "run"."""

    def fitted(data: object, *more: object) -> Said:
        return call(
            "fit", data, "--backbone", f"local:{bert}", "--recipe", "probe:l2=0.1", "--out", tmp_path / "run", *more
        )

    return fitted


@pytest.fixture
def fit_pictures(zoo: Path, tmp_path: Path) -> Callable[..., Said]:
    """The same for pictures."""

    def fitted(data: object, *more: object) -> Said:
        tiny = f"local:{zoo / 'tiny'}"
        return call(
            "fit", data, "--backbone", tiny, "--recipe", "probe:l2=0.1", "--out", tmp_path / "run", "--json", *more
        )

    return fitted


def nothing_left(folder: Path, *but: str) -> None:
    """Assert that a refusal left no run and no half of one."""
    assert names(folder) <= set(but), names(folder)


# --------------------------------------------------------------------------------- what is asked for


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--bugdet", "3s"], ["--bugdet", "did you mean", "--budget", "graft fit --help"]),
        (["--recipe", "prob"], ["'prob'", "did you mean 'probe'", "graft list methods"]),
        (["--recipe", "finetune:dpeth=2"], ["dpeth", "did you mean 'depth'"]),
        (["--recipe", "finetune:depth=two"], ["depth", "'two'", "int"]),
        (["--recipe", "finetune:depth"], ["name:key=value"]),
        (["--recipe", "finetune >"], ["graft list methods"]),
        (["--recipe", "finetune + probe"], ["exactly one tuning method"]),
        (["--recipe", "finetune + finetune"], ["exactly one tuning method"]),
        (["--budget", "soon"], ["'soon'", "5m"]),
        (["--budget", "0s"], ["above zero"]),
        (["--backbone", "resnet18"], ["SOURCE:NAME", "timm"]),
        (["--backbone", "tim:resnet18"], ["SOURCE:NAME", "did you mean", "timm"]),
        (["--backbone", "local:/no/such"], ["/no/such"]),
        (["--backbone", "run:/no/such"], ["/no/such", "model.json"]),
        (["--task", "text_clasification"], ["text_classification"]),
        (["--label", "lable"], ["'lable'", "did you mean", "label"]),
        (["--max-bad", "some"], ["--max-bad"]),
        (["--plugin", "no.py"], ["no.py"]),
        (["--resume", "--overwrite"], ["--resume", "--overwrite"]),
    ],
)
def test_a_wrong_option_is_named(words: list[str], parts: list[str], reviews: Path, bert: Path, tmp_path: Path) -> None:
    given = ["--recipe", "probe:l2=0.1", "--backbone", f"local:{bert}", "--out", tmp_path / "run"]
    refused(call("fit", reviews, *given, *words), 2, *parts)
    nothing_left(tmp_path)


def test_a_device_that_is_not_there(fit: Callable[..., Said], reviews: Path, tmp_path: Path) -> None:
    refused(fit(reviews, "--device", "cuda:77"), 4, "cuda:77", "cpu")
    nothing_left(tmp_path)


@pytest.mark.parametrize("command", ["fit", "rank"])
def test_a_path_that_is_not_there(command: str, reviews: Path, tmp_path: Path) -> None:
    refused(
        call(command, reviews.with_name("revews.csv")), 2, "revews.csv", "no such file", "did you mean 'reviews.csv'"
    )
    nothing_left(tmp_path)


def test_a_path_that_is_not_there_is_no_text_to_predict(text_run: graft.Run, tmp_path: Path) -> None:
    refused(call("predict", text_run.folder, tmp_path / "absent.csv"), 2, "absent.csv", "no such file")
    refused(call("predict", tmp_path / "absent", "-"), 2, "absent", "model.json")
    refused(call("evaluate", text_run.folder, tmp_path / "absent.csv"), 2, "absent.csv")
    refused(call("predict", text_run.folder, "-", "--out", tmp_path / "x.xlsx"), 2, ".csv", ".parquet")
    refused(call("predict", text_run.folder, "-", "--out", tmp_path / "no" / "x.csv"), 2, "no folder")


# -------------------------------------------------------------------------------- folders of pictures


def test_an_empty_folder(fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    refused(fit_pictures(tmp_path / "data"), 3, "an empty folder", "a folder of pictures for each class")
    nothing_left(tmp_path, "data")


def test_a_folder_of_something_else(fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "notes.docx").write_text("x")
    refused(fit_pictures(tmp_path / "data"), 3, "notes.docx", "Possible are")


def test_pictures_without_class_folders(fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "data" / "deep" / "er").mkdir(parents=True)
    models.picture("disc", 0).save(tmp_path / "data" / "a.png")
    models.picture("disc", 1).save(tmp_path / "data" / "deep" / "er" / "b.png")
    refused(fit_pictures(tmp_path / "data"), 3, "CLASS/picture", "deep/er/")


def test_one_class_of_pictures(fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    models.picture_folder(tmp_path / "data", 8, labels=("disc",))
    refused(fit_pictures(tmp_path / "data"), 3, "two classes", "only 'disc'")
    nothing_left(tmp_path, "data")


def test_too_few_to_split(fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    models.picture_folder(tmp_path / "data", 4)
    refused(fit_pictures(tmp_path / "data"), 3, "too few")
    nothing_left(tmp_path, "data")


def test_a_class_of_one_sample_stays_in_train(fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    models.picture_folder(tmp_path / "data", 24)
    (tmp_path / "data" / "alone").mkdir()
    models.picture("disc", 99).save(tmp_path / "data" / "alone" / "x.png")
    said = fit_pictures(tmp_path / "data")
    assert said.code == 0, said.err
    assert "1 classes have one sample, which stays in train: alone" in said.err
    counts = graft.load(tmp_path / "run").report["data"]["classes"]["alone"]
    assert counts == {"train": 1, "valid": 0, "test": 0}
    json.loads((tmp_path / "run" / "report.json").read_text(), parse_constant=pytest.fail)


def spoil(folder: Path, kind: str) -> None:
    good = (folder / "disc" / "000.png").read_bytes()
    made = {
        "truncated.png": good[: len(good) // 2],
        "empty.png": b"",
        "page.jpg": b"<!DOCTYPE html><html>404</html>",
        "answer.jpg": b'{"error": "no"}',
        "noise.png": os.urandom(64),
    }
    (folder / "disc" / kind).write_bytes(made[kind])


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("truncated.png", ""),
        ("empty.png", "empty"),
        ("page.jpg", "is HTML"),
        ("answer.jpg", "is JSON"),
        ("noise.png", ""),
    ],
)
@pytest.mark.slow
def test_an_unreadable_picture(
    kind: str, part: str, photos: Path, fit_pictures: Callable[..., Said], tmp_path: Path
) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    spoil(data, kind)
    refused(fit_pictures(data), 3, "1 of 49", f"disc/{kind}", part, "--max-bad 0.0")
    nothing_left(tmp_path, "data")
    said = fit_pictures(data, "--max-bad", "0.03")
    assert said.code == 0, said.err
    assert f"disc/{kind}" in said.err
    notes = graft.load(tmp_path / "run").report["data"]["notes"]
    assert any(n["kind"] == "skipped" and kind in "".join(n["items"]) for n in notes)


def test_a_png_named_jpg_is_read_and_said(photos: Path, fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    (data / "disc" / "000.png").rename(data / "disc" / "000.jpg")
    said = fit_pictures(data)
    assert said.code == 0, said.err
    assert "disc/000.jpg: is PNG, named .jpg" in said.err


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0\n", b"%PDF-1.7\n", pickle.dumps(os.getcwd)])
def test_a_picture_that_could_run_code(
    content: bytes, photos: Path, fit_pictures: Callable[..., Said], tmp_path: Path
) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    (data / "disc" / "x.jpg").write_bytes(content)
    refused(fit_pictures(data, "--max-bad", "0.5"), 6, "x.jpg")
    nothing_left(tmp_path, "data")


def test_junk_and_loops_are_no_classes(photos: Path, fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    for folder in (".ipynb_checkpoints", "__MACOSX"):
        shutil.copytree(photos / "disc", data / folder)
    (data / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (data / "disc" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (data / "disc" / "again").symlink_to(data, target_is_directory=True)
    (data / "disc" / "self").symlink_to(data / "disc" / "self")
    (data / "nothing").mkdir()
    said = fit_pictures(data)
    assert said.code == 0, said.err
    found = graft.load(tmp_path / "run")
    assert found.labels == ("disc", "square")
    assert sum(found.report["data"][p] for p in ("train", "valid", "test")) == 48
    assert "links" in said.err and "loop" in said.err
    assert "no class: nothing" in said.err


def test_a_pipe_named_as_a_picture_is_no_hang(photos: Path, fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    os.mkfifo(data / "disc" / "pipe.png")
    refused(fit_pictures(data), 3, "pipe.png", "not a regular file")


def test_copies_of_pictures_never_straddle_a_made_split(fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    data = models.picture_folder(tmp_path / "data", 20)
    for file in sorted(data.rglob("*.png")):
        models.picture(file.parent.name, int(file.stem)).save(
            file.with_name(f"{file.stem}-copy.bmp")
        )  # the same pixels
    assert fit_pictures(data).code == 0
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")[["id", "split"]].drop_duplicates()
    place = dict(table.itertuples(index=False))
    for i in range(20):
        one = f"{('disc', 'square')[i % 2]}/{i:03d}"
        assert place.get(f"{one}.png") == place.get(f"{one}-copy.bmp")


def test_copies_across_given_parts_are_said(fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    models.picture_folder(tmp_path / "data" / "train", 20)
    models.picture_folder(tmp_path / "data" / "test", 8)
    said = fit_pictures(tmp_path / "data")
    assert said.code == 0, said.err
    assert "8 exact copies" in said.err


def test_a_class_in_test_alone(fit_pictures: Callable[..., Said], tmp_path: Path) -> None:
    models.picture_folder(tmp_path / "data" / "train", 12)
    models.picture_folder(tmp_path / "data" / "test", 9, labels=("disc", "square", "triangle"), seed=1)
    refused(fit_pictures(tmp_path / "data"), 3, "test", "triangle", "test/triangle/")
    nothing_left(tmp_path, "data")


# --------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("latin.csv", "text,label\nfine,a\ncaf\xe9,b\n".encode("latin-1"), ["latin.csv:3", "0xE9", "iconv"]),
        ("wide.csv", "text,label\nfine,a\n".encode("utf-16"), ["UTF-16", "iconv"]),
        ("ragged.csv", b"text,label\nfine,a\none,b,c\n", ["ragged.csv:3", "3 fields", "has 2"]),
        ("quote.csv", b'text,label\n"open,a\n', ["quote.csv:2"]),
        ("twice.csv", b"text,text\na,b\n", ["'text'", "more than once"]),
        ("header.csv", b"text,label\n", ["0 rows"]),
        ("empty.csv", b"", ["empty"]),
        ("numbers.csv", b"a,b\n1,2\n3,4\n", ["no column that looks like text", "--text"]),
        ("plain.csv", b"text\nsome words here\nand other words\n", ["--label"]),
        ("bad.jsonl", b'{"text": "a", "label": "b"}\n{"text": \n', ["bad.jsonl:2", "JSON"]),
        ("fake.parquet", b"PAR0 no", ["fake.parquet", "parquet"]),
        ("fake.csv.gz", b"text,label\n", ["not gzip"]),
        ("book.xlsx", b"PK\3\4 no", ["book.xlsx", "csv"]),
    ],
)
def test_a_table_that_cannot_be_read(
    name: str, content: bytes, parts: list[str], fit: Callable[..., Said], tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(fit(tmp_path / name), 3, *parts)
    nothing_left(tmp_path, name)


def test_one_class_of_texts(fit: Callable[..., Said], tmp_path: Path) -> None:
    data = models.write_csv(tmp_path / "t.csv", [(t, "same") for t, _ in ROWS])
    refused(fit(data), 3, "two classes", "only 'same'")


def test_empty_labels_are_named_by_row(fit: Callable[..., Said], tmp_path: Path) -> None:
    data = models.write_csv(tmp_path / "t.csv", [*ROWS[:5], ("no label here", ""), ("nor here", "  "), *ROWS[5:]])
    refused(fit(data), 3, "2 rows", "t.csv:7", "t.csv:8", "'label'")
    nothing_left(tmp_path, "t.csv")


def test_empty_texts_are_counted(fit: Callable[..., Said], tmp_path: Path) -> None:
    data = models.write_csv(tmp_path / "t.csv", [*ROWS, ("  ", "good")])
    refused(fit(data), 3, "1 of 41", "empty texts", "t.csv:42", "--max-bad")
    said = fit(data, "--max-bad", "0.1")
    assert said.code == 0, said.err
    assert "t.csv:42" in said.err


LABELS = ["NA", "None", "null", "nan", "007", "7", "true"]


def test_labels_that_look_like_nothing_are_text(fit: Callable[..., Said], tmp_path: Path) -> None:
    rows = [(f"{t} {i}", LABELS[i % len(LABELS)]) for i, (t, _) in enumerate(models.texts(70))]
    assert fit(models.write_csv(tmp_path / "t.csv", rows)).code == 0
    assert graft.load(tmp_path / "run").labels == tuple(sorted(LABELS))
    table = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    assert set(table["truth"]) == set(LABELS)


HOSTILE = ["../../x", "<script>alert(1)</script>", "=cmd()", "\U0001f600 {{7*7}}", 'a,b"c', "x" * 300]


def test_hostile_class_names_stay_text(fit: Callable[..., Said], tmp_path: Path) -> None:
    rows = [(f"{t} {i}", HOSTILE[i % len(HOSTILE)]) for i, (t, _) in enumerate(models.texts(72))]
    said = fit(models.write_csv(tmp_path / "in" / "t.csv", rows), "--json")
    assert said.code == 0, said.err
    found = graft.load(tmp_path / "run")
    assert found.labels == tuple(sorted(HOSTILE))
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page
    assert "{{7*7}}" in page, "no template ran"
    assert names(tmp_path) == {"in", "run"}
    assert not (tmp_path.parent / "x").exists()
    written = call("predict", tmp_path / "run", tmp_path / "in" / "t.csv", "--quiet")
    table = pd.read_csv(io.StringIO(written.out))
    assert not any(str(v).startswith("=") for v in table["label"])
    assert set(found.predict(tmp_path / "in" / "t.csv")["label"]) <= set(HOSTILE)


def test_hostile_folder_and_file_names(zoo: Path, tmp_path: Path) -> None:
    data = tmp_path / "my data \U0001f600 é"
    for i in range(24):
        label = ("<b>disc", "=square()")[i % 2]
        (data / label).mkdir(parents=True, exist_ok=True)
        models.picture(("disc", "square")[i % 2], i).save(data / label / f"a (b) '{i}' \n{{{{x}}}}.png")
    said = call(
        "fit",
        data,
        "--backbone",
        f"local:{zoo / 'tiny'}",
        "--recipe",
        "probe:l2=0.1",
        "--out",
        tmp_path / "r u n",
        "--json",
    )
    assert said.code == 0, said.err
    assert json.loads(said.out)["run"] == str(tmp_path / "r u n")
    assert len(graft.load(tmp_path / "r u n").predict(data)) == 24
    assert "<b>disc" not in (tmp_path / "r u n" / "report.html").read_text("utf-8")


def test_tables_that_name_no_part(fit: Callable[..., Said], tmp_path: Path) -> None:
    for name in ("one", "two"):
        models.write_csv(tmp_path / "data" / f"{name}.csv", ROWS)
    refused(fit(tmp_path / "data"), 3, "one.csv", "two.csv", "train")


def test_a_label_in_test_alone(fit: Callable[..., Said], tmp_path: Path) -> None:
    models.write_csv(tmp_path / "data" / "train.csv", ROWS)
    models.write_csv(tmp_path / "data" / "test.csv", [*ROWS[:4], ("a film", "ugly")])
    refused(fit(tmp_path / "data"), 3, "test", "ugly", "test.csv:6")


# -------------------------------------------------------------------------------------- code as data


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


@pytest.mark.parametrize("name", ["data.pkl", "data.csv", "data.parquet", "data.jsonl", "data.pt", "data.npy"])
def test_a_pickle_as_data(name: str, fit: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    line = refused(fit(tmp_path / name), 6, name, "csv")
    assert "nothing of it was run" in line
    nothing_left(tmp_path, name)


def test_a_pickle_to_predict(text_run: graft.Run, picture_run: graft.Run, tmp_path: Path) -> None:
    for name in ("data.pkl", "data.csv", "x.png"):
        (tmp_path / name).write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    refused(call("predict", text_run.folder, tmp_path / "data.pkl"), 6, "data.pkl")
    refused(call("predict", text_run.folder, tmp_path / "data.csv"), 6, "data.csv")
    refused(call("predict", picture_run.folder, tmp_path / "x.png"), 6, "x.png")
    refused(call("evaluate", text_run.folder, tmp_path / "data.csv"), 6, "data.csv")
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("name", ["pytorch_model.bin", "weights.pth", "model.safetensors"])
def test_a_pickle_as_weights(name: str, bert: Path, reviews: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "model"))
    (folder / "model.safetensors").unlink()
    (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    code = 3 if name == "model.safetensors" else 6  # named safetensors it is damage: nothing would unpickle it
    for backbone in (f"local:{folder}", *([f"local:{folder / name}"] if code == 6 else [])):
        refused(
            call("fit", reviews, "--backbone", backbone, "--recipe", "probe", "--out", tmp_path / "run"), code, name
        )
    nothing_left(tmp_path, "model")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"auto_map": {"AutoModel": "evil.Model"}}, "auto_map"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({}, "evil.py"),
    ],
)
def test_a_model_folder_that_asks_for_code(
    change: dict[str, object], part: str, bert: Path, reviews: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bert, tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'it-ran')!r}, 'w')\n")
    refused(
        call("fit", reviews, "--backbone", f"local:{folder}", "--recipe", "probe", "--out", tmp_path / "run"), 6, part
    )
    nothing_left(tmp_path, "model")


def test_a_tokenizer_of_another_model(bert: Path, reviews: Path, tmp_path: Path) -> None:
    folder = models.bert_folder(tmp_path / "model", words=[f"word{i}" for i in range(50)])
    shutil.copy(bert / "config.json", folder)
    shutil.copy(bert / "model.safetensors", folder)
    refused(
        call("fit", reviews, "--backbone", f"local:{folder}", "--recipe", "probe", "--out", tmp_path / "run"),
        3,
        "tokenizer",
    )


# ------------------------------------------------------------------------------------ where it is put


def test_an_output_folder_that_exists(fit: Callable[..., Said], reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("precious")
    refused(fit(reviews), 2, "exists", "--resume", "--overwrite", "--out")
    refused(fit(reviews, "--overwrite"), 2, "not a run")
    refused(fit(reviews, "--resume"), 2, "not a run")
    assert (tmp_path / "run" / "mine.txt").read_text() == "precious"
    nothing_left(tmp_path, "run")


def test_an_output_that_is_a_file(fit: Callable[..., Said], reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("precious")
    refused(fit(reviews, "--overwrite"), 2, "is a file", "--out")
    assert (tmp_path / "run").read_text() == "precious"


def test_overwrite_replaces_a_finished_run(fit: Callable[..., Said], reviews: Path, tmp_path: Path) -> None:
    assert fit(reviews).code == 0
    before = (tmp_path / "run" / "report.json").read_bytes()
    refused(fit(reviews), 2, "exists")
    assert fit(reviews, "--overwrite", "--seed", "3").code == 0
    assert graft.load(tmp_path / "run").report["environment"]["seed"] == 3
    assert (tmp_path / "run" / "report.json").read_bytes() != before
    nothing_left(tmp_path, "run")


def test_a_failed_overwrite_keeps_the_finished_run(fit: Callable[..., Said], reviews: Path, tmp_path: Path) -> None:
    assert fit(reviews).code == 0
    before = (tmp_path / "run" / "report.json").read_bytes()
    models.write_csv(tmp_path / "one.csv", [(t, "same") for t, _ in ROWS])
    refused(fit(tmp_path / "one.csv", "--overwrite"), 3, "two classes")
    assert (tmp_path / "run" / "report.json").read_bytes() == before
    assert graft.load(tmp_path / "run").report["headline"]
    nothing_left(tmp_path, "run", "one.csv")


def obey_modes() -> None:
    """In a child of root: without CAP_DAC_OVERRIDE root too may only write where the modes let it."""
    import ctypes

    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP; takes effect with exec


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fault is made with Linux means")
@pytest.mark.parametrize("out", ["read-only/deep/er/run"])
@pytest.mark.slow
def test_an_output_folder_that_cannot_be_written(out: str, reviews: Path, tmp_path: Path) -> None:
    """Said before the backbone is loaded or the data are read."""
    (tmp_path / "read-only").mkdir(0o555)
    probe = f"open({str(tmp_path / 'read-only' / 'x')!r}, 'w')"
    if (
        subprocess.run(
            [sys.executable, "-c", probe], preexec_fn=obey_modes, capture_output=True, check=False
        ).returncode
        == 0
    ):
        pytest.skip("this user may write anywhere, and cannot give that up")
    said = run("fit", reviews, "--recipe", "probe", "--out", tmp_path / out, preexec_fn=obey_modes)
    refused(said, 4, str(tmp_path / "read-only"), "could not", "choose a folder")
    assert "classes" not in said.err, "nothing was read before"
    nothing_left(tmp_path, "read-only")


def test_an_unfinished_run_is_not_written_over(fit: Callable[..., Said], reviews: Path, tmp_path: Path) -> None:
    half = tmp_path / "run.partial"
    (half / "arms").mkdir(parents=True)
    (half / "owner.json").write_text("{}")
    refused(fit(reviews), 2, "unfinished", "--resume", "--overwrite")
    refused(call("predict", tmp_path / "run", "-"), 2, "run.partial", "--resume")
    assert fit(reviews, "--overwrite").code == 0
    nothing_left(tmp_path, "run")


def test_a_folder_called_partial_that_is_not_ours(fit: Callable[..., Said], reviews: Path, tmp_path: Path) -> None:
    (tmp_path / "run.partial").mkdir()
    (tmp_path / "run.partial" / "mine.txt").write_text("precious")
    for flags in ([], ["--resume"], ["--overwrite"]):
        refused(fit(reviews, *flags), 2, "run.partial")
    assert (tmp_path / "run.partial" / "mine.txt").read_text() == "precious"


def test_resume_of_a_finished_run_prints_it_again(fit: Callable[..., Said], reviews: Path, tmp_path: Path) -> None:
    first = fit(reviews, "--resume", "--json")  # it also starts one
    assert first.code == 0, first.err
    stamp = (tmp_path / "run" / "report.json").stat().st_mtime_ns
    again = fit(reviews, "--resume", "--json")
    assert (again.code, again.out) == (0, first.out)
    assert (tmp_path / "run" / "report.json").stat().st_mtime_ns == stamp
    refused(fit(reviews, "--resume", "--seed", "5"), 2, "seed", "--overwrite")


@pytest.mark.slow
def test_resume_with_changed_data_is_refused(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = models.write_csv(tmp_path / "t.csv", ROWS)
    words = [
        "fit",
        data,
        "--backbone",
        f"local:{bert}",
        "--recipe",
        "probe:l2=0.1 > finetune",
        "--out",
        tmp_path / "run",
        "--resume",
    ]
    half_done(words, tmp_path / "run.partial")
    models.write_csv(data, [*ROWS, ("a new row of words", "good")])
    refused(call(*words), 3, "data changed", "--overwrite")
    models.write_csv(data, ROWS)
    refused(call(*words, "--seed", "9"), 2, "another seed", "--overwrite")
    refused(call(*words, "--set", "stage.1.epochs=1"), 2, "another rungs")
    said = call(*words)
    assert said.code == 0, said.err


def half_done(words: list[object], partial: Path) -> None:
    """Start a run and kill it once its first stage is behind it."""
    process = start(*words)
    end = time.monotonic() + 60
    while time.monotonic() < end and not (partial / "arms" / "recipe").exists() and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert partial.exists(), "the run was over before it could be killed"


@pytest.mark.slow
def test_two_processes_on_one_folder(bert: Path, tmp_path: Path) -> None:
    data = models.write_csv(tmp_path / "t.csv", models.texts(200))
    words = [
        "fit",
        data,
        "--backbone",
        f"local:{bert}",
        "--recipe",
        "finetune",
        "--set",
        "stage.0.epochs=30",
        "--out",
        tmp_path / "run",
    ]
    first = start(*words)
    end = time.monotonic() + 60
    while time.monotonic() < end and not (tmp_path / "run.partial" / "owner.json").exists():
        time.sleep(0.05)
    try:
        refused(call(*words, "--resume"), 4, f"pid {first.pid}", "another --out")
        refused(call(*words, "--overwrite"), 4, f"pid {first.pid}")
        assert first.poll() is None, "the first went on"
    finally:
        first.kill()
        first.communicate()
    refused(call(*words), 2, "unfinished")


# ---------------------------------------------------------------------------------------- the network


@pytest.fixture
def black_hole() -> Iterator[str]:
    """The address of a server that takes connections and never says a word."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


def alone(endpoint: str, tmp_path: Path) -> dict[str, str]:
    return {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "hub"), "GRAFT_ZOO": ""}


@pytest.mark.slow
def test_pictures_without_zoo_and_network(photos: Path, tmp_path: Path) -> None:
    said = run("fit", photos, "--out", tmp_path / "run", env=alone("http://127.0.0.1:9", tmp_path), timeout=60)
    refused(said, 4, "no pretrained picture backbone", "--zoo", "GRAFT_ZOO", "127.0.0.1:9")
    nothing_left(tmp_path)


@pytest.mark.slow
def test_a_hub_that_never_answers_is_no_hang(black_hole: str, photos: Path, tmp_path: Path) -> None:
    env = alone(black_hole, tmp_path)
    refused(
        run("fit", photos, "--out", tmp_path / "run", env=env, timeout=60),
        4,
        "no pretrained picture backbone",
        "timed out",
    )


@pytest.mark.slow
def test_a_hub_that_never_answers_is_a_row_of_the_ranking(
    black_hole: str, photos: Path, zoo: Path, tmp_path: Path
) -> None:
    env = alone(black_hole, tmp_path)
    said = run("rank", photos, "--candidates", f"timm:resnet18,local:{zoo / 'tiny'}", "--json", env=env, timeout=60)
    assert said.code == 0, said.err
    tiny, remote = json.loads(said.out)["candidates"]
    assert tiny["error"] is None
    assert "hf download" in remote["error"]
    assert "local:FOLDER" in remote["error"]


def test_a_zoo_without_a_usable_model(photos: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        cut = models.timm_folder(tmp_path / "zoo" / name) / "model.safetensors"
        cut.write_bytes(cut.read_bytes()[:99])
    said = call("fit", photos, "--zoo", tmp_path / "zoo", "--out", tmp_path / "run")
    refused(said, 4, "no candidate can be used", "damaged")
    refused(call("fit", photos, "--zoo", tmp_path / "absent", "--out", tmp_path / "run"), 2, "--zoo", "absent")
    nothing_left(tmp_path, "zoo")


# ---------------------------------------------------------------------------------- finished runs


def test_a_damaged_or_newer_run_is_not_used(text_run: graft.Run, tmp_path: Path) -> None:
    for name in ("weights.safetensors", "predictions.parquet", "assets/tokenizer.json"):
        copy = Path(shutil.copytree(text_run.folder, tmp_path / name.replace("/", "-")))
        raw = bytearray((copy / name).read_bytes())
        raw[len(raw) // 2] ^= 1
        (copy / name).write_bytes(bytes(raw))
        refused(call("predict", copy, "-", stdin="x\n"), 3, "damaged", name)
    copy = Path(shutil.copytree(text_run.folder, tmp_path / "newer"))
    meta = json.loads((copy / "model.json").read_text())
    (copy / "model.json").write_text(json.dumps({**meta, "format": 99}))
    refused(call("predict", copy, "-", stdin="x\n"), 3, "99", "upgrade")


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("sed = 1\n", ["sed", "did you mean 'seed'"]),
        ('seed = "1"\n', ["seed", "'1'", "int"]),
        ("seed = 1\nseed = 2\n", ["recipe.toml"]),
        ("seed = true\n", ["seed", "int"]),
        ("format = 99\n", ["newer"]),
        ("= nothing", ["recipe.toml", "line 1"]),
        ("", ["no stages"]),
        ('[[stages]]\nmethods = ["probe"]\nlr = "1e-4"\n', ["lr", "float"]),
    ],
)
def test_a_wrong_recipe_file(change: str, parts: list[str], fit: Callable[..., Said], tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(change)
    refused(call("fit", tmp_path / "recipe.toml", "--out", tmp_path / "run"), 2, *parts)
    nothing_left(tmp_path, "recipe.toml")


def test_a_moved_data_folder_is_said_by_the_recipe(text_run: graft.Run, tmp_path: Path) -> None:
    text = (text_run.folder / "recipe.toml").read_text().replace("reviews.csv", "moved.csv")
    (tmp_path / "recipe.toml").write_text(text)
    refused(call("fit", tmp_path / "recipe.toml", "--out", tmp_path / "run"), 2, "moved.csv")


def test_the_library_raises_what_the_command_says(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two classes"):
        graft.fit([("a b", "x"), ("c d", "x")], recipe="probe", out=tmp_path / "run", quiet=True)
    with pytest.raises(graft.UsageError, match="a path, hf:NAME, a frame, a list"):
        graft.fit(3, out=tmp_path / "run")


def test_nothing_in_graft_unpickles() -> None:
    """A line of the house rules: nothing but safetensors, JSON and their like is read."""
    wrong = (
        "pickle.load",
        "torch.load(",
        "allow_pickle=True",
        "trust_remote_code=True",
        "joblib.load",
        "yaml.load",
        "eval(",
        "exec(",
    )
    found = [
        f"{p.name}: {line.strip()}"
        for p in Path(SOURCE, "graft").rglob("*.py")
        for line in p.read_text("utf-8").splitlines()
        if any(w in line.replace(".eval(", "").replace("pickletools", "") for w in wrong) and "exec_module" not in line
    ]
    # Torchvision's own files, checked by hash, in a process of their own: the one place, and tensors alone.
    assert found == ['_convert.py: state = torch.load(source, map_location="cpu", weights_only=True)']


# ------------------------------------------------------------------ found by a second pair of eyes


@pytest.mark.parametrize("text", ["stages = 3", "rungs = [1]", 'format = "x"', '[[stages]]\nmethods = ["probe"]'])
def test_a_recipe_file_of_the_wrong_shape(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text + "\n")
    refused(call("fit", tmp_path / "r.toml", "--out", tmp_path / "run"), 2, str(tmp_path / "r.toml"))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--seed", "99999999999999999999999"], "63 bits"),
        (["--max-bad", "-5"], "between 0 and 1"),
        (["--device", "meta"], "possible are"),
        (["--recipe", "nearest_neighbour:k=-3"], "k=-3"),
        (["--recipe", "probe:l2=-1"], "l2=-1"),
        (["--recipe", "finetune:decay=-1"], "decay"),
    ],
)
def test_numbers_out_of_range(words: list[str], part: str, reviews: Path, bert: Path, tmp_path: Path) -> None:
    refused(call("fit", reviews, "--backbone", f"local:{bert}", "--out", tmp_path / "run", *words), 2, part)


def test_a_timm_config_that_reads_other_files_is_refused(zoo: Path, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(zoo / "tiny", folder)
    config = json.loads((folder / "config.json").read_text())
    config["model_args"] = {"checkpoint_path": str(tmp_path / "w.dat")}
    (folder / "config.json").write_text(json.dumps(config))
    said = call("fit", photos, "--backbone", f"local:{folder}", "--recipe", "probe", "--out", tmp_path / "run")
    refused(said, 6, "checkpoint_path")


def test_code_asked_for_deep_in_a_config_is_refused(bert: Path, reviews: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bert, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "text_config": {"auto_map": {"AutoModel": "x.Y"}}}))
    said = call("fit", reviews, "--backbone", f"local:{folder}", "--recipe", "probe", "--out", tmp_path / "run")
    refused(said, 6, "auto_map")


def test_a_cache_that_cannot_be_made_is_no_reason_to_stop(
    reviews: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "file" / "below"))
    said = call("fit", reviews, "--backbone", f"local:{bert}", "--recipe", "probe", "--out", tmp_path / "run", "-q")
    assert said.code == 0, said.err


def test_a_number_in_csv_stays_a_number_and_a_formula_does_not() -> None:
    import pandas as pd

    from graft.predict import csv

    said = csv(pd.DataFrame({"id": ["a", "=cmd()"], "label": ["-1", "+x"]}))
    assert said.splitlines()[1:] == ["a,-1", "'=cmd(),'+x"]

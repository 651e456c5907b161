"""Files that are odd, damaged, hostile or too many for the disk (rows 68 to 70, 75, 76, 78, 87, 91, 92 and 96)."""

from __future__ import annotations

import copy
import gzip
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import models
import numpy as np
import pandas as pd
import pytest
import torch
from command import call, names, refused, run
from lives import Life, Lives
from test_kill import equal

import graft
from graft import files, golden, report, storage
from graft.errors import DataError, GraftError
from graft.model import Model
from graft.tasks import Task

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fault is made with Linux means")


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return open, (str(self.path), "w")


# -------------------------------------------------------------------------------- odd paths (row 68)

LONG = "x" * 230
ODD = ["with space", "\U0001f600 smile", "two\nlines", "中文字符", LONG, "e\u0301", "'quoted\" $HOME `ls`;#"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.slow
def test_texts_at_odd_places(name: str, bert: Path, tmp_path: Path) -> None:
    """Data, backbone, run and answers, each at such a path."""
    data = models.write_csv(tmp_path / name / f"{name[:100]}.csv", models.texts(40))
    model = Path(shutil.copytree(bert, tmp_path / f"m{name[:200]}"))
    out = tmp_path / f"r{name[:200]}"  # ".partial" is added to it while it is unfinished
    said = call("fit", data, "--backbone", f"local:{model}", "--recipe", "probe:l2=0.1", "--out", out, "--json")
    assert said.code == 0, said.err
    assert json.loads(said.out)["run"] == str(out)
    answers = tmp_path / name / "a.csv"
    assert call("predict", out, data, "--out", answers, "--quiet").code == 0
    assert len(pd.read_csv(answers)) == 40
    assert json.loads((out / "report.json").read_text("utf-8"))["data"]["source"] == str(data)
    assert call("evaluate", out, data, "--json").code == 0
    assert graft.load(out).predict(["a lovely day"])["label"][0] in ("good", "bad")


@linux
@pytest.mark.slow
def test_names_that_are_no_utf8(zoo: Path, tmp_path: Path) -> None:
    """Names are bytes to the system: a class and pictures called so are read, answered and printed as \\x escapes."""
    data = tmp_path / "data"
    for i in range(24):
        label = (b"caf\xe9", b"square")[i % 2]
        place = Path(os.fsdecode(os.fsencode(data) + b"/" + label))
        place.mkdir(parents=True, exist_ok=True)
        picture = models.picture(("disc", "square")[i % 2], i)
        picture.save(Path(os.fsdecode(os.fsencode(place) + f"/{i}-\udcff.png".encode("utf-8", "surrogateescape"))))
    words = ["fit", data, "--backbone", f"local:{zoo / 'tiny'}", "--recipe", "probe:l2=0.1", "--out", tmp_path / "run"]
    said = run(*words, "--json")
    assert said.code == 0, said.err
    json.loads((tmp_path / "run" / "report.json").read_bytes().decode("utf-8"))
    (tmp_path / "run" / "report.html").read_bytes().decode("utf-8")
    (tmp_path / "run" / "README.md").read_bytes().decode("utf-8")
    answered = run("predict", tmp_path / "run", data)
    assert answered.code == 0, answered.err
    assert answered.out.count("\\xff.png") == 24


def test_seeds_of_names_that_are_no_utf8() -> None:
    from graft.seeds import seed_of

    assert seed_of(0, "cut", "caf\udce9") != seed_of(0, "cut", "café")
    assert seed_of(0, "cut", "café") == seed_of(0, "cut", "caf\u00e9")


# ------------------------------------------------------------------------ places to write to (row 69)


def obey_modes() -> None:
    """In a child of root: without CAP_DAC_OVERRIDE root too may only write where the modes let it."""
    import ctypes

    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP; takes effect with exec


@linux
@pytest.mark.slow
def test_answers_into_a_folder_that_cannot_be_written(text_run: graft.Run, reviews: Path, tmp_path: Path) -> None:
    """Refused with the place named, and the run is not touched."""
    (tmp_path / "read-only").mkdir(0o555)
    probe = [sys.executable, "-c", f"open({str(tmp_path / 'read-only' / 'x')!r}, 'w')"]
    if subprocess.run(probe, preexec_fn=obey_modes, capture_output=True, check=False).returncode == 0:
        pytest.skip("this user may write anywhere, and cannot give that up")
    before = {p.name: p.read_bytes() for p in text_run.folder.iterdir() if p.is_file()}
    out = tmp_path / "read-only" / "a.csv"
    refused(run("predict", text_run.folder, reviews, "--out", out, "-q", preexec_fn=obey_modes), 4, str(out))
    assert {p.name: p.read_bytes() for p in text_run.folder.iterdir() if p.is_file()} == before


# ------------------------------------------------------------------------------- disk full (row 70)


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    with Lives(tmp_path_factory.mktemp("lives")) as server:
        yield server


@pytest.fixture(scope="module")
def full(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """A run of two stages with a checkpoint at each step; `--out` is left open."""
    place = tmp_path_factory.mktemp("full")
    (place / "often.py").write_text(
        '"""A checkpoint at each step."""\nimport graft.train\n\ngraft.train.EVERY = -1.0\n'
        "\nfrom dataclasses import dataclass\nfrom graft.methods import Method\n\n\n@dataclass\nclass Often(Method):\n"
        '    """Nothing."""\n'
    )
    data = models.write_csv(place / "t.csv", models.texts(40))
    return [
        "fit", data, "--backbone", f"local:{bert}", "--recipe", "probe:l2=0.1 > finetune:depth=1 + often", "--set",
        "stage.1.epochs=1.5", "--set", "stage.1.batch=16", "--plugin", place / "often.py", "--resume", "--json",
        "--out",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def straight(lives: Lives, full: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("straight") / "run"
    life = lives.live(*full, out)
    assert life.code == 0, life
    return out


def said_the_machine(life: Life) -> None:
    last = [x for x in life.said.splitlines() if x.startswith("graft: ")][-1]
    assert life.code == 4, life
    assert "Traceback" not in life.said, life
    assert "could not" in last or "MB are free" in last, last


@linux
@pytest.mark.slow
def test_a_limit_on_files_at_every_kind_of_write(
    lives: Lives, full: list[object], straight: Path, tmp_path: Path
) -> None:
    """RLIMIT_FSIZE just below each file that a run writes: 4, the place is said, and with room it goes on."""
    sizes = {p.stat().st_size for p in straight.rglob("*") if p.is_file()}
    stopped = 0
    for largest in sorted({1000, *(s - 1 for s in sizes if s > 1000)}):
        out = tmp_path / str(largest)
        life = lives.live(*full, out, largest=largest)
        if life.code != 0:
            stopped += 1
            said_the_machine(life)
        life = lives.live(*full, out)
        assert life.code == 0, (largest, life)
        equal(straight, out)
        assert names(tmp_path) == {out.name}
        shutil.rmtree(out)
    assert stopped >= 4


@linux
@pytest.mark.slow
def test_a_full_disk(lives: Lives, full: list[object], straight: Path, tmp_path: Path) -> None:
    """A file system of its own with a few MB, filled to a different height each time; the cache lies elsewhere."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        stopped = 0
        for free in (0, 100, 300, 600, 1000):  # kB
            (disk / "ballast").write_bytes(b"\1" * (5 * 1024 * 1024 - free * 1024 - 8192))
            life = lives.live(*full, disk / "run")
            if life.code != 0:
                stopped += 1
                said_the_machine(life)
            (disk / "ballast").unlink()
            life = lives.live(*full, disk / "run")
            assert life.code == 0, (free, life)
            equal(straight, disk / "run")
            shutil.rmtree(disk / "run")
        assert stopped >= 2
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# -------------------------------------------------------------------------- damaged runs (row 75)


def places(size: int, count: int = 20) -> list[int]:
    """Offsets spread over a file, its first and last byte among them."""
    return sorted({round(i * (size - 1) / (count - 1)) for i in range(count)})


def damages(path: Path) -> Iterator[tuple[str, bytes]]:
    """A flipped bit at, and an end before, each of 20 offsets."""
    raw = path.read_bytes()
    for at in places(len(raw)):
        flipped = bytearray(raw)
        flipped[at] ^= 1 << at % 8
        yield f"bit at {at}", bytes(flipped)
        yield f"cut at {at}", raw[:at]


def bundle() -> list[str]:
    return [
        "weights.safetensors", "predictions.parquet", "recipe.toml", "report.json", "report.html", "README.md",
        "log.jsonl", "assets/tokenizer.json", "model.json",
    ]  # fmt: skip


@pytest.mark.parametrize("name", bundle())
def test_every_flipped_bit_and_every_cut_of_a_run_is_found(name: str, text_run: graft.Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_run.folder, tmp_path / "run"))
    assert set(bundle()) == {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    storage.read_meta(folder)
    whole = (folder / name).read_bytes()
    passed = []
    for what, content in damages(folder / name):
        (folder / name).write_bytes(content)
        try:
            storage.read_meta(folder)
        except GraftError:
            continue
        passed.append(what)
    (folder / name).write_bytes(whole)
    storage.read_meta(folder)
    assert not passed, f"{name}: nobody noticed {passed}"


@pytest.mark.parametrize("name", bundle())
def test_a_missing_file_of_a_run_is_found(name: str, text_run: graft.Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(text_run.folder, tmp_path / "run"))
    (folder / name).unlink()
    said = call("predict", folder, "-", stdin="a lovely day\n")
    assert said.code in (2, 3), said
    assert name in said.err


# ------------------------------------------------------------------------- code as a file (row 76)


@pytest.mark.parametrize("name", bundle())
def test_a_pickle_in_place_of_any_file_of_a_run_is_not_run(name: str, text_run: graft.Run, tmp_path: Path) -> None:
    """Also where whoever put it there made the hashes fit."""
    folder = Path(shutil.copytree(text_run.folder, tmp_path / "run"))
    (folder / name).write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    if name != "model.json":
        meta = files.read_json(folder / "model.json")
        meta["files"][name] = files.manifest(folder, [name])[name]
        meta.pop("seal", None)
        (folder / "model.json").write_text(json.dumps({**meta, "seal": files.seal(meta)}))
    data = models.write_csv(tmp_path / "t.csv", models.texts(40))
    fit = ["fit", data, "--backbone", f"run:{folder}", "--recipe", "probe", "--out", tmp_path / "new"]
    needed = name in ("weights.safetensors", "model.json", "assets/tokenizer.json")
    for words in (["predict", folder, "-"], fit):
        said = call(*words, stdin="a lovely day\n")
        assert said.code in ((3, 6) if needed else (0, 3, 6)), said
        assert "Traceback" not in said.err
    assert not (tmp_path / "it-ran").exists()


def objects(path: Path) -> bytes:
    out = io.BytesIO()
    np.save(out, np.array([Bomb(path)], dtype=object), allow_pickle=True)
    return out.getvalue()


@pytest.mark.slow
def test_a_pickle_in_the_cache_is_not_run(
    bert: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cache that others can write to: what is swapped is not trusted, not run, and computed anew."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    words = ["fit", reviews, "--backbone", f"local:{bert}", "--recipe", "probe:l2=0.1", "-q", "--out"]
    assert call(*words, tmp_path / "a").code == 0
    for content in (objects(tmp_path / "it-ran"), pickle.dumps(Bomb(tmp_path / "it-ran"))):
        stored = [
            p for p in (tmp_path / "cache").rglob("*") if p.is_file() and p.suffix != ".json" and p.stat().st_size
        ]
        assert stored
        for path in stored:
            path.write_bytes(content)
            for listed in path.parent.glob("*.json"):
                listed.write_text(listed.read_text().replace(json.loads(listed.read_text()).get("sha256", "?"),
                                                             files.sha256(path)))  # fmt: skip
        shutil.rmtree(tmp_path / "b", ignore_errors=True)
        said = call(*words, tmp_path / "b")
        assert said.code == 0, said.err
        assert not (tmp_path / "it-ran").exists()
        equal_scores(tmp_path / "a", tmp_path / "b")


def equal_scores(a: Path, b: Path) -> None:
    left, right = (pd.read_parquet(p / "predictions.parquet") for p in (a, b))
    scores = [c for c in left.columns if c.startswith("score_")]
    assert np.array_equal(left[scores].to_numpy(), right[scores].to_numpy())


@pytest.mark.parametrize("name", ["data.pkl", "data.csv", "data.jsonl", "data.parquet", "data.joblib"])
def test_the_global_of_a_pickle_is_named(name: str, bert: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(tmp_path / "it-ran")))
    words = ["--backbone", f"local:{bert}", "--recipe", "probe", "--out", tmp_path / "run"]
    refused(call("fit", tmp_path / name, *words), 6, name, "io.open", "nothing of it was run")
    assert not (tmp_path / "it-ran").exists()


# --------------------------------------------------------------------------------- archives (row 78)


def archive(path: Path) -> Path:
    """An archive whose members would lead out of where it is unpacked."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as made:
            made.writestr("../escaped.csv", "text,label\na,b\n")
        return path
    with tarfile.open(
        path, {".gz": "w:gz", ".tgz": "w:gz", ".bz2": "w:bz2", ".xz": "w:xz"}.get(path.suffix, "w")
    ) as tar:
        for name, link in (("../escaped.csv", ""), ("/tmp/escaped.csv", ""), ("link", "/etc")):
            member = tarfile.TarInfo(name)
            if link:
                member.type, member.linkname = tarfile.SYMTYPE, link
            tar.addfile(member, io.BytesIO(b""))
    return path


@pytest.mark.parametrize("name", ["d.zip", "d.tar", "d.tar.gz", "d.tgz", "d.tar.bz2", "d.tar.xz"])
def test_archives_are_not_opened(name: str, text_run: graft.Run, tmp_path: Path) -> None:
    """Nothing is unpacked, so nothing escapes; the message says to unpack."""
    (tmp_path / "in").mkdir()
    data = archive(tmp_path / "in" / name)
    refused(call("fit", data, "--recipe", "probe", "--out", tmp_path / "run"), 3, name, "unpack it first")
    refused(call("predict", text_run.folder, data), 3, name)
    assert names(tmp_path) == {"in"}
    assert names(tmp_path / "in") == {name}


@pytest.mark.slow
def test_a_bomb_in_a_table_stops_at_the_cap(bert: Path, tmp_path: Path) -> None:
    """2 MB that unpack to more than 2 GB are given up at the cap, chunk by chunk."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as packed:
        for _ in range(2100):
            packed.write(b"\0" * (1 << 20))
    (tmp_path / "t.csv.gz").write_bytes(out.getvalue())
    words = ["--backbone", f"local:{bert}", "--recipe", "probe", "--out", tmp_path / "run"]
    refused(call("fit", tmp_path / "t.csv.gz", *words), 3, "t.csv.gz", "more than")


# --------------------------------------------------------------------------------- recipes (row 87)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ("seed = no\n", ["recipe.toml", "line 1"]),
        ("seed = 010\n", ["recipe.toml", "line 1"]),
        ('seed = "010"\n', ["seed", "int"]),
        ("max_bad = true\n", ["max_bad", "float"]),
        ('[[stages]]\nmethods = ["finetune"]\nepochs = "3"\n', ["epochs", "float"]),
        ('[[stages]]\nmethods = ["finetune"]\nlr = 1e-4\nlr = 1e-3\n', ["recipe.toml"]),
        ('[[stages]]\nmethods = "finetune"\n', ["methods"]),
        ('[[stages]]\nmethods = ["finetune"]\nepoch = 3\n', ["epoch", "did you mean 'epochs'"]),
    ],
)
def test_a_recipe_that_says_something_else(change: str, parts: list[str], tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(change)
    refused(call("fit", tmp_path / "recipe.toml", "--out", tmp_path / "run"), 2, *parts)
    assert names(tmp_path) == {"recipe.toml"}


# ------------------------------------------------------------------ names in pages and tables (92, 91)

HOSTILE = ["<script>alert(1)</script>", "{{7*7}}", "{% raw %}", "=cmd()", "+1+1", "@SUM(A1)", "-2", "a\tb"]


def test_hostile_names_in_everything_that_is_written(bert: Path, tmp_path: Path) -> None:
    rows = [(f"{t} {i}", HOSTILE[i % len(HOSTILE)]) for i, (t, _) in enumerate(models.texts(96))]
    data = models.write_csv(tmp_path / "t.csv", rows)
    said = call("fit", data, "--backbone", f"local:{bert}", "--recipe", "probe:l2=0.1", "--out", tmp_path / "run", "-q")
    assert said.code == 0, said.err
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    card = (tmp_path / "run" / "README.md").read_text("utf-8")
    assert "<script>alert" not in page
    assert "<script>alert" not in card
    assert "{{7*7}}" in page
    assert ">49<" not in page, "a template ran"
    answers = tmp_path / "a.csv"
    assert call("predict", tmp_path / "run", data, "--out", answers, "-q").code == 0
    cells = [c for row in pd.read_csv(answers, dtype=str, keep_default_na=False).to_numpy() for c in row]
    assert not [c for c in cells if c[:1] in "=+@" and c]
    assert {c for c in cells if "cmd()" in c} <= {"'=cmd()"}
    json.loads((tmp_path / "run" / "report.json").read_text("utf-8"), parse_constant=pytest.fail)


def test_what_is_no_number_is_null_in_json() -> None:
    given = {"a": float("nan"), "b": [float("inf"), 1.0], "c": {"d": -float("inf")}, "e": "nan"}
    assert report.finite(given) == {"a": None, "b": [None, 1.0], "c": {"d": None}, "e": "nan"}


# --------------------------------------------------------------------- one preparation (row 96)


def loaded(run: graft.Run) -> tuple[Model, Task]:
    model, task, _ = storage.load_model(run.folder)
    return model, task


Change = Callable[[Model], Any]


def test_a_golden_input_is_answered_alike_after_a_reload(text_run: graft.Run, picture_run: graft.Run) -> None:
    for run_ in (text_run, picture_run):
        model, task = loaded(run_)
        stored = json.loads(json.dumps(golden.make(model, task), allow_nan=False))
        assert len(stored["pooled"]) > 16
        assert len(stored["answer"]) == len(task.labels)
        golden.check(*loaded(run_), stored, "here")
        model.train()
        golden.check(model, task, stored, "here")
        assert model.training, "it is left as it was"


def test_another_preparation_of_pictures_is_found(picture_run: graft.Run) -> None:
    """Another resize filter, size, crop, mean or order of colours: nothing that a hash of the weights would see."""
    from PIL import Image

    model, task = loaded(picture_run)
    stored = golden.make(model, task)

    def refuses(change: Change, says: str) -> None:
        changed, task_ = loaded(picture_run)
        change(changed)
        with pytest.raises(DataError, match=says) as e:
            golden.check(changed, task_, stored, "this run")
        assert "this run" in str(e.value)

    def encoding(how: Callable[[Any], Any]) -> Change:
        def change(model: Model) -> None:
            own: Any = model.backbone.encode
            object.__setattr__(model.backbone, "encode", lambda x, size=None: own(how(x), size))

        return change

    prepared = "prepared differently"
    refuses(encoding(lambda x: x.resize(x.size[::-1]).resize(x.size, Image.Resampling.NEAREST)), prepared)
    refuses(encoding(lambda x: x.crop((4, 4, *x.size))), prepared)
    refuses(encoding(lambda x: Image.merge("RGB", x.split()[::-1])), prepared)
    refuses(encoding(lambda x: x.point(lambda v: min(255, v + 3))), prepared)


def test_other_weights_or_another_head_are_found(text_run: graft.Run) -> None:
    model, task = loaded(text_run)
    stored = golden.make(model, task)
    with torch.no_grad():
        for p in model.head.parameters():
            p += 0.5 * torch.arange(p.numel()).reshape(p.shape) / p.numel()
    with pytest.raises(DataError, match="the head answers it differently"):
        golden.check(model, task, stored, "here")
    model, task = loaded(text_run)
    with torch.no_grad():
        next(p for p in model.backbone.parameters() if p.ndim > 1).mul_(1.5)
    with pytest.raises(DataError, match="the backbone sees it differently"):
        golden.check(model, task, stored, "here")


def test_another_tokenizer_is_found(text_run: graft.Run) -> None:
    model, task = loaded(text_run)
    stored = golden.make(model, task)
    own: Any = model.backbone.encode
    object.__setattr__(model.backbone, "encode", lambda x, size=None: own(x.replace("The", "A"), size))
    with pytest.raises(DataError, match=r"prepared differently \(other"):
        golden.check(model, task, stored, "here")


def test_a_model_that_answers_nothing_is_not_stored(text_run: graft.Run) -> None:
    model, task = loaded(text_run)
    with torch.no_grad():
        next(model.head.parameters()).fill_(float("nan"))
    with pytest.raises(DataError, match="not finite"):
        golden.make(model, task)


def test_nothing_stored_is_nothing_compared(text_run: graft.Run) -> None:
    model, task = loaded(text_run)
    golden.check(model, task, {}, "a run of an older graft")
    other = copy.copy(model.backbone)
    other.modality = "sound"
    assert golden.make(Model(other, model.head), task) == {}

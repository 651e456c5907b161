"""Hugging Face datasets: their parts, class names and encoded pictures; the hub only when it answers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from graft.errors import DataError, SecurityError, SetupError, UsageError
from graft.readers import Opened
from graft.readers import datasets as reader
from graft.recipe import Recipe

hf = pytest.importorskip("datasets")

TEXTS = ["a fine film", "a dull one", "so so", "never again"]


def opened(source: Any, labels: bool = True, **asked: Any) -> Opened:
    found = reader.open_dataset(source, Recipe(**asked), {}, labels)
    assert found is not None
    return found


def said(found: Opened) -> str:
    return "\n".join(f"{n.kind}: {n.text}" for n in found.notes)


def texts(labels: list[int] | None = None) -> Any:
    features = hf.Features({"text": hf.Value("string"), "label": hf.ClassLabel(names=["bad", "good"])})
    return hf.Dataset.from_dict({"text": TEXTS, "label": labels or [1, 0, 1, 0]}, features=features)


def png(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(out, "PNG")
    return out.getvalue()


def test_class_names_replace_numbers_and_selections_count() -> None:
    found = opened(texts().select([3, 0]))
    assert [(r.x, r.y) for r in found.rows["all"]] == [("never again", "bad"), ("a fine film", "good")]
    assert found.columns == {"text": "text", "label": "label"}


def test_parts_by_name_and_others_left_out() -> None:
    parts = {"train": texts(), "validation": texts(), "test": texts(), "unsupervised": texts()}
    found = opened(hf.DatasetDict(parts))
    assert {p: len(r) for p, r in found.rows.items()} == {"train": 4, "valid": 4, "test": 4}
    assert next(n for n in found.notes if n.kind == "skipped").items == ("unsupervised",)
    assert len({r.id for part in found.rows.values() for r in part}) == 12
    assert set(opened(hf.DatasetDict({"full": texts()})).rows) == {"all"}
    with pytest.raises(DataError, match="none is called train"):
        opened(hf.DatasetDict({"a": texts(), "b": texts()}))


def test_a_hidden_label_is_none() -> None:
    parts = hf.DatasetDict({"train": texts(), "test": texts([-1] * 4)})
    with pytest.raises(DataError, match=r"4 rows have no label in 'label'.*--drop-unlabelled"):
        opened(parts)
    assert set(opened(parts, drop_unlabelled=True).rows) == {"train"}


def test_pictures_stay_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = [png(i) for i in range(4)]
    columns = {"image": [{"bytes": b, "path": None} for b in raw], "tags": [[0], [], [1, 0], [1]]}
    features = hf.Features({"image": hf.Image(), "tags": hf.List(hf.ClassLabel(names=["p", "q"]))})
    data = hf.Dataset.from_dict(columns, features=features)
    monkeypatch.setattr(hf.Image, "decode_example", None)  # decoding one would fail
    found = opened(data, label="tags")
    assert found.modality == "picture"
    assert [r.x for r in found.rows["all"]] == raw
    assert [r.y for r in found.rows["all"]] == [("p",), (), ("q", "p"), ("q",)]


def test_streams_are_refused_and_others_left_alone() -> None:
    with pytest.raises(DataError, match="without streaming"):
        opened(texts().to_iterable_dataset())
    for source in (3, "a.csv", [("a", "b")], {"train": [1]}):
        assert reader.open_dataset(source, Recipe(), {}) is None


@pytest.mark.parametrize("written", ["hf:", "hf:a b", "hf:a/b/c", "hf:a@", "hf:a:", "hf:../x"])
def test_other_forms_are_refused(written: str) -> None:
    with pytest.raises(UsageError, match="write hf:NAME"):
        opened(written)


def test_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SetupError, match=r"hf:nobody/nothing: not on this machine.*hf download nobody/nothing"):
        opened("hf:nobody/nothing")  # HF_HUB_OFFLINE is set for all tests: only a copy here would do
    monkeypatch.setattr(reader, "reachable", lambda: "https://huggingface.co cannot be reached (refused)")
    monkeypatch.setattr(hf, "load_dataset", None)  # it would try for minutes
    with pytest.raises(SetupError, match=r"no network.*With HF_HUB_OFFLINE=1 a copy on this machine is used"):
        opened("hf:nobody/nothing")


def test_names_revisions_and_configurations_reach_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []

    def load(name: str, config: str | None, revision: str | None) -> Any:
        calls.append((name, config, revision))
        return hf.DatasetDict({"train": texts()})

    monkeypatch.setattr(hf, "load_dataset", load)
    opened("hf:imdb")
    opened("hf:nyu-mll/glue@v1.0:sst2")
    assert calls == [("imdb", None, None), ("nyu-mll/glue", "sst2", "v1.0")]
    monkeypatch.setattr(reader, "reachable", lambda: "")
    monkeypatch.setattr(reader, "_commit", lambda name, revision: "abc123")
    assert "hf:imdb from https://huggingface.co, commit abc123" in said(opened("hf:imdb"))
    assert calls[-1] == ("imdb", None, "abc123")


@pytest.mark.parametrize(
    ("error", "kind", "says"),
    [
        (hf.exceptions.DatasetNotFoundError("no"), DataError, "no such data set"),
        (hf.exceptions.DatasetGenerationError("bad csv"), DataError, "cannot be read: bad csv"),
        (ValueError("Config name is missing. Please pick one among: a, b"), DataError, "pick one among"),
        (
            RuntimeError("Dataset scripts are no longer supported, but found x.py"),
            SecurityError,
            "refs/convert/parquet",
        ),
        (ConnectionError("reset"), SetupError, "hf download x"),
        (RuntimeError("something else"), RuntimeError, "something else"),
    ],
)
def test_what_goes_wrong(monkeypatch: pytest.MonkeyPatch, error: Exception, kind: type[Exception], says: str) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(hf, "load_dataset", fail)
    with pytest.raises(kind, match=says):
        opened("hf:x")


@pytest.mark.parametrize("name", ["csv", "pandas", "imagefolder"])
def test_names_that_mean_files_of_this_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hf, "load_dataset", None)
    with pytest.raises(UsageError, match="is a format"):
        opened(f"hf:{name}")
    (tmp_path / "imdb").mkdir()
    with pytest.raises(UsageError, match="'imdb' is here"):
        opened("hf:imdb")


def test_an_old_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hf, "__version__", "5.1.9")
    with pytest.raises(SetupError, match=r"datasets 5\.1\.9 may run code"):
        opened("hf:x")

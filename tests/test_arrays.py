"""Pictures in npz: which array is what, what a pixel means, and nothing is ever unpickled."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graft._intake import CODE_SUFFIXES
from graft.errors import DataError, SecurityError, UsageError
from graft.readers import Opened, arrays
from graft.readers.arrays import open_npz
from graft.recipe import Recipe
from graft.seeds import rng

SHARED = Path(__file__).parents[2] / "shared" / "data" / "vision"
DRAW = rng(0, "test", "arrays")


def pixels(n: int, *shape: int) -> Any:
    return DRAW.integers(0, 256, (n, *(shape or (8, 8)))).astype(np.uint8)


def opened(source: Any, labels: bool = True, **asked: Any) -> Opened:
    found = open_npz(source, Recipe(**asked), labels)
    assert found is not None
    assert found.modality == "picture"
    return found


def refusal(source: Any, kind: type[Exception] = DataError, **asked: Any) -> str:
    with pytest.raises(kind) as caught:
        opened(source, **asked)
    assert type(caught.value) is kind
    return str(caught.value)


def said(found: Opened) -> str:
    return "\n".join(f"{n.kind}: {n.text}" for n in found.notes)


@pytest.mark.parametrize(
    "names",
    [
        {"x_train": "train", "y_train": "", "x_val": "valid", "y_val": "", "x_test": "test", "y_test": ""},
        {"train_images": "train", "train_labels": "", "test_images": "test", "test_labels": ""},
        {"trainX": "train", "trainY": "", "DevX": "valid", "DevY": ""},
        {"X": "all", "y": ""},
        {"images": "all", "labels": ""},
        {"data": "all", "targets": ""},
    ],
)
def test_names_of_arrays(tmp_path: Path, names: dict[str, str]) -> None:
    x = pixels(4)
    source = {key: x if part else np.array([0, 1, 0, 1]) for key, part in names.items()}
    np.savez_compressed(tmp_path / "a.npz", **source)
    for given in (tmp_path / "a.npz", tmp_path, source):
        found = opened(given)
        assert set(found.rows) == set(names.values()) - {""}
        key, part = next((k, p) for k, p in names.items() if p)
        row = found.rows[part][3]
        assert (row.id, row.y) == (f"{key}[3]", "1")
        assert (row.x == x[3]).all()
    assert np.shares_memory(opened(source).rows[part][0].x, x)


def test_asked_arrays_and_what_is_left_over() -> None:
    source = {"scans": pixels(3), "x": pixels(3), "kind": np.array(["a", "b", "a"]), "y": np.arange(3)}
    found = opened(source, image="scans", label="kind")
    assert [r.y for r in found.rows["all"]] == ["a", "b", "a"]
    assert found.columns == {"image": "scans", "label": "kind"}
    assert next(n for n in found.notes if n.kind == "skipped").items == ("x", "y")
    assert "Did you mean 'kind'" in refusal(source, UsageError, label="kinds")
    assert "arrays have no columns" in refusal(source, UsageError, group="kind")


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((9, 8), (9, 8)), ((9, 8, 3), (9, 8, 3)), ((9, 8, 1), (9, 8)), ((9, 8, 4), (9, 8, 4)), ((9, 8, 7), (9, 8, 7)),
     ((3, 9, 8), (9, 8, 3)), ((1, 9, 8), (9, 8))],
)  # fmt: skip
def test_shapes(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    x = pixels(2, *shape)
    found = opened({"x": x, "y": np.array([0, 1])})
    picture = found.rows["all"][1].x
    assert picture.shape == expected
    assert np.shares_memory(picture, x)
    assert ("channels, height, width" in said(found)) == (len(shape) == 3 and shape[0] < 5)


@pytest.mark.parametrize("shape", [(5, 5, 5), (40, 41, 42), (2, 3, 4, 5), ()])
def test_shapes_that_are_not_clear(shape: tuple[int, ...]) -> None:
    message = refusal({"x": np.zeros((2, *shape), np.uint8), "y": np.array([0, 1])})
    assert "x [2" in message


def test_features_are_no_pictures() -> None:
    assert "features, not pictures" in refusal({"x": pixels(3, 20), "y": np.arange(3)})
    assert "a_x looks like features" in refusal({"a_x": pixels(3, 20), "a_y": np.arange(3)})


@pytest.mark.parametrize(
    ("convert", "note"),
    [
        (lambda x: x / 255.0, "floats in 0..1"),
        (lambda x: (x / 255.0).astype(np.float32), "floats in 0..1"),
        (lambda x: x.astype(np.float64), "floats in 0..255"),
        (lambda x: x.astype(np.int64), ""),
    ],
)
def test_pixels_become_eight_bits(convert: Any, note: str) -> None:
    x = pixels(300)
    found = opened({"x": convert(x), "y": np.arange(300) % 2})
    assert all(r.x.dtype == np.uint8 for r in found.rows["all"])
    assert (np.stack([r.x for r in found.rows["all"]]) == x).all()
    assert note in said(found)
    assert ("assumed" in said(found)) == bool(note)


def test_bits_are_black_and_white_and_16_bits_stay() -> None:
    bits = pixels(4) > 128
    for x in (bits, bits.astype(np.uint8), bits.astype(np.float32)):
        found = opened({"x": x, "y": np.arange(4) % 2})
        assert (np.stack([r.x for r in found.rows["all"]]) == bits * 255).all()
        assert "pixels are" in said(found)
    wide = DRAW.integers(0, 4096, (4, 8, 8)).astype(np.uint16)
    assert opened({"x": wide, "y": np.arange(4) % 2}).rows["all"][2].x.dtype == np.uint16
    assert np.shares_memory(opened({"x": wide, "y": np.arange(4) % 2}).rows["all"][2].x, wide)


def test_ranges_that_nobody_can_know_are_refused() -> None:
    y = np.array([0, 1])
    for x, says in (
        (np.linspace(-1, 1, 128), "pixels go from -1 to 1; possible are 0..1 or 0..255"),
        (np.linspace(-2.1, 2.6, 128), "go from -2.1 to 2.6"),
        (np.linspace(0, 4000, 128), "go from 0 to 4000"),
        (np.arange(128) * 1000, "possible are 0..255 or 0..65535"),
    ):
        assert says in refusal({"x": x.reshape(2, 8, 8), "y": y})
    holes = np.full((2, 8, 8), 0.5)
    holes[1, 2, 3] = np.nan
    assert "1 pictures hold NaN or infinity: x[1]" in refusal({"x": holes, "y": y})
    mixed = {"x_train": pixels(2) * 1.0, "y_train": y, "x_test": pixels(2) / 255, "y_test": y}
    assert "x_test goes to 1, the others to 2" in refusal(mixed)


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([2, 0, 1], ["2", "0", "1"]),
        ([[2], [0], [1]], ["2", "0", "1"]),
        ([[0, 0, 1], [1, 0, 0], [0, 1, 0]], ["2", "0", "1"]),
        ([[0, 1, 1], [0, 0, 0], [1, 0, 0]], [("1", "2"), (), ("0",)]),
        ([0.5, 1.0, 2.25], ["0.5", "1.0", "2.25"]),
        (["a ", "b", "é"], ["a", "b", "é"]),
        ([b"a", b"b", b"c"], ["a", "b", "c"]),
        ([True, False, True], ["True", "False", "True"]),
    ],
)
def test_labels(y: Any, expected: list[Any]) -> None:
    assert [r.y for r in opened({"x": pixels(3), "y": np.array(y)}).rows["all"]] == expected


def test_labels_that_do_not_fit() -> None:
    assert "does not have one label for each of the 3" in refusal({"x": pixels(3), "y": np.arange(2)})
    assert "[n, classes] of only 0 and 1" in refusal({"x": pixels(3), "y": np.full((3, 2), 0.5)})
    assert "no labels were found for x" in refusal({"x": pixels(3)})
    assert [r.y for r in opened({"x": pixels(3)}, labels=False).rows["all"]] == [None] * 3
    gap = {"x": pixels(3), "y": np.array([0.0, np.nan, 1.0])}
    assert "1 pictures have no label: x[1]" in refusal(gap)
    found = opened(gap, drop_unlabelled=True)
    assert [r.id for r in found.rows["all"]] == ["x[0]", "x[2]"]
    half = {"x_train": pixels(2), "y_train": np.arange(2), "x_test": pixels(2)}
    assert "x_test has no labels and is left out" in said(opened(half))


# --- what could run code, and damage


class Poison:
    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.proof), "w")


def test_objects_and_pickles_are_refused_and_nothing_runs(tmp_path: Path) -> None:
    proof, path = tmp_path / "it ran", tmp_path / "a.npz"
    poison = np.array([Poison(proof)], dtype=object)
    np.savez(path, x=pixels(3), y=np.arange(3), extra=poison)
    assert "extra.npy holds Python objects" in refusal(path, SecurityError)
    np.savez(path, x=np.zeros(2, [("a", object)]))
    assert "holds Python objects" in refusal(path, SecurityError)
    path.write_bytes(pickle.dumps(Poison(proof)))
    assert "io.open" in refusal(path, SecurityError)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Poison(proof), 2))
    assert "'archive/data.pkl' in it" in refusal(path, SecurityError)
    assert not proof.exists()
    assert "<arrays>: x hold Python objects" in refusal({"x": poison})


def test_suffixes() -> None:
    assert ".npz" not in CODE_SUFFIXES
    assert ".npy" in CODE_SUFFIXES


def test_damage_and_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=pixels(3), y=np.arange(3))
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    assert "is no npz, or a damaged one" in refusal(path)
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF
    path.write_bytes(flipped)
    assert "savez" in refusal(path)
    path.write_text("a,b\n1,2\n")
    assert "is no npz" in refusal(path)
    out = io.BytesIO()
    np.save(out, pixels(3))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", out.getvalue() + b"more")
    assert "not as long as its header says" in refusal(path)
    path.write_bytes(whole)
    monkeypatch.setattr(arrays, "CAP", 300)
    assert "unpacks to more than 300 bytes" in refusal(path)


def test_what_is_not_ours(tmp_path: Path) -> None:
    for source in (tmp_path, tmp_path / "a.csv", {}, {"a": [1]}, [1], "a.npz"):
        assert open_npz(source, Recipe()) is None
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", x=pixels(2), y=np.arange(2))
    assert open_npz(tmp_path, Recipe()) is None  # which one?


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "sizes", "shape"),
    [
        ("cifar10", {"train": 1100, "test": 500}, (32, 32, 3)),
        ("pneumoniamnist", {"train": 4708, "valid": 524, "test": 624}, (28, 28)),
        ("digits_da/mnist.npz", {"train": 3000, "test": 1000}, (28, 28)),
        ("digits_da/usps.npz", {"train": 7291, "test": 2007}, (16, 16)),
    ],
)
def test_real_sets(name: str, sizes: dict[str, int], shape: tuple[int, ...]) -> None:
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here")
    found = opened(SHARED / name)
    assert {p: len(r) for p, r in found.rows.items()} == sizes
    assert found.rows["train"][0].x.shape == shape


@pytest.mark.shared
def test_features_of_a_real_set_are_refused() -> None:
    if not SHARED.is_dir():
        pytest.skip("../shared/data is not here")
    with pytest.raises(DataError, match="looks like features"):
        open_npz(SHARED / "office_caltech10" / "surf800.npz", Recipe())

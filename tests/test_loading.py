"""Batches: the same samples give the same numbers, whoever decodes them, how small, and how far ahead."""

from __future__ import annotations

import threading
from pathlib import Path

import models
import numpy as np
import pytest
import torch
from PIL import Image
from toys import Toy

from graft import backbones, loading, views
from graft.backbones._picture import Preprocess, stack
from graft.data import Boxes, Sample
from graft.errors import DataError
from graft.loading import batches, load
from graft.seeds import rng


def noise(width: int, height: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """uint8 [height, width, channels]"""
    draw = np.random.default_rng(seed)
    return draw.integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth(width: int, height: int) -> Image.Image:
    """Waves that survive scaling."""
    y, x = np.mgrid[:height, :width] / min(width, height)
    bands = [np.sin(6 * x + k) * np.cos(5 * y - k) for k in range(3)]
    return Image.fromarray((127 + 100 * np.stack(bands, axis=2)).astype(np.uint8))


# ------------------------------------------------------------------------------------ preprocessing


def reference(picture: Image.Image, p: Preprocess, size: int | None = None) -> torch.Tensor:
    """What the first version did, step by step, in torch."""
    side = size or p.size
    width, height = picture.size
    scale = int(side / p.crop) / min(width, height)
    new = (max(side, round(width * scale)), max(side, round(height * scale)))
    kind = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[p.interpolation]
    resized = picture.resize(new, kind, reducing_gap=3.0)
    left, top = (new[0] - side) // 2, (new[1] - side) // 2
    array = np.asarray(resized.crop((left, top, left + side, top + side)), dtype=np.float32)
    x = torch.from_numpy(array.transpose(2, 0, 1).copy()) / 255.0
    return (x - torch.tensor(p.mean).view(-1, 1, 1)) / torch.tensor(p.std).view(-1, 1, 1)


@pytest.mark.parametrize("shape", [(160, 125), (33, 50), (224, 224), (700, 500)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_preprocessing_is_what_it_was(shape: tuple[int, int], interpolation: str) -> None:
    picture, p = Image.fromarray(noise(*shape)), Preprocess(96, interpolation=interpolation)
    found = p(picture)
    assert found.x.shape == (3, 96, 96) and found.x.dtype == torch.float32
    assert torch.allclose(found.x, reference(picture, p), atol=1e-5)
    assert torch.allclose(p(picture, 64).x, reference(picture, p, 64), atol=1e-5)


def test_an_array_is_prepared_as_its_picture(tmp_path: Path) -> None:
    p, array = Preprocess(32), noise(50, 40)
    assert torch.equal(p(array).x, p(Image.fromarray(array)).x)


@pytest.mark.parametrize("channels", [1, 2, 4, 7])
def test_any_number_of_channels(channels: int) -> None:
    array = noise(50, 40, channels)
    p = Preprocess(32, mean=(0.4,) * channels, std=(0.2,) * channels)
    found = p(array).x
    assert found.shape == (channels, 32, 32)
    for c in range(channels):  # each as if it were alone
        rgb = Image.fromarray(np.repeat(array[:, :, c : c + 1], 3, axis=2))
        assert torch.allclose(found[c], Preprocess(32, mean=(0.4,) * 3, std=(0.2,) * 3)(rgb).x[0], atol=1e-5)


def test_grey_and_colour_turn_into_each_other() -> None:
    grey = noise(50, 40, 1)
    three = Preprocess(32, mean=(0.5,) * 3, std=(0.5,) * 3)
    one = Preprocess(32, mean=(0.5,), std=(0.5,))
    assert torch.equal(three(grey).x[1], three(grey[:, :, 0]).x[0])
    assert one(Image.fromarray(noise(50, 40))).x.shape == (1, 32, 32)
    assert torch.equal(one(grey).x, one(Image.fromarray(grey[:, :, 0])).x)


@pytest.mark.parametrize(("given", "channels"), [(5, 3), (3, 5), (2, 1), (4, 6)])
def test_a_wrong_number_of_channels_is_said(given: int, channels: int) -> None:
    p = Preprocess(32, mean=(0.5,) * channels, std=(0.5,) * channels)
    with pytest.raises(DataError, match=f"of {given} channels was given, and this backbone takes {channels}"):
        p(noise(50, 40, given))


def test_stacked_pictures_lie_channels_last() -> None:
    xs = [Preprocess(32)(noise(50, 40, seed=s)).x for s in range(3)]
    batch = stack(xs)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, torch.stack(xs)) and torch.equal(stack([x.contiguous() for x in xs]), batch)


# ---------------------------------------------------------------------------------- scaled decoding


class Sized(Toy):
    """A toy that prepares pictures as real backbones do."""

    def __init__(self, size: int) -> None:
        super().__init__("picture", size=size)
        self.prepare = Preprocess(size)

    def encode(self, x: object, size: int | None = None) -> object:  # type: ignore[override]
        self.seen = getattr(x, "size", None)
        return self.prepare(x, size)  # type: ignore[arg-type]

    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return stack(xs)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    smooth(1600, 1200).save(tmp_path / "large.jpg", quality=95)
    return tmp_path / "large.jpg"


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(large: Path) -> None:
    backbone, whole = Sized(64), Image.open(large).convert("RGB")
    _, batch = next(batches([Sample(large, id="a")], backbone))
    assert backbone.seen == (200, 150)  # of 1600 x 1200: an eighth is still twice the 73 that it is resized to
    assert (batch.x[0] - backbone.prepare(whole).x).abs().mean() < 0.02  # of a standard deviation of 1


@pytest.mark.parametrize("y", [Boxes(torch.tensor([[0.0, 0, 9, 9]]), torch.tensor([0])), Image.new("L", (4, 4))])
def test_targets_that_lie_in_the_picture_keep_its_pixels(large: Path, y: object) -> None:
    backbone = Sized(64)
    load([Sample(large, y, "a")], backbone, None, "none", (0,), [0])
    assert backbone.seen == (1600, 1200)


@pytest.mark.parametrize("spec", ["weak", "strong", "weak:96"])
def test_training_crops_keep_the_pixels_they_need(large: Path, spec: str) -> None:
    backbone = Sized(64)
    target = backbone.prepare.shorter(views.parts(spec)[1])
    for position in range(40):
        load([Sample(large, "cat", "a")], backbone, None, spec, (0,), [position])
        assert min(backbone.seen) >= target  # type: ignore[type-var, arg-type]


@pytest.mark.parametrize("name", ["weak", "strong"])
def test_shares_are_what_the_views_leave(name: str) -> None:
    picture = Image.new("RGB", (60, 60))
    least = min(min(views.view(Sample(picture), name, rng(k)).x.size) / 60 for k in range(1500))
    assert loading.SHARES[name] - 1 / 60 <= least <= loading.SHARES[name] + 0.08


def test_the_largest_need_of_all_encoders_counts(large: Path) -> None:
    backbone, teacher = Sized(16), Sized(300)
    load([Sample(large, "cat", "a")], backbone, None, "none", (0,), [0], {"teacher": teacher})
    assert backbone.seen == teacher.seen == (800, 600) or backbone.seen == (1600, 1200)
    load([Sample(large, "cat", "a")], backbone, None, "none", (0,), [0], {"teacher": Toy("picture")})
    assert backbone.seen == (1600, 1200)  # whose need nobody knows


def test_views_are_pure_in_their_key(large: Path) -> None:
    given, backbone = [Sample(large, "cat", str(i)) for i in range(3)], Sized(32)
    one = load(given, backbone, None, "strong", (1, 2), [5, 6, 7]).x
    two = load(given[::-1], backbone, None, "strong", (1, 2), [7, 6, 5]).x
    assert torch.equal(one, two.flip(0))
    assert not torch.equal(one, load(given, backbone, None, "strong", (1, 3), [5, 6, 7]).x)


# ------------------------------------------------------------------------------------------ batches


def test_all_rows_come_once_and_in_order(photos: Path) -> None:
    samples = [Sample(p, id=p.name, weight=i) for i, p in enumerate(sorted(photos.rglob("*.png")))]
    seen = [(rows, batch) for rows, batch in batches(samples, Sized(16), 7)]
    assert [r for rows, _ in seen for r in rows] == list(range(len(samples)))
    for rows, batch in seen:
        assert batch.id == [samples[r].id for r in rows] and batch.weight.tolist() == rows
        assert torch.equal(batch.x, load([samples[r] for r in rows], Sized(16), None, "none", (0,), rows).x)


def test_a_picture_that_went_away_is_named(photos: Path, tmp_path: Path) -> None:
    samples = [Sample(p, id=p.name) for p in sorted(photos.rglob("*.png"))[:20]]
    samples.insert(9, Sample(tmp_path / "gone.png", id="gone.png"))
    with pytest.raises(DataError, match=r"gone\.png: .*readable when the run began"):
        list(batches(samples, Sized(16), 4))


def test_no_more_is_made_ready_than_a_few_batches(photos: Path) -> None:
    """What is held does not grow with the number of samples."""
    made, lock = [0], threading.Lock()

    class Counting(Sized):
        def encode(self, x: object, size: int | None = None) -> object:  # type: ignore[override]
            with lock:
                made[0] += 1
            return super().encode(x, size)

    photo = sorted(photos.rglob("*.png"))[0]
    taken = 0
    for rows, _ in batches([Sample(photo, id=str(i)) for i in range(200)], Counting(16), 5):
        taken += len(rows)
        assert made[0] <= taken + 5 * loading.AHEAD
    assert taken == 200


def test_whoever_stops_early_leaves_no_work_behind(photos: Path) -> None:
    samples = [Sample(p, id=p.name) for p in sorted(photos.rglob("*.png"))]
    some = batches(samples, Sized(16), 4)
    next(some)
    some.close()  # type: ignore[attr-defined]
    assert len(list(batches(samples, Sized(16), 4))) == 12  # the threads are free


# --------------------------------------------------------------------------------------------- texts


def test_texts_are_cut_into_batches_by_tokens(bert: Path) -> None:
    backbone = backbones.load(f"local:{bert}")
    samples = [Sample(" ".join(["film"] * (1 + i % 50)), id=str(i)) for i in range(400)]
    rows: list[int] = []
    padded = real = 0
    for some, batch in batches(samples, backbone, tokens=512):
        assert batch.x.numel() <= 512
        rows += some
        padded, real = padded + batch.x.numel(), real + int((batch.x != backbone.pad).sum())  # type: ignore[arg-type]
    assert sorted(rows) == list(range(400))
    assert real > 0.9 * padded


def test_a_size_is_a_number_of_texts(bert: Path) -> None:
    backbone = backbones.load(f"local:{bert}")
    samples = [Sample(t, id=t) for t, _ in models.texts(70)]
    assert [len(rows) for rows, _ in batches(samples, backbone, 32)] == [32, 32, 6]


LONG = {
    "words": "a film was great " * 40_000,
    "one word": "x" * 300_000,
    "white space": " " * 200_000 + "great film",
    "lines": "\n\n".join(["the meal was lovely"] * 9000),
    "empty": "",
    "short": "a lovely day",
}


@pytest.mark.parametrize("name", LONG)
def test_texts_of_any_length_are_encoded_as_alone(bert: Path, name: str) -> None:
    backbone = backbones.load(f"local:{bert}")
    alone = backbone.encode(LONG[name])
    found = loading.encode_all(backbone, ["a film", LONG[name]], None)[1]
    assert torch.equal(found.x, alone.x)
    assert list(found.where) == list(alone.where)


def test_very_long_texts_are_not_tokenised_whole(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = backbones.load(f"local:{bert}")
    given: list[str] = []

    class Watched:
        truncation = backbone.tokenizer.truncation  # type: ignore[union-attr]

        def encode_batch(self, xs: list[str]) -> list[object]:
            given.extend(xs)
            return list(backbone.tokenizer.encode_batch(xs))  # type: ignore[union-attr, operator]

    monkeypatch.setattr(loading, "_tokenizer", lambda backbone: Watched())
    loading.encode_all(backbone, [LONG["words"]], None)
    assert len(given) == 1 and len(given[0]) < 5000

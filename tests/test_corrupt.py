"""Corruptions: stronger is further away, the same draw gives the same picture, and nothing else of a sample changes."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from PIL import Image

from graft import corrupt, loading, views
from graft._picturefile import PictureFile
from graft.backbones._picture import Preprocess
from graft.corrupt import Sight, _texts
from graft.data import Sample, digest
from graft.errors import DataError, UsageError
from graft.pictures import BadPicture
from graft.seeds import rng

PICTURES, TEXTS = corrupt.names("picture"), corrupt.names("text")
TEXT = (
    "It's a lovely film, isn't it? The critics (all three of them) said: \"Don't miss it!\" But the plot - what there "
    "is of it - drags on; by the end, I'd had enough. Still, Anna's acting was great, and the music was warm."
)


def scene(width: int = 160, height: int = 120) -> Image.Image:
    """Edges, a gradient, a texture: something that every corruption changes; no value near black or white."""
    draw = np.random.default_rng(3)
    right, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    base = 60 + 80 * np.stack([right, down, 1 - right], axis=2)
    base[(np.hypot(right - 0.4, down - 0.5) < 0.25)] = (190, 90, 70)
    base += draw.normal(0, 6, base.shape)
    return Image.fromarray(np.clip(base, 40, 215).astype(np.uint8))


def far(a: Any, b: Any) -> float:
    """Mean squared difference."""
    return float(((np.asarray(a).astype(float) - np.asarray(b).astype(float)) ** 2).mean())


def edits(a: str, b: str) -> int:
    """Levenshtein's distance."""
    before = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        now = [i]
        for j, y in enumerate(b, 1):
            now.append(min(before[j] + 1, now[-1] + 1, before[j - 1] + (x != y)))
        before = now
    return before[-1]


# --------------------------------------------------------------------------------------- both kinds


@pytest.mark.parametrize("name", PICTURES)
def test_a_stronger_corruption_takes_a_picture_further_away(name: str) -> None:
    picture = scene()
    away = [far(corrupt.apply(name, picture, k, rng("t")), picture) for k in corrupt.STRENGTHS]
    assert away[0] > 0
    assert all(a < b for a, b in pairwise(away)), away


@pytest.mark.parametrize("name", TEXTS)
def test_a_stronger_corruption_takes_a_text_further_away(name: str) -> None:
    for seed in range(5):
        away = [edits(corrupt.apply(name, TEXT, k, rng("t", seed)), TEXT) for k in corrupt.STRENGTHS]
        assert all(a <= b for a, b in pairwise(away)), away
        assert away[1] < away[4] and away[4] > 5


@pytest.mark.parametrize("name", [*PICTURES, *TEXTS])
def test_a_corruption_is_a_pure_function(name: str) -> None:
    x: Any = scene() if name in PICTURES else TEXT
    before = x.tobytes() if name in PICTURES else x
    one, again = (corrupt.apply(name, x, 3, rng("k", 1)) for _ in range(2))
    assert far(one, again) == 0 if name in PICTURES else one == again
    assert (x.tobytes() if name in PICTURES else x) == before


@pytest.mark.parametrize("name", ["noise", "shot_noise", "motion_blur", *TEXTS])
def test_what_is_drawn_follows_from_the_key(name: str) -> None:
    x: Any = scene() if name in PICTURES else TEXT
    found = [corrupt.apply(name, x, 4, rng("k", i)) for i in range(4)]
    same = [far(found[0], f) == 0 if name in PICTURES else f == found[0] for f in found[1:]]
    assert not all(same)


def test_the_table_has_each_name_once_and_a_sentence_of_each() -> None:
    names = [row.name for row in corrupt.TABLE]
    assert len(set(names)) == len(names) and set(names) == {*PICTURES, *TEXTS}
    assert all((row.function.__doc__ or "").strip() for row in corrupt.TABLE)
    assert corrupt.names("picture", usual=True) == ("noise", "blur", "jpeg", "contrast")
    assert corrupt.names("text", usual=True) == ("typos", "case")


# ---------------------------------------------------------------------------------------- pictures

KINDS: dict[str, Callable[[], Any]] = {
    "RGB": scene,
    "L": lambda: scene().convert("L"),
    "RGBA": lambda: scene().convert("RGBA"),
    "LA": lambda: scene().convert("LA"),
    "I;16": lambda: Image.fromarray(np.asarray(scene().convert("L")).astype(np.uint16) * 257),
    "grey array": lambda: np.asarray(scene().convert("L")),
    "five bands": lambda: np.stack([np.asarray(scene().convert("L"))] * 5, axis=2),
    "sixteen bits": lambda: np.asarray(scene()).astype(np.uint16) * 200,
    "floats": lambda: np.asarray(scene()).astype(np.float32) / 255,
    "one pixel": lambda: Image.new("RGB", (1, 1), (90, 120, 60)),
}


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_keeps_kind_mode_size_and_type(kind: str, name: str) -> None:
    x = KINDS[kind]()
    found = corrupt.apply(name, x, 3, rng("k"))
    assert type(found) is (Image.Image if isinstance(x, Image.Image) else np.ndarray)
    if isinstance(x, Image.Image):
        assert (found.mode, found.size) == (x.mode, x.size)
    else:
        assert (found.dtype, found.shape) == (x.dtype, x.shape)
        assert kind != "floats" or (found.min() >= 0 and found.max() <= 1)
    if kind != "one pixel":
        assert far(found, x) > 0


def test_other_modes_become_rgb_and_alpha_is_left_alone() -> None:
    assert corrupt.apply("noise", scene().convert("P"), 1, rng("k")).mode == "RGB"
    clear = scene().convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 17))
    assert set(np.asarray(corrupt.apply("noise", clear, 5, rng("k")).getchannel("A")).ravel()) == {17}


def test_sixteen_bits_are_corrupted_in_sixteen_bits() -> None:
    flat = np.full((80, 80), 30_000, dtype=np.uint16)
    found = corrupt.apply("noise", flat, 1, rng("k")).astype(float)
    assert len(np.unique(found)) > 1000
    assert found.std() == pytest.approx(0.08 * 65535, rel=0.05) and found.mean() == pytest.approx(30_000, rel=0.01)


@pytest.mark.parametrize(("strength", "sd"), [(1, 0.08), (3, 0.18)])
def test_noise_has_the_deviation_that_the_paper_gives(strength: int, sd: float) -> None:
    flat = np.full((120, 120, 3), 0.5, dtype=np.float32)
    found = corrupt.apply("noise", flat, strength, rng("k"))
    assert found.std() == pytest.approx(sd, rel=0.03)
    assert abs(np.corrcoef(found[:, :, 0].ravel(), found[:, :, 1].ravel())[0, 1]) < 0.05


def test_shot_noise_varies_more_where_there_is_more_light() -> None:
    dark, light = (np.full((120, 120), v, dtype=np.float32) for v in (0.1, 0.6))
    found = [corrupt.apply("shot_noise", x, 1, rng("k")) for x in (dark, light)]
    for x, f in zip((0.1, 0.6), found, strict=True):
        assert f.mean() == pytest.approx(x, abs=0.01) and f.var() == pytest.approx(x / 60, rel=0.08)


@pytest.mark.parametrize("name", ["blur", "defocus", "motion_blur"])
def test_blurs_move_light_and_neither_add_nor_take_any(name: str) -> None:
    flat = Image.new("RGB", (50, 40), (90, 120, 60))
    assert far(corrupt.apply(name, flat, 5, rng("k")), flat) == 0
    point = np.zeros((81, 81), dtype=np.float32)
    point[40, 40] = 1
    spread = corrupt.apply(name, point, 2, rng("k"))
    assert spread.sum() == pytest.approx(1, abs=1e-3) and spread.max() < 0.2
    down, right = np.meshgrid(np.arange(81), np.arange(81), indexing="ij")
    assert (spread * down).sum() == pytest.approx(40, abs=0.05) and (spread * right).sum() == pytest.approx(
        40, abs=0.05
    )


@pytest.mark.parametrize("name", ["blur", "defocus", "motion_blur"])
def test_widths_of_blur_go_with_the_size_of_the_input(name: str) -> None:
    small = scene(224, 224)
    large = small.resize((448, 448), Image.Resampling.BICUBIC)
    one = corrupt.apply(name, small, 3, rng("k"), 224)
    two = corrupt.apply(name, large, 3, rng("k"), 448).resize((224, 224), Image.Resampling.BOX)
    assert far(one, two) < 4 < far(one, small)


def test_jpeg_is_what_pillow_writes_and_reads() -> None:
    file = io.BytesIO()
    scene().save(file, "JPEG", quality=10)
    assert far(corrupt.apply("jpeg", scene(), 4, rng("k")), Image.open(file)) == 0


def test_contrast_goes_to_the_mean_and_brightness_keeps_the_hue() -> None:
    x = np.asarray(scene()).astype(np.float32) / 255
    faded = corrupt.apply("contrast", x, 4, rng("k"))
    assert np.allclose(faded.mean(axis=(0, 1)), x.mean(axis=(0, 1)), atol=1e-4)
    assert np.allclose(faded.std(axis=(0, 1)), 0.1 * x.std(axis=(0, 1)), rtol=1e-3)
    dull = np.full((4, 4, 3), (0.4, 0.2, 0.1), dtype=np.float32)
    assert np.allclose(corrupt.apply("brightness", dull, 2, rng("k"))[0, 0], (0.6, 0.3, 0.15), atol=1e-5)
    assert np.allclose(corrupt.apply("brightness", 0 * dull, 2, rng("k")), 0.2)


@pytest.mark.parametrize("x", [None, "a text", np.zeros((2, 2), dtype=np.int64), np.zeros((0, 4), dtype=np.uint8)])
def test_what_is_no_picture_is_refused(x: Any) -> None:
    with pytest.raises(DataError, match="picture"):
        corrupt.apply("noise", x, 1, rng("k"))


# ------------------------------------------------------------------------------------------- texts


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize(
    "text",
    [
        "", " ", "\n\t", "a", "!", "?!", "\ud800", "e\u0301", "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
        "Straße", "ﬁne İstanbul", "电影很好看。", "שלום, עולם!", "مرحبا بالعالم؟", "a\u00a0b\u2003c",
    ],
)  # fmt: skip
def test_every_text_survives(name: str, text: str) -> None:
    for k in corrupt.STRENGTHS:
        found = corrupt.apply(name, text, k, rng("k", k))
        assert isinstance(found, str) and bool(found.strip()) == bool(text.strip())


@pytest.mark.parametrize(("strength", "rate"), [(1, 0.01), (3, 0.05), (5, 0.2)])
def test_typos_come_at_the_rate_that_is_said(strength: int, rate: float) -> None:
    words = ["abcdefghij"] * 400  # no letter is its neighbour's, so that every slip is seen
    found = corrupt.apply("typos", " ".join(words), strength, rng("k")).split(" ")
    whole = sum(a == b for a, b in zip(words, found, strict=True)) / len(words)
    assert whole == pytest.approx((1 - rate) ** 10, abs=0.06)


def test_typos_touch_letters_alone() -> None:
    text = "1, 2; (three) \u2014 4! \n"
    for i in range(20):
        found = corrupt.apply("typos", text, 5, rng("k", i))
        assert [c for c in found if not c.isalpha()] == [c for c in text if not c.isalpha()]


def test_each_of_the_four_slips_happens() -> None:
    words = {corrupt.apply("typos", "bn", 5, rng("k", i)) for i in range(400)}
    assert "nb" in words and "bbn" in words and {"n", "b"} <= words and any(w[0] in "vghn" for w in words - {"n", "nb"})


def test_neighbours_are_those_of_a_keyboard() -> None:
    assert set(_texts.NEIGHBOURS["g"]) == set("ftyhvb")
    assert set(_texts.NEIGHBOURS["q"]) == set("wa") and set(_texts.NEIGHBOURS["m"]) == set("njk")
    assert all(c in _texts.NEIGHBOURS[o] for c, near in _texts.NEIGHBOURS.items() for o in near)


def test_case_changes_case_alone_and_the_strongest_every_word() -> None:
    found = [corrupt.apply("case", TEXT, k, rng("k")) for k in corrupt.STRENGTHS]
    assert all(f.casefold() == TEXT.casefold() for f in found)
    shouted = corrupt.apply("case", "Ab " * 300, 5, rng("k")).split()
    assert {"AB", "ab", "aB"} <= set(shouted) and 0.02 < shouted.count("Ab") / 300 < 0.16


def test_spaces_and_punctuation_are_lost_and_nothing_else() -> None:
    run_together = corrupt.apply("spaces", TEXT, 5, rng("k"))
    assert run_together.replace(" ", "") == TEXT.replace(" ", "") and run_together.count(" ") < 0.4 * TEXT.count(" ")
    bare = corrupt.apply("punctuation", TEXT, 5, rng("k"))
    assert bare == "".join(c for c in TEXT if c.isalnum() or c == " ")


# ----------------------------------------------------------------------------------------- samples

SIGHT = Sight(64, 73, "bilinear")


def shots(folder: Path, n: int = 3) -> list[Sample]:
    found = []
    for i in range(n):
        path = folder / f"{i}.png"
        models.picture("disc", i).save(path)
        found.append(Sample(path, "disc", id=path.name, digest=digest(path.read_bytes())))
    return found


def test_a_sample_is_corrupted_the_same_in_any_company(tmp_path: Path) -> None:
    given = shots(tmp_path)
    together = corrupt.samples(given, "noise", 3, 0, SIGHT)
    alone = corrupt.samples(given[2:], "noise", 3, 0, SIGHT)[0]
    assert alone.digest == together[2].digest
    assert far(views.opened(alone.x), views.opened(together[2].x)) == 0
    backwards = corrupt.samples(given[::-1], "noise", 3, 0, SIGHT)
    assert [far(views.opened(a.x), views.opened(b.x)) for a, b in zip(together, backwards[::-1], strict=True)] == [
        0
    ] * 3
    texts = [Sample(TEXT + str(i), id=str(i)) for i in range(3)]
    apart = corrupt.samples(texts[1:2], "typos", 4, 0)[0]
    assert corrupt.samples(texts, "typos", 4, 0)[1] == apart


def test_each_corruption_strength_seed_and_sight_has_a_digest_of_its_own(tmp_path: Path) -> None:
    given = shots(tmp_path, 1)
    ways = [("noise", 3, 0, SIGHT), ("noise", 4, 0, SIGHT), ("noise", 3, 1, SIGHT), ("jpeg", 3, 0, SIGHT)]
    ways.append(("noise", 3, 0, Sight(96, 110, "bilinear")))
    found = [corrupt.samples(given, *way)[0] for way in ways]
    marks = {s.digest for s in found} | {given[0].digest}
    assert len(marks) == len(ways) + 1
    assert all((s.id, s.y, s.weight) == (given[0].id, given[0].y, given[0].weight) for s in found)
    assert far(views.opened(found[0].x), views.opened(found[2].x)) > 0


def test_a_picture_is_opened_when_it_is_needed_and_not_before(tmp_path: Path) -> None:
    given = shots(tmp_path, 1)
    lazy = corrupt.samples(given, "blur", 2, 0, SIGHT)[0]
    assert lazy.x.source == given[0].x
    given[0].x.unlink()
    with pytest.raises(BadPicture):
        views.opened(lazy.x)


def test_a_large_picture_is_corrupted_as_a_small_one(tmp_path: Path) -> None:
    scene(1600, 1200).save(tmp_path / "large.jpg", quality=97)
    small = scene(1600, 1200).resize((160, 120), Image.Resampling.BOX)
    large, little = (
        views.opened(corrupt.samples([Sample(x, id="same")], "blur", 3, 0, SIGHT)[0].x)
        for x in (tmp_path / "large.jpg", small)
    )
    assert large.size == little.size == (97, 73)
    assert far(large, little) < 3


def test_scaling_leaves_the_models_own_resize_nothing_to_do() -> None:
    for interpolation in ("bilinear", "bicubic"):
        prepare = Preprocess(64, 0.875, interpolation=interpolation)
        sight = Sight(64, prepare.shorter(), interpolation)
        small = corrupt._pictures.scaled(scene(333, 190), sight.shorter, sight.interpolation)
        assert far(prepare(small).x, prepare(scene(333, 190)).x) < 1e-12


def test_a_very_long_picture_is_cut_to_its_middle() -> None:
    long = Image.new("RGB", (4000, 20), (9, 9, 9))
    long.paste((200, 100, 50), (1950, 0, 2050, 20))
    found = corrupt._pictures.scaled(long, 73, "bilinear")
    assert found.size == (219, 73)
    assert Preprocess(64, 0.875)(found).x.mean() > 0
    bands = np.stack([np.asarray(long.convert("L"))] * 4, axis=2)
    assert corrupt._pictures.scaled(bands, 73, "bilinear").shape == (73, 219, 4)
    deep = corrupt._pictures.scaled(bands.astype(np.uint16) * 250, 73, "bicubic")
    assert deep.dtype == np.uint16 and deep.max() > 20_000


def test_bands_and_backbones_of_one_channel_take_corrupted_pictures(tmp_path: Path) -> None:
    bands = np.stack([np.asarray(scene().convert("L"))] * 5, axis=2)
    sample = Sample(PictureFile(bands, channels=5), id="a")
    opened = views.opened(corrupt.samples([sample], "jpeg", 2, 0, SIGHT)[0].x)
    assert opened.shape == (73, 97, 5) and opened.dtype == np.uint8
    prepare = Preprocess(64, 0.875, mean=(0.5,) * 5, std=(0.5,) * 5)
    assert prepare(opened).x.shape == (5, 64, 64)


def test_batches_read_corrupted_pictures(zoo: Path, tmp_path: Path) -> None:
    from graft import backbones

    backbone = backbones.load(f"local:{zoo / 'tiny'}")
    sight = corrupt.sight_of(backbone)
    assert sight == Sight(32, 32, "bicubic")
    given = shots(tmp_path)
    batch = next(loading.batches(corrupt.samples(given, "noise", 5, 0, sight), backbone))[1]
    plain = next(loading.batches(given, backbone))[1]
    assert batch.x.shape == plain.x.shape and far(batch.x, plain.x) > 0.01


def test_texts_need_no_sight_and_pictures_do(bert: Path, tmp_path: Path) -> None:
    from graft import backbones

    assert corrupt.sight_of(backbones.load(f"local:{bert}")) is None
    with pytest.raises(UsageError, match="sight_of"):
        corrupt.samples(shots(tmp_path, 1), "noise", 1, 0)


# ------------------------------------------------------------------------------------------- names


def test_names_are_chosen_by_kind() -> None:
    assert corrupt.chosen(True, "text") == ("typos", "case")
    assert corrupt.chosen("all", "picture") == PICTURES
    assert corrupt.chosen(" JPEG, motion-blur,jpeg", "picture") == ("jpeg", "motion_blur")
    assert corrupt.chosen(["case"], "text") == ("case",)


@pytest.mark.parametrize(
    ("asked", "modality", "parts"),
    [
        ("nose", "picture", "Did you mean 'noise'"),
        ("typos", "picture", "for a text"),
        ("fog", "text", "Possible: all, case"),
        (" , ", "text", "no corruption is named"),
        (True, "sound", "pictures and texts"),
    ],
)
def test_what_is_not_there_is_refused(asked: bool | str, modality: str, parts: str) -> None:
    with pytest.raises(UsageError, match=parts):
        corrupt.chosen(asked, modality)


def test_other_strengths_and_names_are_refused() -> None:
    with pytest.raises(UsageError, match="possible are 1, 2, 3, 4, 5"):
        corrupt.apply("noise", scene(), 6, rng("k"))
    with pytest.raises(UsageError, match="Did you mean 'jpeg'"):
        corrupt.apply("jpg", scene(), 1, rng("k"))

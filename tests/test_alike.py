"""Near copies: of pictures by thumbnails that are registered onto each other, of texts by the shingles they share."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import models
import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageFilter

from graft import alike
from graft._small import SIDE, small_or_blank
from graft.alike import _pictures, _texts
from graft.alike._registered import registered


def jpeg(image: Image.Image, quality: int = 50) -> Image.Image:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return Image.open(out).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "half": lambda i: i.resize((i.width // 2, i.height // 2)),
    "larger": lambda i: i.resize((int(i.width * 1.7), int(i.height * 1.7))),
    "square": lambda i: i.resize((160, 160), Image.Resampling.LANCZOS),
    "light": lambda i: i.point(lambda v: min(255, int(v * 0.9) + 20)),
    "grey": lambda i: i.convert("L").convert("RGB"),
    "dull": lambda i: ImageEnhance.Contrast(ImageEnhance.Color(i).enhance(0.8)).enhance(0.8),
    "blur": lambda i: i.filter(ImageFilter.GaussianBlur(1)),
    "jpeg": jpeg,
    "corner": lambda i: jpeg(i.crop((0, 0, int(i.width * 0.95), int(i.height * 0.95)))),
    "middle": lambda i: i.crop((i.width // 20, i.height // 20, i.width * 19 // 20, i.height * 19 // 20)),
    "mirrored": lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "turned": lambda i: i.transpose(Image.Transpose.ROTATE_270),
}


@pytest.mark.parametrize("change", CHANGES)
def test_row_14_changed_copies_are_found_and_others_are_not(change: str) -> None:
    pictures = [models.cloud(i) for i in range(30)] + [CHANGES[change](models.cloud(i)) for i in range(0, 30, 2)]
    near = alike.pictures([small_or_blank(p) for p in [*pictures, *(models.cloud(i) for i in range(100, 120))]])
    same = near.copies()
    pairs = sorted(zip(near.a[same].tolist(), near.b[same].tolist(), strict=True))
    assert pairs == [(i, 30 + i // 2) for i in range(0, 30, 2)]


def test_a_view_is_found_in_the_whole_picture() -> None:
    """A part of 80 % off the middle: unregistered it hardly correlates, registered it is the same."""
    whole = [models.cloud(i, 320, 320) for i in range(6)]
    part = [p.crop((12, 40, 268, 296)) for p in whole]
    a, b = (np.stack([np.asarray(p.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float32)
                      for p in some]) for some in (whole, part))  # fmt: skip
    found, fine = registered(a, b)
    plain = [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)]
    good = found > 0.9
    assert good.sum() >= 4 and (fine[good] > 0.75).all()
    assert np.mean(plain) < 0.7
    others, _ = registered(a, np.roll(b, 1, axis=0))
    assert others.max() < 0.9


def test_correlation_is_numpys_and_does_not_see_light_and_contrast() -> None:
    a = np.random.default_rng(0).normal(size=(3, SIDE, SIDE)).astype(np.float32)
    whole, fine = registered(a, a * 0.5 + 20)
    assert whole == pytest.approx(np.ones(3), abs=1e-3) and fine == pytest.approx(np.ones(3), abs=1e-3)


def test_what_is_usual_in_the_data_sets_the_bar() -> None:
    """One light over all of them: what would be a copy among photographs is nothing special here."""
    light = np.linspace(0, 200, 96)[None, :] + np.linspace(0, 20, 96)[:, None]
    rows = []
    for i in range(40):
        marks = np.random.default_rng(i).choice([-3.0, 3.0], (32, 32)).repeat(3, 0).repeat(3, 1)
        rows.append(
            small_or_blank(Image.fromarray(np.clip(light + 10 + marks, 0, 255).astype(np.uint8)).convert("RGB"))
        )
    near = alike.pictures([*rows, rows[7]])
    assert near.usual is not None and near.usual.min() > 0.4
    same = near.copies()
    assert list(zip(near.a[same].tolist(), near.b[same].tolist(), strict=True)) == [(7, 40)]


def shop(i: int) -> Image.Image:
    """One object on white: a box of its own size in the middle, with a pattern of its own."""
    draw = np.random.default_rng(i)
    height, width = draw.integers(72, 96, 2)
    pixels = np.full((128, 128), 255, dtype=np.uint8)
    pattern = draw.integers(0, 130, (8, 8)).astype(np.uint8)
    box = np.asarray(Image.fromarray(pattern).resize((int(width), int(height)), Image.Resampling.BICUBIC))
    pixels[64 - height // 2 : 64 - height // 2 + height, 64 - width // 2 : 64 - width // 2 + width] = box
    return Image.fromarray(pixels).convert("RGB")


def test_objects_on_white_among_photographs_are_no_copies_of_each_other() -> None:
    """Outlines alone are alike: what is usual around a picture counts, not in all the data alone."""
    goods = [small_or_blank(shop(i)) for i in range(20)]
    others = [small_or_blank(models.cloud(i)) for i in range(60)]
    near = alike.pictures([*goods, *others, small_or_blank(jpeg(shop(3), 80))])
    pairs = list(zip(near.a.tolist(), near.b.tolist(), strict=True))
    alike_on_white = [p for p, like in zip(pairs, near.like, strict=True) if p[1] < 20 and like >= alike.PICTURES]
    assert len(alike_on_white) > 20  # so much would count as copies among photographs
    same = near.copies()
    found = [p for p, copy in zip(pairs, same, strict=True) if copy]
    assert found == [(3, 80)]


def test_blank_pictures_have_no_thumbnail_and_are_left_out() -> None:
    blank = small_or_blank(Image.new("RGB", (80, 80), "white"))
    assert blank is None
    near = alike.pictures([blank, blank, small_or_blank(models.cloud(1)), None, small_or_blank(jpeg(models.cloud(1)))])
    assert near.copies().all() and list(zip(near.a.tolist(), near.b.tolist(), strict=True)) == [(2, 4)]
    assert not len(alike.pictures([]).a) and not len(alike.pictures([blank]).a)


def test_features_let_go_what_looks_apart_and_add_what_looks_the_same() -> None:
    near = alike.Near("picture", np.array([0, 2]), np.array([1, 3]), np.array([0.8, 0.72], dtype=np.float32))
    assert near.copies().tolist() == [True, False]
    draw = torch.Generator().manual_seed(0)
    looks = torch.randn(40, 16, generator=draw)
    looks[1] = -looks[0]
    looks[3] = looks[2] + 0.01
    assert near.copies(looks).tolist() == [False, True]


# ------------------------------------------------------------------------------------------- texts


WORDS = re.findall(
    r"\w+",
    "amber bridge candle dolphin engine forest garden harbour island jacket kettle ladder mirror needle orange pepper "
    "quarry ribbon saddle timber umbrella valley",
)
LINES = [" ".join(np.random.default_rng(i).choice(WORDS, 9)) for i in range(60)]


def pairs(texts: list[str]) -> list[tuple[int, int]]:
    """What hashes alone say."""
    near = alike.texts(texts)
    same = near.copies()
    return sorted(zip(near.a[same].tolist(), near.b[same].tolist(), strict=True))


@pytest.mark.parametrize(
    "edit",
    [
        str.upper,
        lambda t: t.replace(" ", ",  ") + "!!",
        lambda t: t[:12] + t[13:],
        lambda t: t.partition(" ")[2],
        lambda t: "lantern " + t.partition(" ")[2],
        lambda t: f"“{t}”",
    ],
)
def test_small_edits_are_found_and_other_texts_are_not(edit: Callable[[str], str]) -> None:
    assert pairs([*LINES, *(edit(t) for t in LINES[:10])]) == [(i, 60 + i) for i in range(10)]


def test_the_likeness_is_the_share_of_shingles_by_rarity() -> None:
    texts = ["one two three four", "one two three five", "one two three four five", "nothing of this is like them"]
    a, b, like = _texts.candidates(texts)
    sets = [{f" {t} "[p : p + 4] for p in range(len(t) - 1)} for t in texts]
    rarity = {g: np.log(5 / sum(g in s for s in sets)) for s in sets for g in s}
    assert {(0, 2)} <= set(zip(a.tolist(), b.tolist(), strict=True)) and 3 not in {*a.tolist(), *b.tolist()}
    for i, j, share in zip(a.tolist(), b.tolist(), like.tolist(), strict=True):
        both, either = (sum(rarity[g] for g in s) for s in (sets[i] & sets[j], sets[i] | sets[j]))
        assert share == pytest.approx(both / either, rel=1e-4)


def test_what_all_texts_share_counts_little() -> None:
    """Questions of one form about different things are no copies; one of them saved twice is."""
    things = (
        "amphora",
        "bicycle",
        "chimney",
        "dynasty",
        "eclipse",
        "fjord",
        "glacier",
        "hormone",
        "insulin",
        "jasmine",
    )
    asked = [f"What is the origin of the {t} ?" for t in things]
    assert pairs([*asked, "what is the origin of the  eclipse"]) == [(4, 10)]


def test_signatures_estimate_what_is_shared() -> None:
    draw = np.random.default_rng(3)
    common = draw.integers(0, 2**32, 300, dtype=np.uint32)
    one, other = (np.unique(np.concatenate([common, draw.integers(0, 2**32, 300, dtype=np.uint32)])) for _ in range(2))
    signature = _texts._signature(np.concatenate([one, other]), np.array([0, len(one)]))
    assert (signature[0] == signature[1]).mean() == pytest.approx(1 / 3, abs=0.15)


def test_a_crowd_of_equal_texts_is_paired_without_all_pairs() -> None:
    n = 400
    near = alike.texts(["the same words in every one of these rows"] * n)
    assert near.copies().all() and len(near.a) < n * _texts.CROWD / 8
    joined = set(near.a.tolist()) | set(near.b.tolist())
    assert joined == set(range(n)) and set(range(1, n)) == set(near.b.tolist()), "each has an earlier one"


@pytest.mark.parametrize("texts", [[], ["a"], ["", "!", "?"], ["日本語の文", "日本語の文。"], ["\ud800", "x"]])
def test_strange_texts_do_no_harm(texts: list[str]) -> None:
    found = pairs(texts)
    assert found == ([(0, 1)] if texts and texts[0].startswith("日") else [])


def test_neighbours_of_a_view_are_never_the_row_itself() -> None:
    small = np.stack([np.asarray(models.cloud(i).convert("L").resize((SIDE, SIDE)), dtype=np.uint8) for i in range(12)])
    a, b, _, _ = _pictures.candidates(small)
    assert (a < b).all() and len({(x, y) for x, y in zip(a.tolist(), b.tolist(), strict=True)}) == len(a)

"""Planted shortcuts of every family fire, and the same data without them are silent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from graft.data import Sample
from graft.doctor import _shortcuts, _trivial

LABELS = ("ants", "bees")
Draw = np.random.Generator
Plant = Callable[[Draw, str, int], tuple[Image.Image, str, dict[str, int]]]


def noise(draw: Draw, size: tuple[int, int] = (40, 40), level: int = 100) -> Image.Image:
    shade = int(draw.integers(level - 50, level + 50))
    pixels = draw.integers(max(0, shade - 40), shade + 40, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def clean(draw: Draw, label: str, i: int) -> tuple[Image.Image, str, dict[str, int]]:
    side = int(draw.integers(30, 50))
    return noise(draw, (side, side + int(draw.integers(0, 9)))), f"{draw.integers(10**6)}.jpg", {"quality": 80}


def sized(draw: Draw, label: str, i: int) -> tuple[Image.Image, str, dict[str, int]]:
    side = int(draw.integers(30, 50)) + 30 * (label == "ants")
    return noise(draw, (side, side)), f"{draw.integers(10**6)}.jpg", {"quality": 80}


def framed(draw: Draw, label: str, i: int) -> tuple[Image.Image, str, dict[str, int]]:
    image, name, how = clean(draw, label, i)
    if label == "ants":
        image = image.copy()
        frame = Image.new("RGB", image.size)
        frame.paste(image.crop((4, 4, image.width - 4, image.height - 4)), (4, 4))
        image = frame
    return image, name, how


def bright(draw: Draw, label: str, i: int) -> tuple[Image.Image, str, dict[str, int]]:
    _, name, how = clean(draw, label, i)
    return noise(draw, level=150 if label == "ants" else 70).resize((40, 40)), name, how


def named(draw: Draw, label: str, i: int) -> tuple[Image.Image, str, dict[str, int]]:
    image, name, how = clean(draw, label, i)
    return image, ("siteA_" if label == "ants" else "siteB_") + name, how


def squeezed(draw: Draw, label: str, i: int) -> tuple[Image.Image, str, dict[str, int]]:
    image, name, _ = clean(draw, label, i)
    return image, name, {"quality": 80 if label == "ants" else 60}


def pictures(folder: Path, plant: Plant, n: int = 80) -> list[Sample]:
    draw = np.random.default_rng(0)
    samples = []
    for i in range(n):
        label = LABELS[i % 2]
        image, name, how = plant(draw, label, i)
        path = folder / label / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **how)  # type: ignore[arg-type]
        samples.append(Sample(path, label, f"train/{label}/{name}", digest=str(i)))
    return samples


def kinds(samples: list[Sample], modality: str, labels: tuple[str, ...] = LABELS) -> set[str]:
    return {f.kind for f in _shortcuts.found({"train": samples}, modality, labels)}


@pytest.mark.parametrize(
    ("plant", "kind"),
    [(sized, "size"), (framed, "border"), (bright, "brightness"), (named, "file_name"), (squeezed, "format")],
)
def test_a_planted_trace_in_pictures_is_named(tmp_path: Path, plant: Plant, kind: str) -> None:
    samples = pictures(tmp_path, plant)
    found = {f.kind: f for f in _shortcuts.found({"train": samples}, "picture", LABELS)}
    mine = found[f"shortcut_{kind}"]
    assert mine.count > 60 and {i.id for i in mine.items} <= {s.id for s in samples}
    assert mine.severity == "warning" and mine.effect and mine.fix


def test_clean_pictures_in_class_folders_have_none(tmp_path: Path) -> None:
    assert kinds(pictures(tmp_path, clean), "picture") == set()


def test_cameras_orientation_and_exif_by_class_are_named_and_turned_sizes_are_those_seen(tmp_path: Path) -> None:
    draw, samples = np.random.default_rng(0), []
    for i in range(60):
        exif = Image.Exif()
        exif[0x0112] = 6 if i % 2 else 1
        path = tmp_path / f"{draw.integers(10**6)}.jpg"
        noise(draw, (30, 50) if i % 2 else (50, 30)).save(path, exif=exif)
        samples.append(Sample(path, LABELS[i % 2], path.name, digest=str(i)))
    assert "shortcut_exif" in kinds(samples, "picture") and "shortcut_size" not in kinds(samples, "picture")


def test_a_class_own_name_in_its_files_and_numbers_dealt_out_by_class_do_not_count(tmp_path: Path) -> None:
    def own(draw: Draw, label: str, i: int) -> tuple[Image.Image, str, dict[str, int]]:
        image, _, how = clean(draw, label, i)
        return image, f"{label[:-1]}.{i // 2 + 100 * (label == 'bees')}.jpg", how

    assert kinds(pictures(tmp_path, own), "picture") == set()


def words(n: int, spoil: Callable[[str, str, int], str], classes: int = 2) -> list[Sample]:
    draw = np.random.default_rng(0)
    vocabulary = [f"w{chr(97 + k % 26)}{chr(97 + k // 26)}" for k in range(60)]
    labels = [f"c{i % classes}" for i in range(n)]
    texts = [" ".join(draw.choice(vocabulary, int(draw.integers(4, 12)))) for _ in range(n)]
    order = draw.permutation(n)
    rows = [(spoil(texts[i], labels[i], int(i)), labels[i]) for i in order]
    return [Sample(t, c, f"train.csv:{i}", digest=t) for i, (t, c) in enumerate(rows, 2)]


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda t, c, i: t + (" and so on and so forth, as was said before" if c == "c0" else ""), "length"),
        (lambda t, c, i: f"<b>{t}</b>" if c == "c0" else t, "markup"),
        (lambda t, c, i: t.replace(" ", " zq17 ", 1) if c == "c0" and i % 5 else t, "token"),
    ],
)
def test_a_planted_trace_in_texts_is_named_and_clean_texts_have_none(
    spoil: Callable[[str, str, int], str], kind: str
) -> None:
    assert f"shortcut_{kind}" in kinds(words(120, spoil), "text", ("c0", "c1"))
    assert kinds(words(120, lambda t, c, i: t), "text", ("c0", "c1")) == set()


def test_a_narrow_class_may_have_a_word_of_its_own_but_not_always_at_the_end() -> None:
    names = tuple(f"c{k}" for k in range(40))
    inside = words(800, lambda t, c, i: t.replace(" ", " zq17 ", 1) if c == "c0" else t, 40)
    assert kinds(inside, "text", names) == set()
    (found,) = _shortcuts.found(
        {"train": words(800, lambda t, c, i: t + " zq17" if c == "c0" else t, 40)}, "text", names
    )
    assert found.kind == "shortcut_token" and "'zq17' gives 'c0' away" in found.text and found.count == 20


def test_classes_in_stretches_of_a_table_are_named_and_a_sorted_table_is_only_sorted() -> None:
    samples = words(160, lambda t, c, i: t)
    stretches = sorted(samples, key=lambda s: s.y)
    block = [s for k in range(4) for s in (*stretches[20 * k : 20 * k + 20], *stretches[80 + 20 * k : 100 + 20 * k])]
    assert kinds(block, "text", ("c0", "c1")) == {"shortcut_order"}
    assert kinds(stretches, "text", ("c0", "c1")) == set()


def test_several_labels_are_asked_each_and_numbers_by_their_variance() -> None:
    draw = np.random.default_rng(0)
    rows = [(draw.random() < 0.5, draw.random() < 0.5) for _ in range(120)]
    texts = [" ".join(["word"] * int(draw.integers(3, 9) + 9 * a)) + f" {i}" for i, (a, _) in enumerate(rows)]
    ys = [tuple(n for n, h in zip(("a", "b"), row) if h) for row in rows]
    several = [Sample(t, y, f"f.csv:{i}", digest=t) for i, (t, y) in enumerate(zip(texts, ys))]
    found = {f.kind: f for f in _shortcuts.found({"train": several}, "text", ("a", "b"))}
    assert "tells 1 labels: a " in found["shortcut_length"].text
    values = [Sample(t, float(len(t)) + draw.normal(), f"f.csv:{i}", digest=t) for i, t in enumerate(texts)]
    assert "shortcut_length" in kinds(values, "text", ())
    chance = [Sample(t, float(draw.normal()), f"f.csv:{i}", digest=t) for i, t in enumerate(texts)]
    assert kinds(chance, "text", ()) == set() and kinds(chance[:40], "text", ()) == set()


def test_what_a_header_does_not_say_is_not_known(tmp_path: Path) -> None:
    broken = tmp_path / "x.jpg"
    broken.write_bytes(b"\xff\xd8\xff\xe0 cut")
    head = _trivial.header(broken)
    assert np.isnan(head["width"]) and np.isnan(_trivial.header(tmp_path / "none.png")["bytes"])
    grey: NDArray[np.uint8] = np.zeros((4, 6), np.uint8)
    assert (_trivial.header(grey)["width"], _trivial.header(grey)["height"]) == (6, 4)

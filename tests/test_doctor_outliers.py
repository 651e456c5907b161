"""Samples that lie far from all others, and samples without content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from graft.data import Sample
from graft.doctor._outliers import found


def cloud(n: int, name: str = "s", seed: int = 0) -> tuple[list[Sample], torch.Tensor]:
    x = np.random.default_rng(seed).normal(size=(n, 12))
    return [Sample(f"text {i}", "a", f"{name}{i}", digest=f"{name}{i}") for i in range(n)], torch.from_numpy(x).float()


def test_samples_far_from_training_are_named_furthest_first_in_every_part() -> None:
    train, x = cloud(200)
    test, z = cloud(20, "t", 1)
    x[7] += 40
    z[3] += 80
    (far,) = found({"train": train, "test": test}, {"train": x, "test": z})
    assert [(i.id, i.split) for i in far.items] == [("t3", "test"), ("s7", "train")]
    assert far.kind == "outlier" and far.effect and far.fix


def test_copies_of_an_outlier_do_not_keep_it_company() -> None:
    train, x = cloud(200)
    x[:8] = 40.0
    for s in train[:8]:
        s.digest = "one"
    (far,) = found({"train": train}, {"train": x})
    assert {i.id for i in far.items} == {f"s{i}" for i in range(8)}


@pytest.mark.parametrize("seed", range(5))
def test_clean_clouds_and_few_samples_have_none(seed: int) -> None:
    train, x = cloud(300, seed=seed)
    assert found({"train": train}, {"train": x}) == []
    few, y = cloud(40, seed=seed)
    y[0] += 50
    assert found({"train": few}, {"train": y}) == []


def test_texts_without_a_letter_and_of_one_character_are_empty_and_words_of_any_script_are_not() -> None:
    texts = ("12 34", "!", "a", "ok", "猫が", "да", "5 stars")
    samples = [Sample(t, "a", f"f.csv:{i}") for i, t in enumerate(texts, 2)]
    (empty,) = found({"train": samples}, {})
    assert [i.id for i in empty.items] == ["f.csv:2", "f.csv:3", "f.csv:4"]


def test_pictures_of_one_colour_are_found_in_every_format_and_arrays_and_others_are_not(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    for suffix in ("png", "jpg", "bmp"):
        Image.new("RGB", (300, 200), (90, 120, 30)).save(tmp_path / f"blank.{suffix}")
        Image.fromarray(noise).save(tmp_path / f"noise.{suffix}")
    Image.new("RGB", (300, 200)).save(tmp_path / "dot.png")
    dot = Image.open(tmp_path / "dot.png").copy()
    dot.paste((255, 255, 255), (0, 0, 20, 20))
    dot.save(tmp_path / "dot.png")
    samples = [Sample(p, "a", p.name) for p in sorted(tmp_path.iterdir())]
    samples += [Sample(np.full((8, 8), 7, np.uint8), "a", "flat"), Sample(noise, "a", "array")]
    (empty,) = found({"train": samples}, {})
    assert {i.id for i in empty.items} == {"blank.png", "blank.jpg", "blank.bmp", "flat"}

"""Planted wrong labels, in training and beside it, by kind of answer; and silence where there are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from graft.data import Sample
from graft.doctor._suspects import label_errors

LABELS = ("cat", "dog", "fox")
Made = tuple[list[Sample], torch.Tensor]


def clouds(n: int, apart: float, wrong: int = 0, seed: int = 0, name: str = "s") -> Made:
    """Three clouds in 8 dimensions, `wrong` labels moved on by one class."""
    draw = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = draw.normal(size=(n, 8))
    x[np.arange(n), y] += apart
    y[:wrong] = (y[:wrong] + 1) % 3
    samples = [Sample(i, LABELS[c], f"{name}{i}", digest=f"{name}{i}") for i, c in enumerate(y)]
    return samples, torch.from_numpy(x).float()


def test_wrong_labels_of_training_and_test_and_no_others_are_named_with_what_it_looks_like() -> None:
    train, x = clouds(180, 14.0, wrong=18)
    test, z = clouds(60, 14.0, wrong=3, seed=1, name="t")
    (found,) = label_errors({"train": train, "test": test}, {"train": x, "test": z}, LABELS)
    assert found.kind == "label_error" and found.severity == "warning" and found.effect and found.fix
    by_id = {i.id: i for i in found.items}
    planted, spoilt = {f"s{i}" for i in range(18)}, {f"t{i}" for i in range(3)}
    assert spoilt <= set(by_id) <= planted | spoilt and len(by_id) >= 18
    assert by_id["s0"].other == "cat" and by_id["s0"].split == "train"  # said to be a dog
    assert by_id["t2"].other == "fox" and by_id["t2"].split == "test"
    assert f"{len(by_id) - 3} in train, 3 in test" in found.text


def test_more_than_a_block_of_rows_is_judged_to_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.suspects.AT_ONCE", 250)
    train, x = clouds(600, 16.0, wrong=12)
    (found,) = label_errors({"all": train}, {"all": x}, LABELS)
    assert {i.id for i in found.items} <= {f"s{i}" for i in range(12)}
    assert found.count >= 10 and " of 600 " in found.text


def test_a_copy_in_training_does_not_judge_its_twin_in_test() -> None:
    train, x = clouds(150, 8.0, wrong=6)
    twins = [Sample(s.x, s.y, f"copy {s.id}", digest=s.digest) for s in train[:6]]
    (found,) = label_errors({"train": train, "test": twins}, {"train": x, "test": x[:6]}, LABELS)
    assert {i.split for i in found.items} == {"train"}


def test_no_accusation_without_need_knowledge_or_samples() -> None:
    for n, apart, wrong in ((150, 12.0, 0), (150, 0.0, 0), (300, 1.2, 0), (48, 8.0, 3)):
        train, x = clouds(n, apart, wrong)
        assert label_errors({"train": train}, {"train": x}, LABELS) == []


def test_several_labels_are_judged_each_and_the_item_shows_the_set_as_it_would_be() -> None:
    draw = np.random.default_rng(0)
    held = draw.random((240, 2)) < 0.4
    x = draw.normal(size=(240, 8))
    x[:, :2] += 16 * held
    written = held.copy()
    written[:4, 0] ^= True
    ys = [tuple(n for n, h in zip(("a", "b"), row) if h) for row in written]
    samples = [Sample(i, y, f"s{i}", digest=str(i)) for i, y in enumerate(ys)]
    (found,) = label_errors({"train": samples}, {"train": torch.from_numpy(x).float()}, ("a", "b"))
    right = {f"s{i}": ";".join(n for n, h in zip(("a", "b"), held[i]) if h) or "none" for i in range(4)}
    assert {i.id: i.other for i in found.items} == right


def test_numbers_far_from_what_the_features_say_are_outliers_and_honest_noise_is_none() -> None:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 6))
    y = x @ np.array([3.0, -2.0, 1.0, 0, 0, 0]) + draw.normal(size=200) * 0.3
    looks = {"train": torch.from_numpy(x).float()}
    clean = [Sample(i, float(v), f"s{i}", digest=str(i)) for i, v in enumerate(y)]
    assert label_errors({"train": clean}, looks, ()) == []
    y[:3] += 30
    wild = [Sample(i, float(v), f"s{i}", digest=str(i)) for i, v in enumerate(y)]
    (found,) = label_errors({"train": wild}, looks, ())
    assert found.kind == "label_outlier" and {i.id for i in found.items} == {"s0", "s1", "s2"}
    assert all(abs(float(i.other) - (y[int(i.id[1:])] - 30)) < 2 for i in found.items)

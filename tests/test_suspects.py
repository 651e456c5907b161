"""Labels that a probe contradicts: who is named, and when nobody is."""

from __future__ import annotations

import numpy as np
import torch

from graft.data import Sample
from graft.suspects import likely_wrong

LABELS = ("cat", "dog", "fox")


def made(n: int, apart: float, wrong: int = 0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, list[Sample]]:
    """Three clouds `apart` from one another in 8 dimensions, `wrong` labels moved on by one class."""
    draw = np.random.default_rng(seed)
    y = np.arange(n) % 3
    x = draw.normal(size=(n, 8))
    x[np.arange(n), y] += apart
    y[:wrong] = (y[:wrong] + 1) % 3
    samples = [Sample(i, LABELS[c], f"s{i}", digest=str(i)) for i, c in enumerate(y)]
    return torch.from_numpy(x.astype(np.float32)), torch.eye(3)[torch.from_numpy(y)], samples


def test_the_wrong_labels_are_named_with_what_is_known_of_the_probe() -> None:
    (note,) = likely_wrong(*made(150, 8.0, wrong=5), LABELS)
    assert {i.partition(":")[0] for i in note.items} == {f"s{i}" for i in range(5)}
    assert note.text.startswith("the probe disagrees with 5 of 150 training labels")
    assert "its own cross-validated accuracy is 97 %" in note.text


def test_nobody_is_accused_without_need_or_on_few_samples_or_by_chance() -> None:
    assert likely_wrong(*made(150, 12.0), LABELS) == []
    assert likely_wrong(*made(48, 8.0, wrong=3), LABELS) == []
    assert likely_wrong(*made(150, 0.0), LABELS) == []


def test_a_weak_probe_with_many_suspects_accuses_nobody_and_a_strong_one_does() -> None:
    x, y, samples = made(300, 1.2)  # better than chance by far more than a tenth, yet often wrong itself
    assert likely_wrong(x, y, samples, LABELS) == []
    (note,) = likely_wrong(*made(300, 10.0, wrong=36), LABELS)  # more than a tenth, seen by a probe that is sure
    assert int(note.text.split()[4]) > 30 and len(note.items) == 20


def test_a_copy_of_a_wrong_label_does_not_speak_for_it() -> None:
    # In many dimensions a probe learns rows by heart: a copy in another fold would confirm its own wrong label.
    draw = np.random.default_rng(3)
    y = np.arange(200) % 2
    x = draw.normal(size=(200, 60))
    x[np.arange(200), y] += 12.0
    y[:2] = 1 - y[:2]
    twice = np.concatenate([np.arange(200), np.repeat(np.arange(2), 10)])
    pooled, target = torch.from_numpy(x[twice].astype(np.float32)), torch.eye(2)[torch.from_numpy(y[twice])]
    tied = [Sample(i, LABELS[y[i]], f"s{i}", digest=str(i)) for i in twice]
    (note,) = likely_wrong(pooled, target, tied, LABELS[:2])
    assert {i.partition(":")[0] for i in note.items} == {f"s{i}" for i in range(2)}
    loose = [Sample(i, LABELS[y[i]], f"s{i}", digest=f"{i} {k}") for k, i in enumerate(twice)]
    assert likely_wrong(pooled, target, loose, LABELS[:2]) == []

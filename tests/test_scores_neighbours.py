"""Nearest neighbours: against a search through all pairs."""

from __future__ import annotations

import numpy as np
import pytest
import score_worlds as worlds

from graft.scores import Material, neighbours


def ranked(x: np.ndarray, i: int) -> list[int]:
    """All other rows, nearest first."""
    others = [j for j in range(len(x)) if j != i]
    return sorted(others, key=lambda j: float(((x[i] - x[j]) ** 2).sum()))


@pytest.mark.parametrize("d", [1, 6, 90])
@pytest.mark.parametrize("block", [2**21, 100])
def test_the_accuracy_of_the_nearest_other_sample(d: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("graft.scores._moments.BLOCK", block)
    x, y = worlds.classes(d=d)
    wanted = np.mean([y[ranked(x, i)[0]] == y[i] for i in range(60)])
    assert neighbours.neighbours(Material.of(x, y, "classes")) == pytest.approx(wanted)


@pytest.mark.parametrize("kind", ["numbers", "labels"])
def test_the_r2_of_the_mean_of_five(kind: str) -> None:
    x, y = worlds.numbers(k=2) if kind == "numbers" else worlds.labels()
    guess = np.vstack([y[ranked(x, i)[:5]].mean(axis=0) for i in range(60)])
    wanted = (1 - ((y - guess) ** 2).sum(axis=0) / ((y - y.mean(axis=0)) ** 2).sum(axis=0)).mean()
    assert neighbours.neighbours(Material.of(x, y, kind)) == pytest.approx(wanted)


def test_a_copy_answers_for_its_copy_and_not_a_sample_for_itself() -> None:
    x, y = worlds.classes(apart=0)
    assert neighbours.neighbours(Material.of(np.vstack([x, x]), np.tile(y, 2), "classes")) == 1.0
    assert neighbours.neighbours(Material.of(x, y, "classes")) < 0.6


def test_rows_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = worlds.classes(n=300)
    m = Material.of(x, y, "classes")
    monkeypatch.setattr(neighbours, "MOST_ROWS", 70)
    rows = m.sample(70)
    wanted = np.mean([y[rows][ranked(x[rows], i)[0]] == y[rows][i] for i in range(70)])
    assert neighbours.neighbours(m) == pytest.approx(wanted)


def test_three_samples_have_two_neighbours() -> None:
    assert neighbours.neighbours(Material.of([[0.0], [1.0], [3.0]], [0.0, 1.0, 3.0], "numbers")) < 0

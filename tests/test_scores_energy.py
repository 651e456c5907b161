"""ETran's energy: against sums of exponentials."""

from __future__ import annotations

import math

import numpy as np
import pytest
import score_worlds as worlds

from graft.scores import Material, energy


def test_it_is_the_mean_log_of_the_sum_of_exponentials(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = worlds.classes()
    wanted = sum(math.log(sum(math.exp(v) for v in row)) for row in x.tolist()) / len(x)
    assert energy.energy(Material.of(x, y, "classes")) == pytest.approx(wanted, rel=1e-12)
    monkeypatch.setattr("graft.scores._moments.BLOCK", 40)
    assert energy.energy(Material.of(x, y, "classes")) == pytest.approx(wanted, rel=1e-12)


def test_large_features_do_not_overflow() -> None:
    x, y = worlds.classes()
    x = x.astype(np.float32)
    far = energy.energy(Material.of(x + np.float32(5000), y, "classes"))
    assert far == pytest.approx(energy.energy(Material.of(x, y, "classes")) + 5000, abs=1e-2)


def test_it_is_the_same_for_every_kind_of_target() -> None:
    x, y = worlds.numbers()
    found = [
        energy.energy(Material.of(x, t, k)) for t, k in ((y, "numbers"), (y > 40, "labels"), (np.arange(60), "classes"))
    ]
    assert found[0] == found[1] == found[2]

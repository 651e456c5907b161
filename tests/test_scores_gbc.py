"""GBC: against the integral of the root of two densities, and the general closed form of each pair."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import score_worlds as worlds
from scipy.integrate import quad
from scipy.stats import norm

from graft.scores import Material, NoScore, gbc


def bhattacharyya(m: np.ndarray, s: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> float:
    """The coefficient of two Gaussians with full covariances."""
    both = (s + cov) / 2
    apart = (m - mean) @ np.linalg.inv(both) @ (m - mean) / 8
    return float(np.exp(-apart) * (np.linalg.det(s) * np.linalg.det(cov)) ** 0.25 / np.linalg.det(both) ** 0.5)


def by_definition(z: np.ndarray, y: np.ndarray, spherical: bool) -> float:
    fits = {}
    for k in np.unique(y):
        v = z[y == k].var(axis=0)
        fits[k] = z[y == k].mean(axis=0), np.diag(np.full(len(v), v.mean()) if spherical else v)
    return -sum(bhattacharyya(*fits[a], *fits[b]) for a, b in permutations(fits, 2))


def test_one_column_is_the_integral() -> None:
    x, y = worlds.classes(d=1, c=2)
    fits = [norm(x[y == k].mean(), x[y == k].std()) for k in (0, 1)]
    wanted = -2 * quad(lambda t: np.sqrt(fits[0].pdf(t) * fits[1].pdf(t)), -20, 30, limit=200)[0]
    m = Material.of(x, y, "classes")
    assert gbc.gbc(m) == pytest.approx(wanted, abs=1e-7)
    assert gbc.gbc_diagonal(m) == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize("block", [2**21, 1])
def test_it_is_the_closed_form_on_principal_components(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gbc, "BLOCK", block)
    x, y = worlds.classes()
    z = (x - x.mean(axis=0)) @ np.linalg.svd(x - x.mean(axis=0))[2].T
    m = Material.of(x, y, "classes")
    assert gbc.gbc(m) == pytest.approx(by_definition(z, y, spherical=True), rel=1e-9)
    assert gbc.gbc_diagonal(m) == pytest.approx(by_definition(z, y, spherical=False), rel=1e-9)


def test_no_more_than_64_components_count() -> None:
    x, y = worlds.classes(n=300, d=80)
    z = (x - x.mean(axis=0)) @ np.linalg.svd(x - x.mean(axis=0))[2].T[:, :64]
    assert gbc.gbc(Material.of(x, y, "classes")) == pytest.approx(by_definition(z, y, spherical=True), rel=1e-6)


def test_classes_that_overlap_fully_give_minus_their_pairs_and_far_ones_nothing() -> None:
    y = np.repeat(np.arange(3), 40)
    same = np.tile(np.random.default_rng(0).normal(size=(40, 4)), (3, 1))
    assert gbc.gbc(Material.of(same, y, "classes")) == pytest.approx(-6.0)
    assert gbc.gbc_diagonal(Material.of(same, y, "classes")) == pytest.approx(-6.0)
    assert gbc.gbc(Material.of(same + 50 * np.eye(4)[y], y, "classes")) == pytest.approx(0.0, abs=1e-12)


def test_classes_with_one_sample_are_left_out_and_exact_copies_have_a_small_variance() -> None:
    x, y = worlds.classes()
    lone = Material.of(np.vstack([x, x[:1] + 40]), np.append(y, 9), "classes")
    assert -12 < gbc.gbc(lone) < 0
    copies = np.where((y == 0)[:, None], x[0], x)
    assert -6 < gbc.gbc_diagonal(Material.of(copies, y, "classes")) < 0
    with pytest.raises(NoScore, match="fewer than two classes have two samples"):
        gbc.gbc(Material.of(x[:6], np.array([0, 0, 1, 2, 3, 4]), "classes"))


def test_of_many_classes_some_stand_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    y = np.repeat(np.arange(60), 5)
    x = np.random.default_rng(0).normal(size=(300, 3)) + np.random.default_rng(1).normal(size=(60, 3))[y]
    m = Material.of(x, y, "classes")
    whole = gbc.gbc(m)
    monkeypatch.setattr(gbc, "MOST_CLASSES", 30)
    assert gbc.gbc(m) == pytest.approx(whole, rel=0.25)
    assert gbc.gbc(m) != whole

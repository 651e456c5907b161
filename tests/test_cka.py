"""Linear CKA: against its definition by brute force, and what it must and must not notice."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from graft import cka


def pair(n: int = 40, d: int = 12, e: int = 7, noise: float = 0.7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of n samples and a noisy linear image of them, both with means far from zero."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, d))
    return x + 3, x @ draw.normal(size=(d, e)) + noise * draw.normal(size=(n, e)) * d**0.5 - 5


def by_definition(x: np.ndarray, y: np.ndarray) -> float:
    """HSIC as the mean over all quadruples of different samples: its definition as a U-statistic of order four.

    Gretton et al. 2005: E k(i,j)m(i,j) + E k(i,j) E m(q,r) - 2 E k(i,j) m(i,q), all indices different.
    """
    k, m = x @ x.T, y @ y.T
    quads = list(permutations(range(len(x)), 4))
    return float(np.mean([k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]) for i, j, q, r in quads]))


def test_hsic_is_the_mean_over_all_quadruples_of_samples() -> None:
    x, y = pair(9, 5, 3)
    for a, b in ((x, y), (x, x), (y, y)):
        assert cka.hsic(cka.gram(a), cka.gram(b)) == pytest.approx(by_definition(a, b), rel=1e-9)


def test_hsic_is_unbiased_where_features_outnumber_samples() -> None:
    draws = [np.random.default_rng(i) for i in range(300)]
    found = [cka.linear(r.normal(size=(10, 500)), r.normal(size=(10, 500))) for r in draws]
    assert abs(np.mean(found)) < 0.03  # the biased estimator gives about 0.98 here
    x, y = draws[0].normal(size=(10, 500)), draws[0].normal(size=(10, 500))
    x, y = x - x.mean(0), y - y.mean(0)
    biased = np.square(x.T @ y).sum() / np.sqrt(np.square(x.T @ x).sum() * np.square(y.T @ y).sum())
    assert biased > 0.9


def test_many_samples_bring_it_to_the_plain_formula() -> None:
    x, y = pair(4000)
    x, y = x - x.mean(0), y - y.mean(0)
    plain = np.square(x.T @ y).sum() / np.sqrt(np.square(x.T @ x).sum() * np.square(y.T @ y).sum())
    assert cka.linear(x, y) == pytest.approx(plain, abs=0.005)


def test_rotations_scales_and_shifts_of_features_change_nothing_but_other_maps_do() -> None:
    x, y = pair()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(12, 12)))[0]
    same = cka.linear(x, y)
    assert cka.linear(7.5 * x @ turn + 100, y) == pytest.approx(same, abs=1e-9)
    assert cka.linear(x, 0.01 * y - 3) == pytest.approx(same, abs=1e-9)
    assert cka.linear(x, x @ turn) == pytest.approx(1, abs=1e-12)
    assert abs(cka.linear(x * np.logspace(0, 2, 12), y) - same) > 0.01


def test_the_interval_is_the_jackknife_of_the_value() -> None:
    x, y = pair(20)
    found = cka.between(cka.gram(x), cka.gram(y))
    left = np.array([cka.linear(np.delete(x, i, 0), np.delete(y, i, 0)) for i in range(20)])
    error = np.sqrt(19 / 20 * np.square(left - left.mean()).sum())
    assert found.value == pytest.approx(cka.linear(x, y), abs=1e-12)
    assert found.low == pytest.approx(found.value - 1.959964 * error, abs=1e-5)
    assert found.high == pytest.approx(min(1, found.value + 1.959964 * error), abs=1e-5)


def test_the_interval_covers_what_many_samples_say() -> None:
    draw = np.random.default_rng(3)
    mix = draw.normal(size=(6, 6))

    def some(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        of = np.random.default_rng(seed)
        x = of.normal(size=(n, 6))
        return x, x @ mix + 1.5 * of.normal(size=(n, 6))

    truth = cka.linear(*some(4000, 99))
    hits = 0
    for seed in range(200):
        x, y = some(60, seed)
        found = cka.between(cka.gram(x), cka.gram(y))
        hits += found.low <= truth <= found.high
    assert 0.88 <= hits / 200 <= 0.99


def test_features_that_do_not_vary_say_nothing() -> None:
    x, _ = pair()
    constant = np.full((40, 3), 0.1)
    assert cka.linear(x, constant) == cka.linear(constant, x) == 0
    assert np.isnan(cka.linear(constant, constant))
    found = cka.between(cka.gram(x), cka.gram(constant))
    assert (found.value, found.low, found.high) == (0, 0, 0)
    found = cka.between(cka.gram(constant), cka.gram(constant))
    assert np.isnan([found.value, found.low, found.high]).all()


def test_rounding_of_single_precision_is_no_variation() -> None:
    draw = np.random.default_rng(0)
    constant = (100 * (1 + 1e-8 * draw.normal(size=(40, 3)))).astype(np.float32).astype(np.float64)
    assert not cka.gram(constant).any()

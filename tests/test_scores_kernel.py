"""RSA and CKA: against SciPy and centred Gram matrices, and graft's own CKA of two sets of features."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import score_worlds as worlds
from scipy.stats import spearmanr

from graft import cka as carried
from graft.scores import Material, NoScore, kernel


def target_rows(kind: str, y: np.ndarray) -> np.ndarray:
    """The target as rows whose linear kernel is the label kernel."""
    if kind == "classes":
        return np.eye(y.max() + 1)[y]
    return (y - y.mean(axis=0)) / y.std(axis=0) if kind == "numbers" else y.astype(float)


def worlds_of() -> list[tuple[str, np.ndarray, np.ndarray]]:
    wide = worlds.classes(n=30, d=100)
    return [
        ("classes", *worlds.classes()), ("numbers", *worlds.numbers(k=2)), ("labels", *worlds.labels()),
        ("classes", *wide),
    ]  # fmt: skip


@pytest.mark.parametrize(("kind", "x", "y"), worlds_of())
def test_cka_is_that_of_centred_gram_matrices(kind: str, x: np.ndarray, y: np.ndarray) -> None:
    n = len(x)
    h = np.eye(n) - 1 / n
    k, m = (h @ a @ a.T @ h for a in (x, target_rows(kind, y)))
    wanted = np.trace(k @ m) / np.sqrt(np.trace(k @ k) * np.trace(m @ m))
    assert kernel.cka(Material.of(x, y, kind), debiased=False) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(("kind", "x", "y"), worlds_of())
def test_debiased_cka_is_that_of_the_features_and_the_target(kind: str, x: np.ndarray, y: np.ndarray) -> None:
    wanted = carried.linear(x, target_rows(kind, y))
    assert kernel.cka(Material.of(x, y, kind)) == pytest.approx(wanted, rel=1e-8)


def test_wide_noise_is_near_zero_only_without_the_bias() -> None:
    y = np.repeat([0, 1, 2], 8)
    found = [
        [kernel.cka(m, debiased=b) for b in (True, False)]
        for m in (Material.of(np.random.default_rng(i).normal(size=(24, 400)), y, "classes") for i in range(60))
    ]
    debiased, biased = np.mean(found, axis=0)
    assert abs(debiased) < 0.02 < 0.25 < biased


@pytest.mark.parametrize(("kind", "x", "y"), worlds_of())
def test_rsa_is_the_rank_correlation_of_distances(kind: str, x: np.ndarray, y: np.ndarray) -> None:
    pairs = list(combinations(range(len(x)), 2))
    rows = target_rows(kind, y)
    apart = [np.linalg.norm(x[i] - x[j]) for i, j in pairs]
    wanted = [round(float(np.linalg.norm(rows[i] - rows[j])), 9) for i, j in pairs]
    assert kernel.rsa(Material.of(x, y, kind)) == pytest.approx(spearmanr(apart, wanted)[0], abs=1e-9)


def test_features_that_are_the_target_are_alike_fully() -> None:
    _, y = worlds.numbers()
    m = Material.of(5 - 2 * y, y, "numbers")
    assert kernel.rsa(m) == pytest.approx(1)
    assert kernel.cka(m) == pytest.approx(1)


def test_too_few_samples_have_no_estimate() -> None:
    with pytest.raises(NoScore, match="3 samples, and 4 are needed"):
        kernel.cka(Material.of(np.eye(3), [0, 0, 1], "classes"))


def test_equal_distances_have_no_ranks() -> None:
    with pytest.raises(NoScore, match="by the features"):
        kernel.rsa(Material.of(np.eye(5), [0, 0, 1, 1, 1], "classes"))

"""LEEP and NCE: against loops over their definitions, and source heads that are broken."""

from __future__ import annotations

import math

import numpy as np
import pytest
import score_worlds as worlds

from graft.scores import Material, NoScore, leep


def leep_by_loops(theta: np.ndarray, y: np.ndarray) -> float:
    """Steps 2 and 3 of the paper's section 3, a sample and a class at a time."""
    n, s = theta.shape
    joint = {(k, z): sum(theta[i, z] for i in range(n) if y[i] == k) / n for k in set(y) for z in range(s)}
    marginal = [sum(joint[k, z] for k in set(y)) for z in range(s)]
    return sum(math.log(sum(joint[y[i], z] / marginal[z] * theta[i, z] for z in range(s))) for i in range(n)) / n


def nce_by_loops(theta: np.ndarray, y: np.ndarray) -> float:
    z = [int(np.argmax(row)) for row in theta]
    total = 0.0
    for k in set(y):
        for j in set(z):
            both = sum(a == k and b == j for a, b in zip(y, z, strict=True)) / len(y)
            if both:
                total += both * math.log(both / (z.count(j) / len(y)))
    return total


@pytest.mark.parametrize("block", [2**21, 11])
def test_both_are_their_definitions(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("graft.scores.leep.BLOCK", "graft.scores._moments.BLOCK"):
        monkeypatch.setattr(name, block)  # all classes at once, and two at a time
    for seed, (n, c, s) in enumerate([(60, 4, 5), (40, 12, 3), (30, 2, 40)]):
        (x, y), theta = worlds.classes(n, c=c, seed=seed), worlds.probabilities(n, s, seed)
        m = Material.of(x, y * 7 - 3, "classes", theta)
        assert leep.leep(m) == pytest.approx(leep_by_loops(theta, y), rel=1e-10)
        assert leep.nce(m) == pytest.approx(nce_by_loops(theta, y), rel=1e-10)


def test_a_head_that_knows_the_classes_is_perfect_and_one_that_is_constant_knows_their_shares() -> None:
    x, y = worlds.classes()
    share = np.bincount(y) / len(y)
    entropy = float((share * np.log(share)).sum())
    for theta, wanted in ((np.eye(4)[y], 0.0), (np.full((60, 5), 0.2), entropy)):
        m = Material.of(x, y, "classes", theta)
        assert leep.leep(m) == pytest.approx(wanted, abs=1e-12)
        assert leep.nce(m) == pytest.approx(wanted, abs=1e-12)


def test_nce_is_not_below_leep() -> None:
    """The empirical predictor of a hard answer is the best for it: the paper of LEEP, property 2, for hard answers."""
    x, y = worlds.classes()
    hard = np.eye(5)[worlds.probabilities().argmax(axis=1)]
    m = Material.of(x, y, "classes", hard)
    assert leep.leep(m) == pytest.approx(leep.nce(m), abs=1e-12)


def test_source_classes_that_no_sample_has_change_nothing() -> None:
    x, y = worlds.classes()
    theta = worlds.probabilities()
    wide = np.hstack([theta, np.zeros((60, 3))])
    a, b = (Material.of(x, y, "classes", t) for t in (theta, wide))
    assert leep.leep(a) == pytest.approx(leep.leep(b), rel=1e-12)
    assert leep.nce(a) == pytest.approx(leep.nce(b), rel=1e-12)


def test_probabilities_of_half_precision_serve() -> None:
    x, y = worlds.classes()
    theta = worlds.probabilities()
    a, b = (Material.of(x, y, "classes", t) for t in (theta, theta.astype(np.float16)))
    assert leep.leep(a) == pytest.approx(leep.leep(b), abs=1e-3)


@pytest.mark.parametrize("function", [leep.leep, leep.nce])
@pytest.mark.parametrize(
    ("source", "card", "says"),
    [
        (None, None, "needs the source head's probabilities"),
        (worlds.probabilities(59), None, r"shape \[59, 5\], and there are 60 samples"),
        (worlds.probabilities(60)[:, 0], None, r"shape \[60\]"),
        (np.ones((60, 1)), None, "one class alone"),
        (worlds.probabilities(60), 1000, "gives 5 probabilities and its card says 1000"),
        (worlds.probabilities(60) * 2, None, "do not sum to 1: a row sums to 2"),
        (np.where(np.arange(60)[:, None] == 7, np.nan, worlds.probabilities(60)), None, "NaN"),
        (np.where(np.arange(60)[:, None] == 7, [np.inf, -np.inf, 0, 0, 1], worlds.probabilities(60)), None, "infinity"),
        (worlds.probabilities(60) - [[0.5, -0.5, 0, 0, 0]], None, "negative"),
    ],
)
def test_a_broken_head_is_a_reason(function, source, card, says) -> None:
    x, y = worlds.classes()
    with pytest.raises(NoScore, match=says):
        function(Material.of(x, y, "classes", source, card))


def test_features_that_are_broken_do_not_matter_here() -> None:
    x, y = worlds.classes()
    theta = worlds.probabilities()
    broken = Material.of(np.full_like(x, np.nan), y, "classes", theta)
    assert leep.leep(broken) == leep.leep(Material.of(x, y, "classes", theta))

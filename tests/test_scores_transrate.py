"""TransRate: against log-determinants of explicit matrices."""

from __future__ import annotations

import numpy as np
import pytest
import score_worlds as worlds

from graft.scores import Material, transrate


def rate(z: np.ndarray, distortion: float) -> float:
    """1/2 log det(I + Z'Z / (n e))."""
    n, d = z.shape
    return float(np.linalg.slogdet(np.eye(d) + z.T @ z / (n * distortion))[1]) / 2


def by_definition(x: np.ndarray, y: np.ndarray, distortion: float) -> float:
    z = x - x.mean(axis=0)
    return rate(z, distortion) - sum((y == k).mean() * rate(z[y == k], distortion) for k in np.unique(y))


@pytest.mark.parametrize(
    ("n", "d", "c"), [(60, 6, 4), (60, 30, 4), (20, 50, 3), (60, 1, 2), (90, 12, 40), (300, 200, 3)]
)
@pytest.mark.parametrize("block", [2**21, 30])
def test_it_is_the_difference_of_log_determinants(
    n: int, d: int, c: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transrate, "BLOCK", block)  # classes in one stack, and a few at a time
    x, y = worlds.classes(n, d, c)
    m = Material.of(x, y, "classes")
    assert transrate.transrate(m) == pytest.approx(by_definition(x, y, 1e-4), rel=1e-9)
    assert transrate.transrate(m, 0.5) == pytest.approx(by_definition(x, y, 0.5), rel=1e-9)


def test_classes_on_one_point_each_have_no_rate_of_their_own_but_that_of_their_means() -> None:
    y = np.repeat([0, 1], 10)
    x = np.where(y == 0, -1.0, 1.0)[:, None]
    assert transrate.transrate(Material.of(x, y, "classes")) == pytest.approx(0.0, abs=1e-12)
    x = np.hstack([x, np.tile([-1.0, 1.0], 10)[:, None]])
    # Two directions of variance 1, in each class and in all; but a class's two are orthogonal as well: still nothing.
    assert transrate.transrate(Material.of(x, y, "classes")) == pytest.approx(0.0, abs=1e-12)


def test_repeated_samples_and_large_features_leave_only_the_directions_there_are() -> None:
    """Of scale s the rate of a set of rank r grows by r log s, once the distortion is nothing beside it."""
    y = np.repeat([0, 1], 20)
    points = np.random.default_rng(0).normal(size=(2, 2, 5))  # two points a class: 3 directions in all, 2 in a class
    x = points[y, np.tile([0, 1], 20)]
    a, b = (transrate.transrate(Material.of(x * s, y, "classes")) for s in (1e8, 1e11))
    assert b - a == pytest.approx((3 - 2) * np.log(1e3), rel=1e-6)


def test_classes_in_directions_of_their_own_gain_by_telling_them() -> None:
    y = np.repeat(np.arange(3), 20)
    x = np.eye(3)[y] * np.random.default_rng(0).normal(1, 0.1, size=(60, 1))
    other = np.random.default_rng(1).permutation(y)
    one, two = (transrate.transrate(Material.of(x, t, "classes")) for t in (y, other))
    assert one > two + 1

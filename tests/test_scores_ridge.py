"""Ridge regression: against explicit hat matrices at every penalty."""

from __future__ import annotations

import numpy as np
import pytest
import score_worlds as worlds

from graft.scores import Material, ridge


def by_hat_matrices(x: np.ndarray, y: np.ndarray) -> float:
    """1 - GCV at the best penalty / GCV of the mean alone: GCV is n |y - Hy|^2 / trace(I - H)^2."""
    n, found = len(x), []
    z = x - x.mean(axis=0)
    largest = np.linalg.eigvalsh(z.T @ z)[-1]
    for column in y.T:
        values = []
        for penalty in np.logspace(-6, 3, 19) * largest:
            hat = 1 / n + z @ np.linalg.solve(z.T @ z + penalty * np.eye(x.shape[1]), z.T)
            values.append(n * ((column - hat @ column) ** 2).sum() / np.trace(np.eye(n) - hat) ** 2)
        alone = n * ((column - column.mean()) ** 2).sum() / (n - 1) ** 2
        found.append(1 - min(values) / alone)
    return float(np.mean(found))


@pytest.mark.parametrize("d", [1, 6, 40, 90])
def test_numbers_and_labels_are_foreseen_as_by_hat_matrices(d: int) -> None:
    x, y = worlds.numbers(d=d, k=2)
    assert ridge.ridge(Material.of(x, y, "numbers")) == pytest.approx(by_hat_matrices(x, y), rel=1e-6)
    x, y = worlds.labels(d=d)
    assert ridge.ridge(Material.of(x, y, "labels")) == pytest.approx(by_hat_matrices(x, y.astype(float)), rel=1e-6)


def test_a_linear_function_is_known_and_noise_is_not_however_wide() -> None:
    x, y = worlds.numbers(noise=0.0)
    assert ridge.ridge(Material.of(x, y, "numbers")) > 0.999
    draw = np.random.default_rng(0)
    found = [ridge.ridge(Material.of(draw.normal(size=(60, 400)), draw.normal(size=60), "numbers")) for _ in range(20)]
    assert abs(np.mean(found)) < 0.15

"""LogME: against a search for the most likely alpha and beta, with the evidence written as a Gaussian density."""

from __future__ import annotations

import numpy as np
import pytest
import score_worlds as worlds
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from graft.scores import Material, NoScore
from graft.scores import logme as evidence
from graft.scores.logme import logme


def by_search(x: np.ndarray, y: np.ndarray) -> float:
    """max over alpha, beta of log N(y; 0, XX'/alpha + I/beta) / n: the weights integrated out by hand."""
    n = len(x)

    def minus(logs: np.ndarray) -> float:
        alpha, beta = np.exp(logs)
        cov = x @ x.T / alpha + np.eye(n) / beta
        return -float(multivariate_normal.logpdf(y, np.zeros(n), cov)) / n

    starts = [(0.0, 0.0), (3.0, 3.0)]
    found = [minimize(minus, s, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12}) for s in starts]
    return -min(float(f.fun) for f in found)


@pytest.mark.parametrize(("n", "d"), [(40, 5), (25, 12), (15, 30)])
def test_it_is_the_maximum_of_the_evidence_for_classes(n: int, d: int) -> None:
    x, y = worlds.classes(n, d, 3)
    wanted = np.mean([by_search(x, (y == k).astype(float)) for k in range(3)])
    assert logme(Material.of(x, y, "classes")) == pytest.approx(wanted, abs=1e-6)


def test_it_is_the_maximum_of_the_evidence_for_numbers_in_standard_units_and_labels() -> None:
    x, y = worlds.numbers(30, 5, 2)
    standard = (y - y.mean(axis=0)) / y.std(axis=0)
    wanted = np.mean([by_search(x, column) for column in standard.T])
    assert logme(Material.of(x, y, "numbers")) == pytest.approx(wanted, abs=1e-6)
    x, marks = worlds.labels(30, 5)
    wanted = np.mean([by_search(x, column.astype(float)) for column in marks.T])
    assert logme(Material.of(x, marks, "labels")) == pytest.approx(wanted, abs=1e-6)


def test_a_target_that_features_know_nothing_of_has_the_evidence_of_noise() -> None:
    x = np.vstack([np.eye(4), -np.eye(4)] * 3)
    y = np.tile([1.0, -1.0, 1.0, -1.0], 6)[:, None] * np.ones((1, 1))  # equal for x and -x: no linear function helps
    wanted = -0.5 * (np.log(2 * np.pi) + 1)
    assert logme(Material.of(x, y, "numbers")) == pytest.approx(wanted, abs=1e-6)


def test_classes_that_features_tell_better_are_more_likely() -> None:
    found = [logme(Material.of(*worlds.classes(apart=a), "classes")) for a in (0.0, 0.5, 1.5, 4.0)]
    assert found == sorted(found)


def test_an_exact_linear_function_has_no_maximum() -> None:
    x, _ = worlds.numbers()
    x = x - x.mean(axis=0)
    with pytest.raises(NoScore, match="exact linear function"):
        logme(Material.of(x, x @ np.arange(1.0, 7.0), "numbers"))


def test_columns_at_a_time_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    m = worlds.material()
    whole = logme(m)
    monkeypatch.setattr("graft.scores.logme.BLOCK", 1)
    assert logme(m) == pytest.approx(whole, rel=1e-12)


def test_no_ratio_on_a_grid_is_better_for_any_of_many_columns() -> None:
    """Columns from pure noise to nearly linear, wide and narrow: flat evidence, two bends, maxima at the edge."""
    draw = np.random.default_rng(0)
    for n, d in ((200, 20), (40, 40), (30, 60)):
        x = draw.normal(size=(n, d)) * np.logspace(0, -3, d)
        y = x @ draw.normal(size=(d, 80)) * np.logspace(-3, 2, 80) + draw.normal(size=(n, 80))
        m = Material.of(x, y, "numbers")
        z, squares = next(evidence._coordinates(m))
        values, outside = m.raw_spectrum.values, np.maximum(squares - z.sum(axis=0), 0.0) * (len(m.columns) > d)
        ratios = values[0] * np.logspace(-12, 12, 400)
        grid = [evidence._at(values, z, outside, np.full(80, r), n) for r in ratios]
        assert (evidence._evidence(values, z, squares, n) >= np.max(grid, axis=0) - 1e-9).all()

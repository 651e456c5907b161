"""H-score: against traces of explicit covariances, and scikit-learn's Ledoit and Wolf."""

from __future__ import annotations

import numpy as np
import pytest
import score_worlds as worlds
from sklearn.covariance import LedoitWolf

from graft.scores import Material, NoScore
from graft.scores.hscore import hscore, regularised_hscore, shrinkage


def class_means(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Each sample replaced by the mean of its class."""
    return np.vstack([x[y == k].mean(axis=0) for k in y])


def test_it_is_the_trace_of_the_inverse_covariance_times_that_of_the_class_means() -> None:
    x, y = worlds.classes()
    wanted = np.trace(np.linalg.pinv(np.cov(x.T)) @ np.cov(class_means(x, y).T))
    assert hscore(Material.of(x, y, "classes")) == pytest.approx(wanted, rel=1e-9)


def test_repeated_and_constant_columns_change_nothing() -> None:
    x, y = worlds.classes()
    wide = np.hstack([x, x[:, :2], np.ones((60, 1))])
    assert hscore(Material.of(wide, y, "classes")) == pytest.approx(hscore(Material.of(x, y, "classes")), rel=1e-9)


@pytest.mark.parametrize("least", [1e-2, 1e-4, 1e-5, 3e-6])
def test_directions_of_little_variance_count_by_factor_and_by_spectrum_alike(
    least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = worlds.classes()
    x = x * np.logspace(0, np.log10(least), 6)
    whole = hscore(Material.of(x, y, "classes"))
    monkeypatch.setattr("graft.scores.hscore.MARGIN", np.inf)
    assert hscore(Material.of(x, y, "classes")) == pytest.approx(whole, rel=1e-4)
    assert whole == pytest.approx(hscore(Material.of(worlds.classes()[0], y, "classes")), rel=1e-4)


def test_it_is_between_zero_and_the_number_of_classes_less_one() -> None:
    x, y = worlds.classes(apart=1e3)
    assert hscore(Material.of(x, y, "classes")) == pytest.approx(3, abs=1e-3)
    x, y = worlds.classes(n=5000, apart=0.0)
    assert hscore(Material.of(x, y, "classes")) == pytest.approx(3 * 6 / 5000, abs=5e-3)


@pytest.mark.parametrize("d", [6, 61, 200])
def test_the_regularised_form_is_that_of_an_explicit_shrunk_covariance(d: int) -> None:
    x, y = worlds.classes(d=d)
    shrunk = LedoitWolf().fit(x)
    a = shrunk.shrinkage_
    wanted = np.trace(np.linalg.inv(shrunk.covariance_) @ ((1 - a) * np.cov(class_means(x, y).T, bias=True)))
    m = Material.of(x, y, "classes")
    assert shrinkage(m) == pytest.approx(a, rel=1e-9)
    assert regularised_hscore(m) == pytest.approx(wanted, rel=1e-9)


def test_as_many_directions_as_samples_are_no_score_but_a_regularised_one() -> None:
    for d in (59, 60, 300):
        m = Material.of(*worlds.classes(d=d), "classes")
        with pytest.raises(NoScore, match="as many directions as samples"):
            hscore(m)
        assert 0 < regularised_hscore(m) < 3
    assert hscore(Material.of(*worlds.classes(d=58), "classes")) < 3


def test_one_column_is_the_share_of_variance_between_classes() -> None:
    x, y = worlds.classes(d=1)
    wanted = class_means(x, y).var() / x.var()
    assert hscore(Material.of(x, y, "classes")) == pytest.approx(wanted)
    assert regularised_hscore(Material.of(x, y, "classes")) == pytest.approx(wanted)  # one variance is its own mean

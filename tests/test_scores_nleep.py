"""NLEEP: against scikit-learn's PCA and mixture put together by hand, and its bounds."""

from __future__ import annotations

import numpy as np
import pytest
import score_worlds as worlds
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from test_scores_leep import leep_by_loops

from graft.scores import Material, nleep
from graft.seeds import rng


def test_it_is_leep_of_a_mixture_on_the_components_that_hold_four_fifths_of_the_variance() -> None:
    x, y = worlds.classes(n=300, apart=4.0)
    pca = PCA(0.8, svd_solver="full")
    z = pca.fit_transform(x)
    assert 1 < z.shape[1] < 6
    z /= np.sqrt(z.var(axis=0).mean())
    z *= np.sign(z[np.abs(z).argmax(axis=0), np.arange(z.shape[1])])
    seed = int(rng("scores", "nleep").integers(2**31))
    mixture = GaussianMixture(20, covariance_type="diag", reg_covar=1e-3, max_iter=200, random_state=seed)
    wanted = leep_by_loops(mixture.fit(z).predict_proba(z), y)
    found = nleep.nleep(Material.of(x, y, "classes"))
    assert found == pytest.approx(wanted, abs=2e-2)  # the authors set no bound on steps
    mixture.set_params(max_iter=nleep.STEPS)
    assert found == pytest.approx(leep_by_loops(mixture.fit(z).predict_proba(z), y), abs=1e-6)


def test_clusters_that_are_classes_are_known_and_noise_is_not() -> None:
    x, y = worlds.classes(n=300, apart=30.0)
    assert nleep.nleep(Material.of(x, y, "classes")) == pytest.approx(0.0, abs=1e-6)
    noise = np.random.default_rng(0).normal(size=(300, 6))
    share = np.bincount(y) / 300
    assert nleep.nleep(Material.of(noise, y, "classes")) < (share * np.log(share)).sum() + 0.35


def test_rows_and_gaussians_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[tuple[int, ...], int]] = []

    def posteriors(z: np.ndarray, many: int) -> np.ndarray:
        asked.append((z.shape, many))
        return np.full((len(z), 2), 0.5)

    monkeypatch.setattr(nleep, "_posteriors", posteriors)
    monkeypatch.setattr(nleep, "MOST_ROWS", 100)
    nleep.nleep(Material.of(*worlds.classes(n=300, d=2), "classes"))
    monkeypatch.setattr(nleep, "MOST_COMPONENTS", 3)
    nleep.nleep(Material.of(*worlds.classes(n=300, d=2), "classes"))
    assert [(shape[0], many) for shape, many in asked] == [(100, 10), (100, 3)]


def test_few_distinct_samples_have_no_more_gaussians_than_they_are() -> None:
    y = np.repeat([0, 1], 30)
    x = np.where(y == 0, -1.0, 1.0)[:, None]
    assert nleep.nleep(Material.of(x, y, "classes")) == pytest.approx(0.0, abs=1e-6)


def test_it_is_the_same_every_time() -> None:
    x, y = worlds.classes(n=200)
    assert nleep.nleep(Material.of(x, y, "classes")) == nleep.nleep(Material.of(x, y, "classes"))

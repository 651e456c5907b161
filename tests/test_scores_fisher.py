"""LDA and SFDA: against scikit-learn with the same shrinkage, and the steps of the paper on explicit matrices."""

from __future__ import annotations

import numpy as np
import pytest
import score_worlds as worlds
from scipy import linalg
from scipy.sparse.linalg import ArpackNoConvergence
from scipy.special import softmax
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from graft.scores import Material, NoScore, fisher


def within(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return sum((y == k).mean() * np.atleast_2d(np.cov(x[y == k].T, bias=True)) for k in np.unique(y))


def posteriors(x: np.ndarray, y: np.ndarray, strength: float) -> np.ndarray:
    """Through the generalised eigenvectors of Fisher's criterion, as the paper writes it."""
    shrunk = (1 - strength) * within(x, y) + strength * np.trace(within(x, y)) / x.shape[1] * np.eye(x.shape[1])
    _, u = linalg.eigh(np.cov(x.T, bias=True) - within(x, y), shrunk)
    means = np.vstack([x[y == k].mean(axis=0) for k in np.unique(y)])
    inner = means @ u @ u.T
    return softmax(x @ inner.T - (means * inner).sum(axis=1) / 2 + np.log(np.bincount(y) / len(y)), axis=1)


def own(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    return p[np.arange(len(y)), y]


def strength_of(x: np.ndarray, y: np.ndarray) -> float:
    return max(np.exp(-5 * np.linalg.eigvalsh(within(x, y))[-1]), 1e-10)


def sfda_by_steps(x: np.ndarray, y: np.ndarray) -> float:
    strength = strength_of(x, y)
    sure = own(softmax(posteriors(x, y, strength), axis=1), y)[:, None]
    others = np.vstack([x[y != k].mean(axis=0) for k in np.unique(y)])
    return float(own(posteriors(sure * x + (1 - sure) * others[y], y, strength), y).mean())


@pytest.mark.parametrize("scale", [0.1, 0.4, 3.0])
@pytest.mark.parametrize("d", [6, 70])
def test_lda_is_that_of_scikit_learn_with_the_published_shrinkage(scale: float, d: int) -> None:
    x, y = worlds.classes(n=200, d=d)
    x = x * scale
    strength = strength_of(x, y)
    peer = LinearDiscriminantAnalysis(solver="eigen", shrinkage=strength, priors=np.bincount(y) / len(y))
    wanted = own(peer.fit(x, y).predict_proba(x), y).mean()
    assert fisher.lda(Material.of(x, y, "classes")) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("scale", [0.1, 0.4, 3.0])
@pytest.mark.parametrize("d", [6, 70])
def test_sfda_is_its_steps(scale: float, d: int) -> None:
    x, y = worlds.classes(n=200, d=d)
    assert fisher.sfda(Material.of(scale * x, y, "classes")) == pytest.approx(sfda_by_steps(scale * x, y), rel=1e-6)


def test_fewer_samples_than_columns_are_the_same_discriminant_in_fewer_coordinates() -> None:
    x, y = worlds.classes(n=40, d=90)
    x = 0.1 * x  # so that the shrinkage is far from 0
    m = Material.of(x, y, "classes")
    assert fisher.lda(m) == pytest.approx(own(posteriors(x, y, strength_of(x, y)), y).mean(), rel=1e-6)
    assert fisher.sfda(m) == pytest.approx(sfda_by_steps(x, y), rel=1e-6)


def test_where_lanczos_does_not_settle_all_eigenvalues_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = worlds.classes(n=200, d=70)
    m = Material.of(0.1 * x, y, "classes")
    before = fisher.lda(m)

    def unsettled(*_: object, **__: object) -> None:
        raise ArpackNoConvergence("no convergence", np.zeros(0), np.zeros((70, 0)))

    monkeypatch.setattr(fisher, "eigsh", unsettled)
    assert fisher.lda(m) == pytest.approx(before, rel=1e-9)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    m = worlds.material()
    whole = fisher.lda(m), fisher.sfda(m)
    monkeypatch.setattr("graft.scores._moments.BLOCK", 40)
    assert (fisher.lda(m), fisher.sfda(m)) == pytest.approx(whole, rel=1e-10)


def test_the_self_challenge_is_harder_and_both_see_what_is_easier() -> None:
    worlds_of = [Material.of(*worlds.classes(n=200, apart=a), "classes") for a in (0.0, 0.7, 2.0, 6.0)]
    plain, hard = [fisher.lda(m) for m in worlds_of], [fisher.sfda(m) for m in worlds_of]
    assert plain == sorted(plain) and hard == sorted(hard)
    assert all(h < p for p, h in zip(plain, hard, strict=True))


def test_no_spread_within_classes_is_no_score() -> None:
    _, y = worlds.classes()
    m = Material.of(np.eye(4)[y], y, "classes")
    for score in (fisher.lda, fisher.sfda):
        with pytest.raises(NoScore, match="no spread within classes"):
            score(m)


def test_repeated_columns_do_not_break_the_system() -> None:
    x, y = worlds.classes()
    m = Material.of(np.hstack([x, x, x]) * 10, y, "classes")
    assert 0.5 < fisher.lda(m) <= 1
    assert 0 < fisher.sfda(m) <= 1

"""The thresholds that are tried, and what they decide."""

from __future__ import annotations

import numpy as np
import pytest

from graft import thresholds


def odds_of(p: np.ndarray) -> np.ndarray:
    return np.asarray(np.log(p[:, 1]) - np.log(p[:, 0]))


def two(positive: np.ndarray) -> np.ndarray:
    return np.stack([1 - positive, positive], axis=1)


@pytest.mark.parametrize("n", [2, 7, 51, 52, 400])
def test_thresholds_of_two_classes_lie_between_observed_odds(n: int) -> None:
    p = two(np.random.default_rng(n).uniform(0.001, 0.999, n))
    cuts = np.array([2 * c[0] for c in thresholds._candidates(p)])
    seen = np.unique(odds_of(p))
    assert len(cuts) == min(n - 1, thresholds.CUTS) and not np.isin(cuts, seen).any()
    at = np.searchsorted(seen, cuts)  # cut k lies above odds k - 1 and below odds k
    assert np.allclose(cuts, (seen[at - 1] + seen[at]) / 2) and (np.diff(at) >= 1).all()
    assert at[0] == 1 and at[-1] == n - 1 and np.ptp(np.diff(at)) <= 1 if n > 2 else True


def test_equal_odds_count_once_and_neighbouring_numbers_have_nothing_between() -> None:
    p = two(np.repeat([0.2, 0.4, 0.9], [50, 30, 20]))
    assert len(thresholds._candidates(p)) == 2
    assert thresholds._candidates(two(np.full(30, 0.3))) == []
    near = np.array([[0.5, 0.5], [np.nextafter(0.5, 1), 0.5], [0.2, 0.8]])
    seen = np.unique(odds_of(near))
    assert not np.isin([2 * c[0] for c in thresholds._candidates(near)], seen).any()


def test_a_candidate_decides_as_its_threshold_does() -> None:
    p = two(np.random.default_rng(0).uniform(0.01, 0.99, 60))
    for offsets in thresholds._candidates(p):
        decided = thresholds.shift("classes", p, offsets).argmax(axis=1)
        # class 1 where log-odds plus the difference of the offsets is above 0
        assert (decided == (odds_of(p) > offsets[0] - offsets[1])).all()

"""The linear models of probes, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from graft import linear


def made(n: int = 300, d: int = 12, seed: int = 0) -> tuple[torch.Tensor, np.random.Generator]:
    draw = np.random.default_rng(seed)
    return torch.from_numpy(draw.normal(size=(n, d)).astype(np.float32) * 3 + 1), draw


def test_labels_are_fitted_each_for_itself_as_scikit_learn_does() -> None:
    x, draw = made()
    w = draw.normal(size=(12, 3))
    y = torch.from_numpy((x.numpy() @ w + draw.normal(size=(300, 3)) * 3 > 2).astype(np.float32))
    fitted = linear.fit(x, y, l2=1.0, loss="sigmoid")
    z = StandardScaler().fit_transform(x.numpy().astype(np.float64)) / 12**0.5
    for c in range(3):
        # graft: mean loss + l2/20 |w|^2; scikit-learn: C x sum of losses + |w|^2 / 2
        other = LogisticRegression(C=1 / (300 * 0.1), tol=1e-9, max_iter=2000).fit(z, y[:, c].numpy())
        assert np.allclose(other.decision_function(z), fitted(x)[:, c].numpy(), atol=2e-3)


def test_numbers_are_ridge_regression() -> None:
    x, draw = made()
    y = torch.from_numpy((x.numpy() @ draw.normal(size=12) + draw.normal(size=300)).astype(np.float32))[:, None]
    fitted = linear.fit(x, y, l2=0.5, loss="square")
    z = StandardScaler().fit_transform(x.numpy().astype(np.float64)) / 12**0.5
    other = Ridge(alpha=0.05 * 300).fit(z, y[:, 0].numpy())
    assert np.allclose(other.predict(z), fitted(x)[:, 0].numpy(), atol=2e-2)


@pytest.mark.parametrize("loss", linear.LOSSES)
def test_held_out_answers_are_of_their_kind(loss: str) -> None:
    x, draw = made(120)
    if loss == "softmax":
        y = torch.eye(3)[torch.from_numpy(draw.integers(0, 3, 120))]
    else:
        y = torch.from_numpy(draw.integers(0, 2, size=(120, 2)).astype(np.float32))
    found = linear.cross_validate(x, y, loss=loss)
    assert found.answers.shape == y.shape and bool(torch.isfinite(found.answers).all())
    if loss != "square":
        assert bool(((found.answers >= 0) & (found.answers <= 1)).all())


def test_weights_count_like_copies() -> None:
    x, draw = made(60, 4)
    y = torch.eye(2)[torch.from_numpy(draw.integers(0, 2, 60))]
    weight = torch.from_numpy(draw.integers(1, 4, 60).astype(np.float32))
    weighed = linear.fit(x, y, weight / weight.mean(), l2=0.1)
    rows = torch.repeat_interleave(torch.arange(60), weight.long())
    copied = linear.fit(x[rows], y[rows], l2=0.1)
    # standardisation sees the copies, so the two agree nearly, not exactly
    assert float((weighed(x).softmax(1) - copied(x).softmax(1)).abs().max()) < 0.05

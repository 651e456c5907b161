"""The linear models of probes, beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from graft import linear
from graft.data import Data, Sample
from graft.features import Table
from graft.methods.nearest_neighbour import NearestNeighbour, best_k
from graft.methods.probe import Probe


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


def targets(loss: str, n: int, draw: np.random.Generator) -> torch.Tensor:
    if loss == "softmax":
        return torch.eye(3)[torch.from_numpy(draw.integers(0, 3, n))]
    if loss == "sigmoid":
        return torch.from_numpy(draw.integers(0, 2, size=(n, 4)).astype(np.float32))
    return torch.from_numpy(draw.normal(size=(n, 1)).astype(np.float32))


@pytest.mark.parametrize("loss", linear.LOSSES)
@pytest.mark.parametrize("sizes", [[4] * 30, [1] * 40 + [2] * 20, [30, 20, 10, 5, 5, 5, 5], [60, 60], [2] + [1] * 58])
def test_folds_keep_groups_whole_and_are_alike(loss: str, sizes: list[int]) -> None:
    draw = np.random.default_rng(1)
    groups = [f"g{g}" for g, size in enumerate(sizes) for _ in range(size)]
    groups = [groups[i] for i in draw.permutation(len(groups))]
    fold = linear._group_folds(targets(loss, len(groups), draw), loss, groups)
    assert fold.unique().tolist() == list(range(min(5, len(sizes))))
    for g in set(groups):
        assert len({int(f) for f, other in zip(fold, groups, strict=True) if other == g}) == 1
    if max(sizes) <= 4:
        counts = torch.bincount(fold)
        assert int(counts.max() - counts.min()) <= 2 * max(sizes)


def test_grouped_folds_hold_equal_shares_of_each_class() -> None:
    y = torch.eye(2)[torch.tensor([g % 4 == 0 for g in range(40) for _ in range(3)]).long()]
    fold = linear._group_folds(y, "softmax", [g for g in range(40) for _ in range(3)])
    assert [[int(y[fold == k, c].sum()) for k in range(5)] for c in (0, 1)] == [[18] * 5, [6] * 5]


@pytest.mark.parametrize("loss", linear.LOSSES)
@pytest.mark.parametrize("groups", [list(range(90)), ["one"] * 90])
@pytest.mark.slow
def test_groups_that_say_nothing_change_no_fold(loss: str, groups: list[object]) -> None:
    x, draw = made(90)
    y = targets(loss, 90, draw)
    plain, grouped = linear.cross_validate(x, y, loss=loss), linear.cross_validate(x, y, loss=loss, groups=groups)  # type: ignore[arg-type]
    assert torch.equal(plain.answers, grouped.answers) and plain.l2 == grouped.l2


def by_heart(patients: int = 30, each: int = 4) -> tuple[torch.Tensor, torch.Tensor, list[Sample]]:
    """Features that tell patients apart and nothing of their classes, [n, d], with targets and samples."""
    draw = np.random.default_rng(5)
    own = draw.normal(size=(patients, 40))
    x = np.repeat(own, each, axis=0) + 0.05 * draw.normal(size=(patients * each, 40))
    y = np.repeat(draw.permutation(patients) % 2, each)
    samples = [Sample(i, str(c), str(i), group=f"p{i // each}") for i, c in enumerate(y)]
    return torch.from_numpy(x.astype(np.float32)), torch.eye(2)[torch.from_numpy(y)], samples


def test_patients_known_by_heart_earn_no_score() -> None:
    x, y, samples = by_heart()

    def right(groups: list[str] | None) -> float:
        found = linear.cross_validate(x, y, groups=groups).answers
        return float((found.argmax(1) == y.argmax(1)).double().mean())

    groups = [s.group for s in samples]
    assert right(None) > 0.95 and right(groups) < 0.7
    assert linear.fit(x, y, groups=groups).l2 > linear.fit(x, y).l2


class _Kept:
    """What `solve` needs of a model: a place for the head."""

    def set_head(self, head: torch.nn.Module) -> None:
        self.head = head


class _Classes:
    outputs = "classes"


def test_methods_take_groups_from_the_data_of_their_stage() -> None:
    from graft.model import Batch

    x, y, samples = by_heart()
    batch = Batch(x=torch.empty(len(x), 0), y=y, id=[s.id for s in samples], weight=torch.ones(len(x)))
    data, table = Data(samples, [], []), Table(x, x, True)
    probe, model = Probe(), _Kept()
    probe.prepare(model, _Classes(), data)  # type: ignore[arg-type]
    probe.solve(model, _Classes(), table, batch)  # type: ignore[arg-type]
    expected = linear.fit(x, y, torch.ones(len(x)), groups=[s.group for s in samples])
    assert torch.equal(model.head.linear.weight, expected.weight)
    assert not torch.equal(expected.weight, linear.fit(x, y, torch.ones(len(x))).weight)
    nearest = NearestNeighbour()
    nearest.prepare(model, _Classes(), data)  # type: ignore[arg-type]
    nearest.solve(model, _Classes(), table, batch)  # type: ignore[arg-type]
    bank = torch.nn.functional.normalize(x, dim=1)
    assert model.head.k == best_k(bank, y, groups=[s.group for s in samples])


def test_neighbours_of_the_same_group_have_no_vote() -> None:
    # Two tight classes of 12; each row also has a copy, of the other class, so that its nearest neighbour misleads.
    draw = np.random.default_rng(0)
    base = np.repeat([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], 12, axis=0) + 0.1 * draw.normal(size=(24, 3))
    bank = torch.nn.functional.normalize(torch.from_numpy(np.concatenate([base, base])).float(), dim=1)
    label = torch.tensor([0] * 12 + [1] * 12)
    right = torch.eye(2)[torch.cat([label, label])]
    assert best_k(bank, right) == 1 and best_k(bank, right, groups=[i % 24 for i in range(48)]) == 1
    noisy = label.clone()
    noisy[::4] = 1 - noisy[::4]  # a quarter wrong, and each wrong label copied with its row
    votes = torch.eye(2)[torch.cat([noisy, noisy])]
    assert best_k(bank, votes) == 1  # the copy gives the answer away
    assert best_k(bank, votes, groups=[i % 24 for i in range(48)]) > 1
    assert best_k(bank, votes, groups=["one"] * 48) == best_k(bank, votes)

"""What scores share: sums against plain numpy, rows that do not depend on the candidate, and what may be given."""

from __future__ import annotations

import numpy as np
import pytest
import score_worlds as worlds
import torch

from graft.errors import DataError, UsageError
from graft.scores import Material, NoScore, _moments


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few rows, so that every sum is made of several."""
    monkeypatch.setattr(_moments, "BLOCK", 40)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_are_those_of_numpy(dtype: type) -> None:
    x, y = worlds.classes()
    held = x.astype(dtype)
    m = Material.of(held, y, "classes")
    centred = held.astype(np.float64) - held.astype(np.float64).mean(axis=0)
    one_hot = np.eye(4)[y]
    assert m.rows.mean == pytest.approx(held.astype(np.float64).mean(axis=0), rel=1e-12)
    assert m.moments.scatter == pytest.approx(centred.T @ centred, rel=1e-10, abs=1e-10)
    assert m.moments.norms == pytest.approx((centred**2).sum(axis=1))
    assert m.moments.cross == pytest.approx(one_hot.T @ centred, abs=1e-9)
    assert m.between == pytest.approx(centred.T @ one_hot @ np.diag(1 / one_hot.sum(axis=0)) @ one_hot.T @ centred)


@pytest.mark.usefixtures("small_blocks")
def test_fewer_samples_than_columns_keep_all_inner_products_in_as_many_coordinates() -> None:
    x, y = worlds.classes(n=20, d=90)
    m = Material.of(x, y, "classes")
    assert m.rows.held.shape == (20, 20)
    assert m.rows.held @ m.rows.held.T == pytest.approx(x @ x.T)
    centred = x - x.mean(axis=0)
    assert m.rows.centred(slice(0, 20)) @ m.rows.centred(slice(0, 20)).T == pytest.approx(centred @ centred.T, abs=1e-8)
    assert np.sqrt(m.spectrum.values) == pytest.approx(np.linalg.svd(centred, compute_uv=False)[:19])


def test_spectra_are_the_singular_values_of_features_with_and_without_their_mean() -> None:
    x, y = worlds.classes()
    m = Material.of(x, y, "classes")
    assert np.sqrt(m.spectrum.values) == pytest.approx(np.linalg.svd(x - x.mean(axis=0), compute_uv=False))
    assert np.sqrt(m.raw_spectrum.values) == pytest.approx(np.linalg.svd(x, compute_uv=False))


def test_columns_that_are_constant_or_repeated_are_no_directions() -> None:
    x, y = worlds.classes()
    wide = np.hstack([x, np.full((60, 2), 1e8), x @ np.ones((6, 1)) / 3]).astype(np.float32)
    m = Material.of(wide, y, "classes")
    assert len(m.spectrum.values) == 6
    assert (m.moments.scatter[6:8] == 0).all()


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    x, y = worlds.classes()
    near, far = Material.of(x, y, "classes"), Material.of(x + 2.0**20, y, "classes")
    assert far.spectrum.values == pytest.approx(near.spectrum.values, rel=1e-9)


def test_what_is_made_is_made_once() -> None:
    m = worlds.material()
    assert m.moments is m.moments
    assert m.spectrum is m.spectrum
    assert m.raw_spectrum is m.raw_spectrum


def test_torch_and_half_precision_serve_like_numpy() -> None:
    x, y = worlds.classes()
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        held = torch.from_numpy(x).to(dtype)
        m = Material.of(held, torch.from_numpy(y), "classes")
        assert m.features.dtype == (np.float64 if dtype is torch.float64 else np.float32)
        assert m.features == pytest.approx(held.double().numpy(), rel=1e-7)
    given = x.astype(np.float32)
    assert np.shares_memory(Material.of(torch.from_numpy(given), y, "classes").features, given)


def test_class_ids_may_be_any_integers() -> None:
    x, y = worlds.classes()
    m = Material.of(x, np.array([-7, 10**12, 3, 90])[y], "classes")
    assert m.width == 4
    assert sorted(m.counts.tolist()) == sorted(np.bincount(y).tolist())
    assert (np.diff(m.ids[m.order]) >= 0).all()
    assert (m.ids[m.order][m.starts] == np.arange(4)).all()


def test_numbers_are_in_standard_units_and_columns_that_do_not_vary_are_left_out() -> None:
    x, y = worlds.numbers(k=2)
    m = Material.of(x, np.hstack([y, np.ones((60, 1))]), "numbers")
    assert m.columns == pytest.approx((y - y.mean(axis=0)) / y.std(axis=0))
    with pytest.raises(NoScore, match="the target does not vary"):
        _ = Material.of(x, np.full(60, 2.5), "numbers").columns


def test_a_sample_of_rows_depends_on_the_target_alone_and_keeps_classes_together() -> None:
    y = np.repeat(np.arange(500), 6)
    draw = np.random.default_rng(0)
    a = Material.of(draw.normal(size=(3000, 3)), y, "classes").sample(200)
    b = Material.of(draw.normal(size=(3000, 9)), y, "classes").sample(200)
    assert (a == b).all()
    assert len(a) == 200 == len(set(a.tolist()))
    assert len(np.unique(y[a])) <= 50
    assert (Material.of(draw.normal(size=(30, 3)), y[:30], "classes").sample(200) == np.arange(30)).all()


def test_a_sample_passes_over_classes_with_one_row() -> None:
    y = np.concatenate([np.arange(2000), np.repeat([5000, 5001], 10)])
    rows = Material.of(np.random.default_rng(0).normal(size=(2020, 2)), y, "classes").sample(100)
    assert set(y[rows].tolist()) == {5000, 5001}


@pytest.mark.parametrize(
    ("features", "target", "kind", "says"),
    [
        ([["a", "b"]], [1], "classes", "features hold <U1"),
        ([1.0, 2.0], [0, 1], "classes", r"shape \[2\]"),
        (np.zeros((0, 3)), [], "classes", "shape"),
        (np.zeros((3, 0)), [0, 1, 2], "classes", "shape"),
        (np.eye(3), [0, 1], "classes", "3 rows of features"),
        (np.eye(3), 1, "classes", "3 rows of features"),
        (np.eye(3), ["cat", "dog", "cat"], "classes", "'cat', 'dog'"),
        (np.eye(3), ["1.5", "2", "3"], "numbers", "'1.5'"),
        (np.eye(3), np.array(["cat", 1, None], dtype=object), "classes", "object"),
        (np.eye(3), [0.0, 1.0, 1.0], "classes", "float64"),
        (np.eye(3), [[0], [1], [1]], "classes", r"\[3, 1\]"),
        (np.eye(3), [0, 1, 1], "labels", r"\[3\]"),
        (np.eye(3), [[0, 2], [1, 0], [0, 1]], "labels", "0 or 1"),
        (np.eye(3), np.zeros((3, 2, 2)), "numbers", r"\[3, 2, 2\]"),
        (np.eye(3), [0, 1, 1], "ranks", "'ranks' is no kind"),
    ],
)
def test_what_cannot_be_meant_is_an_error_that_says_what_was_given(
    features: object, target: object, kind: str, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        Material.of(features, target, kind)


def test_numbers_that_are_not_finite_are_refused_by_their_rows() -> None:
    with pytest.raises(DataError, match=r"2 of 4 rows: 1, 3"):
        Material.of(np.eye(4), [1.0, np.nan, 2.0, np.inf], "numbers")

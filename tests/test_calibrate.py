"""Temperature scaling: fitted where it helps, left out where it does not, and never a decision changed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from graft import calibrate, measures
from graft.seeds import rng


def classes(n: int, c: int = 4, heat: float = 1.0, key: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of a model whose scores are `heat` times too large, and truth drawn from what they should be."""
    draw = rng("calibrate", n, c, key)
    scores = 1.5 * draw.standard_normal((n, c))
    p = softmax(scores, axis=1)
    return softmax(scores * heat, axis=1), (p.cumsum(axis=1) < draw.uniform(size=(n, 1))).sum(axis=1).clip(0, c - 1)


def labels(n: int, c: int = 3, heat: float = 1.0, key: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = rng("calibrate labels", n, c, key)
    odds = 2 * draw.standard_normal((n, c))
    return expit(odds * heat), (draw.uniform(size=(n, c)) < expit(odds)).astype(float)


@pytest.mark.parametrize(("kind", "make"), [("classes", classes), ("labels", labels)])
@pytest.mark.parametrize("heat", [0.4, 2.0, 5.0])
def test_the_temperature_of_a_model_that_is_too_sure_or_too_modest_is_found(
    kind: str, make: object, heat: float
) -> None:
    p, truth = make(3000, heat=heat)  # type: ignore[operator]
    assert calibrate.temperature(kind, p, truth) == pytest.approx(heat, rel=0.1)


@pytest.mark.parametrize("heat", [1.0, 2.5])
def test_the_temperature_is_the_one_of_least_log_loss(heat: float) -> None:
    p, truth = classes(2000, heat=heat)
    t = calibrate.temperature("classes", p, truth)

    def loss(of: float) -> float:
        q = calibrate.apply("classes", p, of)
        return float(-np.log(q[np.arange(len(q)), truth]).mean())

    if t == 1.0:
        assert heat == 1.0
    else:
        assert loss(t) <= min(loss(t * 0.97), loss(t * 1.03), loss(1.0))


def test_one_is_kept_for_a_model_that_means_what_it_says() -> None:
    found = [calibrate.temperature("classes", *classes(400, key=k)) for k in range(20)]
    assert sum(t == 1.0 for t in found) >= 8 and max(abs(np.log(found))) < 0.3


def test_unseen_answers_are_nearer_to_what_comes_true() -> None:
    p, truth = classes(3000, heat=3.0)
    t = calibrate.temperature("classes", p[:500], truth[:500])
    before, after = (measures.expected_calibration_error(q[500:], truth[500:])[0]
                     for q in (p, calibrate.apply("classes", p, t)))  # fmt: skip
    assert before > 0.15 and after < 0.04


@pytest.mark.parametrize(
    ("kind", "p", "truth"),
    [
        ("numbers", np.arange(50.0), np.arange(50.0)),
        ("classes", classes(19, heat=5)[0], classes(19, heat=5)[1]),
        ("classes", classes(60, heat=5)[0], np.full(60, 2)),
        ("labels", labels(60, heat=5)[0], np.zeros((60, 3))),
        ("labels", labels(60, heat=5)[0], np.ones((60, 3))),
        ("classes", np.full((40, 4), 0.25), np.arange(40) % 4),
        ("", np.zeros((50, 2)), np.zeros(50)),
    ],
)
def test_nothing_is_fitted_where_nothing_can_be_learned(kind: str, p: np.ndarray, truth: np.ndarray) -> None:
    assert calibrate.temperature(kind, p, truth) == 1.0


def test_twenty_samples_suffice() -> None:
    assert calibrate.temperature("classes", *classes(calibrate.FEWEST, heat=8)) > 2


@pytest.mark.parametrize("n", [20, 60, 400])
def test_a_part_without_a_mistake_makes_nothing_certain(n: int) -> None:
    p = np.tile([0.6, 0.3, 0.1], (n, 1))
    p[::2] = p[::2, ::-1]
    truth = p.argmax(axis=1)
    t = calibrate.temperature("classes", p, truth)
    wrong = 1 - calibrate.apply("classes", p, t).max()
    assert 0.3 / n < wrong < 3 / n  # half a mistake among n + 1


@pytest.mark.parametrize("share", [0.6, 0.9])
def test_answers_of_zero_and_one_become_as_sure_as_they_are_right(share: float) -> None:
    n = 500
    truth = np.arange(n) % 2
    said = np.where(rng("hard", share).uniform(size=n) < share, truth, 1 - truth)
    p = np.eye(2)[said]
    q = calibrate.apply("classes", p, calibrate.temperature("classes", p, truth))
    assert q.max() == pytest.approx((said == truth).mean(), abs=0.01)
    hard = np.stack([p[:, 1], p[:, 0]], axis=1)
    held = np.stack([truth, 1 - truth], axis=1)
    t = calibrate.temperature("labels", hard, held)
    assert calibrate.apply("labels", hard, t).max() == pytest.approx((said == truth).mean(), abs=0.01)


def test_a_single_class_and_no_row_are_no_trouble() -> None:
    assert calibrate.temperature("classes", np.ones((30, 1)), np.zeros(30, dtype=int)) == 1.0
    assert calibrate.apply("classes", np.ones((3, 1)), 2.0).tolist() == [[1.0]] * 3
    assert calibrate.apply("classes", np.empty((0, 3)), 2.0).shape == (0, 3)


@pytest.mark.parametrize("t", [0.05, 0.3, 1.7, 30.0, 100.0])
def test_no_decision_changes(t: float) -> None:
    p = classes(500, heat=3)[0]
    near = np.array([[0.3, np.nextafter(0.3, 1), 0.4 - 1e-16, 0.0], [0.25, 0.25, 0.25, 0.25], [0.0, 1.0, 0.0, 0.0],
                     [0.4, np.nextafter(0.4, 1), 0.1, 0.1], [1e-300, 1e-13, 1e-14, 1.0]])  # fmt: skip
    for rows in (p, near):
        q = calibrate.apply("classes", rows, t)
        assert (q.argmax(axis=1) == rows.argmax(axis=1)).all()
        assert np.allclose(q.sum(axis=1), 1) and np.isfinite(q).all() and (q >= 0).all()
    half = np.array([[0.5, np.nextafter(0.5, 1), np.nextafter(0.5, 0), 0.0, 1.0]])
    for rows in (labels(500, heat=3)[0], half):
        q = calibrate.apply("labels", rows, t)
        assert (np.sign(q - 0.5) == np.sign(rows - 0.5)).all()
        assert (measures.decide("labels", q) == measures.decide("labels", rows)).all()


def test_at_one_answers_are_themselves_and_numbers_always() -> None:
    p = classes(10)[0].astype(np.float32)
    assert calibrate.apply("classes", p, 1.0) is p
    assert calibrate.apply("numbers", np.arange(3.0), 2.0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_a_temperature_can_be_undone(kind: str) -> None:
    p = (classes if kind == "classes" else labels)(200)[0]
    assert np.allclose(calibrate.apply(kind, calibrate.apply(kind, p, 1.8), 1 / 1.8), p)


@pytest.mark.parametrize("t", [0.0, -1.0, float("nan"), float("inf")])
def test_a_temperature_is_a_number_above_zero(t: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        calibrate.apply("classes", classes(5)[0], t)


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_a_report_says_what_it_would_be_without(kind: str) -> None:
    p, truth = (classes if kind == "classes" else labels)(800, heat=2.0)
    q = calibrate.apply(kind, p, 2.0)
    said = calibrate.checked(kind, q, truth, 2.0)
    assert said == pytest.approx({**calibrate.checked(kind, p, truth, 1.0), "temperature": 2.0})
    assert calibrate.checked(kind, q, truth, 1.0)["ece_before"] < said["ece_before"]
    assert calibrate.checked("numbers", truth, truth, 1.0) == {}


def test_the_same_answers_have_the_same_temperature() -> None:
    p, truth = classes(300, heat=2)
    assert calibrate.temperature("classes", p, truth) == calibrate.temperature("classes", p.copy(), list(truth))
    many = classes(calibrate.MOST_ROWS + 500, heat=2)
    assert calibrate.temperature("classes", *many) == pytest.approx(2, rel=0.1)

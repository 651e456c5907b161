"""Learning curves: known laws are found again, ratios and their intervals are right, bounds are said as such."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from graft import curves
from graft.curves import POWER, STEPS, Arm, Ratio

SIZES = (16, 37, 87, 200, 470, 1100)
Law = Callable[[float], float]


def law(a: float, b: float, c: float) -> Law:
    return lambda n: c + a * n**-b


def labels_for(f: Law, error: float) -> float:
    """Where a falling law has an error, by bisection."""
    low, high = 1.0, 1e7
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if f(middle) > error else (low, middle)
    return high


def simulated(f: Law, key: int, seeds: int = 3, items: int = 400, sd: float = 0.01, resamples: int = 200) -> Arm:
    """Trainings whose items are wrong with probability f(n), give or take sd from seed to seed."""
    draw, counted = np.random.default_rng([key, 1]), np.random.default_rng(7)
    counts = np.stack([np.bincount(counted.integers(0, items, items), minlength=items) for _ in range(resamples)])
    errors, draws = {}, {}
    for n in SIZES:
        wrong = draw.random((seeds, items)) < np.clip(f(n) + draw.normal(0, sd, (seeds, 1)), 0, 1)
        errors[n], draws[n] = wrong.mean(axis=1), wrong @ counts.T / items
    return Arm(errors, draws)


def exact(f: Law, sizes: tuple[int, ...] = SIZES) -> Arm:
    """Errors without any noise."""
    return Arm({n: np.full(3, f(n)) for n in sizes}, {n: np.full((3, 50), f(n)) for n in sizes})


def ratio(own: Arm, other: Arm) -> Ratio:
    a, b = curves.fitted(own, 0, "with"), curves.fitted(other, 0, "without")
    return curves.ratio((a[0], b[0]), (a[1], b[1]))


@pytest.mark.parametrize(("a", "b", "c"), [(1.5, 0.5, 0.08), (0.8, 0.25, 0.0), (4.0, 1.0, 0.2)])
def test_a_known_law_is_found_again(a: float, b: float, c: float) -> None:
    one, _ = curves.fitted(exact(law(a, b, c)), 0, "x")
    assert one.kind == POWER and one.terms is not None
    for n in (16, 50, 300, 1100, 2200):
        assert one.at(n)[0] == pytest.approx(law(a, b, c)(n), abs=0.004)
    assert one.terms[0, 1] == pytest.approx(b, rel=0.05)


def test_labels_are_read_off_where_the_curve_has_the_error() -> None:
    f = law(1.5, 0.5, 0.08)
    one, _ = curves.fitted(exact(f), 0, "x")
    assert one.needed(np.array([f(87)]))[0] == pytest.approx(87, rel=0.03)
    assert one.needed(np.array([0.9]))[0] == pytest.approx(16)  # there already
    assert one.needed(np.array([f(2000)]))[0] == pytest.approx(2000, rel=0.05)  # within one doubling
    assert np.isinf(one.needed(np.array([f(4000)]))[0])  # never further


def test_the_ratio_of_known_laws() -> None:
    own, other = law(1.5, 0.6, 0.05), law(1.2, 0.25, 0.05)
    truth = 1100 / labels_for(own, other(1100))
    found = ratio(exact(own), exact(other))
    assert found.value == pytest.approx(truth, rel=0.05) and found.bound == ""
    assert found.labels_without == pytest.approx(1100, rel=0.01)
    assert found.low == pytest.approx(found.high, rel=1e-6)  # nothing varies


def test_hurt_is_a_ratio_below_one_and_the_mirror_of_help() -> None:
    a, b = exact(law(1.5, 0.6, 0.05)), exact(law(1.2, 0.25, 0.05))
    assert ratio(b, a).value == pytest.approx(1 / ratio(a, b).value, rel=1e-6)
    assert ratio(b, a).high < 1


def test_scratch_that_never_gets_there_gives_a_floor() -> None:
    found = ratio(exact(law(0.5, 0.3, 0.02)), exact(law(0.3, 0.1, 0.35)))
    assert found.bound == ">" and found.value == pytest.approx(1100 / 16, rel=0.01)
    assert found.open_high and found.labels_with == pytest.approx(16)


def test_a_flat_curve_below_whose_end_the_other_begins_gives_the_same_floor() -> None:
    flat = exact(lambda n: 0.4)
    found = ratio(exact(law(0.5, 0.3, 0.02)), flat)
    assert found.bound == ">" and found.value == pytest.approx(found.low) == pytest.approx(1100 / 16, rel=0.01)
    assert ratio(flat, flat).value == 1.0 and ratio(flat, flat).bound == ""


def test_pretrained_that_never_gets_there_gives_a_ceiling() -> None:
    found = ratio(exact(law(0.3, 0.1, 0.35)), exact(law(0.5, 0.3, 0.02)))
    assert found.bound == "<" and found.value == pytest.approx(16 / 1100, rel=0.01) and found.open_low


def test_a_jump_is_no_power_law_and_is_interpolated_monotonely() -> None:
    steps = dict(zip(SIZES, (0.5, 0.5, 0.51, 0.49, 0.12, 0.10), strict=True))
    one, _ = curves.fitted(Arm({n: np.array([e]) for n, e in steps.items()}, {n: np.full((1, 20), e)
                               for n, e in steps.items()}), 0, "x")  # fmt: skip
    assert one.kind == STEPS
    inside = one.values[0]
    assert (np.diff(inside) <= 1e-12).all()
    assert one.at(37)[0] == pytest.approx(0.5033, abs=0.01) and one.at(1100)[0] == pytest.approx(0.10)
    assert one.at(2200)[0] == pytest.approx(0.10)  # beyond what was measured it goes on flat
    assert 200 < one.needed(np.array([0.3]))[0] < 470


def test_few_sizes_are_interpolated() -> None:
    one, _ = curves.fitted(exact(law(1.5, 0.5, 0.08), (16, 1100)), 0, "x")
    assert one.kind == STEPS and one.at(16)[0] == pytest.approx(law(1.5, 0.5, 0.08)(16))


def test_equal_arms_give_an_interval_around_one() -> None:
    f = law(1.2, 0.4, 0.05)
    found = ratio(simulated(f, 1), simulated(f, 2))
    assert found.low < 1 < found.high


def test_seeds_that_differ_widen_the_interval() -> None:
    own, other = law(1.5, 0.6, 0.05), law(1.2, 0.25, 0.05)
    quiet = ratio(simulated(own, 3, sd=0.0), simulated(other, 4, sd=0.0))
    noisy = ratio(simulated(own, 3, sd=0.06), simulated(other, 4, sd=0.06))
    assert math.log(noisy.high / noisy.low) > math.log(quiet.high / quiet.low)


def test_the_spread_of_three_seeds_is_that_of_their_mean() -> None:
    values = np.array([0.1, 0.2, 0.45])
    arm = Arm({50: values}, {50: np.repeat(values[:, None], 20_000, axis=1)})
    drawn = arm.resampled(0, "x")[:, 0]
    assert drawn.std() == pytest.approx(values.std(ddof=1) / math.sqrt(3), rel=0.03)


def test_errors_are_never_below_zero() -> None:
    arm = Arm({50: np.array([0.0, 0.0, 0.1])}, {50: np.repeat(np.array([[0.0], [0.0], [0.1]]), 500, axis=1)})
    assert arm.resampled(0, "x").min() >= 0


def test_the_first_size_that_is_surely_better() -> None:
    arm = exact(law(1.2, 0.4, 0.05))
    means = arm.resampled(0, "x")
    level = np.full(len(means), law(1.2, 0.4, 0.05)(100))
    assert curves.first_below(arm, means, [level]) == 200
    assert curves.first_below(arm, means, [np.zeros(len(means))]) == 0


@pytest.mark.slow
def test_intervals_cover_the_true_ratio() -> None:
    own, other = law(1.5, 0.6, 0.05), law(1.2, 0.25, 0.05)
    truth = 1100 / labels_for(own, other(1100))
    found = [ratio(simulated(own, 2 * k), simulated(other, 2 * k + 1)) for k in range(100)]
    assert np.mean([x.low <= truth <= x.high for x in found]) >= 0.9
    assert np.median([x.value for x in found]) == pytest.approx(truth, rel=0.1)

"""Intervals: closed forms against other computations of them, p beside them, groups, and what they are of nothing."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import minimize_scalar

from graft import _intervals, evaluate, measures
from graft._blocks import MOST_BLOCKS, Units, jackknife_error
from graft._intervals import Mean
from graft.seeds import rng
from graft.tasks import Task, measures_of
from graft.tasks.text_classification import TextClassification
from graft.tasks.text_multilabel import TextMultilabel
from graft.tasks.text_regression import TextRegression

Z = 1.959964


def task(kind: str, first: str = "", outputs: int = 2) -> Task:
    kinds: dict[str, Callable[[], Task]] = {
        "classes": TextClassification, "labels": TextMultilabel, "numbers": TextRegression
    }  # fmt: skip
    made = kinds[kind]()
    made.name, made.schema = f"text_{kind}", {}
    made.labels = () if kind == "numbers" else tuple(f"c{i}" for i in range(outputs))
    made.measures = measures_of(made, first)
    return made


def table(kind: str, n: int, seed: int = 0, outputs: int = 2, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """(answers, truth): what is answered is the truth behind noise."""
    r = rng(seed, kind, n, outputs)
    if kind == "numbers":
        truth = r.standard_normal(n)
        return truth + noise * r.standard_normal(n), truth
    if kind == "labels":
        held = r.random((n, outputs)) < 0.4
        return 1 / (1 + np.exp(-(3 * held - 1.5 + noise * r.standard_normal(held.shape)))), held.astype(float)
    index = r.integers(0, outputs, n)
    z = 2 * np.eye(outputs)[index] + noise * r.standard_normal((n, outputs))
    p = np.exp(z)
    return p / p.sum(axis=1, keepdims=True), index


# ------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize(("hits", "n"), [(0, 7), (7, 7), (3, 11), (190, 200), (1, 2000)])
def test_wilson_is_scipys(hits: int, n: int) -> None:
    wanted = stats.binomtest(hits, n).proportion_ci(0.9, method="wilson")
    assert _intervals.wilson(hits / n, n, _intervals.critical(0.9)) == pytest.approx(
        (wanted.low, wanted.high), abs=1e-12
    )


@pytest.mark.parametrize(("wins", "losses", "n"), [(5, 1, 30), (12, 9, 60), (0, 4, 25), (40, 3, 50), (7, 7, 20)])
def test_tangos_ends_are_where_the_likeliest_shares_with_that_difference_are_just_refused(
    wins: int, losses: int, n: int
) -> None:
    for end, wanted in zip(_intervals.tango(wins, losses, n, Z), (Z, -Z), strict=True):

        def unlikely(lost: float, end: float = end) -> float:
            shares = np.clip([lost + end, lost, 1 - 2 * lost - end], 1e-300, 1)
            return -float(np.dot([wins, losses, n - wins - losses], np.log(shares)))

        found = minimize_scalar(
            unlikely, bounds=(max(0.0, -end), (1 - end) / 2), method="bounded", options={"xatol": 1e-12}
        )
        variance = n * (2 * found.x + end - end**2)
        assert (wins - losses - n * end) / math.sqrt(variance) == pytest.approx(wanted, abs=1e-3)


def test_tango_leaves_0_out_where_mcnemars_statistic_does_and_says_something_of_ties() -> None:
    for wins in range(12):
        for losses in range(12):
            low, high = _intervals.tango(wins, losses, 40, Z)
            refused = wins + losses > 0 and abs(wins - losses) / math.sqrt(wins + losses) > Z
            assert (low > 1e-9 or high < -1e-9) == refused, (wins, losses)
            assert low <= (wins - losses) / 40 <= high
    assert _intervals.tango(0, 0, 50, Z) == pytest.approx((-(Z**2) / (50 + Z**2), Z**2 / (50 + Z**2)), abs=1e-9)


def test_a_mean_without_skew_has_students_interval_and_halls_cubic_is_inverted() -> None:
    points = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    wanted = stats.t.interval(0.9, 4, loc=3, scale=points.std(ddof=1) / math.sqrt(5))
    assert Mean.of(points).interval(0.9) == pytest.approx(wanted)
    skewed = Mean.of(rng(0, "skewed").lognormal(size=40))
    assert skewed.skew > 1
    for end, at in zip(skewed.interval(0.9), (1, -1), strict=True):
        w = (skewed.value - end) / skewed.spread
        g = w + skewed.skew * w**2 / 3 + skewed.skew**2 * w**3 / 27 + skewed.skew / (6 * 40)
        assert math.sqrt(40) * g == pytest.approx(at * stats.t.ppf(0.95, 39))


def test_means_of_skewed_values_are_covered_where_percentiles_are_not() -> None:
    r, true, times = rng(1, "coverage"), math.exp(1.3**2 / 2), 500
    draws = r.lognormal(0, 1.3, size=(times, 25))
    found = np.array([Mean.of(x).interval(0.9) for x in draws])
    share = float(((found[:, 0] <= true) & (true <= found[:, 1])).mean())
    boot = np.array([np.quantile(x[r.integers(0, 25, (200, 25))].mean(axis=1), [0.05, 0.95]) for x in draws])
    before = float(((boot[:, 0] <= true) & (true <= boot[:, 1])).mean())
    assert share > 0.82 > before + 0.02


@pytest.mark.parametrize("size", [1e-200, 1.0, 1e150])
def test_units_of_the_values_change_nothing(size: float) -> None:
    points = rng(2, "units").gamma(0.5, size=30)
    low, high = Mean.of(points).interval(0.95)
    assert Mean.of(points * size).interval(0.95) == pytest.approx((low * size, high * size), rel=1e-9)


def test_a_measure_without_errors_is_as_sure_as_its_samples_allow() -> None:
    assert _intervals.bounded(1.0, 0.0, 50, Z) == pytest.approx((50 / (50 + Z**2), 1.0))
    assert _intervals.bounded(0.8, math.sqrt(0.16 / 30), 50, Z) == pytest.approx(_intervals.wilson(0.8, 30, Z))
    assert _intervals.bounded(0.8, 1e-9, 50, Z) == pytest.approx(_intervals.wilson(0.8, 50, Z))


def test_one_win_and_one_loss_more_is_bonett_and_price() -> None:
    wins, losses, n = 6, 2, 40
    error = math.sqrt(((wins + losses) / n - ((wins - losses) / n) ** 2) / n)
    more, less = (wins + 1) / (n + 2), (losses + 1) / (n + 2)
    wanted = (more - less, math.sqrt((more + less - (more - less) ** 2) / (n + 2)))
    assert _intervals.widened((wins - losses) / n, error, n) == pytest.approx(wanted)


def test_calibrated_answers_may_have_no_calibration_error_and_sharpened_ones_have_one() -> None:
    r = rng(3, "calibration")
    confidence = r.uniform(0.5, 1, 400)
    right = r.random(400) < confidence
    low, high = _intervals.calibration_error(confidence, right, 1.0, 0.95, rng(0, "draw"))
    estimate = float(
        measures.expected_calibration_error(np.stack([confidence, 1 - confidence], 1), (~right).astype(int))[0]
    )
    assert low == 0 < estimate <= high < 0.1
    sure = np.minimum(confidence + 0.3, 1)
    low, high = _intervals.calibration_error(sure, right, 1.0, 0.95, rng(0, "draw"))
    assert 0.1 < low < high < 0.35


# ------------------------------------------------------------------------------- every measure

KINDS = [("classes", 2), ("classes", 4), ("labels", 3), ("numbers", 1)]


@pytest.mark.parametrize(("kind", "outputs"), KINDS)
@pytest.mark.parametrize("n", [2, 5, 30, 450])
def test_every_interval_holds_its_value_and_a_lower_level_is_narrower(kind: str, outputs: int, n: int) -> None:
    asked, (answers, truth) = task(kind, outputs=outputs), table(kind, n, outputs=outputs)
    wide, narrow = (evaluate.scores(asked, answers, truth, 0, level=level) for level in (0.95, 0.5))
    assert repr(wide) == repr(evaluate.scores(asked, answers, truth, 0))
    for name, s in wide.items():
        if not math.isnan(s.value):
            assert s.low - 1e-9 <= s.value <= s.high + 1e-9, name
            assert narrow[name].high - narrow[name].low <= s.high - s.low + 1e-9, name
    first = asked.measures[0]
    assert repr(evaluate.score(asked, answers, truth, 0)) == repr(wide[first])


def test_a_jackknife_of_more_samples_than_blocks_agrees_with_one_of_each() -> None:
    points = rng(4, "blocks").standard_normal(900)
    units = Units(900)
    counts = units.left_out(0)
    assert counts.shape == (MOST_BLOCKS, 900) and (counts.sum(axis=0) == MOST_BLOCKS - 1).all()
    error = jackknife_error(counts @ points / counts.sum(axis=1))
    assert error == pytest.approx(points.std(ddof=1) / 30, rel=0.15)
    assert (units.left_out(0) == counts).all() and (units.left_out(1) != counts).any()


def test_perfect_and_constant_answers_are_not_taken_for_certain() -> None:
    truth = np.array([1] * 2 + [0] * 20)
    found = evaluate.scores(task("classes"), np.eye(2)[truth] * 0.98 + 0.01, truth, 0)
    assert all(found[m].high == 1 and found[m].low < 0.97 for m in ("accuracy", "macro_f1", "auroc", "sensitivity"))
    # Two samples of a class leave more open than twenty of the other.
    assert found["balanced_accuracy"].low < found["accuracy"].low == pytest.approx(22 / (22 + Z**2), abs=1e-6)
    same = evaluate.scores(task("classes"), np.tile([0.9, 0.1], (22, 1)), truth, 0)["balanced_accuracy"]
    assert same.low < same.value == 0.5 < same.high


def test_a_log_loss_without_errors_allows_for_some() -> None:
    sure = np.tile([0.95, 0.05], (60, 1)) + rng(5, "sure").uniform(-0.04, 0.04, (60, 1)) * [1, -1]
    zero = np.zeros(60, dtype=int)
    found = evaluate.scores(task("classes"), sure, zero, 0)["log_loss"]
    plain = Mean.of(-np.log(sure[:, 0])).interval(0.95)
    assert found.low == pytest.approx(plain[0]) and found.high > 1.5 * plain[1]
    often = np.arange(60) % 2
    found = evaluate.scores(task("classes"), sure, often, 0)["log_loss"]
    assert (found.low, found.high) == pytest.approx(Mean.of(-np.log(sure[np.arange(60), often])).interval(0.95))


def test_costs_may_be_negative_and_a_dear_error_that_was_not_seen_is_allowed_for() -> None:
    asked = task("classes")
    dear = measures.Chosen("cost", {"file": "x.csv"}, ((-1.0, 1.0), (9.0, 0.0)))
    asked.measures, asked.schema = (str(dear),), {"measure": dear.plain()}
    truth = np.zeros(30, dtype=int)
    found = evaluate.score(asked, np.tile([0.999, 0.001], (30, 1)), truth, 0)
    assert found.low == found.value == -1.0 and 0 < found.high < 1


def test_what_one_sample_or_one_group_says_is_no_interval() -> None:
    one = evaluate.scores(task("numbers"), np.array([1.0]), np.array([2.0]), 0)["mae"]
    assert one.value == 1 and math.isnan(one.low) and math.isnan(one.high)
    answers, truth = table("numbers", 6)
    one = evaluate.scores(task("numbers"), answers, truth, 0, groups=["p"] * 6)["mae"]
    assert math.isnan(one.low)
    share = evaluate.scores(task("classes"), np.array([[0.9, 0.1]]), np.array([0]), 0)["accuracy"]
    assert (share.low, share.high) == pytest.approx((1 / (1 + Z**2), 1))
    gap = evaluate.paired(task("numbers"), np.array([1.0]), np.array([3.0]), np.array([2.0]), 0)
    assert gap.p == 1 and math.isnan(gap.low)


def test_a_correlation_of_1_is_open_below_and_a_measure_without_value_has_no_ends() -> None:
    rank = evaluate.scores(task("numbers"), np.arange(20.0), np.arange(20.0) ** 3, 0)["spearman"]
    assert 0.8 < rank.low < rank.value == rank.high == 1
    flat = evaluate.scores(task("numbers"), np.ones(5), np.ones(5), 0)
    assert all(math.isnan(x) for x in (flat["r2"].value, flat["r2"].low, flat["spearman"].high))
    assert (flat["mae"].low, flat["mae"].high) == (0, 0)


# ------------------------------------------------------------------------------- two models

PAIRED = [
    ("classes", "accuracy"), ("classes", "macro_f1"), ("classes", "auroc"), ("classes", "log_loss"),
    ("classes", "sensitivity"), ("classes", "cost:fp=1,fn=4"), ("labels", "map"), ("labels", "exact_match"),
    ("labels", "hamming_loss"), ("numbers", "mae"), ("numbers", "rmse"), ("numbers", "r2"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "measure"), PAIRED)
def test_the_interval_leaves_0_out_exactly_where_p_says_so(
    kind: str, measure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "RESAMPLES", 40)
    asked, seen = task(kind, measure, 2), set()
    for seed in range(8):
        a, truth = table(kind, 40, seed, 2, noise=0.4 + 0.2 * (seed % 3))
        b = table(kind, 40, seed, 2, noise=2.5)[0]
        for x, y in ((a, b), (b, a), (a, a)):
            for groups in (None, [str(i // 2) for i in range(40)]):
                pair = evaluate.paired(asked, x, y, truth, 0, groups=groups)
                sign = -1 if asked.lower() else 1
                low, high = sorted((sign * pair.low, sign * pair.high))
                assert (low > 1e-12) == (pair.p < 0.025) and low <= sign * pair.difference <= high
                if pair.difference:
                    assert (high < -1e-12) == (1 - pair.p < 0.025)
                seen.add("better" if low > 0 else "worse" if high < 0 else "open")
    assert seen == {"better", "worse", "open"}


def test_few_pairs_that_differ_get_what_the_exact_test_leaves_open() -> None:
    truth = np.zeros(60, dtype=int)
    right, wrong = [0.9, 0.1], [0.1, 0.9]
    a = np.array([right] * 60)
    four, six = (np.array([wrong] * k + [right] * (60 - k)) for k in (4, 6))
    gap = evaluate.paired(task("classes"), a, four, truth, 0)
    assert gap.p == pytest.approx(0.5**5) and gap.low == 0 < gap.high  # McNemar's statistic is 2 already
    gap = evaluate.paired(task("classes"), a, six, truth, 0)
    assert gap.low > 0 and gap.p == pytest.approx(0.5**7)
    same = evaluate.paired(task("classes"), a, a, truth, 0)
    assert same.difference == 0 and same.p == 1
    assert (same.low, same.high) == pytest.approx((-(Z**2) / (60 + Z**2), Z**2 / (60 + Z**2)), abs=1e-6)


# ------------------------------------------------------------------------------- groups


def test_samples_in_groups_of_their_own_are_no_groups() -> None:
    answers, truth = table("classes", 30)
    alone = evaluate.scores(task("classes"), answers, truth, 0)
    for groups in ([""] * 30, [None] * 30, [f"p{i}" for i in range(30)], np.arange(30)):
        assert evaluate.scores(task("classes"), answers, truth, 0, groups=groups) == alone
    with pytest.raises(ValueError, match="29 groups for 30 samples"):
        evaluate.scores(task("classes"), answers, truth, 0, groups=[""] * 29)


@pytest.mark.parametrize(("kind", "outputs"), KINDS)
def test_copies_of_a_sample_in_its_group_add_nothing(kind: str, outputs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three copies of each sample: with groups nearly what one of each gives, without far too narrow."""
    monkeypatch.setattr(evaluate, "RESAMPLES", 200)
    asked, (answers, truth) = task(kind, outputs=outputs), table(kind, 60, outputs=outputs)
    rows = np.repeat(np.arange(60), 3)
    once = evaluate.scores(asked, answers, truth, 0)
    whole = evaluate.scores(asked, answers[rows], truth[rows], 0, groups=[f"p{i}" for i in rows])
    alone = evaluate.scores(asked, answers[rows], truth[rows], 0)
    for name, s in once.items():
        width, wide, narrow = (x[name].high - x[name].low for x in (once, whole, alone))
        assert narrow < 0.85 * wide, name
        assert wide == pytest.approx(width, rel=0.25), name
        if name in ("mae", "rmse"):
            assert (whole[name].low, whole[name].high) == pytest.approx((s.low, s.high))


def test_paired_differences_of_copies_in_groups_add_nothing() -> None:
    for kind, measure in (("classes", "accuracy"), ("classes", "macro_f1"), ("numbers", "mae")):
        asked = task(kind, measure)
        a, truth = table(kind, 60, noise=0.7)
        b, rows = table(kind, 60, noise=1.5)[0], np.repeat(np.arange(60), 3)
        once = evaluate.paired(asked, a, b, truth, 0)
        whole = evaluate.paired(asked, a[rows], b[rows], truth[rows], 0, groups=[str(i) for i in rows])
        alone = evaluate.paired(asked, a[rows], b[rows], truth[rows], 0)
        assert whole.high - whole.low == pytest.approx(once.high - once.low, rel=0.15)
        assert alone.high - alone.low < 0.75 * (whole.high - whole.low)
        assert whole.difference == pytest.approx(once.difference)


def test_patients_are_covered_with_groups_and_not_without() -> None:
    """20 patients of 5 samples, all that is noise theirs: 90 % intervals of the error, 300 times."""
    asked, r, held = task("numbers"), rng(6, "patients"), {True: 0, False: 0}
    true = math.sqrt(2 / math.pi)
    for i in range(300):
        error = np.repeat(r.standard_normal(20), 5) * 0.95 + 0.05**0.5 * r.standard_normal(100)
        for grouped in held:
            groups = [str(k // 5) for k in range(100)] if grouped else None
            s = evaluate.score(asked, error, np.zeros(100), i, groups=groups, level=0.9)
            held[grouped] += s.low <= true * math.hypot(0.95, 0.05**0.5) <= s.high
    assert held[True] > 255 and held[False] < 210


class Own(Task):
    """A task with a measure of its own."""

    def measure(self, decoded: object, truth: object) -> dict[str, float]:
        return {"same": float(np.mean(np.asarray(decoded) == np.asarray(truth)))}


def test_measures_of_a_tasks_own_are_bootstrapped_groups_whole() -> None:
    answers, truth = np.arange(40) % 3, np.arange(40) % 2
    found = evaluate.scores(Own(), answers, truth, 0)["same"]
    share = float((answers == truth).mean())
    assert found.value == share and found.low < share < found.high
    rows = np.repeat(np.arange(40), 4)
    whole = evaluate.score(Own(), answers[rows], truth[rows], 0, groups=[str(i) for i in rows])
    assert whole.high - whole.low == pytest.approx(found.high - found.low, rel=0.25)
    pair = evaluate.paired(Own(), truth, answers, truth, 0)
    assert pair.p < 0.01 and pair.low > 0 and pair.difference == pytest.approx(1 - share)
    rows = np.concatenate(list(Units.of(160, [str(i) for i in rows]).rows(0, 5)))
    assert (np.bincount(rows, minlength=160).reshape(40, 4).std(axis=1) == 0).all()

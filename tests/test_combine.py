"""The combination on made tables whose truth is known: what it finds, how sure it is, and what it does without."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.stats import weightedtau

from graft.errors import DataError, UsageError
from graft.ranking import _mixed
from graft.ranking.combine import Combination, Row, Scale, fit
from graft.seeds import rng

SCORES = tuple(f"score{k}" for k in range(15))
ACCURACY = Scale(lower=False, constant=0.1, n=1000)


def world(
    *key: object, sets: int = 14, models: int = 12, worth: float = 0.0, missing: float = 0.0, uneven: float = 0.0
) -> list[Row]:
    """Rows of made data sets: models differ, sets differ, a model suits a set more or less; a prior and a probe see it.

    Fifteen scores share what they mean inside a set: noise, and `worth` times how well the model suits it. `uneven`:
    spread of the logarithm of a set's error.
    """
    r = rng(0, "combine", *key)
    good = r.normal(0, 0.35, models)
    prior, rows = good + r.normal(0, 0.15, models), []
    for d in range(sets):
        level, error = -0.9 + r.normal(0, 0.4), 0.14 * math.exp(uneven * r.normal())
        suits = r.normal(0, 0.2, models)
        y = level + good + 0.7 * suits + r.normal(0, error, models)
        probe = level + 0.35 + 1.3 * good + suits + r.normal(0, 0.25, models)
        shared = r.normal(0, 1, models) - worth * suits / 0.2
        told = 100 * (0.8 * shared[:, None] + 0.6 * r.normal(size=(models, 15))) + 7
        gone = r.random((models, 15)) < missing
        for m in range(models):
            scores = {s: None if gone[m, k] else float(told[m, k]) for k, s in enumerate(SCORES)}
            signals = {"prior": float(prior[m]), "probe": float(probe[m]), **scores}
            rows.append(Row(f"set {d}", f"model {m}", signals, float(y[m])))
    return rows


def parted(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """(all sets but the last, the last)."""
    last = rows[-1].dataset
    return [r for r in rows if r.dataset != last], [r for r in rows if r.dataset == last]


def truth(rows: list[Row]) -> np.ndarray:
    return np.array([r.y for r in rows], dtype=float)


# ------------------------------------------------------------------------------------------- scale


@pytest.mark.parametrize(
    ("scale", "value"),
    [
        (ACCURACY, 0.93),
        (Scale(True, 2.3, 500), 0.4),
        (Scale(True, 12_000.0, 80), 7_500.0),
        (Scale(False, 0.0, 50), -0.2),
    ],
)
def test_a_scale_goes_there_and_back(scale: Scale, value: float) -> None:
    assert scale.value(scale.y(value)) == pytest.approx(value, rel=1e-12)
    assert scale.y(scale.constant) == pytest.approx(0, abs=1e-12)
    assert math.isfinite(scale.y(scale.best)) and scale.y(scale.best) < scale.y(value)
    assert Scale(**json.loads(json.dumps(scale.plain()))) == scale


def test_a_scale_has_no_unit() -> None:
    metres, feet = Scale(True, 3.0, 40), Scale(True, 3.0 * 3.28, 40)
    assert metres.y(1.2) == pytest.approx(feet.y(1.2 * 3.28), rel=1e-12)
    assert Scale(True, 1.0, 10**9).y(0.5) == pytest.approx(math.log(0.5), abs=1e-6)


def test_broken_scales() -> None:
    with pytest.raises(DataError, match="nothing to rank"):
        Scale(lower=False, constant=1.0, n=10)
    with pytest.raises(DataError, match="number of samples"):
        Scale(lower=True, constant=1.0, n=0)
    with pytest.raises(DataError, match="number of samples"):
        Scale(lower=True, constant=math.nan, n=10)
    for value in (1.2, math.nan, math.inf):
        with pytest.raises(DataError, match="no value"):
            ACCURACY.y(value)


# -------------------------------------------------------------------------------------- the model


def test_the_closed_form_is_the_plain_gaussian_one() -> None:
    """Coefficients and likelihood against the definition: a normal with the covariance written out in full."""
    r = rng(0, "closed form")
    n, group, model = 18, np.repeat([0, 1, 2], 6), np.tile(np.arange(6), 3)
    x = np.c_[np.ones(n), r.normal(size=(n, 2))]
    held = np.array([0.3, 1.0, 0.0]), np.array([2.0, 0.5, np.nan])
    rows = _mixed.Rows(r.normal(size=n), x, group, model, np.full(n, 0.01), *held)
    v, spread = _mixed.Variances(0.3, 0.5, 0.2, 0.15), np.array([0.5, 1.0, 2.0])
    sd = np.array([2.0, 0.5, 0.15])
    same_set, same_model = group[:, None] == group, model[:, None] == model
    error = np.diag(0.3**2 * spread[group] + 0.01)
    full = error + 0.25 * same_set + 0.04 * same_model + (x * sd**2) @ x.T
    off = rows.y - x @ held[0]
    mean, covariance = _mixed._posterior(rows, spread, v, True)
    gain = sd[:, None] ** 2 * x.T @ np.linalg.inv(full)
    assert mean[:3] == pytest.approx(held[0] + gain @ off, abs=1e-9)
    assert covariance[:3, :3] == pytest.approx(np.diag(sd**2) - gain @ (x * sd**2), abs=1e-9)
    found = _mixed._minus_log_likelihood(rows, _mixed._columns(rows, True), spread, v, True)
    said = -stats.multivariate_normal(np.zeros(n), full).logpdf(off) - n / 2 * math.log(2 * math.pi)
    assert found == pytest.approx(said, abs=1e-8)


def test_what_is_missing_is_guessed_from_the_rest() -> None:
    moments = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    x, guesses = _mixed.filled(np.array([[2.0, 0.0, 0.0]]), np.array([[True, False, False]]), moments)
    assert x[0] == pytest.approx([2.0, 1.6, 0.0])
    assert guesses[0] == pytest.approx(np.diag([0.0, 1 - 0.64, 1.0]), abs=1e-12)


def test_spreads_of_sets_are_drawn_together() -> None:
    """Moments find how far the sets' variances are apart: equal ones are called equal, others are not."""
    r = rng(0, "spreads")
    group = np.repeat(np.arange(60), 10)
    rows = _mixed.Rows(np.zeros(600), np.zeros((600, 1)), group, group, np.zeros(600), np.zeros(1), np.zeros(1))
    even, df_even = _mixed._moderated(rows, r.normal(size=600))
    factors = np.exp(0.6 * r.normal(size=60))
    uneven, df_uneven = _mixed._moderated(rows, r.normal(size=600) * factors[group])
    assert df_even > 30 and even.std() < 0.15
    assert df_uneven < 12 and np.corrcoef(np.log(uneven), np.log(factors))[0, 1] > 0.8


def test_coefficients_are_found() -> None:
    rows = world("found", sets=30, models=10)
    found = fit(rows, ["prior", "probe", "score0"])
    told = found.coefficients()
    assert told["level"][0] == pytest.approx(1.0, abs=0.2)
    assert 0.1 < told["probe"][0] < 0.6 and told["prior"][0] > 0.2
    assert abs(told["score0"][0]) < 0.03
    assert found.sets == 30 and found.rows == 300 and len(found.models) == 10


def test_the_unit_of_a_score_is_without_effect() -> None:
    def in_another_unit(r: Row) -> Row:
        return replace(r, signals={**r.signals, **{s: 1e4 * (r.signals[s] or 0) - 3 for s in SCORES}})

    train, test = parted(world("units", worth=2.0, sets=6, models=8))
    signals = ["prior", "probe", *SCORES]
    p = fit(train, signals).predict(test)
    q = fit([in_another_unit(r) for r in train], signals).predict([in_another_unit(r) for r in test])
    assert q.mean == pytest.approx(p.mean, abs=1e-4)
    assert not np.allclose(p.mean, fit(train, signals[:2]).predict(test).mean, atol=1e-3)


@pytest.mark.slow
def test_useful_scores_are_used() -> None:
    """Fifteen scores that know how well a model suits a set: the order is better with them."""
    better = []
    for i in range(20):
        train, test = parted(world("useful", i, worth=2.0))
        y = truth(test)
        with_scores, without = (
            float(weightedtau(-y, -fit(train, signals).predict(test).mean)[0])
            for signals in (["prior", "probe", *SCORES], ["prior", "probe"])
        )
        better.append(with_scores - without)
    print(f"useful scores: tau higher by {np.mean(better):.3f}")
    assert np.mean(better) > 0.02


@pytest.mark.slow
def test_useless_scores_do_no_harm() -> None:
    """Fifteen correlated scores that know nothing, 13 sets of 12 models: tau as without them, and over the prior's."""
    taus = []
    for i in range(30):
        train, test = parted(world("useless", i))
        y = truth(test)
        for signals in (["prior"], ["prior", "probe"], ["prior", "probe", *SCORES]):
            taus.append(float(weightedtau(-y, -fit(train, signals).predict(test).mean)[0]))
    prior, probe, scores = np.reshape(taus, (-1, 3)).mean(axis=0)
    print(f"useless scores: tau {scores:.3f} with them, {probe:.3f} without, {prior:.3f} of the prior alone")
    assert scores > probe - 0.01
    assert scores > prior


@pytest.mark.slow
@pytest.mark.parametrize(
    "made", [{}, {"worth": 1.0}, {"uneven": 0.5}, {"worth": 0.5, "missing": 0.2}, {"sets": 7, "models": 6}], ids=str
)
def test_intervals_cover(made: dict[str, float]) -> None:
    """90 % intervals of a set never seen hold the truth in about 90 %, of a value and of a difference."""
    single, pairs = [], []
    for i in range(40):
        train, test = parted(world("cover", i, **made))  # type: ignore[arg-type]
        p = fit(train, ["prior", "probe", *SCORES]).predict(test)
        values = [ACCURACY.value(y) for y in truth(test)]
        for a in range(len(test)):
            r = p.interval(a, ACCURACY)
            single.append(r.low <= values[a] <= r.high)
            for b in range(a):
                r = p.difference(a, b, ACCURACY)
                pairs.append(r.low <= values[a] - values[b] <= r.high)
    print(f"cover {made}: {np.mean(single):.3f} of values, {np.mean(pairs):.3f} of differences")
    assert 0.85 <= np.mean(single) <= 0.99  # the level is one draw a set: few of them, and its t is wide on purpose
    assert 0.85 <= np.mean(pairs) <= 0.95


# ----------------------------------------------------------------------------- what is predicted


@pytest.fixture(scope="module")
def taught() -> tuple[Combination, list[Row]]:
    train, test = parted(world("taught", sets=8, models=6))
    return fit(train, ["prior", "probe", *SCORES[:3]]), test


def test_a_difference_is_paired(taught: tuple[Combination, list[Row]]) -> None:
    """It agrees with y, changes its sign with the order, leaves the level out, and holds 0 where y's interval does."""
    p = taught[0].predict(taught[1])
    for i, j in ((0, 1), (2, 5), (3, 3)):
        d, back = p.difference(i, j, ACCURACY), p.difference(j, i, ACCURACY)
        assert (d.value, d.low, d.high) == pytest.approx((-back.value, -back.high, -back.low), abs=1e-12)
        assert d.low <= d.value <= d.high
        assert (d.value > 0) == (p.mean[i] < p.mean[j])
    assert p.difference(3, 3, ACCURACY) == (0, 0, 0)
    shifted = replace(p, covariance=p.covariance + 25.0)
    assert shifted.difference(0, 1, ACCURACY) == pytest.approx(p.difference(0, 1, ACCURACY), abs=1e-6)
    assert shifted.interval(0, ACCURACY).high > p.interval(0, ACCURACY).high
    assert p.order() == list(np.argsort(p.mean))


def test_intervals_widen_with_their_level_and_keep_to_what_can_be(taught: tuple[Combination, list[Row]]) -> None:
    p = taught[0].predict(taught[1])
    half, most = p.interval(0, ACCURACY, 0.5), p.interval(0, ACCURACY, 0.99)
    assert most.low < half.low < half.value < half.high < most.high <= 1.0
    loss = Scale(True, 1.5, 100)
    r = p.interval(0, loss)
    assert 0 <= r.low < r.value < r.high
    with pytest.raises(UsageError, match="between 0 and 1"):
        p.interval(0, ACCURACY, 90)


def test_one_candidate(taught: tuple[Combination, list[Row]]) -> None:
    combination, test = taught
    alone, among = combination.predict(test[:1]), combination.predict(test)
    assert alone.mean.shape == (1,) and np.isfinite(alone.mean).all()
    assert alone.covariance[0, 0] > among.covariance[0, 0]  # nobody to compare it with
    better = replace(test[0], signals={**test[0].signals, "probe": (test[0].signals["probe"] or 0) - 0.5})
    moved = alone.mean - combination.predict([better]).mean  # what its probe says goes in as the level of the set
    assert moved == pytest.approx([0.5 * combination.coefficients()["level"][0]]) and moved[0] > 0.3


def test_a_missing_signal_widens_and_a_foreign_one_is_said(taught: tuple[Combination, list[Row]]) -> None:
    combination, test = taught
    blind = replace(test[2], signals={"prior": test[2].signals["prior"], "probe": None, "score0": math.nan})
    p = combination.predict([*test[:2], blind, *test[3:]])
    whole = combination.predict(test)
    assert np.isfinite(p.mean).all() and p.covariance[2, 2] > whole.covariance[2, 2]
    assert p.ignored == tuple(sorted(SCORES[3:]))
    nothing = [Row("new", f"m{i}", {}) for i in range(3)]
    q = combination.predict(nothing)
    assert (
        np.ptp(q.mean) == pytest.approx(0, abs=1e-9) and (np.diag(q.covariance) > np.diag(whole.covariance)[:3]).all()
    )


def test_a_signal_that_is_the_same_for_all_says_nothing(taught: tuple[Combination, list[Row]]) -> None:
    combination, test = taught

    def with_score(value: float | None) -> np.ndarray:
        rows = [replace(r, signals={**r.signals, "score1": value}) for r in test]
        return combination.predict(rows).mean

    assert with_score(5.0) == pytest.approx(with_score(None), abs=1e-12)


def test_noise_of_a_signal_widens(taught: tuple[Combination, list[Row]]) -> None:
    combination, test = taught
    noisy = [replace(r, noise={"probe": 0.2}) if i == 1 else r for i, r in enumerate(test)]
    p, q = combination.predict(test), combination.predict(noisy)
    assert q.covariance[1, 1] > p.covariance[1, 1] + 0.005
    assert q.mean == pytest.approx(p.mean, abs=1e-12)
    with pytest.raises(DataError, match="variance"):
        combination.predict([replace(test[0], noise={"prior": -1.0}), *test[1:]])


def test_noise_in_the_rows_takes_weight_off_them() -> None:
    rows = world("noisy rows", sets=8, models=6)
    plain = fit(rows, ["prior", "probe"])
    noisy = fit([replace(r, noise={"prior": 0.3, "probe": 0.3}) for r in rows], ["prior", "probe"])
    assert noisy.variances.error < plain.variances.error


def test_known_models_are_known_by_name() -> None:
    """What a model did on the other sets beyond its signals comes with it; a stranger has the same signals and less."""
    rows = [replace(r, y=(r.y or 0) - (0.6 if r.model == "model 3" else 0)) for r in world("names", sets=9, models=7)]
    train, test = parted(rows)
    signals = ["probe"]
    known = fit(train, signals).predict(test)
    strangers = fit(train, signals).predict([replace(r, model=f"new {r.model}") for r in test])
    assert known.mean[3] < strangers.mean[3] - 0.1
    assert known.covariance[3, 3] < strangers.covariance[3, 3]
    assert fit(train, signals, models=False).models == ()


def test_without_a_row_the_probe_is_the_prediction() -> None:
    untaught = fit([], ["prior", "probe", "logme"])
    rows = [Row("d", "a", {"prior": 0.1, "probe": -0.5, "logme": 1.0}), Row("d", "b", {"prior": 0.0, "probe": -1.2})]
    p = untaught.predict(rows)
    assert p.mean == pytest.approx([-0.5, -1.2], abs=1e-9) and p.taught == 0
    r = p.interval(0, ACCURACY)
    assert r.high - r.low > 0.4
    assert p.difference(0, 1, ACCURACY).low < 0 < p.difference(0, 1, ACCURACY).high
    assert Combination.from_plain(json.loads(json.dumps(untaught.plain()))).predict(rows).mean == pytest.approx(p.mean)


@pytest.mark.parametrize("signals", [[], ["prior"], ["score0"]])
def test_few_signals_and_one_set_still_predict(signals: list[str]) -> None:
    rows = world("few", sets=1, models=4)
    p = fit(rows, signals).predict(rows)
    assert np.isfinite(p.mean).all() and np.linalg.eigvalsh(p.covariance).min() > 0
    assert 1 < p.df <= 5  # a level was seen once: its spread is a belief


def test_json_gives_the_same_bits(taught: tuple[Combination, list[Row]]) -> None:
    combination, test = taught
    again = Combination.from_plain(json.loads(json.dumps(combination.plain())))
    assert again.plain() == combination.plain()
    p, q = combination.predict(test), again.predict(test)
    assert (p.mean == q.mean).all() and (p.covariance == q.covariance).all()


def test_the_same_rows_give_the_same_combination() -> None:
    rows = world("twice", sets=4, models=4)
    assert fit(rows, ["prior", "probe"]).plain() == fit(rows, ["prior", "probe"]).plain()


def test_broken_combinations_are_refused(taught: tuple[Combination, list[Row]]) -> None:
    plain = taught[0].plain()
    broken = [{}, {**plain, "mean": plain["mean"][:-1]}, {**plain, "variances": {"error": 1.0}}, {**plain, "df": "x"},
              {**plain, "covariance": [[math.nan] * len(plain["mean"])] * len(plain["mean"])}]  # fmt: skip
    for raw in broken:
        with pytest.raises(DataError, match="no combination"):
            Combination.from_plain(raw)


def test_broken_rows_are_refused(taught: tuple[Combination, list[Row]]) -> None:
    rows = world("broken", sets=2, models=3)
    for y in (None, math.nan, math.inf):
        with pytest.raises(DataError, match="finite y"):
            fit([*rows, Row("set 0", "more", {}, y)], ["prior"])
    with pytest.raises(DataError, match="twice"):
        fit([*rows, rows[0]], ["prior"])
    for signals in (["prior", "prior"], ["level"], [""]):
        with pytest.raises(UsageError, match="once each"):
            fit(rows, signals)
    for given in ([], rows):
        with pytest.raises(DataError, match="one data set"):
            taught[0].predict(given)

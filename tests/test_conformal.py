"""Sets and intervals: what they promise is kept in simulation, exactly where it can be, and said where it cannot."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, softmax
from test_calibrate import classes, labels

from graft import conformal
from graft.errors import UsageError
from graft.evaluate import exact_share
from graft.seeds import rng

NAMES = [f"c{i}" for i in range(12)]


def of_kind(kind: str, n: int, key: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Answers of a model that is too sure, and truth; no two scores are equal."""
    if kind == "classes":
        return classes(n, 6, 2.0, key)
    if kind == "labels":
        return labels(n, 3, 2.0, key)
    draw = rng("conformal numbers", n, key)
    x = draw.standard_normal(n)
    return x, x + draw.standard_t(3, n)


# ----------------------------------------------------------------------------------------- the cut


@pytest.mark.parametrize(("coverage", "n"), [(0.5, 1), (0.8, 4), (0.9, 9), (0.95, 19), (0.99, 99), (0.01, 1)])
def test_so_many_validation_samples_support_a_coverage_and_one_fewer_does_not(coverage: float, n: int) -> None:
    assert conformal.needed(coverage) == n
    assert math.isfinite(conformal.quantile(np.arange(float(n)), coverage))
    assert conformal.quantile(np.arange(n - 1.0), coverage) == math.inf


@pytest.mark.parametrize("coverage", [0.8, 0.85, 0.9, 0.95, 2 / 3])
@pytest.mark.parametrize("n", [19, 50, 99, 200])
def test_the_cut_is_the_score_that_the_theorem_names(n: int, coverage: float) -> None:
    scores = rng("quantile", n).permutation(n).astype(float)
    k = int(conformal.quantile(scores, coverage)) + 1  # scores are 0 .. n - 1
    assert (k - 1) / (n + 1) < coverage <= k / (n + 1) + 1e-12


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 90.0, float("nan")])
def test_a_coverage_is_a_share(coverage: float) -> None:
    with pytest.raises(UsageError, match=r"--coverage .* above 0 and below 1 is expected, as 0.9"):
        conformal.cuts("numbers", [1.0], [1.0], coverage)


# --------------------------------------------------------------------------------------- the scores


def test_scores_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    p = np.array([[0.2, 0.5, 0.3], [0.25, 0.25, 0.5]])
    assert np.allclose(conformal.oddness("classes", p, "aps") + 1, [[0.8, 0.0, 0.5], [0.5, 0.75, 0.0]])
    assert np.allclose(conformal.oddness("classes", p, "lac"), [[-0.2, -1, -0.3], [-0.25, -0.25, -1]])
    assert np.allclose(conformal.oddness("labels", p), -p)
    monkeypatch.setattr(conformal, "FREE", 1)
    monkeypatch.setattr(conformal, "PENALTY", 0.1)
    assert np.allclose(conformal.oddness("classes", p, "raps") + 1, [[1.0, 0.0, 0.6], [0.6, 0.95, 0.0]])


@pytest.mark.parametrize("score", conformal.SCORES)
def test_sets_grow_with_coverage_hold_the_likeliest_and_skip_no_likelier_class(score: str) -> None:
    (p, truth), (q, _) = classes(300, 6), classes(500, 6, key=1)
    before = np.zeros(q.shape, dtype=bool)
    for coverage in (0.3, 0.6, 0.8, 0.9, 0.97):
        held = conformal.members("classes", q, conformal.cuts("classes", p, truth, coverage, score), score)
        assert held[np.arange(len(q)), q.argmax(axis=1)].all()
        assert (before <= held).all()
        ranked = np.take_along_axis(held, np.argsort(-q, axis=1), axis=1)
        assert (np.diff(ranked.astype(int), axis=1) <= 0).all()
        before = held
    assert held.sum() > len(q)


def test_small_numbers_beside_a_sure_class_are_told_apart() -> None:
    p = np.array([[1 - 1e-17, 6e-18, 3e-18, 1e-18]])
    for score in ("aps", "lac"):
        assert len(np.unique(conformal.oddness("classes", p, score))) == 4


# --------------------------------------------------------------------------------------- the promise


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
@pytest.mark.parametrize("n", [25, 100])
def test_coverage_is_what_was_asked_on_average_though_the_model_is_too_sure(kind: str, coverage: float, n: int) -> None:
    """Over many validation parts: exact without ties, k / (n + 1); within four standard errors of the simulation."""
    answers, truth = of_kind(kind, 20_000)
    found, exact = [], []
    for a in range(0, len(truth), 2 * n):
        valid, test = slice(a, a + n), slice(a + n, a + 2 * n)
        cut = conformal.cuts(kind, answers[valid], truth[valid], coverage)
        if kind == "numbers":
            low, high = conformal.ends(answers[test], cut).T
            found.append(((low <= truth[test]) & (truth[test] <= high)).mean())
        elif kind == "classes":
            held = conformal.members(kind, answers[test], cut)
            found.append(held[np.arange(n), truth[test]].mean())
        else:  # of the first label alone, whatever the number of samples that hold it
            own = truth[test][:, 0] > 0.5
            found.append(conformal.members(kind, answers[test], cut)[own, 0].mean())
        m = int((truth[valid][:, 0] > 0.5).sum()) if kind == "labels" else n
        exact.append(min(1.0, math.ceil((m + 1) * coverage - 1e-9) / (m + 1)))
    if kind == "classes":  # the model alone must not be right more often than is asked
        assert (answers.argmax(axis=1) == truth).mean() < 0.75
    error = np.std(found, ddof=1) / math.sqrt(len(found))
    assert abs(np.mean(found) - np.mean(exact)) < 4 * error


def test_a_model_that_is_right_more_often_than_asked_gives_one_class() -> None:
    p, truth = classes(2000, 3)
    sure = softmax(np.log(p) + 3 * np.eye(3)[truth], axis=1)
    held = conformal.members("classes", sure, conformal.cuts("classes", sure[:500], truth[:500], 0.8))
    assert (held.sum(axis=1) == 1).all()


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_ties_everywhere_only_make_sets_hold_more(kind: str) -> None:
    answers = {"classes": np.full((60, 3), 1 / 3), "labels": np.full((60, 3), 0.2), "numbers": np.full(60, 2.0)}[kind]
    truth = {"classes": np.arange(60) % 3, "labels": np.tile([1.0, 0, 0], (60, 1)), "numbers": np.full(60, 2.0)}[kind]
    row = conformal.measured(kind, answers, truth, answers, truth, NAMES[:3])["levels"][1]
    assert row["measured"]["value"] >= 0.9


# ------------------------------------------------------------------------------- too few, and offsets


@pytest.mark.parametrize(("kind", "said"), [("classes", "every set holds all classes"),
                                            ("numbers", "every interval is endless")])  # fmt: skip
def test_too_small_a_validation_part_holds_everything_and_says_so(kind: str, said: str) -> None:
    answers, truth = of_kind(kind, 8)
    cut = conformal.cuts(kind, answers, truth, 0.9)
    row = conformal.columns(kind, answers, cut, NAMES[:6])[0]
    assert row == {"low": -math.inf, "high": math.inf} if kind == "numbers" else sorted(row["set"]) == NAMES[:6]
    words = conformal.unsupported(kind, truth, 0.9, NAMES[:6])
    assert words == f"a coverage of 0.9 needs at least 9 validation samples; this run has 8, so {said}"
    assert conformal.unsupported(kind, np.append(truth, truth[:1]), 0.9, NAMES[:6]) == ""


def test_a_label_that_validation_has_too_few_of_stands_in_every_set() -> None:
    p, truth = labels(80)
    truth[:, 1] = 0
    truth[:8, 1] = 1
    cut = conformal.cuts("labels", p, truth, 0.9)
    assert np.isfinite(cut).tolist() == [True, False, True]
    assert all("b" in row["set"] for row in conformal.columns("labels", p, cut, ["a", "b", "c"]))
    said = conformal.unsupported("labels", truth, 0.9, ["a", "b", "c"])
    assert said.endswith("needs at least 9 validation samples that hold a label; b have fewer, and stand in every set")


def test_what_is_answered_stands_in_its_set() -> None:
    p, truth = classes(400, 3)
    offsets = np.array([0.0, 2.5, -1.0])
    cut = conformal.cuts("classes", conformal.deciding("classes", p, offsets), truth, 0.8)
    said = (np.log(p) + offsets).argmax(axis=1)
    rows = conformal.columns("classes", p, cut, NAMES[:3], offsets)
    assert all(row["set"][0] == NAMES[c] for row, c in zip(rows, said, strict=True))
    assert (said != p.argmax(axis=1)).any()


# --------------------------------------------------------------------------------------- the report


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_what_is_measured_can_be_counted_by_hand(kind: str) -> None:
    (a, t), (b, u) = of_kind(kind, 150), of_kind(kind, 400, key=1)
    names = NAMES[: b.shape[1]] if b.ndim == 2 else []
    said = conformal.measured(kind, a, t, b, u, names)
    json.dumps(said, allow_nan=False)
    assert said["n_valid"] == 150 and [x["coverage"] for x in said["levels"]] == [0.8, 0.9, 0.95]
    for row in said["levels"]:
        given = conformal.columns(kind, b, conformal.cuts(kind, a, t, row["coverage"]), names)
        if kind == "numbers":
            hits = [g["low"] <= y <= g["high"] for g, y in zip(given, u, strict=True)]
            assert row["width"] == pytest.approx(given[0]["high"] - given[0]["low"])
        else:
            true = [[c for c in range(len(names)) if y[c]] if kind == "labels" else [y] for y in u]
            pairs = [(c, names[c] in g["set"]) for g, cs in zip(given, true, strict=True) for c in cs]
            hits = [hit for _, hit in pairs]
            assert row["size"] == pytest.approx(np.mean([len(g["set"]) for g in given]))
            assert row["single"] == pytest.approx(np.mean([len(g["set"]) == 1 for g in given]))
            each = {names[c]: np.mean([hit for d, hit in pairs if d == c]) for c, _ in pairs}
            assert row["worst"]["value"] == pytest.approx(min(each.values()))
            assert each[row["worst"]["label"]] == pytest.approx(row["worst"]["value"])
        assert row["measured"]["value"] == pytest.approx(np.mean(hits)) and row["measured"]["n"] == len(hits)
        assert (row["measured"]["low"], row["measured"]["high"]) == exact_share(sum(hits), len(hits))


def test_where_a_measured_coverage_usually_lies() -> None:
    """Of many pairs of parts, at least 95 in 100 measure a coverage within the stated reach."""
    inside = []
    for key in range(150):
        x, y = of_kind("numbers", 160, key)
        row = conformal.measured("numbers", x[:60], y[:60], x[60:], y[60:], [])["levels"][1]
        inside.append(row["expected"]["low"] <= row["measured"]["value"] <= row["expected"]["high"])
    assert np.mean(inside) > 0.91  # 0.95 less two standard errors


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_tiny_parts_and_absent_classes_are_measured(kind: str) -> None:
    answers, truth = of_kind(kind, 5)
    if kind == "classes":
        truth = np.zeros(5, dtype=int)
    if kind == "labels":
        truth = np.zeros_like(truth)
    names = NAMES[: answers.shape[1]] if answers.ndim == 2 else []
    said = conformal.measured(kind, answers, truth, answers, truth, names)
    json.dumps(said, allow_nan=False)
    row = said["levels"][2]
    assert not row["supported"] and row["needs"] == 19 and row["expected"] is None
    if kind == "labels":  # nobody holds any: there is nothing to miss
        assert row["measured"] == {"value": None, "low": None, "high": None, "n": 0} and row["worst"] is None
        assert row["everything"] == names
    else:
        assert row["measured"]["value"] == 1.0
        assert row.get("width", 0) is None if kind == "numbers" else row["size"] == len(names)


# --------------------------------------------------------------------------------------- abstention


def test_the_surest_are_right_more_often_and_the_area_is_the_mean_of_errors() -> None:
    p, truth = classes(500, 4)
    said = conformal.abstention("classes", p, truth)
    order = np.argsort(-p.max(axis=1), kind="stable")
    wrong = (p.argmax(axis=1) != truth)[order]
    risks = np.cumsum(wrong) / np.arange(1, 501)
    assert said["aurc"] == pytest.approx(risks.mean()) and said["unsorted"] == pytest.approx(wrong.mean())
    assert said["best"] == pytest.approx((np.cumsum(np.sort(wrong)) / np.arange(1, 501)).mean())
    assert said["best"] < said["aurc"] < said["unsorted"]
    shares = {x["answered"]: x for x in said["curve"]}
    assert len(shares) == 20 and shares[1.0]["value"] == pytest.approx(1 - wrong.mean())
    assert shares[0.3]["value"] == pytest.approx(1 - risks[149]) and shares[0.3]["n"] == 150
    assert shares[0.3]["sure"] == np.sort(p.max(axis=1))[-150]
    assert (shares[0.3]["low"], shares[0.3]["high"]) == exact_share(round(150 * shares[0.3]["value"]), 150)


def test_of_equally_sure_answers_the_order_says_nothing() -> None:
    p = np.tile([0.7, 0.3], (40, 1))
    truth = np.repeat([0, 1], 20)
    for order in (np.arange(40), np.arange(40)[::-1]):
        said = conformal.abstention("classes", p[order], truth[order])
        assert {x["value"] for x in said["curve"]} == {0.5} and said["aurc"] == said["unsorted"] == 0.5


def test_labels_are_right_together() -> None:
    p, truth = labels(300)
    said = conformal.abstention("labels", p, truth)
    right = ((p > 0.5) == (truth > 0.5)).all(axis=1)
    assert said["curve"][0]["value"] == pytest.approx(right.mean()) and said["aurc"] < said["unsorted"]
    assert said["curve"][0]["sure"] == pytest.approx(np.maximum(p, 1 - p).prod(axis=1).min())


def test_abstention_follows_the_decisions() -> None:
    p, truth = classes(200, 2)
    offsets = np.array([1.0, -1.0])
    said = conformal.abstention("classes", p, truth, offsets)
    assert said["unsorted"] == pytest.approx(((np.log(p) + offsets).argmax(axis=1) != truth).mean())
    odds = np.log(p[:, 1] / p[:, 0])
    assert said["curve"][0]["sure"] == pytest.approx(expit(np.abs(odds - 2)).min())


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_handful_is_listed_once_each(n: int) -> None:
    p, truth = classes(n, 3)
    curve: list[dict[str, Any]] = conformal.abstention("classes", p, truth)["curve"]
    assert [x["n"] for x in curve] == list(range(n, 0, -1))


def test_numbers_do_not_abstain() -> None:
    said = conformal.abstention("numbers", np.arange(5.0), np.arange(5.0))
    assert said["curve"] is None and "equally wide" in said["why"]

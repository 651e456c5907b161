"""What a report says of thresholds and of numbers is what its decisions and its residuals are."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any

import pytest
import reports
from pages import sections, shown
from report_parts import sample

from graft import _facts, _page, _plots, report

# -- thresholds


def test_thresholds_of_two_classes_name_the_favoured_one() -> None:
    r = reports.of_classes()
    for offsets, said in (([0.0, 1.2], "“sick” from a probability of 23.1%"),
                          ([1.2, 0.0], "“healthy” from a probability of 23.1%"),
                          ([-0.7, 0.5], "“sick” from a probability of 23.1%"),
                          ([0.0, 5000.0], "“sick” from a probability of 0.0%")):  # fmt: skip
        r["thresholds"]["finetune"] = offsets
        assert said in _facts.decides(r)
        # As the decision is made: the class with the larger log-probability plus offset.
        p = 0.25
        wins = math.log(p) + offsets[1] > math.log(1 - p) + offsets[0]
        named = "sick" in said
        assert wins == (named and p > _facts.share_from(offsets[1] - offsets[0]))


def test_a_label_is_said_from_its_threshold_on() -> None:
    for offset in (-2.0, 0.0, 0.7):
        edge = _facts.share_from(offset)
        assert math.log(edge / (1 - edge)) + offset == pytest.approx(0.0, abs=1e-12)
    words = shown(reports.of_labels(), "classes")
    assert "Said from" in words
    assert re.search(r"science 70\.4% 88\.6% 78\.4% \d+ 25\.0%", words)
    r = reports.of_labels()
    r["thresholds"]["finetune"] = [0.5] * 7
    assert _facts.decides(r) == "It says a label from a probability of 37.8% on, instead of from 50%."


def test_thresholds_of_many_classes_are_factors() -> None:
    r = sample()
    r["task"]["labels"] = [f"c{i}" for i in range(9)]
    r["thresholds"] = {"finetune": [math.log(2), math.log(0.5), *[0.0] * 7]}
    said = _facts.decides(r)
    assert "Classes that are favoured: “c0” (2.00 times); held back: “c1” (2.00 times less)." in said
    r["thresholds"]["finetune"] = [i / 2 for i in range(9)]
    assert "and 1 more" not in _facts.decides(r)
    r["task"]["labels"], r["thresholds"]["finetune"] = [f"c{i}" for i in range(13)], [i / 2 for i in range(13)]
    assert "and 1 more" in _facts.decides(r)
    r["per_class"] = {f"c{i}": {"precision": 0.5, "recall": 0.5, "f1": 0.5, "n": 9} for i in range(13)}
    words = shown(r, "classes")
    assert "Weighed by" in words
    assert "c8 50.0% 50.0% 50.0% 9 2.72" in words
    r["thresholds"]["finetune"] = [0.0] * 13
    assert "all of them near one" in _facts.decides(r)


@pytest.mark.parametrize("offsets", [None, [], [0.1], [0.1, None], [0.1, float("nan")]])
def test_thresholds_that_fit_no_label_are_left_out(offsets: Any) -> None:
    r = reports.of_classes()
    r["thresholds"] = {"finetune": offsets}
    assert "thresholds" not in sections(report.to_html(r))
    report.model_card(r)


# -- numbers


def test_residuals_are_told_and_drawn() -> None:
    r = reports.of_numbers()
    r["residuals"] = {"truth": [0.0] * 9 + [10.0], "predicted": [1.0] * 9 + [30.0]}
    words = shown(r, "residuals")
    assert (
        "Half of the answers are off by at most 1.00 , nine in ten by at most 1.00 . On average they are 2.90 too high"
        in words
    )
    assert "The true numbers go from 0 to 10.0" in words
    assert "10 of 640 items" in words
    html = report.to_html(r)
    assert html.count('class="item"') == 10
    assert 'class="ideal" x1="0" x2="100%" y1="100%" y2="0"' in html


def test_a_point_above_the_diagonal_is_too_high() -> None:
    drawn = _plots.scatter([(10.0, 30.0)], [0.0, 10.0, 20.0, 30.0, 40.0], "{:g}".format)
    assert 'class="item" cx="25.00%" cy="25.00%"' in drawn


@pytest.mark.parametrize(
    "errors",
    [[0.0], [1.0], [-3.0, 3.0], [0.1 * i for i in range(-50, 51)], [0.0] * 98 + [1e6, -1e6], [1e-9, 2e-9], [-5.0] * 7],
)
def test_bins_hold_each_error_once(errors: list[float]) -> None:
    bars, outside = _plots.bins(errors)
    assert sum(n for _, _, n in bars) + outside == len(errors)
    assert outside <= _plots.TAIL * len(errors)
    assert 2 <= len(bars) <= 2 * _plots.BARS
    assert bars[0][0] == -bars[-1][1]
    assert all(a[1] == pytest.approx(b[0]) for a, b in pairwise(bars))
    for low, high, n in bars:
        slack = 1e-6 * (high - low)
        assert n <= sum(1 for e in errors if low - slack <= e <= high + slack)
    assert "NaN" not in _plots.histogram(bars, _plots.round_number)


def test_many_points_are_thinned() -> None:
    r = reports.of_numbers()
    r["residuals"] = {
        "truth": [float(i) for i in range(20_000)],
        "predicted": [float(i + i % 7) for i in range(20_000)],
    }
    page = report.to_html(r)
    assert 1000 < page.count('class="item"') <= _plots.MOST_DOTS
    assert len(page.encode()) < 1_500_000


@pytest.mark.parametrize(
    ("truth", "predicted", "words"),
    [("5", "7.5", "2.50 too high"), ("5", "-1", "6.00 too low"), ("5", "5", ""), ("x", "5", ""), (None, "5", ""),
     ("1", "inf", ""), ("nan", "1", "")],
)  # fmt: skip
def test_mistakes_of_numbers_say_how_far_off(truth: Any, predicted: Any, words: str) -> None:
    r = reports.of_numbers()
    r["mistakes"] = [{"id": "a", "truth": truth, "predicted": predicted, "probability": None}]
    found = _page.SECTIONS["mistakes"](r)
    assert found["cards"][0]["sure"] == words


def test_mistakes_beyond_the_first_are_folded() -> None:
    r = reports.of_labels()
    page = report.to_html(r)
    assert "12 more" in shown(r, "mistakes")
    assert page.index("news.csv:122<") < page.index("12 more") < page.index("news.csv:139<")
    assert "8 more" in shown(reports.of_numbers(), "mistakes")  # pictures: twelve are seen

"""The page's and the card's words on what carried over and what was forgotten."""

from __future__ import annotations

from typing import Any

import pytest
from pages import Page, rendered, sections
from report_parts import sample

from graft import _plots, report

TUNED: dict[str, Any] = {
    "kind": "tuned", "n": 244, "judged": 49, "measure": "accuracy", "lower": False,
    "estimator": "linear CKA, debiased", "seconds": 3.2,
    "sentence": "The last stage changed; the rest served as it was.",
    "stages": [
        {"name": "stage 0", "parameters": 928, "cka": 0.999, "low": 0.998, "high": 1.0, "line": 0.95, "changed": False,
         "drift": 0.0, "before": 0.61, "after": 0.63, "gain": {"difference": 0.02, "low": -0.03, "high": 0.07}},
        {"name": "positions", "parameters": 20, "cka": None, "low": None, "high": None, "line": None, "changed": None,
         "drift": 0.004, "before": None, "after": None, "gain": None},
        {"name": "stage <1>", "parameters": 412160, "cka": 0.623, "low": 0.55, "high": 0.696, "line": 0.812,
         "changed": True, "drift": 0.0312, "before": 0.82, "after": 0.93,
         "gain": {"difference": 0.11, "low": 0.04, "high": 0.18}},
    ],
}  # fmt: skip
FROZEN: dict[str, Any] = {
    **TUNED, "kind": "frozen", "sentence": "Nothing moved: the pretrained backbone served as it was.",
    "stages": [{**dict.fromkeys(TUNED["stages"][0]), "name": f"stage {i}", "parameters": 9, "before": 0.6 + i / 10}
               for i in range(3)],
}  # fmt: skip


def scored(value: float) -> dict[str, Any]:
    return {"value": value, "low": value - 0.05, "high": value + 0.04, "n": 153}


LOST: dict[str, Any] = {
    "source": "/data/<old>.csv", "task": "image_classification", "measure": "accuracy", "probe_measure": "macro_f1",
    "lower": False, "max_drop": 0.05, "flagged": True, "tuned": True, "notes": [], "seconds": 2.0,
    "head": {"before": scored(0.93), "after": scored(0.71), "drop": {"difference": 0.22, "low": 0.15, "high": 0.29},
             "flagged": True, "run": "/runs/old", "flattered": True},
    "probe": {"before": scored(0.92), "after": scored(0.9), "drop": {"difference": 0.02, "low": -0.01, "high": 0.05},
              "flagged": False},
    "sentence": "Forgetting on <old>.csv: the head loses 22.0 points. That is above --max-drop 5.0 points.",
}  # fmt: skip


def test_a_tuned_backbone_has_two_drawings_a_table_and_the_sentence() -> None:
    page = report.to_html({**sample(), "layers": TUNED})
    assert "layers" in sections(page) and sections(page).index("layers") == sections(page).index("rungs") + 1
    read = Page(page)
    for said in (
        "Which knowledge carried over?", TUNED["sentence"], "on 244 validation and training samples", "the 49 samples",
        "Likeness to the start", "Probe, accuracy", "Stage <1>", "0.623", "0.550 to 0.696", "0.812", "412,160",
        "0.0312", "before: 82.0%", "+11.0", "+4.0 to +18.0", "changed", "as it was", "input: stage 0",
        "output: stage <1>", "linear CKA, debiased",
    ):  # fmt: skip
        assert said in read.words, said
    assert page.count('class="curve line"') == 1 and page.count('class="curve start"') == 1
    assert "The last stage changed" in report.model_card({**sample(), "layers": TUNED})


def test_a_frozen_backbone_shows_the_probe_by_depth_alone() -> None:
    page = report.to_html({**sample(), "layers": FROZEN})
    read = Page(page)
    assert "Nothing moved" in read.words and "Probe, accuracy" in read.words and "80.0%" in read.words
    assert "Likeness" not in read.words and "Drift" not in read.words


@pytest.mark.parametrize("given", [None, {}, {"stages": []}, {"kind": "tuned", "stages": [{"name": "stage 0"}]}])
def test_a_report_by_layer_without_numbers_is_still_a_page(given: Any) -> None:
    r = {**sample(), "layers": given}
    page = report.to_html(r)
    Page(page)
    assert ("layers" in sections(page)) == bool(given and given["stages"])
    report.model_card(r)
    rendered(r)


def test_what_was_forgotten_is_flagged_with_both_answers() -> None:
    page = report.to_html({**sample(), "forgetting": LOST})
    read = Page(page)
    for said in (
        "What was forgotten", LOST["sentence"], "the earlier run's own head", "a probe fitted anew", "93.0%", "71.0%",
        "+22.0 points", "+15.0 to +29.0", "macro F1", "flagged", "within", "/data/<old>.csv", "its scores flatter",
    ):  # fmt: skip
        assert said in read.words, said
    assert "above --max-drop" in report.model_card({**sample(), "forgetting": LOST})


def test_without_an_earlier_run_the_page_says_why_there_is_no_head() -> None:
    lost = {**LOST, "head": {"why": "the backbone is no earlier run"}, "flagged": False}
    read = Page(report.to_html({**sample(), "forgetting": lost}))
    assert "the backbone is no earlier run" in read.words and "own head says" in read.words
    assert "22.0 points" not in read.words.replace(LOST["sentence"], "") and "flagged" not in read.words


@pytest.mark.parametrize("given", [None, {}, {"sentence": "Nothing was forgotten.", "head": None, "probe": {}}])
def test_forgetting_without_numbers_is_still_a_page(given: Any) -> None:
    r = {**sample(), "forgetting": given}
    page = report.to_html(r)
    Page(page)
    assert ("forgetting" in sections(page)) == bool(given)
    report.model_card(r)


def test_a_profile_draws_each_value_where_it_stands() -> None:
    drawn = _plots.profile([("", [0.0, None, 1.0]), ("start", [0.5, 0.5, 0.5])], str, "x", [(0.0, 0.2), None, None])
    assert 'cx="16.67%" cy="100.00%"' in drawn and 'cx="83.33%" cy="0.00%"' in drawn  # of three stages, the outer two
    assert drawn.count('class="dot start"') == 3 and drawn.count('class="reach"') == 1
    assert 'x1="16.67%" y1="100.00%" x2="83.33%" y2="0.00%"' in drawn  # the line goes on over the gap

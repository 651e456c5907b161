"""A report's page says what is in the report, section by section, for each kind of answer."""

from __future__ import annotations

from typing import Any

import pytest
import reports
from pages import Page, rendered, sections, shown
from report_parts import sample, score

from graft import _page, _plots, _wording, report

ORDER = [
    "controls", "rungs", "mistakes", "confusion", "classes", "calibration", "curves", "rank", "data", "usage",
    "recipe", "machine",
]  # fmt: skip


def test_sections_are_all_there_in_order() -> None:
    page = report.to_html(sample())
    assert sections(page) == ORDER
    words = Page(page).words
    for said in (
        "Carrying knowledge over helped.", "93.0%", "95% interval 89.0 to 97.0%, 153 test items",
        "397 items, 2 classes", "3.5 M parameters", "log loss 0.213", "+39.0", "+30.0 to +47.0", "chosen is better",
        "no clear difference", "1 min 02 s", "20 mistakes on the test part", "off by 4.0 points", "a little too sure",
        "the hub cannot be reached", "2026-11-24 08:00 UTC",
    ):  # fmt: skip
        assert said in words, said


@pytest.mark.parametrize(
    ("key", "section"),
    [
        ("controls", "controls"), ("rungs", "rungs"), ("mistakes", "mistakes"), ("confusion", "confusion"),
        ("per_class", "classes"), ("calibration", "calibration"), ("curves", "curves"), ("rank", "rank"),
        ("data", "data"), ("run", "usage"), ("recipe", "recipe"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("how", ["gone", "none", "empty"])
def test_a_section_without_data_is_left_out(key: str, section: str, how: str) -> None:
    r = sample()
    if how == "gone":
        del r[key]
    else:
        r[key] = None if how == "none" else type(r[key])()
    page = report.to_html(r)
    Page(page)
    assert sections(page) == [s for s in ORDER if s != section]
    report.model_card(r)
    rendered(r)


@pytest.mark.parametrize("r", [{}, {"format": 1, "run": "runs/x", "headline": None, "controls": {"majority": None}}])
def test_almost_nothing_is_still_a_report(r: dict[str, Any]) -> None:
    page = Page(report.to_html(r))
    assert "The chosen model is not named." in page.words
    assert report.model_card(r).startswith("---\n")
    assert "not named" in rendered(r)


def test_each_value_may_be_none() -> None:
    def hollow(value: Any, depth: int) -> Any:
        if isinstance(value, dict):
            return {k: hollow(v, depth - 1) if depth else None for k, v in value.items()}
        return [hollow(v, depth - 1) for v in value] if isinstance(value, list) and depth else None

    for depth in range(1, 6):
        r = hollow(sample(), depth)
        r["task"] = {"name": None, "labels": None}
        Page(report.to_html(r))
        report.model_card(r)
        rendered(r)


def test_confusion_of_many_classes_lists_pairs() -> None:
    r, n = sample(), 40
    r["task"]["labels"] = [f"class_{i}" for i in range(n)]
    r["confusion"] = [[50 if i == j else i if j == 0 else 0 for j in range(n)] for i in range(n)]
    shown = _page.confusion(r)
    assert shown is not None
    assert shown["heat"] is None
    assert len(shown["table"]["seen"]) == 15
    assert shown["table"]["seen"][0] == ["class_39", "class_0", "39", "43.8%"]
    assert "The most confused pairs of 40 classes." in report.to_html(r)


def test_mistakes_come_worst_first_and_say_how_many_there_are() -> None:
    r = sample()
    r["confusion"] = [[10, 90], [0, 10]]
    page = report.to_html(r)
    assert "20 of 90 mistakes" in Page(page).words
    assert page.index("val/19.jpg") < page.index("val/0.jpg")


def test_items_of_a_note_are_capped() -> None:
    page = report.to_html(sample())
    assert "70 items" in page
    assert "and 20 more" in page
    assert "odd_49.gif" in page
    assert "odd_50.gif" not in page


def test_a_control_that_is_the_chosen_is_not_repeated() -> None:
    r = sample()
    r["chosen"], r["controls"]["probe"] = "probe", r["headline"]
    assert [x["name"] for x in _wording.compared(r)] == ["probe", "majority"]
    assert "The control probe is the chosen model itself." in Page(report.to_html(r)).words


def test_where_less_is_better_the_reading_turns() -> None:
    gap = {"difference": -0.2, "low": -0.3, "high": -0.1}
    assert _wording.reading(gap, less=True) == ("chosen is better", "good")
    assert _wording.reading(gap, less=False) == ("chosen is worse", "bad")
    assert _wording.reading({**gap, "high": 0.1}, less=True) == ("no clear difference", "dim")
    assert _wording.reading({}, less=True) == ("not compared", "dim")
    assert _wording.lower({}, "cost:fp=1,fn=5")
    assert not _wording.lower({"measures": {"cost": {"lower": False}}}, "cost:fp=1,fn=5")  # the report knows better


def test_a_measure_that_is_no_share_is_no_percent() -> None:
    r = sample()
    r["measure"], r["headline"] = "rmse", score(12.345, 11.0, 13.9, n=153)
    r["controls"], r["against"] = (
        {"mean": score(20.0, 18.0, 22.0)},
        {"mean": {"difference": -7.6, "low": -9, "high": -6}},
    )
    words = Page(report.to_html(r)).words
    assert "RMSE on unseen data 12.3" in words
    assert "11.0 to 13.9" in words
    assert "−7.6" in words
    assert "chosen is better" in words
    assert "12.3" in rendered(r)
    assert "points" not in rendered(r)


@pytest.mark.parametrize(
    ("value", "measure", "signed", "words"),
    [
        (0.93, "accuracy", False, "93.0%"), (1.0, "macro_f1", False, "100.0%"), (0.39, "accuracy", True, "+39.0"),
        (-0.0131, "accuracy", True, "−1.3"), (-0.0001, "accuracy", True, "+0.0"), (0.21345, "log_loss", False, "0.213"),
        (None, "accuracy", False, "–"), (-2.5, "rmse", True, "−2.50"),
        (0.0, "mae", False, "0"), (0.98765, "mae", False, "0.988"), (0.9996, "mae", False, "1.00"),
        (123.4, "mae", False, "123"), (123456.7, "mae", False, "123,457"), (2.5e-7, "mae", False, "2.50e−07"),
        (-0.0004, "r2", False, "0.000"), (0.061, "hamming_loss", False, "6.1%"),
        (0.02, "calibration_error", False, "2.0%"),
    ],
)  # fmt: skip
def test_numbers(value: float | None, measure: str, signed: bool, words: str) -> None:
    assert _wording.number(value, measure, signed) == words.replace("\N{EN DASH}", _wording.NONE)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (59.96, "1 min 00 s"), (92.1, "1 min 32 s"), (7500, "2 h 05 min"), (None, "–")],
)
def test_durations(seconds: float | None, words: str) -> None:
    assert _wording.duration(seconds) == words


@pytest.mark.parametrize(
    ("low", "high"), [(0.46, 0.97), (0.0, 1.0), (0.93, 0.93), (0.0, 0.0), (-3.0, 400.0), (0.9301, 0.9302), (1e-9, 1e9)]
)
def test_ticks_hold_the_range(low: float, high: float) -> None:
    marks = _plots.ticks(low, high)
    assert marks[0] <= low + 1e-12
    assert marks[-1] >= high - 1e-12
    assert 2 <= len(marks) <= 8
    assert marks == sorted(set(marks))


def test_long_lines_are_averaged() -> None:
    points = [(float(i), float(i % 2)) for i in range(10_001)]
    thinned = _plots.thin(points)
    assert len(thinned) <= _plots.MOST_POINTS
    assert sum(y for _, y in thinned) / len(thinned) == pytest.approx(0.5, abs=0.01)
    assert _plots.thin(points[:3]) == points[:3]
    assert _plots.thin([]) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sensitivity:specificity=0.95", "sensitivity at 95% specificity"),
        ("sensitivity:specificity=0.9,positive=a, b", "sensitivity for a, b at 90% specificity"),
        ("sensitivity:positive=x=y", "sensitivity for x=y at 95% specificity"),
        ("sensitivity:specificity=odd", "sensitivity (specificity=odd)"),
        ("cost:fp=1,fn=5", "cost (fp=1,fn=5)"), ("balanced_accuracy", "balanced accuracy"),
        ("mae", "MAE"), ("map", "mAP"), ("mse", "MSE"), ("probe_finetune", "probe finetune"),
    ],
)  # fmt: skip
def test_measures_in_words(name: str, words: str) -> None:
    assert _wording.spoken(name) == words


# -- each kind of answer

SECTIONS = {
    "classes": "controls measures rungs mistakes confusion thresholds classes calibration conformal abstention curves "
    "rank data usage recipe machine",
    "labels": "controls measures rungs mistakes thresholds classes calibration conformal abstention curves data usage "
    "recipe machine",
    "numbers": "controls measures rungs residuals mistakes conformal curves data usage recipe machine",
}
SAID = {
    "classes": [
        "Sensitivity at 95% specificity on unseen data 83.1%", "1,327 items, 2 classes",
        "It says “sick” from a probability of 23.1%",
        "Chosen on the validation part", "20 of 27 mistakes on the test part, those it was surest of first",
        "chosen; thresholds moved on validation", "Predicted accuracy",
        "label is the class that is said, the thresholds above",
        "divided by a temperature of 1.31", "would be off by 4.8 points", "The likeliest class is always in it",
        "Made from 200 validation items", "graft predict runs/lesions INPUT --coverage 0.9",
        "of the surest 50%, on 96.8%",
    ],
    "labels": [
        "mAP on unseen data 81.2%", "11,490 items, 7 labels",
        "20 of 518 test items on which a label is missing or one too many is said, the most surprising first",
        "from 11.9% for “weather” to 55.0% for “economy”", "Label by label", "Each label of each item is a yes or a no",
        "is health; politics; science", "always each label's share", "Items that hold each label",
        "of every label alone, an input that holds it", "it has all labels right on 26.0%",
    ],
    "numbers": [
        "MAE on unseen data 8.91", "640 test items; less is better", "the best is furthest left",
        "chosen is better", "How far off are its numbers?", "Furthest off",
        "whose predicted number is furthest off, the worst first",
        "a linear regression on the frozen backbone", "value is the predicted number", "31.6 too high",
        "How far off may a number be?", "every interval is equally wide", "there is no curve of answering",
    ],
}  # fmt: skip
NOT_SAID = {
    "classes": ["Label by label", "less is better; ", "furthest off"],
    "labels": ["classes", "Class by class", "What is taken for what", "it was surest of"],
    "numbers": ["classes", "probab", "Class by class", "What is taken", "threshold", "surest", "points", "%  to"],
}


@pytest.mark.parametrize("kind", reports.KINDS)
def test_each_kind_of_answer_has_its_page(kind: str) -> None:
    page = report.to_html(reports.KINDS[kind]())
    assert " ".join(sections(page)) == SECTIONS[kind]
    words = Page(page).words
    assert not [x for x in SAID[kind] if x not in words]
    assert not [x for x in NOT_SAID[kind] if x in words]


@pytest.mark.parametrize("kind", reports.KINDS)
@pytest.mark.parametrize("how", ["gone", "none", "empty"])
@pytest.mark.slow
def test_each_kind_does_without_any_key(kind: str, how: str) -> None:
    for key in reports.KINDS[kind]():
        r = reports.KINDS[kind]()
        if how == "gone":
            del r[key]
        else:
            r[key] = None if how == "none" else type(r[key])()
        here = sections(report.to_html(r))
        lost = {"per_class": "classes", "run": "usage"}.get(key, key)
        assert lost not in here, (key, here)
        assert set(here) <= set(SECTIONS[kind].split()) | ({"confusion"} if key == "task" else set())
        report.model_card(r)
        rendered(r)


def test_measures_stand_with_definition_interval_and_controls() -> None:
    words = shown(reports.of_labels(), "measures")
    assert "The mAP decided which rung is kept" in words
    assert "mAP (decides) Mean over labels of the average precision 81.2% 77.5 to 84.9% 21.4%" in words
    assert words.index("(decides)") < words.index("Micro F1")
    assert "Less is better 6.1%" in words
    assert words.count("n/a") == 4  # the chosen and three controls
    assert "No value here: no test item holds the label weather n/a" in words


def test_the_deciding_measure_comes_first_whatever_the_order() -> None:
    r = reports.of_numbers()
    r["measure"], r["headline"] = "r2", r["scores"]["finetune"]["test"]["r2"]
    words = shown(r, "measures")
    assert words.index("R² (decides)") < words.index("MAE") < words.index("RMSE")
    assert words.count("(decides)") == 1


def test_a_measure_defined_without_its_options_is_the_same_measure() -> None:
    r = reports.of_classes()
    r["measures"] = {k.partition(":")[0]: v for k, v in r["measures"].items()}
    words = shown(r, "measures")
    assert words.count("ensitivity") == 2  # the sentence above, and one row
    assert "Share of the sick that are found" in words


def undefined(why: str = "the test part holds one class only") -> dict[str, Any]:
    """A report whose deciding measure has no value for any model."""
    r = reports.of_classes()
    none = {"value": float("nan"), "low": float("nan"), "high": float("nan"), "n": 312}
    r["headline"], r["against"] = none, {}
    r["controls"] = dict.fromkeys(r["controls"], none)
    for s in r["scores"].values():
        s["test"][r["measure"]] = none
    r["measures"][r["measure"]]["undefined"] = why
    return r


def test_an_undefined_deciding_measure_says_why_everywhere() -> None:
    why = "the test part holds one class only"
    for r, reason in ((undefined(), why), (undefined(""), _wording.UNEXPLAINED)):
        page = report.to_html(r)
        words = Page(page).words
        assert f"on unseen data n/a {reason}" in words
        assert f"has no value on this test part: {reason} ." in words
        assert 'class="whisker"' not in page
        assert f"No value here: {reason} n/a" in shown(r, "measures")
        assert f"has no value here: {reason}." in report.model_card(r)
        assert "nan" not in words
        out = " ".join(rendered(r).split())
        assert f"n/a: {reason}" in out
        assert out.count("n/a") == 4  # three models and the reason


def test_a_control_without_a_value_is_listed_and_not_drawn() -> None:
    r = reports.of_numbers()
    r["controls"]["probe"] = {"value": None, "low": None, "high": None}
    assert report.to_html(r).count('class="whisker"') == 3
    assert "probe a linear regression on the frozen backbone n/a" in shown(r, "controls")
    assert "8.91" in shown(r, "controls")


def test_rungs_say_their_cost() -> None:
    words = shown(reports.of_numbers(), "rungs")
    assert "Together they took 7 min 15 s, the one that was kept 6 min 42 s." in words
    assert "Parameters trained" in words
    assert "2.4 s 1,281" in words
    assert "6 min 42 s 3.2 M" in words
    r = reports.of_numbers()
    r["rungs"] = [{k: v for k, v in x.items() if k != "trained"} for x in r["rungs"]]
    r["left_out"] = [{"name": "probe_finetune", "why": "no time is left"}]
    words = shown(r, "rungs")
    assert "Parameters trained" not in words
    assert "probe finetune – – – not run no time is left" in words


def test_what_was_detected_and_assumed_stands_in_one_place() -> None:
    words = shown(reports.of_labels(), "data")
    at = [words.index(x) for x in ("Detected", "columns text and topics", "Assumed", "no split was given", "Left out",
                                   "1 file that cannot be read", "Warnings", "3 texts stand in train")]  # fmt: skip
    assert at == sorted(at)
    assert "1 warning below, under The data" in Page(report.to_html(reports.of_labels())).words

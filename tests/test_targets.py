"""Labels are read as classes, several labels or numbers by what is in them; what two readings fit is left open."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graft.readers.targets import Guess, guess, number, split
from graft.seeds import rng

DRAW = rng(0, "test", "targets")


def ints(values: list[int] | range, times: int = 1) -> list[str]:
    return [str(v) for v in values] * times


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["ants", "bees", "ants", None, ""], "classes"),
        (["NA", "None", "null", "nan"] * 3, "classes"),
        (ints([0, 1], 3), "classes"),
        (["1.0", "0.0", "1.0", "1.0"], "classes"),
        (ints([0, 4], 5), "classes"),  # two values are two classes
        (ints(range(5), 8), "classes"),  # ratings
        (ints(range(3, 9), 30), "classes"),
        (ints(range(-1, 11), 10), "classes"),  # an id for what is out of scope
        (ints(range(150), 5), "classes"),
        (ints([v for v in range(150) if v % 3], 20), "classes"),  # ids of a part of the classes, as many rows each
        (["007", "008", "010"] * 2, "classes"),
        (["1", "2", "spam"] * 4, "classes"),
        ([f"{v:.3f}" for v in DRAW.normal(size=50)], "numbers"),
        (["0.5", "1.25", "3.0"], "numbers"),
        ([f"{v / 10}" for v in range(30)] * 10, "numbers"),
        (ints(range(1000, 1100)), "numbers"),
        ([str(round(v)) for v in DRAW.gamma(2, 40, size=2000)], "numbers"),  # counts: many, with gaps
        ([("a", "b"), (), ("b",)], "labels"),
        (["a;b", "a", "b", "b;a", "a;b"], "labels"),
        (["x|y", "y|z", "x", "x|z", "z"], "labels"),
        (["Action, Comedy", "Comedy", "Action", "Action, Drama", "Drama", "Comedy, Drama", "Drama, Comedy"], "labels"),
    ],
)
def test_one_reading(values: list[object], kind: str) -> None:
    found = guess(values)
    assert (found.kind, found.fits) == (kind, ())
    assert found.why


@pytest.mark.parametrize(
    ("values", "fits"),
    [
        (ints(range(0, 60, 5), 10), ("classes", "numbers")),  # a dozen values, with gaps
        (ints(range(1950, 1990), 30), ("classes", "numbers")),  # years
        (["0.5", "1.0", "1.5"] * 10, ("numbers", "classes")),  # steps of a scale
        (["1,5", "2,25", "3"] * 3, ("numbers", "labels")),
        (["Home|Mugs", "Home|Beds", "Garden|Pots", "Garden|Soil"] * 5, ("labels", "classes")),
        ([f"{a}, {b}" for a in ("Doe", "Roe", "Poe") for b in ("Ann", "Bob", "Cy")], ("labels", "classes")),
        ([("a",), ("b",), ("a",)], ("classes", "labels")),
    ],
)
def test_two_readings_are_left_open(values: list[object], fits: tuple[str, ...]) -> None:
    found = guess(values)
    assert (found.kind, found.fits) == ("", fits)
    assert found.why


def test_separators_are_said_and_split_by() -> None:
    assert guess(["a;b", "a", "b", "b;a"]).separator == ";"
    assert guess(["a, b", "a", "b, c", "b, a", "c", "c, a", "b"]).separator == ", "
    assert guess([("a", "b")]).separator == ""
    assert split(" a ;b;; a;é", ";") == ("a", "b", "é")
    assert split("a;b", "") == ("a;b",)
    assert split("", ";") == split("", "") == ()


def test_a_separator_now_and_then_is_part_of_a_name() -> None:
    found = guess(["Sci|Tech", "World", "Sports", "Business"] * 10)
    assert (found.kind, found.separator) == ("classes", "")
    long = ["It was good, but long", "It was bad, but short", "It was good", "It was bad"]
    assert guess(long).kind == "classes"


def test_no_labels() -> None:
    assert guess([]) == guess([None, " "]) == Guess("", "there are no labels")


def test_a_few_that_are_no_numbers_are_named() -> None:
    # faults.md, row 61
    values = [f"{v:.2f}" for v in DRAW.normal(size=97)]
    found = guess([*values, "inf", "€1.200", "nan"])
    assert found.kind == "numbers"
    assert "no numbers are 'inf', 'nan', '€1.200'" in found.why
    assert guess([*values, *["n/a"] * 10]).kind == "classes"  # above 5 %: names among them


@pytest.mark.parametrize("written", ["nan", "inf", "-Infinity", "1,5", "€1.200", "1_000", "", "x", "0x10", "٣"])
def test_what_is_no_number(written: str) -> None:
    # faults.md, row 61
    assert number(written) is None


@pytest.mark.parametrize(
    ("written", "value"), [("1", 1.0), (" -2.50 ", -2.5), ("+.5", 0.5), ("3.", 3.0), ("1e-3", 0.001)]
)
def test_numbers(written: str, value: float) -> None:
    assert number(written) == value


@given(st.lists(st.one_of(st.none(), st.text(max_size=8), st.tuples(st.text(max_size=3))), max_size=30))
def test_any_labels_have_one_reading_or_several(values: list[object]) -> None:
    found = guess(values)
    assert found.kind in ("classes", "labels", "numbers", "")
    assert bool(found.fits) == (found.kind == "" and any(v not in (None, "") and v for v in map(_blank, values)))


def _blank(value: object) -> object:
    return value.strip() if isinstance(value, str) else value

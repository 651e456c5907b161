"""All scores together: what must not change them, what must, and bad input that is a reason, never NaN or a crash."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import score_worlds as worlds
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graft.errors import UsageError
from graft.scores import SCORES, Material, Value, measure

Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

ORDER = np.random.default_rng(5).permutation(60)
CHANGES: dict[str, Change] = {
    "rotation": lambda x, y: (x @ worlds.rotation(x.shape[1]), y),
    "scale": lambda x, y: (x * 3.7, y),
    "shift": lambda x, y: (x + np.linspace(-4, 9, x.shape[1]), y),
    "level": lambda x, y: (x + 2.5, y),  # the same shift of all columns
    "columns": lambda x, y: (x[:, ::-1], y),
    "affine": lambda x, y: (x @ (np.eye(x.shape[1]) + np.triu(np.ones((x.shape[1],) * 2))) - 3, y),
}
EUCLIDEAN = "rotation scale shift level columns"
HOLDS = {  # under which changes of the features a score stays as it is; under all others it must change
    "logme": "rotation scale columns",
    "hscore": EUCLIDEAN + " affine",
    "regularised_hscore": EUCLIDEAN,
    "transrate": "rotation shift level columns",
    "leep": EUCLIDEAN + " affine",
    "nce": EUCLIDEAN + " affine",
    "nleep": EUCLIDEAN,
    "gbc": EUCLIDEAN,
    "gbc_diagonal": EUCLIDEAN,
    "sfda": "rotation shift level columns",
    "lda": "rotation shift level columns",
    "energy": "columns",
    "parc": "scale level columns",
    "neighbours": EUCLIDEAN,
    "rsa": EUCLIDEAN,
    "cka": EUCLIDEAN,
    "ridge": EUCLIDEAN,
}
ORDERED = {"nleep"}  # k-means starts from drawn positions, so the order of samples matters a little


def made(name: str, change: Change | None = None) -> Material:
    """A world that the score serves, its features changed."""
    kind = "classes" if "classes" in SCORES[name].kinds else "numbers"
    x, y = worlds.classes() if kind == "classes" else worlds.numbers(noise=4.0)
    x = 0.2 * x if name in ("sfda", "lda") else x  # where their regularisation is neither nothing nor all
    x, y = change(x, y) if change else (x, y)
    return Material.of(x, y, kind, worlds.probabilities() if kind == "classes" else None)


def value(name: str, material: Material) -> float:
    found = measure(material, [name])[name]
    assert found.value is not None, found.reason
    return found.value


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", SCORES)
def test_each_score_sees_what_it_must_and_nothing_else(name: str, change: str) -> None:
    before, after = value(name, made(name)), value(name, made(name, CHANGES[change]))
    if change in HOLDS[name].split():
        assert after == pytest.approx(before, rel=1e-7)
    else:
        assert after != pytest.approx(before, rel=1e-4)


@pytest.mark.parametrize("name", SCORES)
def test_names_of_classes_and_the_order_of_samples_do_not_matter(name: str) -> None:
    m = made(name)
    source = m.source
    if m.kind == "classes":
        renamed = Material.of(m.features, np.array([900, -4, 17, 3])[m.given], "classes", source)
        assert value(name, renamed) == pytest.approx(value(name, m), rel=1e-9)
    if name not in ORDERED:
        mixed = Material.of(m.features[ORDER], m.given[ORDER], m.kind, None if source is None else source[ORDER])
        assert value(name, mixed) == pytest.approx(value(name, m), rel=1e-7)


@pytest.mark.parametrize("name", [n for n in SCORES if n != "energy"])
def test_more_is_better(name: str) -> None:
    """A target that follows from the features (or the source head) scores above the same target shuffled."""
    kind = "classes" if "classes" in SCORES[name].kinds else "numbers"
    x, y = worlds.classes(n=200, apart=4.0) if kind == "classes" else worlds.numbers(n=200)
    theta = np.eye(4)[y] * 0.8 + 0.05 if kind == "classes" else None
    shuffled = np.random.default_rng(9).permutation(y)
    assert value(name, Material.of(x, y, kind, theta)) > value(name, Material.of(x, shuffled, kind, theta))


@pytest.mark.parametrize("kind", ["numbers", "labels"])
def test_numbers_and_labels_have_the_scores_that_serve_them(kind: str) -> None:
    found = measure(worlds.material(kind))
    assert set(found) == {n for n, s in SCORES.items() if kind in s.kinds}
    assert all(v.value is not None for v in found.values())
    x, y = worlds.numbers()
    a, b = (measure(Material.of(x, t, "numbers")) for t in (y, 12 - 1000 * y))
    assert all(a[n].value == pytest.approx(b[n].value, rel=1e-9) for n in a)  # the unit of numbers is nobody's choice


def test_every_row_of_the_table_has_its_paper_and_is_tested_for_what_it_sees() -> None:
    assert set(HOLDS) == set(SCORES)
    for score in SCORES.values():
        assert score.kinds <= {"classes", "labels", "numbers"}
        assert score.paper.split(" ")[0] in (score.function.__doc__ or "")


def test_the_page_of_scores_has_every_score_and_its_paper() -> None:
    page = (Path(__file__).parents[1] / "docs" / "scores.md").read_text()
    for name, score in SCORES.items():
        line = next(row for row in page.splitlines() if row.startswith("|") and f"`{name}`" in row)
        assert score.paper in line


def test_a_name_that_is_none_is_an_error_and_one_of_another_kind_a_reason() -> None:
    with pytest.raises(UsageError, match=r"'logem' is no transferability score.*'logme'"):
        measure(worlds.material(), ["logem"])
    found = measure(worlds.material("numbers"), ["hscore", "ridge"])
    assert found["hscore"] == Value(None, "serves classes, and the target is numbers")
    assert found["ridge"].value is not None


# ------------------------------------------------------------------------------------ bad input

SOURCE_ONLY = {"leep", "nce"}


def reasons(material: Material) -> dict[str, str]:
    """Reason of every score, "" where it has a value; a value is a finite number."""
    found = measure(material)
    for name, v in found.items():
        assert (v.value is None) == bool(v.reason), name
        assert v.value is None or (type(v.value) is float and math.isfinite(v.value)), name
    return {name: v.reason for name, v in found.items()}


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_features_that_are_not_finite(bad: float, kind: str) -> None:
    m = worlds.material(kind)
    m.features[[3, 8], 2] = bad
    for name, reason in reasons(m).items():
        assert reason == ("" if name in SOURCE_ONLY else "features hold NaN or infinity in 2 of 60 rows")


@pytest.mark.parametrize("d", [1, 6, 90])
@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_constant_features(kind: str, d: int) -> None:
    m = worlds.material(kind)
    flat = Material.of(np.full((60, d), 0.1, dtype=np.float32), m.given, kind, m.source)
    for name, reason in reasons(flat).items():
        assert reason == ("" if name in SOURCE_ONLY else "constant features")


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_some_constant_columns_leave_all_scores(kind: str) -> None:
    m = worlds.material(kind)
    x = m.features.copy()
    x[:, ::2] = 7.0
    assert not any(reasons(Material.of(x, m.given, kind, m.source)).values())


@pytest.mark.parametrize("d", [1, 6, 90])
def test_one_sample_a_class_one_class_and_one_row(d: int) -> None:
    x, _ = worlds.classes(d=d)
    theta = worlds.probabilities()
    for y, says in ((np.arange(60), "one sample a class"), (np.zeros(60, int), "one class alone")):
        for name, reason in reasons(Material.of(x, y, "classes", theta)).items():
            assert reason.startswith(says) if name != "energy" else not reason
    for kind, one in (("classes", [4]), ("labels", [[0, 1]]), ("numbers", [0.5])):
        assert all(reasons(Material.of(x[:1], one, kind, theta[:1] if kind == "classes" else None)).values())


def test_a_target_that_does_not_vary() -> None:
    x, _ = worlds.numbers()
    for kind, y in (("numbers", np.full(60, 3.0)), ("labels", np.ones((60, 2), int))):
        for name, reason in reasons(Material.of(x, y, kind)).items():
            assert reason == ("" if name == "energy" else "the target does not vary")


def test_fewer_samples_than_columns_or_than_classes_in_the_world() -> None:
    wide = reasons(Material.of(*worlds.classes(n=24, d=300), "classes", worlds.probabilities(24)))
    assert {name for name, r in wide.items() if r} == {"hscore"}
    few = Material.of(worlds.classes(d=5)[0][:5], np.array([0, 901, 5, 77, 77]), "classes", worlds.probabilities(5))
    for name, reason in reasons(few).items():
        if name in ("gbc", "gbc_diagonal"):
            assert reason == "fewer than two classes have two samples"
        else:
            assert bool(reason) == (name == "hscore")


@pytest.mark.parametrize("kind", ["classes", "labels", "numbers"])
def test_one_column(kind: str) -> None:
    m = worlds.material(kind, d=1)
    assert {name for name, r in reasons(m).items() if r} == {"parc"} - ({"parc"} if kind == "numbers" else set())


@pytest.mark.parametrize("size", [1e-30, 1e25, 1e-80, 1e70])
def test_features_of_any_size(size: float) -> None:
    x, y = worlds.classes()
    found = reasons(Material.of(x * size, y, "classes", worlds.probabilities()))
    assert any("cannot be squared" in r for r in found.values()) == (size in (1e-80, 1e70))


def test_without_a_source_head() -> None:
    found = reasons(Material.of(*worlds.classes(), "classes"))
    assert {name: r for name, r in found.items() if r} == dict.fromkeys(
        SOURCE_ONLY, "needs the source head's probabilities"
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(st.data())
def test_nothing_crashes_and_nothing_is_nan(data: st.DataObject) -> None:
    """Features of few distinct values, with copies, zeros and extremes; any classes, labels and numbers."""
    n, d = data.draw(st.integers(1, 14)), data.draw(st.integers(1, 18))
    sizes = st.sampled_from([0.0, 1.0, -1.0, 0.3, 1e-9, 1e9, 1e-38, 3e38, -3e38, math.nan])
    some = data.draw(st.lists(sizes, min_size=1, max_size=4))
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x = draw.choice(some, size=(n, d)).astype(data.draw(st.sampled_from([np.float32, np.float64])))
    x = x + draw.normal(size=(n, d)) * data.draw(st.sampled_from([0.0, 0.0, 1.0, 1e-6]))
    kind = data.draw(st.sampled_from(["classes", "labels", "numbers"]))
    c = data.draw(st.integers(1, 5))
    y = draw.integers(0, c, n) if kind == "classes" else draw.integers(0, 2, (n, c))
    theta = draw.dirichlet(np.full(3, 0.01), n) if kind == "classes" else None
    reasons(Material.of(x, y, kind, theta))


def test_more_classes_than_any_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    for bound, most in (("_pairs", 80), ("parc", 80), ("kernel", 80), ("neighbours", 200), ("nleep", 200)):
        monkeypatch.setattr(f"graft.scores.{bound}.MOST_ROWS", most)
    monkeypatch.setattr("graft.scores.nleep.MOST_COMPONENTS", 10)
    monkeypatch.setattr("graft.scores.gbc.MOST_CLASSES", 50)
    many(300, 12)


@pytest.mark.slow
def test_ten_thousand_classes_in_bounded_memory() -> None:
    assert many(10_000, 256) < 600  # MiB; [c, d, d] would be 5 GiB and [c, c] 800 MiB


def many(c: int, d: int) -> float:
    """The peak of memory in MiB, beyond what is given, of all scores with two and three samples a class."""
    draw = np.random.default_rng(0)
    y = np.concatenate([np.arange(c), np.arange(c), np.arange(0, c, 2)])
    x = (draw.normal(size=(c, d))[y] + draw.normal(size=(len(y), d))).astype(np.float32)
    theta = draw.dirichlet(np.ones(50), len(y)).astype(np.float32)
    tracemalloc.start()
    try:
        found = reasons(Material.of(x, y * 1000, "classes", theta))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert not any(found.values())
    return float(peak) / 2**20

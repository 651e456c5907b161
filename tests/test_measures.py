"""Every measure against scikit-learn, on the whole and on resamples that are written out; and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn import metrics as sk

from graft import measures
from graft.errors import DataError, GraftError, SecurityError, UsageError
from graft.measures import Chosen, _curves, _draws
from graft.seeds import rng

Oracle = Callable[[np.ndarray, np.ndarray], float]
COSTS = ((0.0, 1.0, 4.0, 2.0), (3.0, 0.0, 1.0, 1.0), (9.0, 2.0, 0.0, 1.0), (1.0, 1.0, 6.0, -1.0))
LETTERS = ("a", "b", "c", "d")
TWO = ("cat", "dog")
NAN = float("nan")

# ------------------------------------------------------------------ scikit-learn's answers, NaN where we say NaN


def column(score: Callable[..., float], p: np.ndarray, t: np.ndarray) -> float:
    """A curve's measure of one column of scores; NaN without samples on both sides."""
    return float(score(t, p)) if len(set(t.tolist())) == 2 else NAN


def one_vs_rest(score: Callable[..., float]) -> Oracle:
    def mean(p: np.ndarray, t: np.ndarray) -> float:
        if p.shape[1] == 2:
            return column(score, p[:, 1], t == 1)
        found = [column(score, p[:, c], t == c) for c in range(p.shape[1])]
        there = [v for v in found if not np.isnan(v)]
        return float(np.mean(there)) if there else NAN

    return mean


def over_labels(score: Callable[..., float], needs_negatives: bool) -> Oracle:
    def mean(p: np.ndarray, t: np.ndarray) -> float:
        kept = t.any(axis=0) & ~(t.all(axis=0) & needs_negatives)
        found = [score(t[:, c], p[:, c]) for c in np.flatnonzero(kept)]
        return float(np.mean(found)) if found else NAN

    return mean


def sensitivity(specificity: float, at: int) -> Oracle:
    def best(p: np.ndarray, t: np.ndarray) -> float:
        if len(set((t == at).tolist())) < 2:
            return NAN
        false, true, _ = sk.roc_curve(t == at, p[:, at], drop_intermediate=False)
        return float(true[1 - false >= specificity - 1e-9].max())

    return best


def calibration_error(p: np.ndarray, t: np.ndarray) -> float:
    """Guo et al. 2017, equations 3: bins written out."""
    total = 0.0
    confidence, right = p.max(axis=1), p.argmax(axis=1) == t
    for low, high in pairwise(m / 10 for m in range(11)):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(total)


def mean_cost(costs: Any) -> Oracle:
    def mean(p: np.ndarray, t: np.ndarray) -> float:
        """Each sample decided alone, ties by the likelier class."""
        paid = 0.0
        for row, true in zip(p, t):
            expected = [sum(q * costs[k][j] for k, q in enumerate(row)) for j in range(len(row))]
            near = [j for j, e in enumerate(expected) if e <= min(expected) + 1e-11]
            paid += costs[true][max(near, key=lambda j: row[j])]
        return paid / len(t)

    return mean


def present(t: np.ndarray) -> list[int]:
    return sorted(set(t.tolist()))


def log_loss(p: np.ndarray, t: np.ndarray) -> float:
    return float(sk.log_loss(t, p.clip(1e-12, 1), labels=range(p.shape[1])))


def labels_f1(average: str) -> Oracle:
    def f1(p: np.ndarray, t: np.ndarray) -> float:
        if not t.any():
            return NAN
        kept = np.flatnonzero(t.any(axis=0)) if average == "macro" else None
        return float(sk.f1_score(t, p > 0.5, labels=kept, average=average, zero_division=0))

    return f1


def labels_log_loss(p: np.ndarray, t: np.ndarray) -> float:
    both = np.stack([1 - p, p], axis=2).clip(1e-12, 1)  # [n, labels, no or yes]
    return float(np.mean([sk.log_loss(t[:, c], both[:, c], labels=[0, 1]) for c in range(p.shape[1])]))


CLASSES: dict[str, Oracle] = {
    "accuracy": lambda p, t: float(sk.accuracy_score(t, p.argmax(axis=1))),
    "balanced_accuracy": lambda p, t: float(
        sk.recall_score(t, p.argmax(axis=1), labels=present(t), average="macro", zero_division=0)
    ),
    "macro_f1": lambda p, t: float(
        sk.f1_score(t, p.argmax(axis=1), labels=present(t), average="macro", zero_division=0)
    ),
    "auroc": one_vs_rest(sk.roc_auc_score),
    "average_precision": one_vs_rest(sk.average_precision_score),
    "log_loss": log_loss,
    "calibration_error": calibration_error,
}
OF_TWO = CLASSES | {
    "sensitivity": sensitivity(0.95, 1),
    "sensitivity:specificity=0.8": sensitivity(0.8, 1),
    "sensitivity:specificity=0.5,positive=cat": sensitivity(0.5, 0),
    "sensitivity:specificity=1": sensitivity(1.0, 1),
    "cost:fp=1,fn=5": mean_cost([[0, 1], [5, 0]]),
}
OF_FOUR = CLASSES | {
    "sensitivity:positive=b": sensitivity(0.95, 1),
    "sensitivity:specificity=0.7,positive=d": sensitivity(0.7, 3),
    "cost:costs.csv": mean_cost(COSTS),
}
LABELS: dict[str, Oracle] = {
    "map": over_labels(sk.average_precision_score, needs_negatives=False),
    "micro_f1": labels_f1("micro"),
    "macro_f1": labels_f1("macro"),
    "exact_match": lambda p, t: float(sk.accuracy_score(t, p > 0.5)),
    "auroc": over_labels(sk.roc_auc_score, needs_negatives=True),
    "log_loss": labels_log_loss,
    "hamming_loss": lambda p, t: float(sk.hamming_loss(t, p > 0.5)),
}
NUMBERS: dict[str, Oracle] = {
    "mae": lambda x, y: float(sk.mean_absolute_error(y, x)),
    "rmse": lambda x, y: float(sk.root_mean_squared_error(y, x)),
    "r2": lambda x, y: float(sk.r2_score(y, x)) if np.ptp(y) else NAN,
    "spearman": lambda x, y: float(spearmanr(x, y).statistic) if np.ptp(x) and np.ptp(y) else NAN,
}

# ------------------------------------------------------------------------------------------------ made answers


def votes(key: object, n: int, c: int, many: int = 7) -> np.ndarray:
    """Probabilities [n, c] as a vote of `many` gives them: full of ties, zeros and ones."""
    draw = rng("measures", key, n, c)
    return draw.multinomial(many, draw.dirichlet(np.full(c, 0.7), n)) / many


def smooth(key: object, n: int, c: int) -> np.ndarray:
    return rng("measures", "smooth", key, n, c).dirichlet(np.full(c, 0.7), n)


def near(key: object, p: np.ndarray, leave: int = -1) -> np.ndarray:
    """True classes [n], drawn from the probabilities; the class `leave` is left out."""
    draw = rng("measures", "truth", key)
    share = p + 0.05
    share[:, leave] *= leave < 0
    return np.array([draw.choice(p.shape[1], p=row / row.sum()) for row in share])


def answers(key: str) -> tuple[str, Any, Any, tuple[str, ...], dict[str, Oracle]]:
    """(kind, decoded, truth, labels, oracles) of each made case."""
    n, draw = 60, rng("measures", key)
    if key in ("two", "two smooth", "four", "four smooth", "absent"):
        c = 2 if key.startswith("two") else 4
        p = smooth(key, n, c) if "smooth" in key else votes(key, n, c)
        truth = near(key, p, 2 if key == "absent" else -1)
        return "classes", p, truth, TWO if c == 2 else LETTERS, OF_TWO if c == 2 else OF_FOUR
    if key.startswith("labels"):
        p = draw.integers(0, 9, (n, 5)) / 8 if "ties" in key else draw.random((n, 5))
        truth = draw.random((n, 5)) < 0.6 * p + 0.05
        truth[:, 3], truth[:, 4] = False, True  # never, and always
        return "labels", p, truth, (), LABELS
    y = draw.integers(0, 6, n).astype(float) if "ties" in key else draw.normal(50, 3, n)
    x = np.round(y + draw.normal(0, 2, n), 0 if "ties" in key else 9)
    return "numbers", x, y, (), NUMBERS


CASES = (
    "two", "two smooth", "four", "four smooth", "absent", "labels ties", "labels smooth", "numbers ties", "numbers",
)  # fmt: skip


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with costs of four classes, written in another order than the labels'."""
    order = (2, 0, 3, 1)
    lines = [",".join(["", *(LETTERS[j] for j in order)])]
    lines += [",".join([LETTERS[i], *(str(COSTS[i][j]) for j in order)]) for i in reversed(order)]
    (tmp_path / "costs.csv").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def resamples(n: int, many: int, key: object = 0) -> np.ndarray:
    draw = rng("measures", "resamples", key)
    return np.stack([np.bincount(draw.integers(0, n, n), minlength=n) for _ in range(many)])


def written_out(values: Any, counts: np.ndarray) -> np.ndarray:
    return np.repeat(values, counts, axis=0)


def test_every_measure_has_an_oracle() -> None:
    said = {("classes", n.partition(":")[0]) for n in (*OF_TWO, *OF_FOUR)}
    said |= {("labels", n) for n in LABELS} | {("numbers", n) for n in NUMBERS}
    assert said == {(kind, row.name) for row in measures.table() for kind in row.kinds}


@pytest.mark.parametrize("key", CASES)
def test_measures_are_scikit_learns(key: str, in_folder: Path) -> None:
    kind, decoded, truth, labels, oracles = answers(key)
    found = measures.compute(kind, decoded, truth, labels=labels, measures=list(oracles))
    assert list(found) == list(oracles)
    for name, oracle in oracles.items():
        assert found[name].shape == (1,)
        assert found[name][0] == pytest.approx(oracle(decoded, truth), abs=1e-11, nan_ok=True), name
        assert not np.isnan(found[name][0]), name


@pytest.mark.parametrize("key", CASES)
@pytest.mark.slow
def test_a_resample_is_measured_as_if_it_were_written_out(key: str, in_folder: Path) -> None:
    kind, decoded, truth, labels, oracles = answers(key)
    weights = resamples(len(truth), 12, key)
    found = measures.compute(kind, decoded, truth, labels=labels, measures=list(oracles), weights=weights)
    for name, oracle in oracles.items():
        wanted = [oracle(written_out(decoded, w), written_out(truth, w)) for w in weights]
        assert found[name] == pytest.approx(wanted, abs=1e-11, nan_ok=True), name


@pytest.mark.parametrize("key", CASES)
def test_resamples_that_lack_a_class_or_a_spread(key: str, in_folder: Path) -> None:
    """Few samples drawn of few: classes absent, one class alone, one sample alone, equal answers."""
    kind, decoded, truth, labels, oracles = answers(key)
    draw, n = rng("measures", "few"), len(truth)
    weights = np.zeros((16, n), dtype=int)
    for row in weights:
        np.add.at(row, draw.choice(n, size=draw.integers(1, 4)), 1)
    found = measures.compute(kind, decoded, truth, labels=labels, measures=list(oracles), weights=weights)
    for name, oracle in oracles.items():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A single label was found")  # by a confusion matrix inside
            wanted = [oracle(written_out(decoded, w), written_out(truth, w)) for w in weights]
        assert found[name] == pytest.approx(wanted, abs=1e-11, nan_ok=True), name
    assert any(np.isnan(v).any() for v in found.values())


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int32", "float32"])
@pytest.mark.parametrize("key", CASES)
def test_any_type_of_counts_will_do(key: str, dtype: str, in_folder: Path) -> None:
    kind, decoded, truth, labels, oracles = answers(key)
    weights = resamples(len(truth), 5).clip(0, 1)
    asked = {"labels": labels, "measures": list(oracles)}
    wanted = measures.compute(kind, decoded, truth, **asked, weights=weights)
    found = measures.compute(kind, decoded, truth, **asked, weights=weights.astype(dtype))
    for name in oracles:
        assert np.array_equal(found[name], wanted[name], equal_nan=True), name


@pytest.mark.parametrize("key", CASES)
def test_chunks_change_nothing(key: str, in_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, decoded, truth, labels, oracles = answers(key)
    weights = resamples(len(truth), 11)

    def found() -> dict[str, np.ndarray]:
        return measures.compute(kind, decoded, truth, labels=labels, measures=list(oracles), weights=weights)

    whole = found()
    monkeypatch.setattr(_draws, "WIDE", 4)
    in_fours = found()
    monkeypatch.setattr(_draws, "MOST", 2 * len(truth) + 1)  # two columns, two resamples at a time
    for name, values in found().items():
        assert values == pytest.approx(whole[name], abs=1e-13, nan_ok=True), name
        assert in_fours[name] == pytest.approx(whole[name], abs=1e-13, nan_ok=True), name


@pytest.mark.parametrize(
    ("n", "c", "many", "most"),
    [(20_000, 3, 400, 60e6), pytest.param(3000, 77, 1000, 60e6, marks=pytest.mark.slow)],
)
def test_memory_does_not_grow_with_resamples(n: int, c: int, many: int, most: float) -> None:
    """All counts as float64 would be 64 MB in the first case, and each step would need several such."""
    truth = rng("measures", "size").integers(0, c, n)
    p = smooth("size", n, c)
    weights = np.ones((many, n), dtype=np.uint8)
    names = measures.names("classes", c)
    tracemalloc.start()
    try:
        found = measures.compute("classes", p, truth, measures=names, weights=weights)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most
    assert list(found) == list(names)
    whole = measures.compute("classes", p, truth, measures=names)
    for name, values in found.items():
        assert values == pytest.approx(np.full(many, whole[name][0]), abs=1e-12), name


def test_a_class_costs_as_many_places_as_it_has_positives() -> None:
    """What makes many classes affordable: no running total over all samples of each of them."""
    score, truth = rng("measures", "order").random(500), np.arange(500) < 7
    order = _curves._order(score, truth)
    assert (order.k, order.place.shape, order.place.nnz) == (7, (22, 500), 500)


# ---------------------------------------------------------------------------------- definitions, by hand


def test_macro_f1_leaves_out_classes_that_are_only_predicted() -> None:
    """Fault 94: scikit-learn's default counts the third class as 0; we say what we do, and do it."""
    truth, said = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
    found = measures.compute("classes", np.eye(3)[said], truth, measures=["macro_f1"])["macro_f1"][0]
    assert found == pytest.approx((1 + 2 / 3) / 2)
    assert found == pytest.approx(sk.f1_score(truth, said, labels=[0, 1], average="macro"))
    assert sk.f1_score(truth, said, average="macro", zero_division=0) == pytest.approx((1 + 2 / 3) / 3)
    row = next(r for r in measures.table() if r.name == "macro_f1")
    assert "occur in the truth" in row.says and "scikit-learn" in row.says


def test_ties_count_half_in_auroc() -> None:
    p = np.array([[0.5, 0.5], [0.5, 0.5], [0.2, 0.8], [0.9, 0.1]])
    found = measures.compute("classes", p, np.array([0, 1, 1, 0]), labels=TWO, measures=["auroc"])["auroc"]
    assert found == pytest.approx([3.5 / 4])


def test_a_specificity_that_is_just_reached_counts() -> None:
    """55 of 100 negatives are below the lower positive; 0.55 * 100 is above 55 in floating point."""
    score = np.concatenate([np.arange(100) / 100, [0.995, 0.545]])
    p, truth = np.stack([1 - score, score], axis=1), np.array([0] * 100 + [1, 1])
    names = ["sensitivity:specificity=0.55", "sensitivity:specificity=0.551"]
    found = measures.compute("classes", p, truth, labels=TWO, measures=names)
    assert [found[n][0] for n in names] == [1.0, 0.5]


def test_a_sure_mistake_has_a_finite_log_loss() -> None:
    p = np.array([[1.0, 0.0], [1.0, 0.0]])
    found = measures.compute("classes", p, np.array([0, 1]), measures=["log_loss"])["log_loss"][0]
    assert found == pytest.approx(-np.log(1e-12) / 2)


def test_bins_of_confidence_are_closed_on_the_right() -> None:
    confidence = np.array([0.0, 0.1, 0.3, 0.7, np.nextafter(0.7, 1), 1.0])
    assert measures.confidence_bins(confidence).tolist() == [0, 0, 2, 6, 7, 9]
    p = np.array([[0.7, 0.3], [0.65, 0.35], [0.8, 0.2]])
    found = measures.expected_calibration_error(p, np.array([0, 1, 0]), weights=np.array([[1, 1, 1], [0, 0, 2]]))
    assert found == pytest.approx([abs(0.7 + 0.65 - 1) / 3 + 0.2 / 3, 0.2])
    coarse = measures.expected_calibration_error(p, np.array([0, 1, 0]), bins=1)
    assert coarse == pytest.approx([abs(2 / 3 - (0.7 + 0.65 + 0.8) / 3)])


def test_numbers_of_any_size_are_measured() -> None:
    """Squares would leave the range of float64."""
    x, y = np.array([1e200, 3e200, 2e200]), np.array([1e200, 2e200, 4e200])
    found = measures.compute("numbers", x, y, measures=["rmse", "r2"])
    assert found["rmse"][0] == pytest.approx(1e200 * np.sqrt(5 / 3))
    small = measures.compute("numbers", x / 1e200, y / 1e200, measures=["r2"])["r2"]
    assert found["r2"] == pytest.approx(small)
    weights = np.array([[1, 1, 1], [0, 2, 1]])
    apart = measures.compute("numbers", [1e200, 1, 2], np.arange(3.0), measures=["r2"], weights=weights)["r2"]
    assert apart[0] < -1e200
    assert apart[1] == pytest.approx(1)


# ---------------------------------------------------------------------------------------- decisions and costs


def test_decisions_without_and_with_offsets() -> None:
    p = np.array([[0.6, 0.4], [0.9, 0.1], [0.0, 1.0], [0.5, 0.5]])
    assert measures.decide("classes", p).tolist() == [0, 0, 1, 0]
    assert measures.decide("classes", p, np.zeros(2)).tolist() == [0, 0, 1, 0]
    assert measures.decide("classes", p, np.array([0.0, np.log(2)])).tolist() == [1, 0, 1, 1]
    assert measures.decide("labels", p).tolist() == [[True, False], [True, False], [False, True], [False, False]]
    low = np.array([0.0, 3.0])  # a threshold of 0.047 for the second
    assert measures.decide("labels", p, low)[:, 1].tolist() == [True, True, True, True]
    assert measures.decide("labels", p, low)[2, 0].item() is False
    assert measures.decide("numbers", [1, 2.5]).tolist() == [1.0, 2.5]


def test_offsets_move_decisions_and_leave_probabilities_alone(in_folder: Path) -> None:
    p = smooth("offsets", 200, 4)
    truth, offsets = near("offsets", p), np.array([0.0, 1.0, -0.5, 2.0])
    shifted = p * np.exp(offsets)
    shifted /= shifted.sum(axis=1, keepdims=True)
    moved = ("accuracy", "balanced_accuracy", "macro_f1", "cost:costs.csv")
    found = measures.compute("classes", p, truth, labels=LETTERS, measures=list(OF_FOUR), offsets=offsets)
    for name, oracle in OF_FOUR.items():
        assert found[name][0] == pytest.approx(oracle(shifted if name in moved else p, truth)), name
        assert (oracle(shifted, truth) == pytest.approx(oracle(p, truth))) is False, f"{name} would not show it"


def test_offsets_of_labels() -> None:
    _, p, truth, _, _ = answers("labels smooth")
    offsets = np.array([1.0, -1.0, 0.5, 0.0, 2.0])
    moved = p * np.exp(offsets) / (p * np.exp(offsets) + 1 - p)
    found = measures.compute("labels", p, truth, measures=list(LABELS), offsets=offsets)
    for name, oracle in LABELS.items():
        given = moved if name in ("micro_f1", "macro_f1", "exact_match", "hamming_loss") else p
        assert found[name][0] == pytest.approx(oracle(given, truth)), name


def test_costs_of_two_classes_are_a_threshold() -> None:
    p = smooth("threshold", 300, 2)
    chosen = measures.parse("cost:fp=1,fn=4", "classes", TWO)
    said = measures.decide("classes", p, costs=chosen.costs)
    assert np.array_equal(said, (p[:, 1] > 1 / 5).astype(int))
    assert not np.array_equal(said, p.argmax(axis=1))
    assert np.array_equal(measures.decide("classes", p, costs=()), p.argmax(axis=1))
    assert measures.parse("cost:fn=4", "classes", TWO).costs == ((0.0, 1.0), (4.0, 0.0))


@pytest.mark.parametrize("offsets", [None, np.array([0.3, -1.0, 0.0, 0.7])])
def test_equal_costs_decide_as_none_do(offsets: np.ndarray | None) -> None:
    equal = 1 - np.eye(4)
    # Of ten votes the sums that should be equal differ in their last digits.
    for p in (votes("equal", 300, 4, many=10), smooth("equal", 300, 4)):
        decided = measures.decide("classes", p, offsets, equal.tolist())
        assert np.array_equal(decided, measures.decide("classes", p, offsets))


@pytest.mark.parametrize("key", CASES)
def test_pointwise_values_average_to_the_measure(key: str, in_folder: Path) -> None:
    kind, decoded, truth, labels, oracles = answers(key)
    means = {"accuracy", "log_loss", "cost", "exact_match", "hamming_loss", "mae"}
    for name in oracles:
        chosen = measures.parse(name, kind, labels)
        points = measures.pointwise(kind, chosen, decoded, truth)
        assert (points is not None) == (chosen.name in means), name
        if points is not None:
            assert points.shape == (len(truth),)
            whole = measures.compute(kind, decoded, truth, labels=labels, measures=[chosen])[str(chosen)]
            assert points.mean() == pytest.approx(whole[0]), name


def test_pointwise_knows_offsets() -> None:
    p = np.array([[0.6, 0.4], [0.9, 0.1]])
    points = measures.pointwise("classes", "accuracy", p, np.array([1, 0]), np.array([0.0, 1.0]))
    assert points is not None and points.tolist() == [1.0, 1.0]
    paid = measures.pointwise("classes", "cost:fp=2,fn=5", p, np.array([0, 1]))
    assert paid is not None and paid.tolist() == [2.0, 5.0]  # 0.4 x 5 > 0.6 x 2, but 0.1 x 5 < 0.9 x 2


# --------------------------------------------------------------------------------------------------- properties

small_votes = st.integers(2, 4).flatmap(
    lambda c: st.lists(
        st.tuples(st.lists(st.integers(0, 3), min_size=c, max_size=c), st.integers(0, c - 1), st.integers(0, 3)),
        min_size=1,
        max_size=12,
    )
)
small_numbers = st.lists(st.tuples(st.integers(-4, 4), st.integers(-4, 4), st.integers(0, 3)), min_size=1, max_size=12)


def as_classes(rows: list[tuple[list[int], int, int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count = np.array([r[0] for r in rows], dtype=float) + 1e-3
    return count / count.sum(axis=1, keepdims=True), np.array([r[1] for r in rows]), np.array([[r[2] for r in rows]])


def two_or_four(c: int) -> dict[str, Oracle]:
    return OF_TWO if c == 2 else CLASSES


@settings(max_examples=25, deadline=None)
@given(small_votes)
def test_any_counts_are_as_written_out(rows: list[tuple[list[int], int, int]]) -> None:
    p, truth, weights = as_classes(rows)
    assume(weights.sum())
    oracles = two_or_four(p.shape[1])
    labels = TWO if p.shape[1] == 2 else ()
    found = measures.compute("classes", p, truth, labels=labels, measures=list(oracles), weights=weights)
    for name, oracle in oracles.items():
        wanted = oracle(written_out(p, weights[0]), written_out(truth, weights[0]))
        assert found[name][0] == pytest.approx(wanted, abs=1e-9, nan_ok=True), name


@settings(max_examples=80, deadline=None)
@given(small_numbers)
def test_any_counts_of_numbers_are_as_written_out(rows: list[tuple[int, int, int]]) -> None:
    x, y, w = np.array(rows).T
    assume(w.sum())
    found = measures.compute("numbers", x, y, measures=list(NUMBERS), weights=w[None])
    for name, oracle in NUMBERS.items():
        wanted = oracle(written_out(x, w), written_out(y, w))
        assert found[name][0] == pytest.approx(wanted, abs=1e-9, nan_ok=True), name
    assert found["rmse"][0] >= found["mae"][0] - 1e-12


@settings(max_examples=60, deadline=None)
@given(small_votes, st.randoms(use_true_random=False), st.integers(2, 5))
def test_neither_order_nor_repetition_matters(rows: list[Any], shuffle: Any, times: int) -> None:
    p, truth, weights = as_classes(rows)
    order = list(range(len(rows)))
    shuffle.shuffle(order)
    names = list(two_or_four(p.shape[1]))
    labels = TWO if p.shape[1] == 2 else ()
    a = measures.compute("classes", p, truth, labels=labels, measures=names, weights=weights)
    b = measures.compute(
        "classes", p[order], truth[order], labels=labels, measures=names, weights=times * weights[:, order]
    )
    for name in names:
        assert a[name] == pytest.approx(b[name], abs=1e-12, nan_ok=True), name
        row = next(r for r in measures.table() if r.name == name.partition(":")[0])
        assert np.isnan(a[name][0]) or not row.share or -1e-12 <= a[name][0] <= 1 + 1e-12


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 8), st.booleans(), st.integers(0, 3)), min_size=2, max_size=20))
def test_auroc_knows_the_order_alone(rows: list[tuple[int, bool, int]]) -> None:
    score, truth, weights = np.array([r[0] / 8 for r in rows]), np.array([r[1] for r in rows]), [[r[2] for r in rows]]

    def both(s: np.ndarray, t: np.ndarray) -> dict[str, np.ndarray]:
        return measures.compute("labels", s[:, None], t[:, None], measures=["auroc", "map"], weights=np.array(weights))

    plain, bent, turned = both(score, truth), both(score**3 / 2 + 0.1, truth), both(1 - score, truth)
    assert bent["auroc"] == pytest.approx(plain["auroc"], nan_ok=True)
    assert bent["map"] == pytest.approx(plain["map"], nan_ok=True)
    assert turned["auroc"] == pytest.approx(1 - plain["auroc"], nan_ok=True)
    assert both(1 - score, ~truth)["auroc"] == pytest.approx(plain["auroc"], nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([2, 3]), st.lists(st.integers(0, 2), min_size=1, max_size=6))
def test_a_measure_is_nan_exactly_where_a_reason_is_given(c: int, drawn: list[int]) -> None:
    truth = np.array(drawn) % c
    labels = LETTERS[:c]
    names = [*measures.names("classes", c), "sensitivity:positive=a"]
    found = measures.compute("classes", smooth("nan", len(truth), c), truth, labels=labels, measures=names)
    for name in names:
        assert bool(measures.undefined("classes", name, truth, labels)) == np.isnan(found[name][0]), name
    values = np.arange(len(drawn))
    of_numbers = measures.compute("numbers", values, truth, measures=measures.names("numbers", 0))
    for name, value in of_numbers.items():
        reason = measures.undefined("numbers", name, truth, ())
        assert bool(reason) == np.isnan(value[0]), name


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=5))
def test_reasons_of_labels(rows: list[tuple[bool, bool]]) -> None:
    truth = np.array(rows)
    found = measures.compute("labels", smooth("l", len(rows), 2), truth, measures=measures.names("labels", 2))
    for name, value in found.items():
        assert bool(measures.undefined("labels", name, truth, TWO)) == np.isnan(value[0]), name


def test_reasons_name_the_class() -> None:
    ones = np.ones(3, dtype=int)
    assert measures.undefined("classes", "auroc", 0 * ones, TWO) == "no sample is of class 'dog'"
    assert measures.undefined("classes", "auroc", ones, TWO) == "every sample is of class 'dog', none of another"
    assert measures.undefined("classes", "average_precision", ones, LETTERS).startswith("every sample is of class 'b'")
    lacking = measures.undefined("classes", "sensitivity:positive=c", np.array([0, 1]), LETTERS)
    assert lacking == "no sample is of class 'c'"
    assert measures.undefined("labels", "map", np.zeros((2, 2)), TWO) == "no sample has any label"
    assert "no label has both" in measures.undefined("labels", "auroc", np.ones((2, 2), bool), TWO)
    assert measures.undefined("numbers", "r2", [2.5, 2.5], ()) == "the true value of every sample is 2.5"
    assert measures.undefined("numbers", "mae", [2.5, 2.5], ()) == ""
    assert measures.undefined("classes", "accuracy", [], TWO) == "there is no sample"


def test_a_resample_without_draws_is_undefined() -> None:
    for key in CASES:
        kind, decoded, truth, _, _ = answers(key)
        names = measures.names(kind, np.shape(decoded)[-1])
        found = measures.compute(kind, decoded, truth, measures=names, weights=np.zeros((2, len(truth)), dtype=int))
        assert all(np.isnan(v).all() for v in found.values()), key


# ----------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("bad", [NAN, float("inf"), -float("inf")])
def test_answers_that_are_not_finite_are_refused_by_row(bad: float) -> None:
    """Fault 86: the accuracy of NaN probabilities would be a number."""
    p = np.full((4, 2), 0.5)
    p[2, 1] = bad
    for kind, decoded, truth in (
        ("classes", p, np.zeros(4, dtype=int)),
        ("labels", p, np.zeros((4, 2))),
        ("numbers", p[:, 1], np.zeros(4)),
    ):
        for act in (
            lambda k=kind, d=decoded, t=truth: measures.compute(k, d, t, measures=measures.names(k, 2)[:1]),
            lambda k=kind, d=decoded, t=truth: measures.pointwise(k, measures.names(k, 2)[0], d, t),
            lambda k=kind, d=decoded: measures.decide(k, d),
        ):
            with pytest.raises(DataError, match=rf"row 2 .* is {bad}.* 1 of 4 rows"):
                act()


def test_true_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="true value of row 1"):
        measures.compute("numbers", [1.0, 2.0], [1.0, NAN], measures=["mae"])


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(DataError, match=r"row 1 .* holds 3, which is no probability"):
        measures.compute("classes", [[0.5, 0.5], [3.0, -1.0]], np.array([0, 1]), measures=["accuracy"])
    rounded = measures.compute("classes", [[1 + 1e-7, -1e-9]], np.array([0]), measures=["log_loss"])
    assert str(rounded["log_loss"][0]) == "0.0"  # and not "-0.0"


def test_no_sample_is_refused() -> None:
    with pytest.raises(DataError, match="no sample"):
        measures.compute("classes", np.empty((0, 2)), np.empty(0, dtype=int), measures=["accuracy"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"truth": np.array([0, 2])}, "integers from 0 to 1"),
        ({"truth": np.array([0, -1])}, "integers from 0 to 1"),
        ({"truth": np.array([0.0, 1.0])}, "integers from 0 to 1"),
        ({"truth": np.array([0])}, "truth of 2 samples"),
        ({"decoded": np.array([0.5, 0.5])}, "2 dimensions"),
        ({"labels": ("a",)}, "1 labels for 2 classes"),
        ({"offsets": np.zeros(3)}, "2 finite numbers"),
        ({"offsets": np.array([0, NAN])}, "2 finite numbers"),
        ({"weights": np.ones(2)}, "resamples, 2"),
        ({"weights": np.ones((1, 3))}, "resamples, 2"),
        ({"weights": np.array([[1, -1]])}, "0 or more"),
        ({"weights": np.array([[1, NAN]])}, "0 or more"),
        ({"kind": "boxes"}, "no kind of answers"),
    ],
)
def test_callers_mistakes_are_named(changed: dict[str, Any], said: str) -> None:
    asked: dict[str, Any] = {"kind": "classes", "decoded": np.full((2, 2), 0.5), "truth": np.array([0, 1])} | changed
    kind, decoded, truth = asked.pop("kind"), asked.pop("decoded"), asked.pop("truth")
    with pytest.raises(ValueError, match=said):
        measures.compute(kind, decoded, truth, measures=["accuracy"], **asked)


def test_truth_of_another_shape_is_named() -> None:
    with pytest.raises(ValueError, match="0 or 1 for each"):
        measures.compute("labels", np.full((2, 2), 0.5), np.full((2, 2), 2), measures=["map"])
    with pytest.raises(ValueError, match="2 answers and 3 true values"):
        measures.compute("numbers", [1, 2], [1, 2, 3], measures=["mae"])


# ----------------------------------------------------------------------------------------- what a person writes


@pytest.mark.parametrize(
    ("text", "kind", "labels", "name", "options"),
    [
        ("macro_f1", "classes", LETTERS, "macro_f1", {}),
        (" Macro-F1 ", "classes", LETTERS, "macro_f1", {}),
        ("balanced accuracy", "classes", LETTERS, "balanced_accuracy", {}),
        ("mAP", "labels", LETTERS, "map", {}),
        ("R2", "numbers", (), "r2", {}),
        ("sensitivity", "classes", TWO, "sensitivity", {}),
        ("sensitivity:specificity=.9", "classes", TWO, "sensitivity", {"specificity": 0.9}),
        ("sensitivity:positive=b", "classes", LETTERS, "sensitivity", {"positive": "b"}),
        ("sensitivity: positive = a,b , specificity=1", "classes", ("a,b", "c", "d"), "sensitivity",
         {"positive": "a,b", "specificity": 1.0}),
        ("sensitivity:positive=cafe\u0301", "classes", ("caf\u00e9", "tea", "mate"), "sensitivity",
         {"positive": "caf\u00e9"}),
        ("sensitivity:positive=1.0", "classes", ("0.0", "1", "1.0"), "sensitivity", {"positive": "1.0"}),
        ("sensitivity:positive=x=1:y", "classes", ("x=1:y", "c", "d"), "sensitivity", {"positive": "x=1:y"}),
        ("cost:fp=1,fn=5", "classes", TWO, "cost", {"fp": 1.0, "fn": 5.0}),
        ("cost:fn=0.1234567891", "classes", TWO, "cost", {"fn": 0.1234567891}),
        ("cost:costs.csv", "classes", LETTERS, "cost", {"file": "costs.csv"}),
    ],
)  # fmt: skip
def test_what_is_written_is_read_and_written_again(
    text: str, kind: str, labels: tuple[str, ...], name: str, options: dict[str, Any], in_folder: Path
) -> None:
    found = measures.parse(text, kind, labels)
    assert (found.name, dict(found.options)) == (name, options)
    assert measures.parse(str(found), kind, labels) == found
    assert Chosen.of(json.loads(json.dumps(found.plain()))) == found
    assert bool(found.costs) == (name == "cost")


@pytest.mark.parametrize(
    ("text", "kind", "labels", "said"),
    [
        ("acuracy", "classes", TWO, "Did you mean 'accuracy'"),
        ("", "classes", TWO, "is no measure of graft. Possible: accuracy"),
        ("roc-auc", "classes", TWO, "Did you mean 'auroc'?"),
        ("F1", "classes", TWO, "Did you mean 'macro_f1'?"),
        ("mse", "numbers", (), "Did you mean 'rmse'?"),
        ("rmse", "classes", TWO, "measure of numbers, and here the answers are classes. Possible: accuracy, auroc"),
        ("accuracy", "numbers", (), "Possible: mae, r2, rmse, spearman"),
        ("macro_f1", "numbers", (), "measure of classes and labels"),
        ("accuracy:k=5", "classes", TWO, "accuracy has no options"),
        ("sensitivity", "classes", LETTERS, "4 classes; say which one is to be found, as in sensitivity:positive=a"),
        ("sensitivity:positive=dgo", "classes", TWO, "no class is called 'dgo'. Did you mean 'dog'?"),
        ("sensitivity:positve=dog", "classes", TWO, "'positve' is no option of it. Did you mean 'positive'?"),
        ("sensitivity:0.9", "classes", TWO, "'0.9' is no option"),
        ("sensitivity:specificity=", "classes", TWO, "specificity has no value"),
        ("sensitivity:specificity=0.9,specificity=0.8", "classes", TWO, "given twice"),
        ("sensitivity:specificity=0", "classes", TWO, "a share above 0 and up to 1"),
        ("sensitivity:specificity=95", "classes", TWO, "a share above 0 and up to 1"),
        ("sensitivity:specificity=high", "classes", TWO, "specificity=high is no number"),
        ("sensitivity:specificity=nan", "classes", TWO, "specificity=nan is no number"),
        ("cost", "classes", TWO, "costs are missing; write cost:FILE.csv"),
        ("cost:fp=1,fn=5", "classes", LETTERS, "fp and fn are costs of two classes, and there are 4; write cost:FILE"),
        ("cost:fp=1,fm=5", "classes", TWO, "'fm' is no option"),
        ("cost:fp=-1", "classes", TWO, "0 or more, and not both 0"),
        ("cost:fp=0,fn=0", "classes", TWO, "0 or more, and not both 0"),
        ("cost:fp=1_0", "classes", TWO, "fp=1_0 is no number"),
        ("cost:nowhere.csv", "classes", TWO, "there is no such file"),
        ("cost:fp=1", "labels", TWO, "a measure of classes, and here the answers are labels"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, kind: str, labels: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        measures.parse(text, kind, labels)
    assert said in str(caught.value)
    assert repr(text) in str(caught.value) or text in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        ",cat,dog\ncat,0,2\ndog,7,0\n",
        "\ufefftrue \\ said;dog;cat\r\n\r\ndog;0;7\r\ncat;2;0\r\n",
        'x\t" cat"\tdog\n"cat "\t0\t2\ndog\t7.0\t0e0',
    ],
)
def test_costs_are_read_in_any_order_and_dialect(tmp_path: Path, content: str) -> None:
    path = tmp_path / "my, costs=1.csv"
    path.write_text(content, newline="")
    chosen = measures.parse(f"cost:{path}", "classes", TWO)
    assert chosen.costs == ((0.0, 2.0), (7.0, 0.0))
    assert str(chosen) == f"cost:{path}"
    found = measures.compute("classes", [[0.7, 0.3]], np.array([0]), labels=TWO, measures=[str(chosen), chosen])
    assert found == {f"cost:{path}": np.array([2.0])}


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("", DataError, "is empty"),
        ("\n \n", DataError, "is empty"),
        (",cat,dgo\ncat,0,1\ndog,1,0\n", UsageError, "no class is called 'dgo' (header). Did you mean 'dog'?"),
        (",cat,dog\ncat,0,1\ncow,1,0\n", UsageError, "no class is called 'cow' (first column)"),
        (",cat\ncat,0\ndog,1\n", UsageError, "header lacks 'dog'"),
        (",cat,dog\ncat,0,1\n", UsageError, "first column lacks 'dog'"),
        (",cat,dog\ncat,0,1\ndog,1,0\ncat,0,2\n", UsageError, "first column has 'cat' twice"),
        (",cat,dog,dog\ncat,0,1,1\ndog,1,0,0\n", UsageError, "header has 'dog' twice"),
        (",cat,dog\n\ncat,0,1\ndog,1\n", DataError, "c.csv:4 has 2 cells, the header 3"),
        (",cat,dog\ncat,0,much\ndog,1,0\n", DataError, "c.csv:2: the cost of answering 'dog' is 'much'"),
        (";cat;dog\ncat;0;0,5\ndog;1;0\n", DataError, "a point before its decimals"),
        (",cat,dog\ncat,0,inf\ndog,1,0\n", DataError, "'inf'; a number is expected"),
        (",cat,dog\ncat,0,\ndog,1,0\n", DataError, "'dog' is ''; a number"),
        (",cat,dog\ncat,0,0\ndog,1,1\n", UsageError, "every decision costs the same"),
        (',cat,dog\ncat,0,"1\ndog,1,0\n', DataError, "c.csv:"),
        ("\x80\x04.", SecurityError, "pickle"),
    ],
)
def test_costs_that_cannot_be_meant_are_refused(
    tmp_path: Path, content: str, kind: type[GraftError], said: str
) -> None:
    path = tmp_path / "c.csv"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(kind) as caught:
        measures.parse(f"cost:{path}", "classes", TWO)
    assert said in str(caught.value)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=2, max_size=4), st.floats(1e-6, 1), st.data())
def test_any_label_can_be_the_positive_one(texts: list[str], share: float, data: st.DataObject) -> None:
    from graft.tables import clean_label

    labels = tuple(dict.fromkeys(filter(None, map(clean_label, texts))))
    assume(len(labels) > 1 and not any("=" in label and "," in label for label in labels))
    label = data.draw(st.sampled_from(labels))
    chosen = measures.parse(f"sensitivity:positive={label},specificity={share!r}", "classes", labels)
    assert chosen.options["positive"] == label
    assert chosen.options["specificity"] == share
    assert measures.parse(str(chosen), "classes", labels) == chosen


# -------------------------------------------------------------------------------------------------- the table


def test_the_table_is_complete_and_sorted() -> None:
    rows = measures.table()
    named = [r.name for r in rows]
    assert named == sorted(set(named))
    for row in rows:
        assert row.kinds <= {"classes", "labels", "numbers"} and row.kinds
        assert row.says and "\n" not in row.says and not row.says.endswith(".")
        assert (measures.is_lower(row.name), measures.is_share(row.name)) == (row.lower, row.share)


def test_what_is_always_reported() -> None:
    assert [measures.names(k, 3)[0] for k in ("classes", "labels", "numbers")] == ["accuracy", "map", "mae"]
    assert "sensitivity" in measures.names("classes", 2) and "sensitivity" not in measures.names("classes", 3)
    for kind in ("classes", "labels", "numbers"):
        possible = {r.name for r in measures.table() if kind in r.kinds}
        assert possible - set(measures.names(kind, 2)) <= {"cost"}  # which somebody has to name


def test_less_is_better_exactly_where_wrong_answers_raise_it(in_folder: Path) -> None:
    """The direction in the table is the one that the numbers have: the truth itself against its opposite."""
    binary = np.array([0, 0, 1, 1, 1])
    many = np.array([[0, 1], [1, 0], [1, 1], [0, 0], [1, 0]])
    pairs = {
        "classes": (np.eye(2)[binary], np.eye(2)[1 - binary], binary),
        "labels": (many.astype(float), 1.0 - many, many),
        "numbers": (np.arange(5.0), -np.arange(5.0), np.arange(5.0)),
    }
    for kind, (good, bad, truth) in pairs.items():
        names = [*measures.names(kind, 2), *(["cost:fn=2"] if kind == "classes" else [])]
        right = measures.compute(kind, good, truth, labels=TWO, measures=names)
        wrong = measures.compute(kind, bad, truth, labels=TWO, measures=names)
        for name in names:
            assert (right[name][0] < wrong[name][0]) == measures.is_lower(name), name
            assert (right[name][0] > wrong[name][0]) != measures.is_lower(name), name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("macro_f1", "macro F1"),
        ("balanced_accuracy", "balanced accuracy"),
        ("auroc", "AUROC"),
        ("map", "mAP"),
        ("r2", "R²"),
        ("sensitivity", "sensitivity at 95% specificity"),
        ("sensitivity:specificity=0.995,positive=bee", "sensitivity for bee at 99.5% specificity"),
        ("cost:fp=1,fn=5", "cost (fp=1,fn=5)"),
        ("cost:costs.csv", "cost (costs.csv)"),
    ],
)
def test_measures_in_words(name: str, said: str) -> None:
    assert measures.spoken(name) == said
    assert measures.is_lower(name) == name.startswith("cost")


def test_words_of_no_measure_are_refused() -> None:
    for asked in (measures.spoken, measures.is_lower, measures.is_share):
        with pytest.raises(UsageError, match="Did you mean 'accuracy'"):
            asked("acuracy")


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, graft.measures; print([m for m in ('torch', 'scipy', 'sklearn', 'pandas') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"

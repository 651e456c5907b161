"""Classes that are few, absent, unknown or uneven, as findings."""

from __future__ import annotations

from collections import Counter

from graft.data import Sample
from graft.doctor._classes import sizes


def part(name: str, **counts: int) -> list[Sample]:
    return [Sample("x", c, f"{name}/{c}{i}") for c, n in counts.items() for i in range(n)]


def test_even_classes_in_every_part_are_no_finding() -> None:
    assert sizes({"train": part("train", a=9, b=8), "test": part("test", a=3, b=3)}, ("a", "b")) == []
    assert sizes({"all": part("all", a=9, b=8)}, ("a", "b")) == []


def test_a_class_of_few_samples_is_named_with_their_number() -> None:
    (found,) = sizes({"train": part("train", a=9, b=4)}, ("a", "b"))
    assert found.kind == "class_small" and "'b' (4)" in found.text
    assert [(i.id, i.split) for i in found.items] == [("b", "train")]
    assert found.effect and found.fix


def test_a_class_without_samples_in_another_part_is_named() -> None:
    given = {"train": part("train", a=9, b=8), "valid": part("valid", a=2), "test": part("test", b=2)}
    found = sizes(given, ("a", "b"))
    assert [f.kind for f in found] == ["class_small", "class_small"]
    assert [(i.id, i.split) for f in found for i in f.items] == [("b", "valid"), ("a", "test")]


def test_ten_times_as_many_is_an_imbalance_and_nine_times_is_none() -> None:
    assert sizes({"train": part("train", a=99, b=10)}, ("a", "b")) == []
    (found,) = sizes({"train": part("train", a=100, b=10)}, ("a", "b"))
    assert found.kind == "class_imbalance" and "90.9%" in found.text and "balanced_accuracy" in found.fix
    assert [i.id for i in found.items] == ["b"]


def test_samples_of_a_class_that_training_has_not_are_all_named_and_refused() -> None:
    found = sizes({"train": part("train", a=9, b=8), "test": part("test", a=2, b=2, c=3)}, ("a", "b"))
    (missing,) = [f for f in found if f.kind == "class_missing"]
    assert missing.severity == "error" and missing.count == 3
    assert {i.id for i in missing.items} == {"test/c0", "test/c1", "test/c2"}


def test_several_labels_a_sample_are_counted_each_and_numbers_never() -> None:
    samples = [Sample("x", ("a",) if i < 44 else ("a", "b"), f"s{i}") for i in range(48)]
    found = {f.kind: f for f in sizes({"train": samples}, ("a", "b"))}
    assert set(found) == {"class_small", "class_imbalance"} and "macro_f1" in found["class_imbalance"].fix
    test = [Sample("x", ("a", "z"), "t0"), Sample("x", ("a", "b"), "t1")]
    kinds = Counter(f.kind for f in sizes({"train": samples, "test": test}, ("a", "b")))
    assert kinds["class_missing"] == 1
    assert sizes({"train": [Sample("x", float(i)) for i in range(9)]}, ()) == []

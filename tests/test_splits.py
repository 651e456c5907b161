"""How samples are cut into parts: by label, group, domain and time, with copies on one side."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.data import Sample, arrange, cut, digest, latest, subset, vocabulary
from graft.errors import DataError
from graft.tasks._labels import Labels
from graft.tasks._numbers import Numbers


def some(n: int, classes: int = 2, **more: object) -> list[Sample]:
    return [Sample(f"x{i}", f"c{i % classes}", f"s{i}", digest=digest(f"x{i}"), **more) for i in range(n)]  # type: ignore[arg-type]


def ids(samples: list[Sample]) -> set[str]:
    return {s.id for s in samples}


def test_nothing_is_lost_and_classes_keep_their_shares() -> None:
    kept, off = cut(some(100, 4), 0.2, 0, "test")
    assert ids(kept) | ids(off) == ids(some(100, 4)) and not ids(kept) & ids(off)
    assert Counter(s.y for s in off) == dict.fromkeys(("c0", "c1", "c2", "c3"), 5)


def test_row_15_groups_never_stand_on_two_sides() -> None:
    samples = some(120, 3)
    for i, s in enumerate(samples):
        s.group = f"patient {i // 4}"
    parts, notes = arrange({"all": samples}, 0)
    sides = [{s.group for s in part} for part in parts.values()]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert 15 <= len(parts["test"]) <= 30
    assert any("group" in n.text for n in notes)


def test_row_15_groups_across_given_parts_are_named() -> None:
    train = some(20)
    for i, s in enumerate(train):
        s.group = "ab"[i // 10] if i < 4 else f"g{i}"
    test = [Sample("q", "c0", "q", group="a"), Sample("r", "c1", "r", group="z")]
    _, notes = arrange({"train": train, "test": test}, 0)
    said = next(n for n in notes if "groups stand on both sides" in n.text)
    assert said.kind == "warning" and said.items == ("a",)


def test_the_latest_are_the_test_part_and_equal_times_stay_together() -> None:
    samples = some(50)
    for i, s in enumerate(samples):
        s.time = float(i // 5)
    parts, notes = arrange({"all": samples[::-1]}, 0)
    assert max(s.time or 0 for s in parts["train"]) < min(s.time or 0 for s in parts["valid"])
    assert max(s.time or 0 for s in parts["valid"]) < min(s.time or 0 for s in parts["test"])
    assert any("by time" in n.text for n in notes)
    samples[3].time = None
    with pytest.raises(DataError, match="no time to split by: s3"):
        latest(samples, 0.2)


def test_row_14_of_copies_across_given_parts_the_training_copy_goes_and_is_named() -> None:
    train, test = some(20), some(3)
    valid = [Sample("v", "c0", "v0", digest=digest("x7")), Sample("w", "c1", "v1", digest=digest("w"))]
    for i, s in enumerate(test):
        s.id = f"t{i}"
    parts, notes = arrange({"train": train, "valid": valid, "test": test}, 0)
    assert ids(parts["test"]) == {"t0", "t1", "t2"} and ids(parts["valid"]) == {"v0", "v1"}
    assert ids(parts["train"]) == ids(train) - {"s0", "s1", "s2", "s7"}
    said = [n for n in notes if "exact copies were left out of train" in n.text]
    assert sum(len(n.items) for n in said) == 4 and "s0 = t0" in said[0].items + said[-1].items


def test_domains_are_shared_out_evenly() -> None:
    samples = [Sample(f"{d}{i}", f"c{i % 2}", f"{d}{i}", domain=d) for d in ("photo", "sketch") for i in range(40)]
    _, off = cut(samples, 0.25, 3, "test")
    assert Counter((s.domain, s.y) for s in off) == dict.fromkeys(
        [("photo", "c0"), ("photo", "c1"), ("sketch", "c0"), ("sketch", "c1")], 5
    )


def test_numbers_are_cut_by_their_size() -> None:
    samples = [Sample(i, float(i), str(i)) for i in range(200)]
    _, off = cut(samples, 0.2, 0, "test", Numbers().strata)
    assert Counter(int(s.y // 20) for s in off) == dict.fromkeys(range(10), 4)


def test_a_rare_label_is_on_both_sides() -> None:
    samples = [Sample(i, ("rare", "common") if i % 20 == 0 else ("common",), str(i)) for i in range(200)]
    kept, off = cut(samples, 0.2, 0, "test", Labels().strata)
    assert sum("rare" in s.y for s in off) == 2 and sum("rare" in s.y for s in kept) == 8


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 8), st.integers(0, 20)), min_size=1, max_size=80),
    st.floats(0.05, 0.5),
)
@settings(max_examples=80, deadline=None)
def test_whatever_the_groups_and_copies(rows: list[tuple[int, int, int]], share: float) -> None:
    samples = [
        Sample(i, f"c{c}", str(i), group=f"g{g}" if g else "", digest=f"d{d}") for i, (c, g, d) in enumerate(rows)
    ]
    kept, off = cut(samples, share, 0, "x")
    assert len(kept) + len(off) == len(samples)
    for key in ("group", "digest"):
        assert not {getattr(s, key) for s in kept} & {getattr(s, key) for s in off} - {""}
    assert {s.y for s in kept} == {s.y for s in samples}  # no class leaves the training side


def test_a_subset_may_part_groups_and_keeps_the_samples_themselves() -> None:
    samples = some(100, group="one")
    few = subset(samples, 10, 0, "rank")
    assert len(few) == 10 and all(any(s is o for o in samples) for s in few)


def test_row_23_unknown_labels_are_refused_or_dropped() -> None:
    def parts() -> dict[str, list[Sample]]:
        return {"train": some(10), "test": [Sample("z", "new", "z"), Sample("a", "c0", "a")]}

    with pytest.raises(DataError, match="--unknown drop"):
        vocabulary(parts(), [])
    given, notes = parts(), []
    assert vocabulary(given, notes, "drop") == ("c0", "c1")
    assert ids(given["test"]) == {"a"} and notes[0].items == ("z",)

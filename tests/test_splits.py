"""How samples are cut into parts: by label, group, domain and time, with copies on one side."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graft.data import Sample, arrange, by_label, cut, digest, latest, split_key, subset, vocabulary
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


def in_groups(sizes: list[int], kind: str, seed: int = 0) -> list[Sample]:
    """Groups of the given sizes: `pure` of one class each, `mixed` of both, `numbers` one each, `values` one a row."""
    draw, out = random.Random(seed), []
    for g, size in enumerate(sizes):
        of_group = draw.random()
        for j in range(size):
            y = {"pure": f"c{g % 2}", "mixed": f"c{j % 2}", "numbers": of_group, "values": draw.random()}[kind]
            out.append(Sample(j, y, f"s{g}.{j}", group=f"g{g}", digest=f"{g}.{j}"))
    return out


@pytest.mark.parametrize(
    ("groups", "size", "kind", "expected"),
    [
        (30, 4, "numbers", (76, 20, 24)),
        (30, 4, "values", (76, 20, 24)),
        (10, 13, "pure", (78, 26, 26)),
        (10, 13, "mixed", (78, 26, 26)),
        (8, 50, "pure", (200, 100, 100)),
        (8, 50, "mixed", (250, 50, 100)),
        (20, 50, "values", (650, 150, 200)),
        (20, 50, "numbers", (650, 150, 200)),
        (4, 20, "values", (40, 20, 20)),
    ],
)
def test_groups_larger_than_a_stratum_are_cut_whole(
    groups: int, size: int, kind: str, expected: tuple[int, int, int]
) -> None:
    strata = Numbers().strata if kind in ("numbers", "values") else by_label
    parts, notes = arrange({"all": in_groups([size] * groups, kind)}, 0, strata=strata)
    assert tuple(len(parts[name]) for name in ("train", "valid", "test")) == expected
    assert not [n for n in notes if n.kind == "warning"]
    if kind in ("pure", "mixed"):
        assert {s.y for s in parts["train"]} == {"c0", "c1"} == {s.y for s in parts["test"]}


@given(
    st.lists(st.integers(1, 60), min_size=6, max_size=40),
    st.sampled_from(["pure", "mixed", "numbers", "values"]),
    st.floats(0.1, 0.4),
    st.integers(0, 50),
)
@settings(max_examples=150, deadline=None)
def test_whatever_the_sizes_of_groups_the_share_is_met(sizes: list[int], kind: str, share: float, seed: int) -> None:
    samples = in_groups(sizes, kind, seed)
    numbers = kind in ("numbers", "values")
    kept, off = cut(samples, share, seed, "test", Numbers().strata if numbers else by_label)
    assert off and ids(kept) | ids(off) == ids(samples) and not {s.group for s in kept} & {s.group for s in off}
    if not numbers:
        assert {s.y for s in kept} == {s.y for s in samples}
    if kind == "pure":
        assert {s.y for s in off} == {"c0", "c1"}  # of three groups or more a class gives one
    # No single group, moved either way, would come nearer, but for one that a class must give or keep.
    gap = len(off) - share * len(samples)
    movable = Counter(s.group for s in (off if gap > 0 else kept))
    of = {s.group: s.y for s in samples}
    alone = {g for g in movable if kind == "pure" and sum(of[o] == of[g] for o in movable) == 1}
    if len(movable) > 1:
        assert all(abs(gap) <= n / 2 + 1e-9 for g, n in movable.items() if g not in alone)


def test_too_few_groups_are_said_and_what_would_be_enough() -> None:
    with pytest.raises(DataError, match="2 groups are too few to split three ways; give at least five groups, three"):
        arrange({"all": in_groups([9, 9], "pure")}, 0)
    with pytest.raises(DataError, match=r"3 groups are too few .* at least five groups, or a test"):
        arrange({"all": in_groups([20] * 3, "numbers")}, 0, strata=Numbers().strata)
    test = [Sample("t", "c0", "t")]
    with pytest.raises(DataError, match="1 groups are too few to split two ways"):
        arrange({"train": in_groups([9], "mixed"), "test": test}, 0)


def test_a_part_of_less_than_half_its_share_is_said() -> None:
    given = {"train": in_groups([100, 3, 100, 3], "pure"), "test": [Sample("t", "c0", "t")]}
    parts, notes = arrange(given, 0)
    assert len(parts["valid"]) == 3
    assert any("valid part got 3 of 206 samples where 41 were meant" in n.text for n in notes if n.kind == "warning")


def test_across_a_split_by_time_copies_go_from_the_earlier_part_and_groups_are_named() -> None:
    samples = some(50)
    for i, s in enumerate(samples):
        s.time = float(i)
    for earlier, later in ((3, 48), (4, 36), (37, 49), (1, 2)):  # the last two are both in train: they stay
        samples[earlier].digest = samples[later].digest
    samples[0].group = samples[45].group = "a"
    samples[34].group = samples[44].group = "b"
    samples[5].group = samples[6].group = "whole"
    parts, notes = arrange({"all": samples}, 0)
    assert [len(parts[name]) for name in ("train", "valid", "test")] == [30, 7, 10]
    assert not {"s3", "s4"} & ids(parts["train"]) and "s37" not in ids(parts["valid"])
    left_out = [i for n in notes if "exact copies were left out of" in n.text for i in n.items]
    assert sorted(left_out) == ["s3 = s48", "s37 = s49", "s4 = s36"]
    said = next(n for n in notes if "groups" in n.text)
    assert said.text.startswith("the split by time parts 2 groups") and said.items == ("a", "b")
    assert "give no split" not in said.text


def test_a_given_test_part_and_a_validation_part_by_time_are_told_apart() -> None:
    samples = some(40, group="p")
    for i, s in enumerate(samples):
        s.time = float(i)
    _, notes = arrange({"train": samples, "test": [Sample("q", "c0", "q", group="p", time=99.0)]}, 0)
    said = [n.text for n in notes if n.kind == "warning"]
    assert len(said) == 2 and "both sides of the given split" in said[0] and "split by time parts 1 groups" in said[1]


def test_one_moment_cannot_be_split_by_time() -> None:
    with pytest.raises(DataError, match="20 samples of 1 different times are too few"):
        arrange({"all": some(20, time=5.0)}, 0)


def test_what_ties_a_sample_to_others() -> None:
    assert split_key(Sample(0, group="a", digest="d", id="1")) == split_key(Sample(1, group="a", digest="e", id="2"))
    assert split_key(Sample(0, digest="d", id="1")) == split_key(Sample(1, digest="d", id="2"))
    assert split_key(Sample(0, digest="a")) != split_key(Sample(0, group="a")) != split_key(Sample(0, id="a"))
    one, two = Sample(0), Sample(0)
    assert split_key(one) != split_key(two)


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

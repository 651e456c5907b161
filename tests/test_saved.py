"""Labels and time saved: a study of a tiny run, cut and resumed, refused where the data changed, and what it says."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import Any

import command
import models
import numpy as np
import pytest

import graft
from graft import _lab, _savings, curves, saved
from graft._lab import Point
from graft.curves import Arm
from graft.data import nested
from graft.errors import DataError, SetupError, Stopped, UsageError
from graft.run import Run

QUICK: dict[str, Any] = {"sizes": [8, 20], "seeds": 1, "passes": 0.5, "quiet": True}


@pytest.fixture(scope="module")
def run(home: Path, bert: Path) -> Run:
    """A run whose kept arm is fine-tuned from a probe, on data that nothing else uses."""
    data = models.write_csv(home / "saved.csv", models.texts(60, seed=3))
    return graft.fit(
        data, backbone=f"local:{bert}", recipe="probe > finetune:depth=1", set=["stage.1.epochs=2"], evidence="off",
        out=home / "saved", quiet=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(run: Run, home: Path) -> dict[str, Any]:
    """A study that ran to its end."""
    return saved.labels_saved(run.folder, out=home / "whole.evidence", **QUICK)


def untimed(found: dict[str, Any]) -> dict[str, Any]:
    """What a study says, without seconds and places."""
    points = [{k: v for k, v in p.items() if k not in ("seconds", "wall", "trace")} for p in found["points"]]
    traces = [[v for _, v in p["trace"]] for p in found["points"]]
    kept = {k: v for k, v in found.items() if k not in ("points", "time_saved", "evidence", "sentence")}
    return {**kept, "points": points, "traces": traces, "said": found["labels_saved"]["sentence"]}


# -------------------------------------------------------------------------------------------- plans


def test_six_sizes_from_two_a_class_to_all() -> None:
    sizes = saved.planned(1100, 2)
    assert len(sizes) == 6 and sizes[0] == 16 and sizes[-1] == 1100
    steps = np.diff(np.log(sizes))
    assert steps.max() / steps.min() < 1.1
    assert saved.planned(680, 17)[0] == 34
    assert saved.planned(30, 10) == [15, 20, 30] or saved.planned(30, 10)[0] >= 10
    assert saved.planned(20, 2) == [10, 15, 20] or saved.planned(20, 2)[-1] == 20


@pytest.mark.parametrize("sizes", [[8], [1, 20], [20, 10_000]])
def test_sizes_that_cannot_be_are_refused(sizes: list[int]) -> None:
    with pytest.raises(UsageError, match="two or more from 2 to 48"):
        saved.planned(48, 2, sizes)


def test_subsets_are_nested_stratified_and_drawn_from_the_seed() -> None:
    strata = ["a"] * 60 + ["b"] * 30 + ["c"] * 3
    order = nested(strata, 2, 0, "labels saved")
    assert sorted(order) == list(range(93)) and order == nested(strata, 2, 0, "labels saved") != nested(
        strata, 2, 1, "labels saved"
    )
    for n in (6, 20, 50):
        held = [strata[i] for i in order[:n]]
        assert min(held.count(x) for x in "abc") >= 2
    assert abs([strata[i] for i in order[:50]].count("a") / 50 - 60 / 93) < 0.06
    plain = nested(strata, 0, 0, "labels saved")
    assert abs([strata[i] for i in plain[:31]].count("b") - 10) <= 1


# -------------------------------------------------------------------------------------------- a study


def test_a_study_measures_both_arms_on_the_same_labels_and_says_so(whole: dict[str, Any], run: Run) -> None:
    assert [(p["n"], p["arm"]) for p in whole["points"]] == [(n, a) for n in (8, 20) for a in ("with", "without")]
    assert whole["labels_saved"]["verdict"] in ("saved", "hurt", "cannot_tell")
    assert whole["sentence"].startswith(whole["labels_saved"]["sentence"])
    own, other = whole["points"][:2]
    assert own["steps"] == 8 and other["steps"] == 4  # batches of 2: two passes, and half as many from scratch
    assert all(0 < p["seconds"] <= p["wall"] + 5 for p in whole["points"])
    folder = Path(whole["evidence"])
    assert json.loads((folder / "evidence.json").read_text()) == whole == saved.read(folder)
    assert command.names(folder) >= {"curves.png", "evidence.html", "evidence.json", "points", "study.json"}
    assert not (folder / "work").exists()
    assert Run(run.folder).report  # the sealed run was not written into


def test_the_answers_of_a_point_give_its_value(whole: dict[str, Any], run: Run) -> None:
    lab = _lab.reopen(run.folder, 0.5, "cpu", saved.Voice(quiet=True))
    for said in whole["points"]:
        point = _lab.load_point(_lab.point_file(Path(whole["evidence"]), said["arm"], said["n"], said["seed"]))
        assert point is not None
        right = point.answers.argmax(axis=1) == lab.truth["test"]
        assert right.mean() == pytest.approx(said["value"])
        assert said["trace"][-1][1] is not None


def test_frozen_features_of_a_subset_are_rows_of_one_pass(run: Run) -> None:
    from graft import features

    lab = _lab.reopen(run.folder, 1.0, "cpu", saved.Voice(quiet=True))
    rows = lab.subset(12, 0)
    own = features.extract(lab.origin, rows, keep=False).pooled
    assert np.allclose(_lab._rows_of(lab, rows).pooled, own, atol=1e-5)


def test_numbers_that_were_asked_for_stay_and_open_ones_follow_the_size(run: Run) -> None:
    lab = _lab.reopen(run.folder, 4.0, "cpu", saved.Voice(quiet=True))
    assert [lab.stages("with", n)[1].epochs for n in (8, 36)] == [2, 2]  # --set stage.1.epochs=2
    assert [lab.stages("with", n)[1].batch for n in (8, 36)] == [2, 9]
    (scratch,) = lab.stages("without", 8)
    assert scratch.epochs == 4 * 2 and scratch.patience == 0 and "decay=1.0" in scratch.methods[0]


@pytest.mark.slow
def test_cut_anywhere_and_resumed_it_says_the_same(
    run: Run, whole: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real = home / "cut.evidence", _lab.Watch.step
    for life in range(3):  # each life ends in the middle of a training, later and later
        voice = saved.Voice(quiet=True)
        left = [3 + 4 * life]

        def step(watch: _lab.Watch, *said: Any, voice: Any = voice, left: list[int] = left) -> None:
            real(watch, *said)
            left[0] -= 1
            voice.stop.asked = voice.stop.asked or ("SIGTERM" if left[0] <= 0 else "")

        monkeypatch.setattr(_lab.Watch, "step", step)
        with pytest.raises(Stopped):
            saved.labels_saved(run.folder, out=out, voice=voice, resume=True, **QUICK)
        assert not (out / "evidence.json").exists() and (out / "work").exists()
    monkeypatch.setattr(_lab.Watch, "step", real)
    again = saved.labels_saved(run.folder, out=out, resume=True, **QUICK)
    assert untimed(again) == untimed(whole)
    assert command.names(out) == command.names(Path(whole["evidence"]))


def test_a_study_that_is_there_is_gone_on_with_only_where_that_is_said(run: Run, whole: dict[str, Any]) -> None:
    folder = Path(whole["evidence"])
    with pytest.raises(UsageError, match="--resume goes on"):
        saved.labels_saved(run.folder, out=folder, **QUICK)
    began = time.monotonic()
    again = saved.labels_saved(run.folder, out=folder, resume=True, **QUICK)
    assert again["points"] == whole["points"] and time.monotonic() - began < 60
    with pytest.raises(UsageError, match="another without"):
        saved.labels_saved(run.folder, out=folder, resume=True, **{**QUICK, "passes": 0.25})
    with pytest.raises(UsageError, match="exclude each other"):
        saved.labels_saved(run.folder, out=folder, resume=True, overwrite=True, **QUICK)


def test_a_damaged_point_is_measured_again(run: Run, whole: dict[str, Any], home: Path) -> None:
    folder = home / "damaged.evidence"
    shutil.copytree(whole["evidence"], folder)
    file = _lab.point_file(folder, "with", 8, 0)
    file.write_bytes(file.read_bytes()[:200])
    assert _lab.load_point(file) is None
    assert untimed(saved.labels_saved(run.folder, out=folder, resume=True, **QUICK)) == untimed(whole)


def test_what_does_not_fit_the_budget_is_left_out_and_named(
    run: Run, whole: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "budget.evidence"
    shutil.copytree(whole["evidence"], folder)
    monkeypatch.setattr(saved._Study, "estimate", lambda self, arm, n: 1e6)
    found = saved.labels_saved(run.folder, out=folder, resume=True, budget="30s", **{**QUICK, "seeds": 2})
    assert [(x["arm"], x["n"], x["seed"]) for x in found["left_out"]] == [
        (a, n, 1) for n in (8, 20) for a in ("with", "without")
    ]
    assert "would take about 1000000 s" in found["left_out"][0]["why"]
    assert found["points"] == whole["points"] and "Left out" in (folder / "evidence.html").read_text()


def test_estimates_grow_with_the_steps(run: Run, whole: dict[str, Any]) -> None:
    lab = _lab.reopen(run.folder, 0.5, "cpu", saved.Voice(quiet=True))
    study = saved._Study(lab, Path(whole["evidence"]), [8, 20], [0])
    walls = {n: study.points["without", n, 0].wall for n in (8, 20)}
    assert study.estimate("without", 20) == walls[20] and study.estimate("without", 8) == walls[8]
    assert study.estimate("without", 36) >= walls[20]
    assert saved._Study(lab, Path("nowhere"), [8, 20], [0]).estimate("with", 8) == 0.0


# ------------------------------------------------------------------------------------------ refusals


def test_changed_data_are_refused(run: Run, home: Path, bert: Path) -> None:
    data = models.write_csv(home / "changing.csv", models.texts(60, seed=4))
    other = graft.fit(data, backbone=f"local:{bert}", recipe="probe:l2=0.1", evidence="off", out=home / "changing",
                      quiet=True)  # fmt: skip
    data.write_text(data.read_text() + "one more lovely day,good\n")
    with pytest.raises(DataError, match="changed since"):
        saved.labels_saved(other.folder, **QUICK)
    data.unlink()
    with pytest.raises(DataError, match="not there any more"):
        saved.labels_saved(other.folder, **QUICK)
    assert not (home / "changing.evidence").exists()


def test_objects_must_be_handed_over_again(home: Path, bert: Path) -> None:
    rows = models.texts(60, seed=5)
    made = graft.fit(rows, backbone=f"local:{bert}", recipe="probe:l2=0.1", evidence="off", out=home / "rows",
                     quiet=True)  # fmt: skip
    with pytest.raises(DataError, match="data="):
        saved.labels_saved(made.folder, **QUICK)
    with pytest.raises(DataError, match="changed since"):
        saved.labels_saved(made.folder, data=rows[:-1], **QUICK)
    assert _lab.reopen(made.folder, 1.0, "cpu", saved.Voice(quiet=True), rows).kept.name == "recipe"


def test_other_weights_are_refused(run: Run, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_lab, "fingerprint", lambda backbone: "other")
    with pytest.raises(DataError, match=r"not what .* started from"):
        saved.labels_saved(run.folder, out=home / "weights.evidence", **QUICK)


def test_the_run_itself_and_strange_folders_are_left_alone(run: Run, home: Path) -> None:
    with pytest.raises(UsageError, match="lies in the run"):
        saved.labels_saved(run.folder, out=run.folder / "evidence", **QUICK)
    strange = home / "strange"
    strange.mkdir()
    (strange / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        saved.labels_saved(run.folder, out=strange, overwrite=True, **QUICK)
    assert (strange / "mine.txt").read_text() == "mine"


def test_a_second_process_is_refused(run: Run, whole: dict[str, Any]) -> None:
    from filelock import FileLock

    with FileLock(str(Path(whole["evidence"]) / ".lock")), pytest.raises(SetupError, match="another process"):
        saved.labels_saved(run.folder, out=whole["evidence"], resume=True, **QUICK)


# --------------------------------------------------------------------------------------- conclusions


def case(own: Any, other: Any, baseline: float = 0.5, measure: str = "accuracy") -> _savings.Case:
    """A case of errors by size {labels: [seeds]}, with resamples that move all of them alike."""
    move = np.random.default_rng(0).normal(0, 0.005, 300)
    arms = {}
    for name, errors in (("with", own), ("without", other)):
        listed = {n: np.atleast_1d(np.asarray(e, dtype=float)) for n, e in errors.items()}
        arms[name] = Arm(listed, {n: np.clip(e[:, None] + move, 0, None) for n, e in listed.items()})
    fits = {a: curves.fitted(arm, 0, a) for a, arm in arms.items()}
    means = {a: arm.resampled(0, a) for a, arm in arms.items()}
    return _savings.Case(measure, measure != "accuracy", arms, fits, means, baseline, baseline + move)


SIZES = (16, 40, 100, 250, 600)


def falling(a: float, b: float, c: float) -> dict[int, list[float]]:
    return {n: [c + a * n**-b] * 2 for n in SIZES}


def test_saved_labels_are_said_as_in_the_promise() -> None:
    found = _savings.labels(case(falling(2.0, 0.7, 0.05), falling(1.0, 0.3, 0.05)))
    assert found["verdict"] == "saved" and found["low"] > 1
    own, other = found["labels_with"], found["labels_without"]
    assert f"{own} labels reach what training from scratch needs {other} for (accuracy" in found["sentence"]
    assert f"{found['ratio']:.1f}x [" in found["sentence"] and other == 600


def test_never_gets_there_is_said_with_a_floor() -> None:
    found = _savings.labels(case(falling(0.5, 0.5, 0.02), falling(0.3, 0.1, 0.25)))
    assert found["bound"] == ">" and found["verdict"] == "saved"
    assert "> 37.5x (scratch never gets there): 16 labels" in found["sentence"]
    assert found["needs"][0]["bound"] == ">" and found["needs"][0]["labels_without"] == 1200


def test_scratch_that_learns_nothing_is_told_apart() -> None:
    found = _savings.labels(case(falling(1.0, 0.5, 0.05), {n: [0.5, 0.51] for n in SIZES}))
    assert found["bound"] == ">" and "training from scratch learned nothing with 600 labels" in found["sentence"]


def test_hurt_is_said_plainly() -> None:
    found = _savings.labels(case(falling(1.0, 0.3, 0.05), falling(2.0, 0.7, 0.05)))
    assert found["verdict"] == "hurt" and found["ratio"] < 1
    assert found["sentence"].startswith("Pretrained weights cost labels: 600 labels reach what")
    nothing = _savings.labels(case({n: [0.5, 0.51] for n in SIZES}, falling(1.0, 0.5, 0.05)))
    assert nothing["verdict"] == "hurt" and nothing["bound"] == "<" and "learned nothing" in nothing["sentence"]


def test_both_flat_at_the_baseline_cannot_tell() -> None:
    found = _savings.labels(case({n: [0.5, 0.49] for n in SIZES}, {n: [0.49, 0.51] for n in SIZES}))
    assert found["verdict"] == "cannot_tell" and found["ratio"] is None
    assert "neither arm is better than no knowledge at all with 600 labels" in found["sentence"]


def test_equal_arms_cannot_tell() -> None:
    noise = np.random.default_rng(1).normal(0, 0.03, (2, len(SIZES), 3))
    arms = [{n: list(0.05 + n**-0.4 + noise[k, i]) for i, n in enumerate(SIZES)} for k in range(2)]
    found = _savings.labels(case(*arms))
    assert found["verdict"] == "cannot_tell" and found["low"] < 1 < found["high"]
    assert found["sentence"].startswith("Cannot tell whether labels were saved: ")


def test_one_size_alone_cannot_tell() -> None:
    found = _savings.labels(case(falling(1.0, 0.5, 0.05), {16: [0.4]}))
    assert found["verdict"] == "cannot_tell" and "fewer than two sizes" in found["reason"]


def test_errors_of_numbers_are_read_as_they_are() -> None:
    found = _savings.labels(case(falling(20.0, 0.7, 1.0), falling(9.0, 0.3, 1.0), baseline=6.0, measure="mae"))
    assert found["verdict"] == "saved" and 1 < found["score"] < 6


def point(arm: str, trace: list[tuple[float, float | None]], n: int = 600, seed: int = 0) -> Point:
    return Point(arm, n, seed, 0.9, trace[-1][0], trace[-1][0], 1, tuple(trace), np.zeros(1))


def test_time_is_that_to_the_best_of_scratch() -> None:
    c = case(falling(2.0, 0.7, 0.05), falling(1.0, 0.3, 0.05))
    slow = point("without", [(60.0, 0.6), (180.0, 0.8), (240.0, 0.78)])
    found = _savings.seconds(c, [point("with", [(4.0, 0.7), (12.0, 0.85), (20.0, 0.9)]), slow])
    assert (found["with"], found["without"], found["ratio"]) == (12.0, 180.0, 15.0)
    assert "with pretrained weights 12.0 s, from scratch 3 min 00 s" in found["sentence"]
    assert found["sentence"].endswith(": 15.0x.") and found["sentence"].startswith("Time saved")
    never = _savings.seconds(c, [point("with", [(4.0, None), (12.0, 0.7)]), slow])
    assert never["ratio"] is None and never["sentence"].startswith("No time saved: pretrained weights do not reach")
    flat = case(falling(2.0, 0.7, 0.05), {n: [0.5, 0.51] for n in SIZES})
    assert "learned nothing with 600 labels" in _savings.seconds(flat, [point("with", [(4.0, 0.9)]), slow])["sentence"]
    small = _savings.seconds(c, [point("with", [(4.0, 0.9)], n=16), slow])
    assert "not measured" in small["sentence"]


# -------------------------------------------------------------------------------------- command line


def test_the_command_gives_one_object_and_a_table(run: Run, whole: dict[str, Any]) -> None:
    words = ("evidence", run.folder, "--sizes", "8,20", "--seeds", 1, "--scratch-passes", 0.5, "--out",
             whole["evidence"], "--resume", "-q")  # fmt: skip
    said = command.call(*words, "--json")
    assert said.code == 0 and json.loads(said.out)["labels_saved"] == whole["labels_saved"]
    shown = command.call(*words)
    assert shown.code == 0 and "from scratch" in " ".join(shown.out.split()) and "evidence.html" in shown.out
    assert max(map(len, shown.out.splitlines()[:-1])) <= 80
    command.refused(command.call("evidence", run.folder, "--sizes", "8,many"), 2, "whole numbers")
    command.refused(command.call("evidence", run.folder.parent / "none"), 2, "no finished run")


def test_the_page_escapes_what_came_from_data(whole: dict[str, Any]) -> None:
    from graft._saved_page import page

    hostile = {**whole, "title": "<script>alert(1)</script>", "backbone": "local:/x/<b>"}
    html = page(hostile, b"png")
    assert "<script>" not in html and "&lt;script&gt;" in html and "<b>" not in html
    assert "http" not in html.replace("http-equiv", "")


@pytest.mark.slow
@pytest.mark.parametrize("wait", [0.5, 2.0, 4.0])
def test_killed_at_any_moment_it_goes_on(run: Run, whole: dict[str, Any], home: Path, wait: float) -> None:
    out = home / f"killed-{wait}.evidence"
    words = ("evidence", run.folder, "--sizes", "8,20", "--seeds", 1, "--scratch-passes", 0.5, "--out", out,
             "--resume", "--json", "-q")  # fmt: skip
    with command.start(*words) as process:
        deadline = time.monotonic() + 120
        while not (out / "study.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(wait)
        process.kill()
    said = command.run(*words)
    assert said.code == 0, said.err
    assert untimed(json.loads(said.out)) == untimed(whole)

"""Every rung of a run side by side, clean and corrupted; and the weights that a run keeps for it."""

from __future__ import annotations

import copy
import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import climbed
import models
import numpy as np
import pandas as pd
import pytest
import torch
from command import call, refused

import graft
from graft import evaluate, files, robustness, rungs, sources, storage
from graft.data import Sample
from graft.draws import Draws, average, draws
from graft.errors import DataError, SetupError, UsageError
from graft.evaluate import Paired, Score
from graft.robustness import CLEAN, Found
from graft.run import Run
from graft.workplace import Workplace

NAMES = ["nearest_neighbour", "probe", "tuned", "whole"]


@pytest.fixture(scope="module")
def pictures(home: Path, zoo: Path, photos: Path) -> Run:
    """A run of four rungs on the photos."""
    return climbed.climb(home / "climbed-pictures", photos, zoo / "tiny")


@pytest.fixture(scope="module")
def texts(home: Path, bert: Path, reviews: Path) -> Run:
    """A run of four rungs on the reviews."""
    return climbed.climb(home / "climbed-texts", reviews, bert)


def forget(run: Run, out: Path) -> Path:
    """The run as an earlier version wrote it: no rungs beside the model."""
    folder = Path(shutil.copytree(run.folder, out))
    shutil.rmtree(folder / "rungs")
    meta = files.read_json(folder / "model.json")
    del meta["rungs"], meta["seal"]
    meta["files"] = {name: f for name, f in meta["files"].items() if not name.startswith("rungs/")}
    files.write_json(folder / "model.json", {**meta, "seal": files.seal(meta)})
    return folder


# ------------------------------------------------------------------------------- weights beside it


@pytest.mark.parametrize("which", ["pictures", "texts"])
@pytest.mark.slow
def test_every_rung_that_ran_can_be_loaded_and_answers_as_it_did(which: str, request: pytest.FixtureRequest) -> None:
    run: Run = request.getfixturevalue(which)
    assert {f"rungs/{n}.safetensors" for n in run.meta["rungs"]} == {
        p.relative_to(run.folder).as_posix() for p in (run.folder / "rungs").iterdir()
    }
    assert {"rungs/tuned.safetensors", "rungs/whole.safetensors"} & set(run.meta["files"])
    there, missing = rungs.every(run.folder, run.meta, run.report["chosen"], run.model)
    assert set(there) == set(NAMES) and not missing
    table = pd.read_parquet(run.folder / "predictions.parquet")
    source = sources.resolve(run.report["data"]["source"])[0]
    from graft.recipe import load_toml

    read = run.task.read(source, load_toml(run.folder / "recipe.toml"))
    for name, rung in there.items():
        rows = table[(table["split"] == "valid") & (table["model"] == name)]
        assert list(rows["id"]) == [s.id for s in read.valid]
        answers = np.asarray(rung.model.predict(read.valid, run.task))
        assert np.allclose(answers, rows[[f"score_{label}" for label in run.labels]], atol=2e-4), name


def test_a_damaged_rung_is_found(pictures: Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(pictures.folder, tmp_path / "run"))
    file = folder / "rungs/whole.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"rungs/whole\.safetensors"):
        graft.load(folder)


def test_a_rung_that_was_not_kept_is_refused(pictures: Run) -> None:
    with pytest.raises(UsageError, match="Did you mean 'whole'"):
        rungs.load(pictures.folder, pictures.meta, "hole")


@dataclasses.dataclass
class Ran:
    name: str
    folder: Path
    frozen: bool
    head: dict[str, Any]
    offsets: np.ndarray | None = None


def ran(pictures: Run, room: Path) -> list[Ran]:
    """The run's rungs as a fit hands them over: two trained ones and a head."""
    found = []
    for name in ("whole", "tuned"):
        (room / name).mkdir()
        shutil.copy(pictures.folder / f"rungs/{name}.safetensors", room / name / "weights.safetensors")
        found.append(Ran(name, room / name, False, pictures.meta["rungs"][name]["head"]))
    head = storage.load_controls(pictures.folder, pictures.meta)["probe"]
    (room / "balanced").mkdir()
    storage.save_tensors(room / "balanced/weights.safetensors", {f"head.{k}": v for k, v in head.state_dict().items()})
    offsets = np.array([0.0, -0.5])
    return [*found, Ran("balanced", room / "balanced", True, pictures.meta["controls"]["probe"], offsets)]


def test_what_takes_too_much_room_is_shortened_then_left_out(pictures: Run, tmp_path: Path) -> None:
    origin = storage.pretrained(pictures.meta)
    given = ran(pictures, tmp_path)
    work = tmp_path / "work"
    work.mkdir()
    sizes = {r.name: (r.folder / "weights.safetensors").stat().st_size for r in given}
    whole = rungs.save(work, given, origin, 10**9)
    assert {n: r["weights"] for n, r in whole.rungs.items()} == {"balanced": "head", "whole": "whole", "tuned": "whole"}
    assert next(iter(whole.rungs)) == "balanced" and not whole.left_out
    # Room for a head, all of one network, and the trained part of the other.
    less = rungs.save(work, given, origin, round(1.5 * sizes["whole"]))
    assert less.rungs["whole"]["weights"] == "whole"
    assert less.rungs["tuned"]["weights"] == rungs.DIFFERS
    assert (work / "rungs/tuned.safetensors").stat().st_size < sizes["tuned"]
    meta = {**pictures.meta, "rungs": less.rungs}
    for base in (None, origin):
        loaded = rungs.load(work, meta, "tuned", base).state_dict()
        there = rungs.load(pictures.folder, pictures.meta, "tuned").state_dict()
        assert all(torch.equal(v, loaded[k]) for k, v in there.items())
        untouched = storage.pretrained(pictures.meta).state_dict()
        assert all(torch.equal(v, untouched[k]) for k, v in origin.state_dict().items())  # a copy was changed
    assert rungs.load(work, meta, "balanced", origin).backbone is origin
    least = rungs.save(work, given, origin, sizes["balanced"] + 1)
    assert list(least.rungs) == ["balanced"] and least.left_out == ["whole", "tuned"]
    assert {p.name for p in (work / "rungs").iterdir()} == {"balanced.safetensors"}
    assert least.rungs["balanced"]["offsets"] == [0.0, -0.5]
    none = rungs.save(work, given, origin, 10)
    assert not none.rungs and not (work / "rungs").exists()


def test_a_fit_says_which_weights_it_did_not_keep(
    zoo: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rungs, "MOST_BYTES", 10_000)
    run = climbed.climb(tmp_path, photos, zoo / "tiny")
    kept = set(run.meta["rungs"])
    gone = {"tuned", "whole"} - kept - {run.report["chosen"]}
    assert gone
    notes = [n["text"] for n in run.report["data"]["notes"] if "were not kept" in n["text"]]
    assert len(notes) == 1 and all(name in notes[0] for name in gone)
    found = run.evaluate(photos, corrupt="contrast", corrupt_samples=8)
    assert found["robustness"]["missing"] == dict.fromkeys(gone, "its weights were not kept")


@pytest.mark.slow
def test_a_resumed_run_keeps_its_rungs(
    bert: Path, reviews: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Workplace, keep: Any) -> None:
        raise SetupError("the disk is full")

    with monkeypatch.context() as here:
        here.setattr(Workplace, "finish", broken)
        with pytest.raises(SetupError, match="disk"):
            climbed.climb(tmp_path, reviews, bert)
    (tmp_path / "run.partial/rungs/half.safetensors").write_bytes(b"torn")
    run = graft.fit(tmp_path / "recipe.toml", out=tmp_path / "run", resume=True, quiet=True)
    assert {p.stem for p in (run.folder / "rungs").iterdir()} == set(run.meta["rungs"]) != set()


# ------------------------------------------------------------------------------------ side by side


def test_every_rung_is_measured_clean_and_corrupted(pictures: Run, photos: Path) -> None:
    found = pictures.evaluate(photos, corrupt="noise,contrast", corrupt_samples=16)
    said = found["robustness"]
    assert list(said["rungs"]) == NAMES == list(found["corrupted"])
    assert (said["n"], said["of"], said["corruptions"]) == (16, 48, ["noise", "contrast"])
    for name, by in found["corrupted"].items():
        assert list(by) == ["noise", "contrast"] and all(len(scores) == 5 for scores in by.values())
        every = [s["value"] for scores in by.values() for s in scores]
        own = said["rungs"][name]
        assert own["corrupted"]["value"] == pytest.approx(np.mean(every))
        assert own["corrupted"]["low"] <= own["corrupted"]["value"] <= own["corrupted"]["high"]
        assert own["relative"] == pytest.approx(own["corrupted"]["value"] / own["clean"]["value"])
    assert set(said["against_probe"]) == set(NAMES) - {"probe"}
    for name, gap in said["against_probe"].items():
        means = {k: {n: said["rungs"][n][k]["value"] for n in (name, "probe")} for k in ("clean", "corrupted")}
        for k, mean in means.items():
            assert gap[k]["difference"] == pytest.approx(mean[name] - mean["probe"])
        assert gap["change"]["difference"] == pytest.approx(gap["corrupted"]["difference"] - gap["clean"]["difference"])
        assert all(g["low"] <= g["difference"] <= g["high"] for g in gap.values())
    assert said["sentence"].endswith(".") and "the frozen probe" in said["sentence"]
    assert any("16 of 48 samples" in n["text"] for n in found["notes"])
    assert said["floor"]["majority"]["value"] == 0.5
    again = pictures.evaluate(photos, corrupt="noise,contrast", corrupt_samples=16)
    assert again["corrupted"] == found["corrupted"] and again["robustness"] == said


def test_the_scores_are_those_of_the_corrupted_pictures(pictures: Run, photos: Path) -> None:
    """Written to files, the corrupted pictures are answered as the table says."""
    from graft import corrupt, views

    parts, _ = pictures.task.labelled(sources.resolve(photos)[0], graft.recipe.Recipe(data=str(photos)))
    samples = parts["all"]
    kept = (pictures.report["chosen"], pictures.model, pictures.task)
    found = robustness.measure(pictures.folder, pictures.meta, kept, samples, ["blur"])
    sight = corrupt.sight_of(pictures.model.backbone)
    there, _ = rungs.every(pictures.folder, pictures.meta, kept[0], pictures.model)
    truth = evaluate.truth_of(pictures.task, samples)
    for strength in (1, 5):
        opened = [views.opened(s.x) for s in corrupt.samples(samples, "blur", strength, 0, sight)]
        plain = [Sample(x, s.y, id=s.id) for x, s in zip(opened, samples, strict=True)]
        for name, rung in there.items():
            answers = np.asarray(rung.model.predict(plain, pictures.task))
            right = float((pictures.task.decide(answers, rung.offsets) == np.asarray(truth)).mean())
            assert found.scores[name]["blur", strength].value == pytest.approx(right, abs=0.021), (name, strength)


@pytest.mark.slow
def test_the_command_says_it(texts: Run, reviews: Path) -> None:
    shown = call("evaluate", texts.folder, reviews, "--corrupt", "--corrupt-samples", "20", "--quiet")
    assert shown.code == 0, shown.err
    out = " ".join(shown.out.split())
    assert "typos" in out and "case" in out and "(kept)" in out and "20 of 80, drawn by stratum" in out
    assert all(name.replace("_", " ") in out for name in NAMES)
    said = call("evaluate", texts.folder, reviews, "--corruptions", "spaces", "--corrupt-samples", "20", "--json")
    found = json.loads(said.out)
    assert list(found["corrupted"]["probe"]) == ["spaces"]
    plain = json.loads(call("evaluate", texts.folder, reviews, "--json").out)
    assert "corrupted" not in plain and "robustness" not in plain
    assert {k: v for k, v in found.items() if k in plain and k not in ("seconds", "notes")} == {
        k: v for k, v in plain.items() if k not in ("seconds", "notes")
    }


def test_what_is_not_there_is_refused_before_any_work(texts: Run, reviews: Path) -> None:
    refused(call("evaluate", texts.folder, "nowhere.csv", "--corruptions", "tpyos"), 2, "did you mean 'typos'")
    refused(call("evaluate", texts.folder, reviews, "--corruptions", "jpeg"), 2, "for a picture", "typos")
    with pytest.raises(UsageError, match="at least one sample"):
        texts.evaluate(reviews, corrupt=True, corrupt_samples=0)


def test_a_run_of_an_earlier_version_shows_what_it_has(texts: Run, reviews: Path, tmp_path: Path) -> None:
    old = graft.load(forget(texts, tmp_path / "old"))
    found = old.evaluate(reviews, corrupt="case", corrupt_samples=16)
    kept = texts.report["chosen"]
    gone = {"tuned", "whole"} - {kept}
    assert set(found["corrupted"]) == {"nearest_neighbour", "probe", kept}
    assert set(found["robustness"]["missing"]) == gone
    assert any("not compared" in n["text"] and all(g in n["text"] for g in gone) for n in found["notes"])
    assert rungs.names(old.meta) == [] and storage.rebuild(old.folder)


def test_without_the_pretrained_backbone_the_trained_ones_stay(
    text_run: Run, reviews: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(meta: dict[str, Any]) -> Any:
        raise SetupError("the network is down")

    monkeypatch.setattr(storage, "pretrained", gone)
    found = text_run.evaluate(reviews, corrupt="typos", corrupt_samples=16)
    said = found["robustness"]
    assert list(said["rungs"]) == [text_run.report["chosen"]] and said["sentence"] == "" and not said["against_probe"]
    assert said["missing"] == dict.fromkeys(("nearest_neighbour", "probe"), "the network is down")


def test_numbers_are_measured_by_the_runs_own_measure(bert: Path, tmp_path: Path) -> None:
    rows = [
        (f"{text} {i}", str(len(text) / 10 + (label == "good"))) for i, (text, label) in enumerate(models.texts(60))
    ]
    data = models.write_csv(tmp_path / "t.csv", rows, ("text", "score"))
    run = climbed.climb(tmp_path / "fit", data, bert)
    found = run.evaluate(data, corrupt="typos", corrupt_samples=24)
    said = found["robustness"]
    assert said["measure"] == "mae" and list(said["rungs"]) == NAMES
    for own in said["rungs"].values():
        assert own["relative"] == pytest.approx(own["clean"]["value"] / own["corrupted"]["value"])
    shown = call("evaluate", run.folder, data, "--corruptions", "typos", "--corrupt-samples", "24", "--quiet").out
    assert "less is better" in shown


def test_several_labels_are_measured_too(bert: Path, tmp_path: Path) -> None:
    rows = [
        (f"{t} {i}", ";".join(w for w in ("lovely", "awful", "the") if w in t) or "none")
        for i, (t, _) in enumerate(models.texts(90))
    ]
    data = models.write_csv(tmp_path / "t.csv", rows, ("text", "tags"))
    run = graft.fit(
        data, backbone=f"local:{bert}", recipe="probe:l2=0.1", evidence="off", out=tmp_path / "run", quiet=True
    )
    assert run.report["measure"] == "map"
    said = run.evaluate(data, corrupt="typos", corrupt_samples=60)["robustness"]
    assert 0 < said["rungs"]["recipe"]["corrupted"]["value"] <= said["rungs"]["recipe"]["clean"]["value"] + 0.05


# ----------------------------------------------------------------------------------------- subset


def test_a_subset_keeps_the_shares_of_the_classes_and_its_order(text_run: Run) -> None:
    labels = ["a"] * 600 + ["b"] * 300 + ["c"] * 90 + [f"rare{i}" for i in range(10)]
    samples = [Sample("", y, id=str(i)) for i, y in enumerate(labels)]
    picked = robustness.subset(samples, text_run.task, 100, 0)
    counts = Counter(s.y for s in picked)
    assert (
        len(picked) == 100 and abs(counts["a"] - 60) <= 2 and abs(counts["b"] - 30) <= 2 and abs(counts["c"] - 9) <= 2
    )
    assert [int(s.id) for s in picked] == sorted(int(s.id) for s in picked)
    assert [s.id for s in picked] == [s.id for s in robustness.subset(samples, text_run.task, 100, 0)]
    others = [robustness.subset(samples, text_run.task, 100, seed) for seed in range(1, 30)]
    assert any({s.id for s in o} != {s.id for s in picked} for o in others)
    rare = sum(str(s.y).startswith("rare") for o in others for s in o) / len(others)
    assert 0.3 < rare < 2.5  # a class of one sample has the chance that the others have
    assert robustness.subset(samples, text_run.task, 1000, 0) == samples


# -------------------------------------------------------------------------------------- sentences


def made(
    clean: float, corrupted: float, kept: str = "finetune", measure: str = "accuracy", spread: float = 0.01
) -> Found:
    """Two rungs of which the trained one is ahead of the probe by so much."""
    lower = measure == "mae"
    found = Found(measure, lower, kept, 100, 100, ("noise",), things="pictures")
    wave = spread * np.sin(np.arange(1000))
    for name, ahead in (("probe", (0.0, 0.0)), ("finetune", (clean, corrupted))):
        at = {CLEAN: 0.8 + ahead[0], **{("noise", k): 0.5 + ahead[1] for k in range(1, 6)}}
        found.scores[name] = {v: Score(x, x - 0.05, x + 0.05, 100) for v, x in at.items()}
        found.draws[name] = {v: Draws(x, x + wave * (name != "probe"), 100) for v, x in at.items()}
    gap = found.draws["finetune"][CLEAN].minus(found.draws["probe"][CLEAN])
    found.clean = {"finetune": gap.paired(lower)}
    return found


@pytest.mark.parametrize(
    ("clean", "corrupted", "parts"),
    [
        (0.021, -0.043, ("gains 2.1 points", "loses 4.3 points", "paid for with robustness")),
        (0.021, 0.043, ("gains 2.1 points", "gains 4.3 points", "keeps its lead")),
        (0.021, 0.002, ("gains 2.1", "is not separable on corrupted ones (+0.2 points", "lead is not seen")),
        (0.0, 0.0, ("is not separable on clean pictures", "cannot be told apart")),
        (0.0, -0.03, ("less robust",)),
        (0.0, 0.03, ("more robust",)),
        (-0.03, -0.03, ("behind on both",)),
        (-0.03, 0.03, ("gained in robustness",)),
        (-0.03, 0.0, ("arrears",)),
    ],
)
def test_the_sentence_says_what_the_intervals_say(clean: float, corrupted: float, parts: tuple[str, ...]) -> None:
    said = robustness.sentence(made(clean, corrupted))
    assert said.startswith("Fine-tuning ") and said.endswith(".") and "against the frozen probe" in said
    assert all(part in said for part in parts), said


def test_where_less_is_better_a_gain_is_a_smaller_error() -> None:
    said = robustness.sentence(made(-0.04, 0.05, measure="mae"))
    assert "is better by 0.0400 MAE" in said and "is worse by 0.0500 MAE" in said and "paid for" in said


def test_where_the_probe_was_kept_the_trained_rung_is_spoken_of() -> None:
    assert robustness.sentence(made(0.0, -0.03, kept="probe")).startswith("Fine-tuning (not kept) ")


def test_a_change_is_the_difference_of_the_differences() -> None:
    gap = robustness.gaps(made(0.02, -0.03), "finetune")
    assert gap["change"].difference == pytest.approx(-0.05) and gap["change"].high < 0
    assert isinstance(gap["corrupted"], Paired) and gap["corrupted"].p == 1.0


def test_how_much_is_left() -> None:
    assert robustness.relative(0.8, 0.6) == pytest.approx(0.75)
    assert robustness.relative(2.0, 4.0, lower=True) == pytest.approx(0.5)
    assert robustness.relative(0.0, 0.5) is None and robustness.relative(-0.1, 0.2) is None
    assert robustness.relative(float("nan"), 0.2) is None and robustness.relative(0.5, -0.2) is None


def test_draws_are_of_one_bootstrap(text_run: Run) -> None:
    task, draw = copy.copy(text_run.task), np.random.default_rng(0)
    truth = list(draw.integers(0, 2, 60))
    answers = draw.dirichlet((1, 1), 60)
    for measure in ("accuracy", "auroc"):
        task.measures = (measure,)
        found, score = draws(task, answers, truth, 3), evaluate.score(task, answers, truth, 3)
        assert found.value == pytest.approx(score.value) and found.score().low == pytest.approx(score.low, abs=0.05)
        assert found.resampled.shape == (evaluate.RESAMPLES,)
        assert np.array_equal(found.resampled, draws(task, answers, truth, 3).resampled)
        assert found.minus(found).paired() == Paired(0.0, 0.0, 0.0, 1.0)
        pair = evaluate.paired(task, answers, answers[::-1], truth, 3)
        mine = found.minus(draws(task, answers[::-1], truth, 3)).paired()
        assert mine.difference == pytest.approx(pair.difference)
        assert (mine.low, mine.high) == pytest.approx((pair.low, pair.high), abs=0.05)
    half = Draws(0.25, found.resampled / 2, 60)
    mean = average([found, half])
    assert mean.value == pytest.approx((found.value + 0.25) / 2)
    assert np.allclose(mean.resampled, 0.75 * found.resampled)
    assert found.paired(lower=True).p == 1.0

"""What was forgotten: a chain of runs, a probe on earlier data, the flag, and what is refused before training."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
import torch
from command import call, refused

import graft
from graft import backbones, forgetting, sources
from graft.data import Data
from graft.errors import UsageError
from graft.features import extract
from graft.model import Backbone
from graft.recipe import Recipe
from graft.run import Run
from graft.tasks import Task


def reading(source: Path, **asked: Any) -> tuple[Recipe, Task, Data]:
    """A data set as a fit reads it."""
    recipe = Recipe(data=str(source), **asked)
    task, _ = sources.task_for(source, recipe)
    return recipe, task, task.read(source, recipe)


def destroyed(backbone: Backbone) -> Backbone:
    """A copy with noise of the weights' own size on all of them."""
    made = copy.deepcopy(backbone)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(8 * torch.randn(p.shape, generator=draw) * p.abs().mean())
    return made


@pytest.fixture(scope="module")
def other(home: Path) -> Path:
    """Other texts: the same words, another question."""
    rows = [(text, "short" if len(text.split()) < 8 else "long") for text, _ in models.texts(70, seed=3)]
    return models.write_csv(home / "other.csv", rows)


@pytest.fixture(scope="module")
def chain(text_run: Run, reviews: Path, other: Path) -> tuple[forgetting.Kept, Backbone]:
    """What a fit on the other texts, from the run on the reviews, keeps of the reviews."""
    asked, task, data = reading(other, backbone=f"run:{text_run.folder}", keep=str(reviews))
    return forgetting.read(forgetting.settled(asked), task.modality, data.schema), backbones.load(asked.backbone)


# ---------------------------------------------------------------------------------------- what is measured


def test_a_destroyed_backbone_is_flagged_by_the_earlier_runs_own_head(chain: tuple[forgetting.Kept, Backbone]) -> None:
    kept, origin = chain
    found = forgetting.measure(kept, origin, destroyed(origin))
    head = found["head"]
    assert found["flagged"] and head["flagged"]
    assert head["drop"]["difference"] == pytest.approx(head["before"]["value"] - head["after"]["value"])
    assert head["drop"]["low"] <= head["drop"]["difference"] <= head["drop"]["high"]
    assert head["before"]["value"] > 0.8 and not head["flattered"]
    assert found["sentence"].startswith("Forgetting on reviews.csv: the earlier run's own head loses ")
    assert found["sentence"].endswith("That is above --max-drop 5.0 points.")
    json.dumps(found, allow_nan=False)


def test_the_earlier_head_answers_as_the_earlier_run_did_on_its_own_test_part(
    chain: tuple[forgetting.Kept, Backbone], text_run: Run
) -> None:
    kept, origin = chain
    found = forgetting.measure(kept, origin, copy.deepcopy(origin))
    own = text_run.report["headline"]
    assert kept.earlier is not None and len(kept.earlier.judged) == own["n"]
    assert found["head"]["before"]["value"] == pytest.approx(own["value"])


@pytest.mark.parametrize("how", ["kept as it is", "a copy"])
def test_an_unchanged_backbone_forgets_nothing(chain: tuple[forgetting.Kept, Backbone], how: str) -> None:
    kept, origin = chain
    found = forgetting.measure(kept, origin, None if how == "kept as it is" else copy.deepcopy(origin), max_drop=0.0)
    assert not found["flagged"] and found["tuned"] == (how == "a copy")
    for part in (found["head"], found["probe"]):
        assert part["drop"] == {"difference": 0.0, "low": 0.0, "high": 0.0} and part["before"] == part["after"]


def test_the_probe_is_fitted_anew_on_each_sides_features(chain: tuple[forgetting.Kept, Backbone]) -> None:
    from sklearn.linear_model import LogisticRegression

    kept, origin = chain
    broken = destroyed(origin)
    found = forgetting.measure(kept, origin, broken)["probe"]
    for side, backbone in (("before", origin), ("after", broken)):
        x, of = (extract(backbone, s, keep=False).pooled.numpy() for s in (kept.fitted, kept.judged))
        scale = x.std(0) + 1e-9
        theirs = LogisticRegression(max_iter=2000).fit((x - x.mean(0)) / scale, [s.y for s in kept.fitted])
        right = np.mean(theirs.predict((of - x.mean(0)) / scale) == [s.y for s in kept.judged])
        assert abs(found[side]["value"] - right) <= 0.2, side


def test_a_drop_is_a_loss_where_less_is_better_too(home: Path, bert: Path, other: Path) -> None:
    from test_kinds import stars

    asked, task, data = reading(other, backbone=f"local:{bert}", keep=str(stars(home / "kept_stars.csv")))
    kept = forgetting.read(asked, task.modality, data.schema)
    origin = backbones.load(asked.backbone)
    found = forgetting.measure(kept, origin, destroyed(origin), max_drop=0.1)
    probe = found["probe"]
    assert found["lower"] and found["probe_measure"] == "mae" and "why" in found["head"]
    assert probe["drop"]["difference"] == pytest.approx(probe["after"]["value"] - probe["before"]["value"])
    assert probe["drop"]["difference"] > 0.1 and found["flagged"] and "points" not in found["sentence"]


def test_labels_that_the_earlier_run_does_not_know_leave_the_probe_alone(
    text_run: Run, reviews: Path, other: Path
) -> None:
    asked, task, data = reading(reviews, backbone=f"run:{text_run.folder}", keep=str(other))
    kept = forgetting.read(asked, task.modality, data.schema)
    assert kept.earlier is None and "knows no long, short" in kept.why
    origin = backbones.load(asked.backbone)
    found = forgetting.measure(kept, origin, copy.deepcopy(origin))
    assert set(found["head"]) == {"why"} and found["probe"]["drop"]["difference"] == 0


def test_a_source_the_earlier_run_learned_from_whole_is_said_to_flatter(
    tmp_path: Path, text_run: Run, reviews: Path, other: Path
) -> None:
    from graft import storage

    learned = storage.seen(text_run.folder)
    _, _, all_of_it = reading(reviews)
    every = [*all_of_it.train, *all_of_it.valid, *all_of_it.test]
    rows = [(str(s.x), str(s.y)) for s in every if storage.mark(s.digest) in learned]
    asked, task, data = reading(
        other, backbone=f"run:{text_run.folder}", keep=str(models.write_csv(tmp_path / "old.csv", rows))
    )
    kept = forgetting.read(asked, task.modality, data.schema)
    assert kept.earlier is not None and kept.earlier.flattered and len(kept.earlier.judged) == len(kept.judged)


def test_little_time_leaves_fewer_samples(chain: tuple[forgetting.Kept, Backbone], monkeypatch: Any) -> None:
    monkeypatch.setattr(forgetting, "LEAST", 12)
    kept, origin = chain
    found = forgetting.measure(kept, origin, None, seconds=1e-9)
    assert found["probe"]["before"]["n"] == 12
    assert forgetting.measure(kept, origin, None, seconds=1e9)["probe"]["before"]["n"] == len(kept.judged)


# ------------------------------------------------------------------------------------------ the command line


def fit(other: Path, run: Run, reviews: Path, out: Path, *more: object) -> Any:
    said = call(
        "fit", other, "--backbone", f"run:{run.folder}", "--keep", reviews, "--out", out, "--json", "--quiet", *more
    )
    assert said.code == 0, said.err
    return said


def test_fit_flags_what_fine_tuning_destroyed_and_says_so_everywhere(
    tmp_path: Path, text_run: Run, reviews: Path, other: Path
) -> None:
    out = tmp_path / "next"
    more = ("--recipe", "finetune", "--set", "stage.0.lr=1.0", "--set", "stage.0.epochs=2")
    said = fit(other, text_run, reviews, out, *more)
    brief = json.loads(said.out)["forgetting"]
    report = json.loads((out / "report.json").read_text())
    assert brief["flagged"] and brief["by"] == "head" and brief["max_drop"] == 0.05
    assert brief["drop"] == report["forgetting"]["head"]["drop"]["difference"] > 0.05
    assert f"graft: {report['forgetting']['sentence']}" in said.err
    page, card = (out / "report.html").read_text(), (out / "README.md").read_text()
    assert "What was forgotten" in page and "above --max-drop" in page and "above --max-drop" in card
    assert report["layers"]["kind"] == "tuned" and report["layers"]["sentence"] in page
    assert "keep = " in (out / "recipe.toml").read_text()


def test_a_frozen_backbone_is_not_flagged_and_a_later_look_agrees(
    tmp_path: Path, text_run: Run, reviews: Path, other: Path
) -> None:
    out = tmp_path / "frozen"
    said = fit(other, text_run, reviews, out, "--recipe", "probe:l2=0.1", "--max-drop", "0")
    brief = json.loads(said.out)["forgetting"]
    assert not brief["flagged"] and brief["drop"] == 0 and brief["max_drop"] == 0
    assert "graft: " not in said.err
    later = call("evaluate", out, "--keep", reviews, "--json", "--quiet")
    assert later.code == 0, later.err
    again = json.loads(later.out)["forgetting"]
    kept = json.loads((out / "report.json").read_text())["forgetting"]
    assert {**again, "seconds": 0, "max_drop": 0} == {**kept, "seconds": 0, "max_drop": 0}


@pytest.mark.slow
def test_a_repeat_measures_the_same(tmp_path: Path, text_run: Run, reviews: Path, other: Path) -> None:
    more = ("--recipe", "finetune:depth=1", "--set", "stage.0.epochs=1", "--seed", 4)
    fit(other, text_run, reviews, tmp_path / "a", *more)
    graft.fit(tmp_path / "a" / "recipe.toml", out=tmp_path / "b", quiet=True)
    a, b = (json.loads((tmp_path / x / "report.json").read_text()) for x in "ab")
    for key in ("layers", "forgetting"):
        assert {**a[key], "seconds": 0} == {**b[key], "seconds": 0}


def test_a_resumed_run_says_what_was_measured_before_it_was_cut_off(
    tmp_path: Path, text_run: Run, reviews: Path, other: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from graft import layers, outcome

    def ask(resume: bool) -> Run:
        back = f"run:{text_run.folder}"
        return graft.fit(
            other, backbone=back, recipe="probe:l2=0.1", keep=reviews, out=tmp_path / "r", resume=resume, quiet=True
        )

    def cut(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(outcome, "report", cut)
        with pytest.raises(KeyboardInterrupt):
            ask(False)
    made = json.loads((tmp_path / "r.partial" / "decisions.json").read_text())
    monkeypatch.setattr(layers, "report", cut)
    monkeypatch.setattr(forgetting, "measure", cut)
    report = ask(True).report
    assert report["layers"]["kind"] == "frozen" and report["forgetting"] == made["forgetting"]


def test_what_cannot_be_kept_is_refused_before_any_training(
    tmp_path: Path, bert: Path, reviews: Path, photos: Path
) -> None:
    usual = ("fit", reviews, "--backbone", f"local:{bert}", "--recipe", "probe", "--out", tmp_path / "run", "--quiet")
    refused(call(*usual, "--keep", tmp_path / "none.csv"), 2, "--keep", "none.csv", "there is no such file")
    refused(call(*usual, "--keep", photos), 2, "--keep", str(photos), "picture", "takes a text")
    bare = models.write_csv(tmp_path / "bare.csv", [(t,) for t, _ in models.texts(20)], ("text",))
    refused(call(*usual, "--keep", bare), 3, "--keep", "bare.csv")
    refused(call(*usual, "--keep", reviews, "--max-drop", "-1"), 2, "--max-drop -1", "0 or more")
    assert not (tmp_path / "run").exists() and not (tmp_path / "run.partial").exists()


def test_pictures_of_other_channels_are_refused(photos: Path) -> None:
    asked, task, data = reading(photos, keep=str(photos))
    data = replace(data, schema={**data.schema, "channels": 5})
    with pytest.raises(UsageError, match="pictures of 3 channels, and this run's have 5"):
        forgetting.read(asked, task.modality, data.schema)


def test_an_earlier_recipe_stands_for_its_data_columns_and_split(text_run: Run, reviews: Path, other: Path) -> None:
    asked, task, data = reading(other, seed=7, keep=str(text_run.folder / "recipe.toml"))
    kept = forgetting.read(forgetting.settled(asked), task.modality, data.schema)
    _, _, theirs = reading(reviews)  # of seed 0
    assert [s.id for s in kept.judged] == [s.id for s in theirs.test] and kept.source == str(reviews.resolve())


def test_evaluate_wants_data_or_keep(text_run: Run) -> None:
    refused(call("evaluate", text_run.folder), 2, "DATA", "--keep")

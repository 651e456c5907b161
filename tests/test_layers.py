"""The report by layer: what stayed, what changed, and what a probe gets from each stage."""

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
from toys import Toy, rows

from graft import backbones, cka, layers, sources
from graft.data import Data, Sample
from graft.model import Backbone
from graft.recipe import Recipe
from graft.tasks import Task

ROW = {"name", "parameters", "cka", "low", "high", "line", "changed", "drift", "before", "after", "gain"}


def reading(source: Path, **asked: Any) -> tuple[Task, Data]:
    """A data set as a fit reads it."""
    recipe = Recipe(data=str(source), **asked)
    task, _ = sources.task_for(source, recipe)
    return task, task.read(source, recipe)


def remade(backbone: Backbone, stages: int, scale: float = 1.0) -> Backbone:
    """A copy whose last stages have other random weights of the same size."""
    made = copy.deepcopy(backbone)
    names = [n for _, some in made.stages()[-stages:] for n in some]
    draw = torch.Generator().manual_seed(5)
    for name, p in made.named_parameters():
        if name in names and p.ndim > 1:
            with torch.no_grad():
                p.copy_(scale * torch.randn(p.shape, generator=draw) * p.std())
    return made


@pytest.fixture(scope="module")
def pictures(photos: Path) -> tuple[Task, Data]:
    return reading(photos)


@pytest.fixture(scope="module")
def tiny(zoo: Path) -> Backbone:
    return backbones.load(f"local:{zoo / 'tiny'}")


def seen(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that have features."""
    return [r for r in found["stages"] if r["cka"] is not None]


# --------------------------------------------------------------------------------------- what is found


def test_a_backbone_that_did_not_move_is_like_itself_everywhere(pictures: tuple[Task, Data], tiny: Backbone) -> None:
    task, data = pictures
    some, learned = layers.sample(data, task)
    found = layers.report(tiny, copy.deepcopy(tiny), some, task, learned=learned)
    assert found["kind"] == "tuned" and found["n"] == len(some) and seen(found)
    for row in found["stages"]:
        assert set(row) == ROW and row["drift"] == 0
    for row in seen(found):
        assert row["cka"] == pytest.approx(1, abs=1e-9) and row["changed"] is False
        assert row["before"] == row["after"] and row["gain"]["difference"] == 0
    assert found["sentence"] == "No stage changed much; the pretrained backbone served nearly as it was."


def test_a_frozen_backbone_has_the_probe_by_depth_alone(pictures: tuple[Task, Data], tiny: Backbone) -> None:
    task, data = pictures
    some, learned = layers.sample(data, task)
    found = layers.report(tiny, None, some, task, learned=learned)
    assert found["kind"] == "frozen" and found["sentence"].startswith("Nothing moved")
    assert all(row["cka"] is row["drift"] is row["after"] is row["gain"] is None for row in found["stages"])
    assert any(row["before"] is not None for row in found["stages"])


def clouds(n: int = 60) -> tuple[Task, list[Sample]]:
    """Rows of 16 numbers in two clouds, and a task that asks which."""
    task = sources.make("image_classification")
    task.labels, task.measures = ("a", "b"), ("accuracy",)
    samples = [replace(s, y="ab"[int(s.y)]) for s in rows(n, classes=2).train]
    return task, samples


def test_stages_that_were_made_anew_are_named() -> None:
    task, samples = clouds()
    start = Toy("row")
    found = layers.report(start, remade(start, 2), samples, task)
    print(json.dumps(found, indent=1))
    assert [row["changed"] for row in found["stages"]] == [False, True, True]
    assert found["sentence"] == "The last two of three stages changed; the rest served as it was."
    moved = [row["drift"] for row in found["stages"]]
    assert moved[0] == 0 and min(moved[1:]) > 0.5


def test_a_stage_that_says_the_same_of_every_sample_changed() -> None:
    task, samples = clouds()
    start, dead = Toy("row"), Toy("row")
    with torch.no_grad():
        dead.trunk.second.weight.zero_()
    found = layers.report(start, dead, samples, task)
    assert [(row["cka"], row["changed"]) for row in found["stages"]] == [(1, False), (1, False), (0, True)]
    assert found["sentence"] == "The last stage changed; the rest served as it was."


def test_turned_and_scaled_features_did_not_change() -> None:
    task, samples = clouds()
    start, turned = Toy("row"), Toy("row")
    with torch.no_grad():
        turn = torch.linalg.qr(torch.randn(8, 8, generator=torch.Generator().manual_seed(0)))[0]
        second: Any = turned.trunk.second
        second.weight.copy_(3 * turn @ second.weight)
        second.bias.add_(5)
    last = layers.report(start, turned, samples, task)["stages"][-1]
    assert last["cka"] == pytest.approx(1, abs=1e-4) and last["changed"] is False and last["drift"] > 1


def test_drift_is_the_length_of_what_was_added_over_the_length_of_the_weights() -> None:
    start, moved = Toy("row"), Toy("row")
    names = dict(start.stages())["trunk.first"]
    with torch.no_grad():
        for name, p in moved.named_parameters():
            p.mul_(1.25 if name in names else 1.0)
    assert layers.drift(start, moved, names) == pytest.approx(0.25)
    assert layers.drift(start, moved, dict(start.stages())["trunk"]) == 0
    with torch.no_grad():
        for p in start.parameters():
            p.zero_()
    assert layers.drift(start, moved, names) is None


def test_the_line_is_how_like_a_stage_is_to_itself_under_a_view(
    pictures: tuple[Task, Data], tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against features of the views made by hand, the line kept between its ends."""
    from graft.features import extract
    from graft.seeds import rng
    from graft.views import view

    task, data = pictures
    samples = data.train
    viewed = [replace(view(s, "weak", rng("layers", 3, i, "weak", 0)), digest="") for i, s in enumerate(samples)]
    monkeypatch.setattr(layers, "LEAST_VIEWED", len(samples))
    found = layers.report(tiny, copy.deepcopy(tiny), samples, task, seed=3)
    plain, other = (extract(tiny, s, stages=True, keep=False).stages for s in (samples, viewed))
    for row in seen(found):
        alike = cka.linear(plain[row["name"]].numpy(), other[row["name"]].numpy())
        assert row["line"] == pytest.approx(min(max(alike, 0.71), 0.95), abs=1e-4)
    assert any(0.71 < row["line"] < 0.95 for row in seen(found))


# ---------------------------------------------------------------------------------- samples and probes


def test_validation_comes_first_and_training_fills_up(pictures: tuple[Task, Data]) -> None:
    task, data = pictures
    every, learned = layers.sample(data, task)
    assert [s.id for s in every] == [s.id for s in (*data.valid, *data.train)]
    assert learned == [False] * len(data.valid) + [True] * len(data.train)
    few, learned = layers.sample(data, task, most=len(data.valid) + 3)
    assert 0 < learned.count(True) <= 3 and {s.id for s in few} >= {s.id for s in data.valid}
    fewest, learned = layers.sample(data, task, most=4)
    assert 0 < len(fewest) <= 4 and not any(learned)
    test = {s.id for s in data.test}
    assert not test & {s.id for s in every}


def test_probes_are_judged_on_what_tuning_did_not_see() -> None:
    """Samples that were learned from carry labels that no probe can get right: the score must not notice them."""
    task, samples = clouds(60)
    held = samples[:30]
    noisy = [replace(s, y="ab"[i % 2], id=f"n{i}", digest=f"n{i}") for i, s in enumerate(samples[30:])]
    learned = [False] * 30 + [True] * 30
    start, tuned = Toy("row"), Toy("row", seed=1)
    found = layers.report(start, tuned, [*held, *noisy], task, learned=learned)
    assert found["n"] == 60 and found["judged"] == 30
    scores = [row[k] for row in found["stages"] for k in ("before", "after")]
    assert all(round(30 * v, 6) == round(30 * v) for v in scores)


def test_the_gain_is_the_paired_difference_of_two_cross_validated_probes() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from graft.features import extract

    task, samples = clouds(120)
    start, tuned = Toy("row"), remade(Toy("row"), 2)
    found = layers.report(start, tuned, samples, task)
    for row in found["stages"]:
        assert row["gain"]["difference"] == pytest.approx(row["after"] - row["before"])
        assert row["gain"]["low"] <= row["gain"]["difference"] <= row["gain"]["high"]
    y = [s.y for s in samples]
    for key, backbone in (("before", start), ("after", tuned)):
        x = extract(backbone, samples, stages=True, keep=False).stages["trunk"].numpy()
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        theirs = np.mean(cross_val_predict(model, x, y, cv=5) == np.array(y))
        assert found["stages"][-1][key] == pytest.approx(theirs, abs=0.06)


def test_little_time_leaves_fewer_samples_and_early_stages_without_a_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "LEAST", 20)
    task, samples = clouds()
    learned = [i % 2 == 0 for i in range(len(samples))]
    found = layers.report(Toy("row"), Toy("row", seed=1), samples, task, learned=learned, seconds=1e-9)
    assert found["n"] == found["judged"] == 20  # those that tuning did not see come first
    assert [row["before"] is not None for row in found["stages"]] == [False, False, True]
    assert all(row["cka"] is not None for row in found["stages"])


def test_few_samples_tell_nothing_and_say_so() -> None:
    task, samples = clouds()
    found = layers.report(Toy("row"), Toy("row", seed=1), samples[:4], task)
    assert found["sentence"] == "On 4 samples it cannot be told which stages changed."
    assert all(row["cka"] is None and row["before"] is None and row["drift"] > 0 for row in found["stages"])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ([False, False, True, True], "The last two of four stages changed; the rest served as it was."),
        ([False, False, False, True], "The last stage changed; the rest served as it was."),
        ([True, False, False, False], "The first stage changed; the rest served as it was."),
        ([True, True, False, False], "The first two of four stages changed; the rest served as it was."),
        ([True, True, True, True], "All four stages changed."),
        ([False, True, False, True], "Stage 1 and stage 3 changed; the rest served as it was."),
        ([True, False, True, True, True, False, True], "Stage 0, stage 2 to stage 4 and stage 6 changed; the rest "
         "served as it was."),
        ([False, False], "No stage changed much; the pretrained backbone served nearly as it was."),
        ([None, False, True], "The last stage changed; the rest served as it was."),
        ([True], "Its one stage changed."),
        ([False] * 3 + [True] * 13, "The last 13 of 16 stages changed; the rest served as it was."),
    ],
)  # fmt: skip
def test_the_sentence_names_what_changed(changed: list[bool | None], said: str) -> None:
    stages = [{"name": f"stage {i}", "changed": c} for i, c in enumerate(changed)]
    assert layers.sentence({"kind": "tuned", "n": 50, "stages": stages}) == said


# -------------------------------------------------------------------------------- every kind and source


@pytest.mark.parametrize("kind", ["labels", "numbers"])
def test_other_kinds_of_answers_have_their_own_measure(kind: str, home: Path, bert: Path) -> None:
    from test_kinds import several, stars

    make = several if kind == "labels" else stars
    task, data = reading(make(home / f"layers_{kind}.csv"))
    origin = backbones.load(f"local:{bert}")
    some, learned = layers.sample(data, task)
    found = layers.report(origin, remade(origin, 1), some, task, learned=learned)
    assert found["measure"] == {"labels": "map", "numbers": "mae"}[kind] and found["lower"] == (kind == "numbers")
    last = found["stages"][-1]
    assert last["before"] is not None and last["gain"]["low"] <= last["gain"]["difference"] <= last["gain"]["high"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


SOURCES = {
    "a vision transformer of timm": lambda place: models.timm_small(
        place, "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2
    ),
    "a transformer of pictures": lambda place: models.vision_folder(place, "vit"),
    "torchvision": lambda place: models.torchvision_folder(place),
    "a transformer of texts": lambda place: models.text_folder(place, "distilbert"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_has_stages_to_compare(source: str, tmp_path: Path, photos: Path, reviews: Path) -> None:
    origin = backbones.load(f"local:{SOURCES[source](tmp_path / 'm')}")
    task, data = reading(reviews if origin.modality == "text" else photos)
    found = layers.report(origin, remade(origin, 1, scale=4), data.train[:24], task)
    rows = seen(found)
    assert len(rows) >= 3 and rows[0]["drift"] == 0 and rows[0]["cka"] == pytest.approx(1, abs=1e-6)
    assert found["stages"][-1]["drift"] >= 0 and all(row["line"] is not None for row in rows)


def test_pictures_of_more_channels_have_no_view_and_the_strictest_line(tmp_path: Path, zoo: Path) -> None:
    draw = np.random.default_rng(0)
    for i in range(24):
        folder = tmp_path / "bands" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        models_bands(folder / f"{i}.tif", draw.integers(0, 255, (16, 16, 5), dtype=np.uint8))
    task, data = reading(tmp_path / "bands")
    origin = backbones.load(f"local:{zoo / 'tiny'}", task.schema)
    found = layers.report(origin, copy.deepcopy(origin), data.train, task)
    assert {row["line"] for row in seen(found)} == {0.95}


def models_bands(file: Path, pixels: np.ndarray) -> None:
    """A TIFF of five bands."""
    tifffile = pytest.importorskip("tifffile", reason="needs the extra bands")
    tifffile.imwrite(file, pixels, photometric="minisblack", planarconfig="contig")

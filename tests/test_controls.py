"""Controls without pretrained knowledge, what they may cost, and what the run says and keeps because of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import models
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

import graft
from graft import backbones, recipe, scratch
from graft.data import Sample
from graft.model import batch_norms, fingerprint
from graft.run import Run


def steps(run: Run, rung: str) -> int:
    lines = (json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines())
    return sum("terms" in line and line["rung"] == rung for line in lines)


def answers(run: Run, model: str, split: str = "test") -> np.ndarray:
    table = pd.read_parquet(run.folder / "predictions.parquet")
    rows = table[(table["model"] == model) & (table["split"] == split)]
    return rows[[f"score_{label}" for label in run.labels]].to_numpy()


@pytest.fixture(scope="module")
def tuned(home: Path, bert: Path, reviews: Path) -> Run:
    """Ten epochs of fine-tuning, which never stop early, with quick controls and no clock."""
    numbers = ["stage.0.epochs=10", "stage.0.patience=0"]
    return graft.fit(reviews, backbone=f"local:{bert}", recipe="finetune", set=numbers, out=home / "tuned", quiet=True)


def test_quick_trains_from_scratch_for_a_fifth_of_the_steps_and_says_so(tuned: Run) -> None:
    took = steps(tuned, "recipe")
    assert steps(tuned, "scratch") == took // 5
    said = {c["name"]: c for c in tuned.report["evidence"]["controls"]}
    assert {n for n, c in said.items() if c["start"] == "random"} == {"scratch", "random_probe"} and tuned.report[
        "evidence"
    ]["mode"] == "quick"
    assert said["scratch"]["saw"] == f"within {took // 5} steps"
    assert f"training from scratch (within {took // 5} steps)" in tuned.report["comparisons"]
    assert 0 < tuned.report["evidence"]["share"] < 1
    assert {"scratch", "random_probe"} <= set(tuned.report["controls"])


def test_a_repeat_finds_the_controls_in_the_recipe(tuned: Run, home: Path) -> None:
    asked = recipe.load_toml(tuned.folder / "recipe.toml")
    assert [(r.name, r.start) for r in asked.controls] == [("random_probe", "random"), ("scratch", "random")]
    again = graft.fit(tuned.folder / "recipe.toml", out=home / "tuned-again", quiet=True)
    for name in ("scratch", "random_probe", "recipe"):
        assert np.array_equal(answers(again, name), answers(tuned, name))
    assert again.report["transfer"] == tuned.report["transfer"]


def test_full_trains_from_scratch_to_the_recipes_end(home: Path, bert: Path, reviews: Path) -> None:
    run = graft.fit(
        reviews, backbone=f"local:{bert}", recipe="probe > finetune", evidence="full",
        set=["stage.1.epochs=2", "stage.1.patience=0"], out=home / "full", quiet=True,
    )  # fmt: skip
    assert steps(run, "scratch") == steps(run, "recipe") > 0


def test_off_runs_no_control_and_says_nothing_about_transfer(home: Path, bert: Path, reviews: Path) -> None:
    run = graft.fit(
        reviews, backbone=f"local:{bert}", recipe="probe:l2=0.1", evidence="off", out=home / "off", quiet=True
    )
    assert set(run.report["controls"]) == {"majority"}
    assert run.report["transfer"]["verdict"] == "cannot_tell" and "--evidence off" in run.report["verdict"]
    assert run.evaluate(reviews)["controls"].keys() == {"majority"}


@pytest.mark.slow
def test_what_does_not_fit_is_left_out_with_the_reason_and_in_the_repeat_too(
    home: Path, bert: Path, reviews: Path
) -> None:
    more: dict[str, Any] = {"backbone": f"local:{bert}", "recipe": "probe:l2=0.1", "quiet": True}
    run = graft.fit(reviews, out=home / "cheap", **more)
    left = {x["name"]: x["why"] for x in run.report["evidence"]["left_out"]}
    assert set(left) == {"scratch"} and "--evidence full" in left["scratch"]
    assert "that ran (training from scratch did not)" in run.report["verdict"]
    again = graft.fit(run.folder / "recipe.toml", out=home / "cheap-again", quiet=True)
    assert {x["name"] for x in again.report["evidence"]["left_out"]} == {"scratch"}
    assert again.report["controls"] == run.report["controls"]
    full = graft.fit(run.folder / "recipe.toml", evidence="full", out=home / "cheap-full", quiet=True)
    assert "scratch" in full.report["controls"] and full.report["headline"] == run.report["headline"]
    assert "training from scratch did not" not in full.report["verdict"]


def test_a_word_that_evidence_does_not_know_is_refused(reviews: Path, bert: Path) -> None:
    with pytest.raises(graft.UsageError, match="--evidence some: possible are off, quick, full"):
        graft.fit(reviews, backbone=f"local:{bert}", evidence="some", quiet=True)


# -------------------------------------------------------------------------------- random networks


def test_the_same_network_is_random_settled_and_the_same_for_a_seed(home: Path, zoo: Path, photos: Path) -> None:
    from graft import features

    origin = backbones.load(f"local:{zoo / 'tiny'}")
    some = [Sample(p, digest=str(p)) for p in sorted(photos.rglob("*.png"))[:16]] or [
        Sample(p, digest=str(p)) for p in sorted(photos.rglob("*.jpg"))[:16]
    ]
    one, two, other = (scratch.same_network(origin, some, seed) for seed in (0, 0, 1))
    assert fingerprint(one) == fingerprint(two) != fingerprint(other)
    assert fingerprint(one) != fingerprint(origin) and one.source_head is None and not one.training
    assert not any(p.requires_grad for p in one.parameters())
    assert all(m.running_mean is not None and m.running_mean.abs().sum() > 0 for m in batch_norms(one))
    assert features.extract(one, some, keep=False).pooled.std() > 0


def test_a_text_encoder_is_randomised_with_its_tokenizer(bert: Path) -> None:
    origin = backbones.load(f"local:{bert}")
    made = scratch.same_network(origin, [Sample("a lovely day")], 0)
    assert fingerprint(made) != fingerprint(origin)
    assert torch.equal(made.encode("a lovely day").x, origin.encode("a lovely day").x)


def test_the_stages_of_scratch_move_all_weights_alike_and_solve_nothing() -> None:
    stages = recipe.parse_stages("probe > finetune:depth=1,decay=0.5")
    (made,) = scratch.stages_from(stages, "text")
    assert made.methods == (scratch.TUNER,) and made.lr == scratch.RATES["text"]


# ------------------------------------------------------------------------------- negative transfer


@pytest.fixture(scope="module")
def dead(home: Path) -> Path:
    """A network whose weights are gone: whatever it looks at, it says the same."""
    folder = models.timm_folder(home / "dead")
    tensors = load_file(folder / "model.safetensors")
    save_file({k: torch.zeros_like(v) for k, v in tensors.items()}, folder / "model.safetensors")
    return folder


def test_an_arm_that_wins_without_pretrained_weights_is_kept_and_the_transfer_called_negative(
    home: Path, dead: Path
) -> None:
    photos = models.picture_folder(home / "many", 320)
    run = graft.fit(photos, backbone=f"local:{dead}", recipe="probe:l2=0.1", out=home / "negative", quiet=True)
    said = run.report
    assert said["chosen"] == "random_probe" and said["transfer"]["with"] == "recipe"
    assert said["transfer"]["negative"] and said["transfer"]["verdict"] == "hurt"
    assert "Negative transfer: a probe on random features beat the recipe on validation" in said["verdict"]
    assert not run.meta["backbone"]["untouched"]
    table = pd.read_parquet(run.folder / "predictions.parquet")
    rows = table[(table["model"] == "random_probe") & (table["split"] == "test")]
    again = run.predict([photos / i for i in rows["id"]])
    assert np.allclose(again[[f"score_{x}" for x in run.labels]], answers(run, "random_probe"), atol=1e-4)


@pytest.mark.parametrize("kind", ["classes", "numbers"])
@pytest.mark.slow
def test_where_nothing_beats_looking_at_nothing_the_run_keeps_that(kind: str, home: Path, bert: Path) -> None:
    """Labels that have nothing to do with the texts, and a rung that trusts its nearest neighbour."""
    draw = np.random.default_rng(0)
    rows = [(text, draw.choice(["a", "b"], p=[0.9, 0.1])) for text, _ in models.texts(700)]
    if kind == "numbers":
        rows = [(text, f"{draw.standard_t(4):.6f}") for text, _ in rows]
    file = models.write_csv(home / f"noise-{kind}.csv", rows)
    run = graft.fit(
        file, backbone=f"local:{bert}", recipe="nearest_neighbour:k=1", out=home / f"noise-{kind}",
        quiet=True,
    )  # fmt: skip
    said = run.report
    assert said["transfer"]["verdict"] in ("hurt", "cannot_tell") and said["transfer"]["with"] == "recipe"
    assert said["chosen"] in ("majority", "constant") and "Negative transfer" in said["verdict"]
    one, two = run.predict(["a lovely day", "a grim meal"]).drop(columns="id").to_dict("records")
    assert one == two
    headline = said["controls"][said["chosen"]]["value"]
    assert said["headline"]["value"] == pytest.approx(headline)

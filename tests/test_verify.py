"""`graft verify`: every number again from the saved answers; whatever was changed since is caught."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import models
import pandas as pd
import pytest
from command import call

import graft
from graft.files import manifest, read_json, seal, write_json
from graft.run import Run
from graft.verify import check

Copied = Callable[[Run], Path]


@pytest.fixture
def copied(tmp_path: Path) -> Copied:
    return lambda run: Path(shutil.copytree(run.folder, tmp_path / run.folder.name))


def rewrite(folder: Path, change: Callable[[dict[str, Any]], None], resealed: bool) -> None:
    """Change report.json, and with `resealed` hide it from every hash, as a forger would."""
    report = read_json(folder / "report.json")
    change(report)
    write_json(folder / "report.json", report)
    if resealed:
        meta = read_json(folder / "model.json")
        meta.pop("seal")
        meta["files"] |= manifest(folder, ["report.json"])
        write_json(folder / "model.json", {**meta, "seal": seal(meta)})


@pytest.mark.parametrize("which", ["text_run", "picture_run"])
def test_a_run_as_it_was_written_is_whole(which: str, request: pytest.FixtureRequest) -> None:
    found = check(request.getfixturevalue(which).folder)
    assert found.whole, [m.sentence() for m in found.mismatches] + found.changed
    sections = {"scores", "controls", "against", "transfer", "verdict", "calibration", "confusion", "rungs"}
    sections |= {"curves"} if which == "text_run" else set()  # the other may have had no time to train in
    assert sections <= set(found.matches)
    assert {"timeline", "seconds", "rank", "environment"} <= set(found.held)
    assert not set(found.held) & set(found.matches)


@pytest.mark.parametrize("kind", ["numbers", "labels"])
@pytest.mark.slow
def test_runs_of_other_kinds_are_whole_too(kind: str, home: Path, bert: Path) -> None:
    rows = [(text, f"{len(text) / 10:.3f}" if kind == "numbers" else f"{label};long" if len(text) > 45 else label)
            for text, label in models.texts(120)]  # fmt: skip
    file = models.write_csv(home / f"verify-{kind}.csv", rows, ("text", "label"))
    task = "text_multilabel" if kind == "labels" else "text_regression"
    run = graft.fit(
        file, backbone=f"local:{bert}", task=task, recipe="probe:l2=0.1", out=home / f"verify-{kind}", quiet=True
    )
    found = check(run.folder)
    assert found.whole, [m.sentence() for m in found.mismatches]
    assert ("residuals" if kind == "numbers" else "per_class") in found.matches


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("headline.value", 0.999),
        ("scores.probe.test.accuracy.low", 0.5),
        ("controls.majority.value", 0.1),
        ("against.majority.p", 0.9),
        ("transfer.verdict", "hurt"),
        ("verdict", "Transfer made miracles."),
        ("calibration.ece", 0.0),
        ("confusion.0.0", 1000),
        ("rungs.0.why", "first and best"),
        ("curves.recipe.loss.0", 0.0),
        ("chosen", "majority"),
    ],
)
def test_a_changed_number_is_caught_even_where_the_hashes_were_made_anew(
    where: str, value: Any, text_run: Run, copied: Copied
) -> None:
    folder = copied(text_run)

    def change(report: dict[str, Any]) -> None:
        *way, last = where.split(".")
        at: Any = report
        for key in way:
            at = at[int(key)] if isinstance(at, list) else at[key]
        if isinstance(at, list):
            at[int(last)] = value
        else:
            at[last] = value

    rewrite(folder, change, resealed=True)
    found = check(folder)
    assert not found.changed and not found.whole
    path = where.replace("rungs.0", "rungs[0]").replace("confusion.0.0", "confusion[0][0]").replace("loss.0", "loss[0]")
    assert [m.where for m in found.mismatches] == [path]
    assert found.mismatches[0].said == value


def test_a_changed_report_is_caught_by_its_hash_too(text_run: Run, copied: Copied) -> None:
    folder = copied(text_run)
    rewrite(folder, lambda report: report["timeline"].clear(), resealed=False)
    found = check(folder)
    assert not found.mismatches and found.changed and "report.json" in found.changed[0] and not found.whole


def test_predictions_cut_short_are_caught(text_run: Run, copied: Copied) -> None:
    folder = copied(text_run)
    content = (folder / "predictions.parquet").read_bytes()
    (folder / "predictions.parquet").write_bytes(content[: len(content) // 2])
    found = check(folder)
    assert "predictions.parquet" in found.changed[0]
    assert any("not usable" in m.sentence() for m in found.mismatches)


def test_predictions_with_a_row_less_are_caught(text_run: Run, copied: Copied) -> None:
    folder = copied(text_run)
    table = pd.read_parquet(folder / "predictions.parquet")
    table.drop(index=table[table["split"] == "test"].index[0]).to_parquet(folder / "predictions.parquet", index=False)
    found = check(folder)
    assert any("predictions.parquet" in x for x in found.changed) and found.mismatches


def test_a_missing_log_is_caught(text_run: Run, copied: Copied) -> None:
    folder = copied(text_run)
    (folder / "log.jsonl").unlink()
    found = check(folder)
    assert any("log.jsonl: missing" in x for x in found.changed)
    assert {m.where for m in found.mismatches} == {"curves", "training_notes"}
    assert found.matches["scores"] > 0  # the rest is verified all the same


def test_the_command_says_it_and_exits_with_3(text_run: Run, copied: Copied, tmp_path: Path) -> None:
    good = call("verify", text_run.folder)
    assert good.code == 0 and "no file changed" in " ".join(good.out.split()) and "held by SHA-256" in good.out
    folder = copied(text_run)
    rewrite(folder, lambda report: report["headline"].update(value=0.999), resealed=True)
    bad = call("verify", folder)
    assert bad.code == 3 and "headline.value" in bad.out and "0.999" in bad.out
    plain = json.loads(call("verify", folder, "--json").out)
    assert plain["whole"] is False and plain["mismatches"][0]["where"] == "headline.value"
    missing = call("verify", tmp_path / "nowhere")
    assert missing.code == 2 and "no finished run" in missing.err


@pytest.mark.slow
def test_groups_count_as_one_and_are_saved_without_their_names(home: Path, bert: Path) -> None:
    rows = [(text, label, f"patient {i // 4}") for i, (text, label) in enumerate(models.texts(160))]
    file = models.write_csv(home / "patients.csv", rows, ("text", "label", "patient"))
    more: dict[str, Any] = {"backbone": f"local:{bert}", "recipe": "nearest_neighbour:k=3", "quiet": True}
    run = graft.fit(file, group="patient", out=home / "patients", **more)
    found = check(run.folder)
    assert found.whole, [m.sentence() for m in found.mismatches]
    table = pd.read_parquet(run.folder / "predictions.parquet")
    assert set(table["group"].str.partition(" ")[0]) == {"group"} and table["group"].nunique() > 5
    held = table[(table["split"] == "test") & (table["model"] == run.report["chosen"])]
    assert held.groupby("group").size().max() > 1
    same = graft.compare(run.folder, run.folder)
    assert (same.difference, same.n) == (0.0, len(held))

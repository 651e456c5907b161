"""The doctor within a fit: what it finds is said and kept, and `--strict` refuses it before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import models
import numpy as np
import pytest
from command import call

import graft


def letters(n: int) -> list[tuple[str, str]]:
    """Texts that say good or bad among words of their own, so that no two are alike."""
    draw = np.random.default_rng(0)

    def word() -> str:
        return "".join(draw.choice(list("bcdfghklmnprst"), 3) + draw.choice(list("aeiou"), 3))

    rows = []
    for i in range(n):
        mood = draw.choice(models.GOOD if i % 2 else models.BAD)
        rows.append(
            (" ".join([word() for _ in range(4)] + [mood] + [word() for _ in range(6)]), ("bad", "good")[i % 2])
        )
    return rows


@pytest.fixture(scope="module")
def clean(home: Path) -> Path:
    return models.write_csv(home / "letters.csv", letters(160))


@pytest.fixture(scope="module")
def leaky(home: Path) -> Path:
    """A folder of parts: of three texts of the test part, train has a copy in capitals with a word less."""
    rows = letters(160)
    train, test = rows[:120], rows[120:]
    copies = [(text.upper().rpartition(" ")[0], label) for text, label in test[:3]]
    models.write_csv(home / "leaky" / "train.csv", [*train, *copies])
    models.write_csv(home / "leaky" / "test.csv", test)
    return home / "leaky"


def test_findings_are_said_and_stand_in_the_report(leaky: Path, home: Path, bert: Path) -> None:
    said = call(
        "fit", leaky, "--backbone", f"local:{bert}", "--recipe", "probe:l2=0.1", "--evidence", "off",
        "--out", home / "leaky-run",
    )  # fmt: skip
    assert said.code == 0, said.err
    report = graft.load(home / "leaky-run").report
    near = [f for f in report["doctor"]["findings"] if f["kind"] == "duplicate_near_across"]
    assert len(near) == 1 and near[0]["count"] == len(near[0]["items"]) == 3
    assert all({i["id"].partition(":")[0], i["with"].partition(":")[0]} == {"train.csv", "test.csv"}
               for i in near[0]["items"])  # fmt: skip
    assert near[0]["effect"] and "doctor" in near[0]["fix"]
    assert any(n["kind"] == "warning" and len(n["items"]) == 3 for n in report["data"]["notes"])
    assert near[0]["text"] in " ".join(said.err.split())


def test_strict_refuses_findings_before_training_and_leaves_nothing(leaky: Path, home: Path, bert: Path) -> None:
    more: dict[str, Any] = {"backbone": f"local:{bert}", "recipe": "probe:l2=0.1", "evidence": "off", "quiet": True}
    with pytest.raises(graft.DataError, match=r"--strict allows none: .*duplicate_near_across \(3\)"):
        graft.fit(leaky, strict=True, out=home / "strict", **more)
    assert not (home / "strict").exists() and not (home / "strict.partial").exists()
    said = call("fit", leaky, "--backbone", f"local:{bert}", "--strict", "--out", home / "strict", "--quiet")
    assert said.code == 3 and "--fix" in said.err


def test_strict_lets_clean_data_through(clean: Path, home: Path, bert: Path) -> None:
    more: dict[str, Any] = {"backbone": f"local:{bert}", "recipe": "probe:l2=0.1", "evidence": "off", "quiet": True}
    run = graft.fit(clean, strict=True, out=home / "strict-clean", **more)
    assert run.report["doctor"] == {"findings": []}

"""The examples run as they stand, and the reference page is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*args: str) -> str:
    done = subprocess.run([sys.executable, *args], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_text_example_prints_a_verdict_and_answers() -> None:
    out = run("examples/texts.py", "20")
    assert "accuracy" in out
    assert "probability" in out


@pytest.mark.skipif(not (ROOT.parent / "shared" / "zoo").is_dir(), reason="needs ../shared/zoo and data")
@pytest.mark.slow
def test_the_picture_example_ranks_and_fits() -> None:
    shared = ROOT.parent / "shared"
    out = run("examples/pictures.py", str(shared / "data/vision/hymenoptera"), str(shared / "zoo"))
    assert "predicted best" in out
    assert "the frozen probe" in out.lower() or "the recipe" in out.lower()


def test_the_plugin_example_is_listed_with_its_sentence() -> None:
    out = run("-m", "graft", "list", "methods", "--plugin", "examples/shrink.py")
    assert "shrink" in out
    assert "Pull features towards zero length" in out


def test_the_reference_page_is_up_to_date() -> None:
    assert run("scripts/reference.py") == (ROOT / "docs" / "reference.md").read_text("utf-8")

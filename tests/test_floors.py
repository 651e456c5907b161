"""Row 88: packages of wrong versions are said before any work, with the line that mends them."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from command import call, python, refused

from graft import floors
from graft.errors import SetupError


@pytest.fixture(autouse=True)
def _forget() -> Any:
    floors.check.cache_clear()
    yield
    floors.check.cache_clear()


def test_row_88_what_is_installed_here_is_right() -> None:
    floors.check()


def test_row_88_an_old_torch_is_named_with_its_floor(
    monkeypatch: pytest.MonkeyPatch, reviews: Path, tmp_path: Path
) -> None:
    real = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "2.9.0" if name == "torch" else real(name))
    said = refused(
        call("fit", reviews, "--out", tmp_path / "run"), 4, "torch 2.9.0 is installed", "pip install --upgrade"
    )
    assert "'torch" in said and not (tmp_path / "run").exists() and not (tmp_path / "run.partial").exists()


def test_row_88_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "requires", lambda name: ["no-such-package>=3", "numpy>=1", "other>=1; extra == 'x'"])
    with pytest.raises(
        SetupError, match=r"no-such-package is not installed; run: pip install --upgrade 'no-such-package>=3'"
    ):
        floors.check()


def test_row_88_a_torchvision_of_another_build_is_said_in_words() -> None:
    code = """
import sys
from importlib import abc, machinery

class Broken(abc.MetaPathFinder, abc.Loader):
    def find_spec(self, name, path, target=None):
        return machinery.ModuleSpec(name, self) if name == "torchvision" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        raise RuntimeError("operator torchvision::nms does not exist")

sys.meta_path.insert(0, Broken())
from graft import floors
from graft.errors import SetupError
try:
    floors.check()
except SetupError as e:
    print(e)
"""
    said = python(code).out
    assert "does not fit torch" in said and "pip install --upgrade torch torchvision" in said

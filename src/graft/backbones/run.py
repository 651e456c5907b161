"""The backbone of an earlier run of graft, as that run left it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graft.errors import DataError, UsageError
from graft.model import Backbone


def names(pattern: str = "") -> list[str]:
    """None by pattern: name the run's folder."""
    return []


def load(name: str, schema: Any = None) -> Backbone:
    """`run:DIR`; raises UsageError where DIR is no finished run."""
    from graft.storage import load_model

    folder = Path(name).expanduser()
    if not (folder / "model.json").is_file():
        raise UsageError(f"run:{name}: no finished run is there (model.json is missing)")
    backbone = load_model(folder)[0].backbone
    return backbone


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """Not reached: a run's backbone describes itself by its source."""
    raise DataError("a run's backbone is built by its own source")

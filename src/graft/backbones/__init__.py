"""Where pretrained knowledge comes from: one file a source, found by the prefix of a name.

A source has `names(pattern) -> list`, `load(name, schema=None) -> Backbone`, and
`build(description, assets) -> Backbone`, which makes the module again without weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from graft import registry
from graft.errors import UsageError, did_you_mean
from graft.model import Backbone


def split(name: str) -> tuple[str, str]:
    """`timm:resnet18` -> (source, name). A path stands for `local:`; raises UsageError."""
    source, colon, rest = name.partition(":")
    if colon and source in registry.names("backbones"):
        return source, rest
    if Path(name).is_dir():
        return "local", name
    known = registry.names("backbones")
    hint = did_you_mean(source, known) if colon else f" Sources: {', '.join(known)}."
    raise UsageError(f"backbone {name!r}: write SOURCE:NAME, for instance timm:resnet18 or local:FOLDER.{hint}")


def absolute(name: str) -> str:
    """The name with a folder written out whole, so that a recipe means the same from anywhere."""
    source, colon, rest = name.partition(":")
    if colon and source in ("local", "run"):
        return f"{source}:{Path(rest).expanduser().resolve()}"
    return f"local:{Path(name).resolve()}" if not colon and name != "auto" and Path(name).is_dir() else name


def load(name: str, schema: Any = None) -> Backbone:
    """The pretrained backbone called `SOURCE:NAME`; raises UsageError, SetupError, SecurityError, DataError."""
    source, rest = split(name)
    backbone: Backbone = registry.load("backbones", source).load(rest, schema)
    return backbone.to(memory_format=torch.channels_last)  # convolutions run a quarter faster so


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """The backbone that `description` tells of, with random weights."""
    backbone: Backbone = registry.load("backbones", str(description["source"])).build(description, assets)
    return backbone

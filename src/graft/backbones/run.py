"""The backbone of an earlier run of graft, as that run left it."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from graft.backbones import _channels
from graft.errors import DataError, UsageError
from graft.model import Backbone, Card


def names(pattern: str = "") -> list[str]:
    """None by pattern: name the run's folder."""
    return []


def load(name: str, schema: Any = None) -> Backbone:
    """`run:DIR`; raises UsageError where DIR is no finished run, or one for pictures of other channels."""
    from graft.storage import load_model

    folder = Path(name).expanduser()
    if not (folder / "model.json").is_file():
        raise UsageError(f"run:{name}: no finished run is there (model.json is missing)")
    model, _, meta = load_model(folder)
    backbone = model.backbone
    has, wanted = int(backbone.describe().get("channels", _channels.USUAL)), _channels.asked(schema)
    if backbone.modality == "picture" and has != wanted:
        raise UsageError(f"run:{name}: made for pictures of {has} channels, and these have {wanted}")
    backbone.card = _card(meta["backbone"], backbone, f"run:{name}")
    return backbone


def _card(said: dict[str, Any], backbone: Backbone, name: str) -> Card:
    """What the run knew of the weights it started from, under the run's name; its top-1 is another network's."""
    raw = said.get("card")
    known = {f.name for f in fields(Card)}
    before = {k: v for k, v in raw.items() if k in known} if isinstance(raw, dict) else {}
    count = sum(p.numel() for n, p in backbone.named_parameters())
    trained = f"{before.get('trained_on', 'unknown')}, then the data of {name}"
    return replace(Card(**{**before, "name": name}), parameters=count, trained_on=trained, top1=None)


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """Not reached: a run's backbone describes itself by its source."""
    raise DataError("a run's backbone is built by its own source")

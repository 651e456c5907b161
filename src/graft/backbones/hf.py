"""Any encoder on the Hugging Face hub, by its id; its config tells whether timm or transformers builds it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graft import hub, registry
from graft.backbones import _weights
from graft.errors import DataError
from graft.files import read_json
from graft.model import Backbone

OPTIONAL = ("tokenizer.json", "preprocessor_config.json", "sentence_bert_config.json", "tokenizer_config.json")


def names(pattern: str = "") -> list[str]:
    """None by pattern: the hub is not listed; give `hf:OWNER/NAME`."""
    return []


def load(name: str, schema: Any = None) -> Backbone:
    """`hf:OWNER/NAME` or `hf:OWNER/NAME@REVISION`, with safetensors, of timm's or transformers' format."""
    return fetch("hf", name, schema)


def fetch(source: str, name: str, schema: Any) -> Backbone:
    """Download (or find here) what `name` says, and load it; the card is called `SOURCE:OWNER/NAME@COMMIT`."""
    repo, revision = hub.split(name)
    fetched = hub.fetch(repo, ("config.json", hub.WEIGHTS), OPTIONAL, revision, check=_weights.read_config)
    config = read_json(fetched.folder / "config.json")
    library = library_of(config, f"{source}:{name}")
    backbone: Backbone = registry.load("backbones", library).from_folder(
        fetched.folder, f"{source}:{repo}@{fetched.commit}", schema, fetched
    )
    return backbone


def library_of(config: dict[str, Any], where: str) -> str:
    """Which library a config.json is of: `torchvision`, `transformers` or `timm`. Raises DataError."""
    if config.get("library") == "torchvision":
        return "torchvision"
    if "model_type" in config and config["model_type"] not in ("timm_wrapper", "timm_backbone"):
        return "transformers"
    if "architecture" in config:
        return "timm"
    raise DataError(f"{where}: config.json has neither 'architecture' (timm) nor 'model_type' (transformers)")


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """Not reached: these describe themselves by their library."""
    raise DataError("a hub backbone is built by its own library")

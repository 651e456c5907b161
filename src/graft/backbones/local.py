"""A model folder on this machine, in timm's, transformers' or torchvision's format, or a bare safetensors file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graft import registry
from graft.backbones import ARCHITECTURE, _cards, _pickles, _weights, hf
from graft.errors import DataError, UsageError
from graft.files import read_json
from graft.model import Backbone


def names(pattern: str = "") -> list[str]:
    """Model folders below the folder `pattern`, itself included, sorted by path."""
    root = Path(pattern)
    if not pattern or not root.is_dir():
        return []
    here = [root, *sorted(p for p in root.rglob("*") if p.is_dir())]
    return [str(p) for p in here if _looks_like_a_model(p)]


def _looks_like_a_model(folder: Path) -> bool:
    if (folder / "model.json").is_file():  # a run of graft's own: `run:` loads it
        return False
    suffixes = {".safetensors", *_weights.PICKLES}
    return (folder / "config.json").is_file() or any(p.suffix in suffixes for p in folder.iterdir() if p.is_file())


def load(name: str, schema: Any = None) -> Backbone:
    """`local:FOLDER`, or `local:FILE.safetensors?architecture=timm/NAME` (or `torchvision/NAME`).

    Raises UsageError, DataError or SecurityError naming the file at fault.
    """
    place, _, architecture = name.partition(ARCHITECTURE)
    path = Path(place).expanduser()
    if path.suffix in _weights.PICKLES and path.is_file():
        raise _pickles.refused(path)
    if path.is_dir() and architecture and not (path / "config.json").is_file():
        path = path / "model.safetensors"
    if architecture:
        return _bare(path, architecture, f"local:{name}", schema)
    if path.is_file():
        raise UsageError(
            f"local:{name}: a file alone does not say what network it is of; add --architecture timm/NAME "
            "or torchvision/NAME, or name a folder with config.json and model.safetensors"
        )
    if not path.is_dir():
        raise UsageError(f"local:{name}: there is no such folder")
    return _folder(path, f"local:{name}", schema)


def _folder(folder: Path, name: str, schema: Any) -> Backbone:
    if (folder / "config.json").is_file():
        library = hf.library_of(_weights.read_config(folder / "config.json"), str(folder))
    else:
        said = _cards.read_card(folder / "model.safetensors")
        if not ("architecture" in said and said.get("library") == "torchvision"):
            _weights.read_weights(folder)  # pickles and damage are told first
            _weights.read_config(folder / "config.json")
        library = "torchvision"
    backbone: Backbone = registry.load("backbones", library).from_folder(folder, name, schema)
    return backbone


def _bare(file: Path, architecture: str, name: str, schema: Any) -> Backbone:
    library, slash, bare = architecture.partition("/")
    if library not in ("timm", "torchvision") or not slash:
        raise UsageError(f"{name}: write the architecture as timm/NAME or torchvision/NAME")
    if not file.is_file() or file.suffix != ".safetensors":
        raise UsageError(f"{name}: {file} is no safetensors file; only those are read with an architecture")
    if (file.parent / "config.json").is_file() and file.name == "model.safetensors":
        said = read_json(file.parent / "config.json")
        raise UsageError(
            f"{name}: {file.parent} says its own architecture ({said.get('architecture') or said.get('model_type')}); "
            f"use local:{file.parent}"
        )
    backbone: Backbone = registry.load("backbones", library).from_file(file, bare, name, schema)
    return backbone


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """Not reached: a folder's backbone describes itself by its format."""
    raise DataError("a local backbone is built by its own format")

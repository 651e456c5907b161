"""A model folder on this machine, in timm's, transformers' or torchvision's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from graft import registry
from graft.backbones import _weights
from graft.errors import DataError, SecurityError, UsageError
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
    """`local:FOLDER`; raises UsageError, DataError or SecurityError naming the file at fault."""
    folder = Path(name).expanduser()
    if folder.is_file():
        if folder.suffix in _weights.PICKLES:
            raise SecurityError(f"{folder}: a pickle may run code when read, and is refused; save it as safetensors")
        raise UsageError(f"local:{name}: a folder with config.json and model.safetensors is expected, not a file")
    if not folder.is_dir():
        raise UsageError(f"local:{name}: there is no such folder")
    _weights.read_config(folder / "config.json") if (folder / "config.json").is_file() else _weights.read_weights(
        folder
    )
    return registry.load("backbones", _format(folder)).from_folder(folder, f"local:{name}")  # type: ignore[no-any-return]


def _format(folder: Path) -> str:
    config = read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
    if config.get("library") == "torchvision":
        return "torchvision"
    if "model_type" in config:
        return "transformers"
    if "architecture" in config:
        return "timm"
    raise DataError(f"{folder}: config.json has neither 'architecture' (timm) nor 'model_type' (transformers)")


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """Not reached: a folder's backbone describes itself by its format."""
    raise DataError("a local backbone is built by its own format")

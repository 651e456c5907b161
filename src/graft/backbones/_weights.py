"""Reading weights and configs of strangers: safetensors and plain JSON, and nothing that could run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graft.errors import DataError, SecurityError, some
from graft.files import read_json
from graft.model import Card

PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5")
HOSTILE = ("auto_map", "trust_remote_code", "custom_pipelines", "_attn_implementation_internal", "quantization_config")


def read_config(path: Path) -> dict[str, Any]:
    """A model's config.json as data; raises SecurityError where it asks for code to be run."""
    if not path.is_file():
        raise DataError(f"{path.parent}: no config.json; a folder of timm's or transformers' format is expected")
    config = read_json(path)
    if not isinstance(config, dict):
        raise DataError(f"{path}: an object is expected")
    refuse_hostile(config, path)
    scripts = sorted(p.name for p in path.parent.glob("*.py"))
    if scripts:
        raise SecurityError(
            f"{path.parent}: a model folder with Python files ({some(scripts)}) is refused; graft runs none"
        )
    return config


def refuse_hostile(config: Any, where: Path) -> None:
    """Raise SecurityError where a config, at any depth, asks for code or chooses it."""
    if isinstance(config, dict):
        for key, value in config.items():
            chooses = key.startswith("_attn") or key.endswith("_implementation")
            if value and (key in HOSTILE or chooses):
                raise SecurityError(
                    f"{where}: {key!r} asks for code, or chooses it; graft runs none from a model's folder"
                )
            refuse_hostile(value, where)
    elif isinstance(config, list):
        for value in config:
            refuse_hostile(value, where)


def read_weights(folder: Path, name: str = "model.safetensors") -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file as float32. Raises SecurityError for pickles, DataError for damage."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / name
    if not file.is_file():
        pickles = sorted(p.name for p in folder.glob("*") if p.suffix in PICKLES)
        if pickles:
            raise SecurityError(
                f"{folder}: {some(pickles)} may run code when read, and is refused; save as safetensors"
            )
        raise DataError(f"{folder}: no {name}")
    try:
        tensors = load_file(file)
    except (SafetensorError, OSError, ValueError) as e:
        raise DataError(f"{file}: damaged or no safetensors file ({e})") from e
    bad = [k for k, v in tensors.items() if v.is_floating_point() and not bool(torch.isfinite(v).all())]
    if bad:
        raise DataError(f"{file}: weights with NaN or infinity in {some(bad)}")
    return {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}


def fit_weights(
    module: nn.Module, tensors: dict[str, torch.Tensor], where: str, new: str = r"^$", old: str = r"^$"
) -> None:
    """Load weights; only names that match `new` may be missing, only those that match `old` left over.

    Raises DataError with the missing, unexpected and mismatched names.
    """
    own = module.state_dict()
    missing = [k for k in own if k not in tensors and not re.search(new, k) and not k.endswith("num_batches_tracked")]
    extra = [k for k in tensors if k not in own and not re.search(old, k)]
    wrong = [k for k in own if k in tensors and own[k].shape != tensors[k].shape]
    if missing or extra or wrong:
        said = "; ".join(
            f"{len(names)} {what}: {some(names, 3)}"
            for what, names in (("missing", missing), ("unexpected", extra), ("of another shape", wrong))
            if names
        )
        raise DataError(f"{where}: the weights do not fit the architecture ({said})")
    module.load_state_dict({k: v for k, v in tensors.items() if k in own}, strict=False)


def group_by_depth(names: list[str]) -> list[tuple[str, list[str]]]:
    """Parameters from input to output, a group for each numbered block.

    The number is that of the first list of blocks whose index grows along the names
    (`encoder.layer.3.`, `blocks.2.`, `features.7.`).
    """
    pattern = re.compile(r"^(?:.*?\.)?(?:layers?|blocks?|h|features|stages)\.(\d+)\.")
    groups: dict[str, list[str]] = {}
    seen_block = False
    for name in names:
        match = pattern.match(name)
        seen_block = seen_block or bool(match)
        group = f"block {match[1]}" if match else ("output" if seen_block else "input")
        groups.setdefault(group, []).append(name)
    order = sorted(
        groups, key=lambda g: (-1, 0) if g == "input" else (1, 0) if g == "output" else (0, int(g.split()[1]))
    )
    return [(g, groups[g]) for g in order]


def card(folder: Path, name: str, tensors: dict[str, torch.Tensor], license: str = "unknown") -> Card:
    """What is known of a model: from its CARD.json where there is one, else from its files."""
    file, said = folder / "CARD.json", {}
    if file.is_file():
        raw = read_json(file)
        said = raw if isinstance(raw, dict) else {}
    size = (said.get("preprocessing") or {}).get("input_size", [0])[-1]
    top1 = re.search(r"\d+(?:\.\d+)?", str(said.get("reported_imagenet_top1") or ""))
    return Card(
        name=name,
        parameters=sum(v.numel() for v in tensors.values()),
        mb=round((folder / "model.safetensors").stat().st_size / 1e6, 2),
        size=int(size),
        license=str(said.get("licence", said.get("license", license))),
        trained_on=str(said.get("training_data", "unknown")),
        top1=float(top1[0]) if top1 else None,
    )

"""Reading weights and configs of strangers: safetensors and plain JSON, and nothing that could run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graft.backbones import _pickles
from graft.errors import DataError, SecurityError, some
from graft.files import read_json

PICKLES = _pickles.SUFFIXES
HOSTILE = (
    "auto_map", "trust_remote_code", "custom_pipelines", "custom_code", "_attn_implementation_internal",
    "quantization_config", "use_pretrained_backbone", "base_model_name_or_path",
)  # fmt: skip


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


def plain_args(args: Any, where: Path | str) -> dict[str, Any]:
    """Arguments of an architecture, as a stranger's config gives them: nothing that reads files or runs code."""
    loading = ("checkpoint_path", "scriptable", "exportable", "no_jit", "features_only", "out_indices", "num_classes")
    if not isinstance(args, dict):
        raise DataError(f"{where}: model_args is no object")
    asked = sorted(k for k in args if k in loading or "path" in k or "dir" in k or k.startswith("pretrained"))
    if asked:
        raise SecurityError(f"{where}: model_args {asked[0]!r} would read other files, and is refused")
    strange = sorted(k for k, v in args.items() if not _plain(v))
    if strange:
        raise SecurityError(f"{where}: model_args {strange[0]!r} is no plain value, and is refused")
    return dict(args)


def _plain(value: Any) -> bool:
    items = value if isinstance(value, list | tuple) else [value]
    return all(v is None or isinstance(v, str | int | float | bool) for v in items)


def read_weights(folder: Path, name: str = "model.safetensors") -> dict[str, torch.Tensor]:
    """Tensors of a safetensors file as float32. Raises SecurityError for pickles, DataError for damage."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / name
    if not file.is_file():
        _pickles.refuse_in(folder)
        parts = sorted(p.name for p in folder.glob("*.safetensors"))
        hint = f"; {some(parts)} is there: join parts with safetensors, or name one file" if parts else ""
        raise DataError(f"{folder}: no {name}{hint}")
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
    wrong = [
        f"{k} {list(tensors[k].shape)} for {list(own[k].shape)}"
        for k in own
        if k in tensors and own[k].shape != tensors[k].shape
    ]
    refuse_misfit(where, missing, extra, wrong)
    module.load_state_dict({k: v for k, v in tensors.items() if k in own}, strict=False)


def refuse_misfit(where: str, missing: Iterable[str], extra: Iterable[str], wrong: Iterable[str]) -> None:
    """Raise DataError with the names of weights that are missing, unexpected or of another shape, if any are."""
    said = "; ".join(
        f"{len(names)} {what}: {some(names, 3)}"
        for what, names in (
            ("missing", list(missing)),
            ("unexpected", list(extra)),
            ("of another shape", list(wrong)),
        )
        if names
    )
    if said:
        raise DataError(
            f"{where}: the weights do not fit the architecture ({said}); only the head may be new, "
            "so these are weights of another network, or the config is not theirs"
        )


def head_classes(tensors: dict[str, torch.Tensor], path: str, said: object = None, where: str = "") -> int | None:
    """How many classes the head at `path` was trained for, as its weights tell; None where they are not there.

    Raises DataError where a config has `said` another number.
    """
    weight = tensors.get(f"{path}.weight")
    found = int(weight.shape[0]) if weight is not None and weight.ndim else None
    if said and found is not None and said != found:
        refuse_misfit(where, (), (), [f"{path}.weight, of {found} classes for num_classes {said!r}"])
    return found

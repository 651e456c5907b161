"""Frozen features for the doctor: the bundled text encoder, and for pictures what was named or lies at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from graft import backbones, features, ranking, registry
from graft.data import Sample
from graft.embed import BUNDLED
from graft.errors import SetupError, UsageError
from graft.voice import Voice

MOST_BYTES = 60_000_000
"""Of the weights of a backbone that is taken unasked: a larger one takes too long for a look."""


def choose(modality: str, backbone: str, zoo: str | Path | None) -> str:
    """The backbone's name: as given, the bundled one for texts, else the largest small one of the zoo folders, else "".

    Never asks the network. Raises UsageError for a zoo folder that is not there.
    """
    if backbone not in ("", "auto"):
        return "" if backbone == "none" else backbone
    if modality == "text":
        return BUNDLED
    sizes: dict[str, int] = {}
    for folder in ranking.zoo_folders(zoo):
        if not folder.is_dir():
            raise UsageError(f"--zoo {folder}: there is no such folder")
        for name in registry.load("backbones", "local").names(str(folder)):
            place = Path(name)
            size = sum(f.stat().st_size for f in place.glob("*.safetensors"))
            if not (place / "tokenizer.json").exists() and 0 < size <= MOST_BYTES:
                sizes[name] = size
    best = max(sizes, key=lambda n: (sizes[n], n), default="")
    return f"local:{best}" if best else ""


def take(
    parts: Mapping[str, Sequence[Sample]], modality: str, name: str, schema: object, device: str, voice: Voice
) -> tuple[dict[str, torch.Tensor], str]:
    """(features [n, d] by part, what is said about them); none, and why, where there is no backbone.

    Raises UsageError for a backbone of another modality; SetupError, SecurityError and DataError of a named one.
    """
    if not name:
        return {}, (
            "no features were at hand (--zoo DIR or --backbone NAME gives some): near copies are told by hashes alone, "
            "and label errors and outliers are not looked for"
        )
    from graft.session import pick_device

    try:
        net = backbones.load(name, schema).to(pick_device(device))
    except SetupError:
        if name != BUNDLED:
            raise
        return {}, f"{BUNDLED} is not installed, so near copies are told by hashes alone"
    if net.modality != modality:
        raise UsageError(f"{name} takes a {net.modality}, and these data hold a {modality} a row")
    looks = {}
    for part, samples in parts.items():
        with voice.bar(f"features of {part}", len(samples)) as tick:
            looks[part] = features.extract(net, samples, tick=tick).pooled
    return looks, f"features are those of {name}"

"""The rungs of a run that were not kept as its model: their weights lie beside it, to be measured on other data."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from graft import backbones, files, storage
from graft.backbones import _weights
from graft.errors import DataError, SetupError, UsageError, did_you_mean
from graft.model import Backbone, Model

FOLDER = "rungs"
MOST_BYTES = 200_000_000
"""Of all rungs together. What would be more is left out, and said."""
HEAD, WHOLE, DIFFERS = "head", "whole", "what differs from the backbone"


@dataclass
class Rung:
    """A rung that can answer: its model (frozen ones share the backbone), its decisions' offsets, its temperature."""

    name: str
    model: Model
    frozen: bool
    offsets: np.ndarray | None
    temperature: float = 1.0


class Ran(Protocol):
    """What is read of a rung that ran; `graft.arms.Arm` is one. Its `folder` holds weights.safetensors."""

    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def frozen(self) -> bool: ...
    @property
    def head(self) -> dict[str, Any]: ...
    @property
    def offsets(self) -> np.ndarray | None: ...


@dataclass
class Kept:
    """What model.json says of each rung whose weights were kept, and the names of those that took too much room."""

    rungs: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def save(folder: Path, ran: Sequence[Ran], origin: Backbone, most: int) -> Kept:
    """Write `rungs/NAME.safetensors` below a work folder, a file a rung; none is there where there is no rung.

    Of a rung on the frozen backbone the head; else all weights, or those that differ from `origin` where all take
    more room than is left of `most` bytes. Heads come first, then the rungs in their order. Raises SetupError.
    """
    shutil.rmtree(folder / FOLDER, ignore_errors=True)  # of an earlier life, which may have ended amid a file
    kept, room = Kept(), most
    for rung in sorted(ran, key=lambda r: not r.frozen):
        way, tensors = _fitting(rung, origin, room)
        if not tensors:
            kept.left_out.append(rung.name)
            continue
        room -= _bytes(tensors)
        (folder / FOLDER).mkdir(exist_ok=True)
        file = f"{FOLDER}/{files.slug(rung.name)}.safetensors"
        storage.save_tensors(folder / file, tensors)
        offsets = None if rung.offsets is None else [float(v) for v in rung.offsets]
        kept.rungs[rung.name] = {"file": file, "weights": way, "head": rung.head, "offsets": offsets}
    return kept


def _fitting(rung: Ran, origin: Backbone, room: int) -> tuple[str, dict[str, torch.Tensor]]:
    """(way, tensors) of a rung that are within `room` bytes; no tensors where none are."""
    tensors = _weights.read_weights(rung.folder, storage.WEIGHTS)
    if _bytes(tensors) <= room:
        return HEAD if rung.frozen else WHOLE, tensors
    base = {f"backbone.{k}": v.cpu() for k, v in origin.state_dict().items()}
    less = {k: v for k, v in tensors.items() if k not in base or not torch.equal(v, base[k])}
    return DIFFERS, less if not rung.frozen and _bytes(less) <= room else {}


def _bytes(tensors: dict[str, torch.Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors.values())


def names(meta: dict[str, Any]) -> list[str]:
    """The rungs of a finished run that `load` can give; runs of earlier versions have none."""
    return list(meta.get("rungs") or {})


def load(folder: Path, meta: dict[str, Any], name: str, base: Backbone | None = None) -> Model:
    """A rung's model in evaluation mode; `meta` is model.json, as `storage.read_meta` gives it.

    `base` is the pretrained backbone, where the caller has it: a frozen rung shares it. Raises UsageError for a rung
    whose weights were not kept, SetupError where the pretrained backbone is needed and not at hand, DataError for
    damage.
    """
    said = (meta.get("rungs") or {}).get(name)
    if said is None:
        raise UsageError(f"{folder} keeps no weights of a rung {name!r}.{did_you_mean(name, names(meta))}")
    try:
        file, way, described = files.inside(folder, said["file"]), said["weights"], said["head"]
    except (KeyError, TypeError) as e:
        raise DataError(f"{folder / storage.META}: does not say where rung {name!r} lies ({e!r})") from e
    tensors = _weights.read_weights(file.parent, file.name)
    try:
        head = storage.load_head(described, tensors)
    except (TypeError, ValueError, RuntimeError) as e:
        raise DataError(f"{file}: does not fit the head that {storage.META} describes ({e})") from e
    if way == WHOLE:
        backbone = backbones.build(meta["backbone"]["description"], folder / "assets")
    else:
        backbone = storage.pretrained(meta) if base is None else base
    if way == HEAD:
        return Model(backbone, head).eval()
    backbone = copy.deepcopy(backbone) if backbone is base else backbone
    own = {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
    backbone.source_head = None  # of the pretraining task: no run keeps it
    pretrained = backbone.state_dict() if way == DIFFERS else {}
    _weights.fit_weights(backbone, {**pretrained, **own}, str(file))
    return Model(backbone, head).eval()


def every(folder: Path, meta: dict[str, Any], kept: str, model: Model) -> tuple[dict[str, Rung], dict[str, str]]:
    """(the rungs that can answer, why others cannot), by name: the kept one, the controls, and those kept beside it.

    `model` is the run's own, of the rung `kept`. Raises nothing: what cannot be loaded is missing, with the reason.
    """
    device = next(model.parameters()).device
    untouched = bool(meta["backbone"]["untouched"])
    there = {kept: Rung(kept, model, untouched, _offsets(meta, kept), _temperature(meta, kept))}
    base, missing = None, dict.fromkeys(_frozen(meta, kept), "")
    try:
        base = model.backbone if untouched else storage.pretrained(meta).to(device)
        heads = storage.load_controls(folder, meta)
        for name in _frozen(meta, kept):
            one = Model(base, heads[name]) if name in heads else load(folder, meta, name, base)
            there[name] = Rung(name, one.to(device).eval(), True, _offsets(meta, name), _temperature(meta, name))
            del missing[name]
    except (UsageError, SetupError, DataError) as e:
        missing = dict.fromkeys(missing, str(e))
    for name in names(meta):
        if name in there or name in missing:
            continue
        try:
            there[name] = Rung(
                name, load(folder, meta, name, base).to(device), False, _offsets(meta, name), _temperature(meta, name)
            )
        except (UsageError, SetupError, DataError) as e:
            missing[name] = str(e)
    return there, missing


def _frozen(meta: dict[str, Any], kept: str) -> list[str]:
    """The rungs that answer from the pretrained backbone's own features, apart from the kept one."""
    beside = [n for n, said in (meta.get("rungs") or {}).items() if said.get("weights") == HEAD]
    return [n for n in (meta.get("controls") or {}) if n != kept] + beside


def _offsets(meta: dict[str, Any], name: str) -> np.ndarray | None:
    """What is added to a rung's log-probabilities (log-odds) before an answer is decided; None: nothing."""
    beside = (meta.get("rungs") or {}).get(name) or {}
    found = (meta.get("thresholds") or {}).get(name) or beside.get("offsets")
    return None if found is None else np.asarray(found, dtype=np.float64)


def _temperature(meta: dict[str, Any], name: str) -> float:
    """What a rung's scores are divided by before they become probabilities (`graft.calibrate`)."""
    return float((meta.get("temperatures") or {}).get(name, 1.0))

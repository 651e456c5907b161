"""A model in a run folder: weights, labels, preprocessing and a hash of every file."""

from __future__ import annotations

import platform
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graft import backbones, golden, heads, registry
from graft.backbones import _weights
from graft.errors import DataError, SetupError, UsageError, some
from graft.files import inside, manifest, read_json, seal, verify, write_json, write_whole
from graft.model import Backbone, Model, fingerprint
from graft.tasks import Task

FORMAT = 1
WHOLE_BYTES = 200_000_000  # above, only what differs from the pretrained weights is saved
PAGES = ("report.html", "README.md")
WEIGHTS, META = "weights.safetensors", "model.json"
SEEN = "data.seen"  # marks of the samples that were learned from
CONTROL = "controls."  # before the names of the controls' weights
_UNSAVED = ("aux.", "backbone.source_head.", CONTROL, SEEN)


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    wanted = ("graft-learn", "torch", "torchvision", "timm", "transformers", "numpy", "pillow")
    found = {"python": platform.python_version()}
    for name in wanted:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def tensors_of(model: Model) -> dict[str, torch.Tensor]:
    """What is saved of a model: no training modules, no head of the pretraining task."""
    kept = {k: v for k, v in model.state_dict().items() if not k.startswith(_UNSAVED)}
    return {k: v.detach().cpu().clone().contiguous() for k, v in kept.items()}


def save_tensors(path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Safetensors, whole or not at all."""
    from safetensors.torch import save

    write_whole(path, save(tensors))


def save_model(
    folder: Path,
    model: Model,
    task: Task,
    name: str,
    origin: Backbone,
    controls: Mapping[str, nn.Module],
    learned: Collection[int] = (),
    beside: Sequence[str] = (),
    thresholds: Mapping[str, Sequence[float]] | None = None,
    precision: str = "fp32",
    rungs: Mapping[str, Mapping[str, Any]] | None = None,
    temperatures: Mapping[str, float] | None = None,
) -> None:
    """Write weights, assets and, last, model.json with the hash of these and of the files `beside` them.

    Weights are whole while under 200 MB; above, those that differ from `origin`, whose fingerprint is noted.
    What the model says of a golden input is noted, and checked when it is loaded (`graft.golden`): before its
    probabilities are brought to its temperature (`temperatures`, of 1 where a model is not named).
    The heads of the `controls` lie in the same file, so that they can stand beside the model on other data,
    and so do the marks of the samples it `learned` from, so that these are known again. `rungs` describes the
    other rungs, whose files lie there already (`graft.rungs.save`).
    """
    tensors = tensors_of(model)
    whole = sum(t.numel() * t.element_size() for t in tensors.values()) < WHOLE_BYTES
    if not whole:
        base = {f"backbone.{k}": v for k, v in origin.state_dict().items()}
        tensors = {k: v for k, v in tensors.items() if k not in base or not torch.equal(v, base[k].cpu())}
    for control, extra in controls.items():
        tensors |= {f"{CONTROL}{control}.{k}": v.cpu().contiguous() for k, v in extra.state_dict().items()}
    if learned:
        tensors[SEEN] = torch.tensor(sorted(learned), dtype=torch.int64)
    save_tensors(folder / WEIGHTS, tensors)
    for file, content in model.backbone.assets().items():
        (folder / "assets").mkdir(exist_ok=True)
        write_whole(inside(folder / "assets", file), content)
    meta = {
        "format": FORMAT,
        "task": {
            "name": task.name,
            "labels": list(task.labels),
            "schema": task.schema,
            "measures": list(task.measures),
        },
        "thresholds": {name: list(o) for name, o in (thresholds or {}).items()},
        "temperatures": dict(temperatures or {}),
        "backbone": {
            "name": name,
            "card": asdict(model.backbone.card),
            "modality": model.backbone.modality,
            "description": model.backbone.describe(),
            "fingerprint": fingerprint(origin),
            "untouched": fingerprint(model.backbone) == fingerprint(origin),
        },
        "head": _description(model.head),
        "controls": {n: _description(c) for n, c in controls.items()},
        "rungs": {n: dict(r) for n, r in (rungs or {}).items()},
        "precision": precision,
        "golden": golden.make(model, task),
        "weights": "whole" if whole else "what differs from the backbone",
        "versions": versions(),
    }
    names = {WEIGHTS, *(b for b in beside if b != META), *(f"assets/{a}" for a in model.backbone.assets())}
    names |= {str(r["file"]) for r in (rungs or {}).values()}
    whole_meta = {**meta, "files": manifest(folder, sorted(names))}
    write_json(folder / META, {**whole_meta, "seal": seal(whole_meta)})


def _description(head: Any) -> dict[str, Any]:
    described: dict[str, Any] = head.describe()
    return described


def read_meta(folder: Path) -> dict[str, Any]:
    """model.json, checked; raises UsageError where there is no run, DataError for a newer format or damage."""
    file = folder / META
    if not file.is_file():
        hint = f"; {folder.name}.partial is unfinished: --resume" if Path(f"{folder}.partial").exists() else ""
        raise UsageError(f"{folder}: no finished run is there ({META} is missing){hint}")
    meta = read_json(file)
    if not isinstance(meta, dict) or not isinstance(meta.get("format"), int):
        raise DataError(f"{file}: not written by graft")
    missing = [k for k in ("task", "backbone", "head", "weights", "files") if k not in meta]
    if missing and meta["format"] <= FORMAT:
        raise DataError(f"{file}: damaged, {some(missing)} is missing; fit again or restore the file")
    if meta["format"] > FORMAT:
        raise DataError(f"{file}: format {meta['format']}, this graft reads up to {FORMAT}; upgrade with pip")
    said = meta.pop("seal", None)  # runs of before had none
    cut = not file.read_bytes().endswith(b"\n")
    if said is not None and (cut or said != seal(meta)):
        raise DataError(f"{file}: damaged since it was written (its seal differs); fit again or restore the file")
    problems = verify(folder, meta["files"])
    if problems:
        raise DataError(f"{folder}: damaged since it was written: {some(problems)}; fit again or restore the files")
    return meta


def task_of(meta: dict[str, Any]) -> Task:
    """The task of a run as it was trained: labels, schema, measures."""
    task: Task = registry.load("tasks", meta["task"]["name"])()
    task.name = meta["task"]["name"]
    task.labels, task.schema = tuple(meta["task"]["labels"]), meta["task"]["schema"]
    task.measures = tuple(meta["task"].get("measures") or ())
    return task


def load_model(folder: Path) -> tuple[Model, Task, dict[str, Any]]:
    """(model in evaluation mode, task, model.json) of a finished run."""
    meta = read_meta(folder)
    task = task_of(meta)
    tensors = _weights.read_weights(folder, WEIGHTS)
    if meta["weights"] == "whole":
        backbone = backbones.build(meta["backbone"]["description"], folder / "assets")
    else:
        backbone = _base(meta["backbone"])
        tensors = {**{f"backbone.{k}": v for k, v in backbone.state_dict().items()}, **tensors}
    try:
        model = Model(backbone, heads.build(meta["head"]))
    except (TypeError, ValueError, RuntimeError) as e:
        raise DataError(f"{folder / META}: describes no head that can be built ({e})") from e
    classes = meta["head"].get("classes")
    if task.outputs in ("classes", "labels") and classes != len(task.labels):
        raise DataError(f"{folder / META}: {len(task.labels)} labels, but a head of {classes} classes")
    backbone.source_head = None
    _weights.fit_weights(model, {k: v for k, v in tensors.items() if not k.startswith(_UNSAVED)}, str(folder))
    model.eval()
    golden.check(model, task, meta.get("golden") or {}, str(folder))
    return model, task, meta


def load_controls(folder: Path, meta: dict[str, Any]) -> dict[str, nn.Module]:
    """The heads of the controls, which answer from features of the pretrained backbone."""
    described = meta.get("controls") or {}
    tensors = _weights.read_weights(folder, WEIGHTS) if described else {}
    return {name: load_head(d, tensors, f"{CONTROL}{name}.") for name, d in described.items()}


def mark(digest: str) -> int:
    """A sample's digest as 63 bits: enough to know it again, useless to guess it from."""
    return int(digest[:16] or "0", 16) >> 1


def seen(folder: Path) -> set[int]:
    """Marks of the samples that a run's model learned from."""
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, framework="pt") as f:
        return set(f.get_tensor(SEEN).tolist()) if SEEN in f.keys() else set()  # noqa: SIM118  no mapping


def rebuild(folder: str | Path) -> list[Path]:
    """Write report.html and README.md of a finished run anew from report.json; returns the two paths.

    Their hashes in model.json follow. Raises UsageError where no run is, DataError where it was changed.
    """
    from graft import report

    place = Path(folder)
    try:
        meta = read_meta(place)
    except DataError:  # a page that was edited or lost is what this mends; anything else stays refused
        meta = read_json(place / META)
        meta.pop("seal", None)
        others = {k: v for k, v in (meta.get("files") or {}).items() if k not in PAGES}
        if verify(place, others):
            raise
    said = read_json(place / "report.json")
    pages = {"report.html": report.to_html(said), "README.md": report.model_card(said)}
    for name, content in pages.items():
        write_whole(place / name, content)
    meta = {**meta, "files": {**meta["files"], **manifest(place, sorted(pages))}}
    write_json(place / META, {**meta, "seal": seal(meta)})
    return [place / name for name in pages]


def pretrained(meta: dict[str, Any]) -> Backbone:
    """The backbone a run started from; raises SetupError where it is not at hand, DataError where it differs."""
    return _base(meta["backbone"])


def _base(said: dict[str, Any]) -> Backbone:
    try:
        backbone = backbones.load(said["card"]["name"] or said["name"], said["description"])
    except (UsageError, SetupError) as e:
        raise SetupError(f"this run holds only what differs from {said['name']}, which is needed: {e}") from e
    if fingerprint(backbone) != said["fingerprint"]:
        raise DataError(f"{said['name']} is not what this run started from (SHA-256 differs)")
    return backbone


def load_head(description: dict[str, Any], tensors: dict[str, torch.Tensor], prefix: str = "head.") -> nn.Module:
    """A head with its weights, from names that begin with `prefix`."""
    head = heads.build(description)
    head.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})
    return head

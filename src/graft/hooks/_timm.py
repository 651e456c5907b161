"""A run's network as a timm model, and in the folder format that timm opens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import timm
import torch
from timm.models import save_for_hf
from torch import nn

from graft.backbones.timm import TimmBackbone
from graft.errors import DataError
from graft.files import read_json, write_json
from graft.hooks._folder import new_folder
from graft.hooks._parts import Parts, answers, noise, parts, same

if TYPE_CHECKING:
    from graft.run import Run


def export(run: Run, folder: str | Path | None) -> nn.Module:
    """See `graft.hooks.to_timm`."""
    own = parts(run, "timm", TimmBackbone)
    x = noise(2, _channels(own), own.backbone.prepare.size, own.backbone.prepare.size)
    net = _with_head(own, x) or _make(own, 0)
    _describe(net, own)
    if folder is not None:
        _write(net, own, x, folder)
    return net


def _channels(own: Parts[TimmBackbone]) -> int:
    return int(own.backbone.args.get("in_chans") or 3)


def _make(own: Parts[TimmBackbone], classes: int) -> nn.Module:
    """The architecture with the run's weights; those of a classifier stay random."""
    net: nn.Module = timm.create_model(
        own.backbone.architecture, pretrained=False, num_classes=classes, **own.backbone.args
    )
    net.load_state_dict(own.backbone.net.state_dict(), strict=classes == 0)
    return net.eval()


@torch.no_grad()
def _with_head(own: Parts[TimmBackbone], x: torch.Tensor) -> nn.Module | None:
    """The network with the trained classifier, or None where timm's gives other scores (or is no linear layer)."""
    if own.linear is None:
        return None
    net: Any = _make(own, own.outs)
    classifier = net.get_classifier()
    if not isinstance(classifier, nn.Linear) or classifier.weight.shape != own.linear.weight.shape:
        return None
    if classifier.bias is None:
        return None
    classifier.load_state_dict(own.linear.state_dict())
    return net if same(answers(own, x), net(x)) else None


def _describe(net: Any, own: Parts[TimmBackbone]) -> None:
    """Write the run's preprocessing and labels where timm looks for them; sources of other weights go."""
    gone = {"url", "file", "hf_hub_id", "hf_hub_filename", "state_dict", "test_input_size", "test_crop_pct"}
    gone |= {"label_names", "label_descriptions", "label_offset", "tag", "origin_url", "paper_ids", "notes"}
    config = {k: v for k, v in net.pretrained_cfg.items() if k not in gone}
    config |= {**_preprocessing(own), "num_classes": net.num_classes, "license": own.licence}
    if net.num_classes and own.labels:
        config["label_names"] = list(own.labels)
    net.pretrained_cfg = net.default_cfg = config


def _preprocessing(own: Parts[TimmBackbone]) -> dict[str, Any]:
    prepare = own.backbone.prepare
    return {
        "input_size": (_channels(own), prepare.size, prepare.size), "interpolation": prepare.interpolation,
        "mean": prepare.mean, "std": prepare.std, "crop_pct": prepare.crop, "crop_mode": "center",
    }  # fmt: skip


@torch.no_grad()
def _write(net: Any, own: Parts[TimmBackbone], x: torch.Tensor, folder: str | Path) -> None:
    labels = {"label_names": list(own.labels)} if net.num_classes and own.labels else {}
    with new_folder(folder) as work:
        save_for_hf(net, str(work), model_config=labels, safe_serialization=True, data_config=_preprocessing(own))
        config = read_json(work / "config.json")
        config.get("model_args", {}).pop("num_classes", None)  # said above already, and no matter of the architecture
        write_json(work / "config.json", config)
        again = timm.create_model(f"local-dir:{work}", pretrained=True).eval()
        if not same(net(x), again(x)):  # an architecture that its own arguments do not describe
            raise DataError(f"{own.backbone.architecture}: timm opens its folder to other numbers; use run.to_timm()")

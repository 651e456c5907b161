"""What is known of pretrained weights before they are used: source data, licence, published accuracy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from graft.files import read_json
from graft.model import Card

# ImageNet-1k top-1 in percent, one crop at the size of the weights' own test setting, of timm weights that are not
# torchvision's (for those see `torchvision.published`). Source: pytorch-image-models, results/results-imagenet.csv
# at commit 0173a139a2c66db3a41ebfe1d8ac4fb02483642e, column top1.
TIMM_TOP1 = {
    "convnext_atto.d2_in1k": 77.008,
    "convnext_femto.d1_in1k": 78.716,
    "convnext_tiny.fb_in22k_ft_in1k": 78.898,
    "convnextv2_atto.fcmae_ft_in1k": 77.760,
    "convnextv2_femto.fcmae_ft_in1k": 79.338,
    "deit_tiny_patch16_224.fb_in1k": 72.172,
    "densenet121.ra_in1k": 76.500,
    "edgenext_x_small.in1k": 75.688,
    "edgenext_xx_small.in1k": 71.878,
    "efficientnet_b0.ra_in1k": 77.694,
    "efficientnet_b1.ft_in1k": 78.800,
    "efficientnet_lite0.ra_in1k": 75.480,
    "ghostnet_100.in1k": 73.982,
    "lcnet_050.ra2_in1k": 63.120,
    "lcnet_075.ra2_in1k": 68.782,
    "lcnet_100.ra2_in1k": 72.096,
    "mnasnet_100.rmsp_in1k": 74.650,
    "mobilenetv2_050.lamb_in1k": 65.950,
    "mobilenetv2_100.ra_in1k": 72.976,
    "mobilenetv2_140.ra_in1k": 76.520,
    "mobilenetv3_large_100.miil_in21k_ft_in1k": 77.918,
    "mobilenetv3_large_100.ra_in1k": 75.766,
    "mobilenetv3_small_050.lamb_in1k": 57.910,
    "mobilenetv3_small_075.lamb_in1k": 65.234,
    "mobilenetv3_small_100.lamb_in1k": 67.656,
    "mobilevit_s.cvnets_in1k": 78.312,
    "mobilevit_xs.cvnets_in1k": 74.636,
    "mobilevit_xxs.cvnets_in1k": 68.932,
    "regnety_004.tv2_in1k": 75.598,
    "resnet18.a1_in1k": 73.158,
    "resnet18.a2_in1k": 72.372,
    "resnet18.a3_in1k": 68.254,
    "resnet18.fb_swsl_ig1b_ft_in1k": 73.282,
    "resnet34.a1_in1k": 77.918,
    "resnet34.a2_in1k": 77.158,
    "resnet50.a3_in1k": 78.048,
    "resnet50.am_in1k": 78.998,
    "resnet50.bt_in1k": 79.640,
    "resnet50.gluon_in1k": 77.580,
    "tf_mobilenetv3_large_100.in1k": 75.516,
    "tf_mobilenetv3_small_100.in1k": 67.918,
    "vit_base_patch16_224.augreg_in1k": 79.154,
    "vit_base_patch32_224.augreg_in1k": 74.894,
    "vit_small_patch16_224.augreg_in1k": 78.846,
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": 75.454,
}

# Marks in timm's tags, in the order the training went: what was pretrained on, then what was fine-tuned on.
_MARKS = (
    (r"laion2b", "LAION-2B"),
    (r"laion400m", "LAION-400M"),
    (r"openai", "OpenAI's WIT-400M"),
    (r"dfn\dbs?\w*|datacomp\w*|dfndr2b", "DataComp or DFN image-text pairs"),
    (r"metaclip\w*", "MetaCLIP image-text pairs"),
    (r"webli", "WebLI"),
    (r"merged2b", "Merged-2B"),
    (r"m30m|m38m", "Merged-30M or 38M"),
    (r"lvd142m", "LVD-142M"),
    (r"lvd1689m", "LVD-1689M"),
    (r"sat493m", "SAT-493M"),
    (r"sa1b", "SA-1B"),
    (r"jft", "JFT-300M (unlabelled)"),
    (r"ig1b", "Instagram-1B"),
    (r"yfcc15m|yfcc100m", "YFCC-100M or a part of it"),
    (r"cc12m", "CC-12M"),
    (r"in22k|inw21k|in21k", "ImageNet-21k"),
    (r"in12k", "ImageNet-12k"),
    (r"in1k", "ImageNet-1k"),
)
_SELF = re.compile(r"(?:^|_)(?:dino|mae|seer)$")


def timm_data(tag: str) -> str:
    """What timm weights were trained on, from the tag of their name (`fb_in22k_ft_in1k`)."""
    found = [(m.start(), said) for mark, said in _MARKS if (m := re.search(rf"(?:^|_){mark}(?=_|$)", tag))]
    if not found and _SELF.search(tag):
        return "ImageNet-1k without labels" if not tag.endswith("seer") else "unknown"
    return ", then ".join(said for _, said in sorted(found)) or "unknown"


def licence(said: str) -> str:
    """A licence in SPDX's writing where timm's or the hub's short form is known, else as it was said."""
    known = {"apache-2.0": "Apache-2.0", "mit": "MIT", "bsd-3-clause": "BSD-3-Clause", "cc-by-nc-4.0": "CC-BY-NC-4.0"}
    return known.get(said.lower(), said or "unknown")


def card(
    file: Path,
    name: str,
    tensors: dict[str, torch.Tensor],
    *,
    size: int = 0,
    license: str = "unknown",
    trained_on: str = "unknown",
    top1: float | None = None,
) -> Card:
    """What is known of a weights file: from the CARD.json beside it where there is one, else as given.

    `size` is in pixels a side, or tokens; the figures of a CARD.json come first.
    """
    said = read_card(file)
    pixels = (said.get("preprocessing") or {}).get("input_size", [size])[-1]
    own = re.search(r"\d+(?:\.\d+)?", str(said.get("reported_imagenet_top1") or ""))
    return Card(
        name=name,
        parameters=sum(v.numel() for v in tensors.values()),
        mb=round(file.stat().st_size / 1e6, 2),
        size=int(pixels),
        license=str(said.get("licence", said.get("license", licence(license)))),
        trained_on=str(said.get("training_data", trained_on)),
        top1=float(own[0]) if own else top1,
    )


def of_part(whole: Card, module: nn.Module) -> Card:
    """The card of a part of a network, or of the same network with other weights: its own size, and no top-1.

    MB are those that its share of the whole's file takes, or of float32 where there is no file.
    """
    count = sum(v.numel() for n, v in module.state_dict().items() if not n.startswith("source_head."))
    mb = whole.mb * min(1.0, count / whole.parameters) if whole.parameters and whole.mb else 4 * count / 1e6
    return replace(whole, parameters=count, mb=round(mb, 2), top1=None)


def read_card(file: Path) -> dict[str, Any]:
    """The CARD.json of a weights file: NAME.CARD.json beside it, else the folder's; {} where there is none."""
    for beside in (file.with_suffix(".CARD.json"), file.parent / "CARD.json"):
        if beside.is_file():
            raw = read_json(beside)
            return raw if isinstance(raw, dict) else {}
    return {}

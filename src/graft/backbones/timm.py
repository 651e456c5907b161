"""Picture backbones of the timm library, by name from the hub or from its folder format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import nn

from graft import hub
from graft.backbones import _weights
from graft.backbones._picture import Preprocess, from_timm, preprocess, stack
from graft.errors import DataError, SecurityError, UsageError, did_you_mean
from graft.heads import SourceHead
from graft.model import Backbone, Card, Encoded, Features

LOADING = ("checkpoint_path", "scriptable", "exportable", "no_jit", "features_only", "out_indices", "num_classes")
"""Arguments of `timm.create_model` that are not the architecture's."""
DEFAULTS = ("mobilenetv3_small_100.lamb_in1k", "mobilenetv2_100.ra_in1k", "resnet18.a1_in1k", "convnext_atto.d2_in1k")
"""Hub models tried when nobody names any: small, permissive, of several families."""


class TimmBackbone(Backbone):
    """A timm network without its classifier; pooled [b, d] as timm's own head would read it."""

    modality = "picture"

    def __init__(
        self, architecture: str, args: dict[str, Any], prepare: Preprocess, card: Card, classes: int = 0
    ) -> None:
        super().__init__()
        base = architecture.partition(".")[0]
        if not timm.is_model(base):
            raise UsageError(f"timm has no architecture {base!r}.{did_you_mean(base, timm.list_models())}")
        self.net = timm.create_model(base, pretrained=False, num_classes=classes, **args)
        self.architecture, self.args, self.prepare, self.card = base, args, prepare, card
        self.net.eval()
        with torch.no_grad():
            example = torch.zeros(1, 3, prepare.size, prepare.size)
            self.dim = int(self.net.forward_head(self.net.forward_features(example), pre_logits=True).shape[1])

    def split_head(self) -> None:
        """Take the classifier off and keep it as `source_head`."""
        classifier = self.net.get_classifier()
        if isinstance(classifier, nn.Linear):
            self.source_head = SourceHead(classifier)
        self.net.reset_classifier(0)

    def encode(self, x: Any, size: int | None = None) -> Encoded:
        return self.prepare(x, size)

    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return stack(xs)

    def stages(self) -> list[tuple[str, list[str]]]:
        groups = group_parameters(self.net, self.net.group_matcher(coarse=True))
        return [(f"stage {k}", [f"net.{n}" for n in names]) for k, names in sorted(groups.items()) if names]

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self.net, "patch_embed"):
            raise UsageError(f"{self.architecture} has no patch embedding to mask; vision transformers have one")
        embedded: torch.Tensor = self.net.patch_embed(x)
        return embedded

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        if embedded is not None:
            maps = self._trunk(embedded)
        else:
            maps = self.net.forward_features(x)
        pooled = self.net.forward_head(maps, pre_logits=True)
        return Features(pooled, tokens=maps) if maps.ndim == 3 else Features(pooled, maps=(maps,))

    def _trunk(self, embedded: torch.Tensor) -> torch.Tensor:
        net = self.net
        x: torch.Tensor = net.norm(net.blocks(net.norm_pre(net.patch_drop(net._pos_embed(embedded)))))
        return x

    def describe(self) -> dict[str, Any]:
        return {
            "source": "timm",
            "architecture": self.architecture,
            "args": self.args,
            "preprocess": self.prepare.describe(),
        }


def names(pattern: str = "") -> list[str]:
    """Names with pretrained weights on the hub that contain the pattern; the defaults without one."""
    return [n for n in timm.list_pretrained() if pattern in n] if pattern else list(DEFAULTS)


def load(name: str, schema: Any = None) -> Backbone:
    """`timm:resnet18.a1_in1k`, or `timm:resnet18` for timm's default weights."""
    known = timm.list_pretrained()
    full = name if name in known else next((n for n in known if n.partition(".")[0] == name), None)
    if full is None:
        raise UsageError(f"timm has no pretrained model {name!r}.{did_you_mean(name, timm.list_models())}")
    folder = hub.fetch(f"timm/{full}", ["config.json", "model.safetensors"])
    return from_folder(folder, f"timm:{full}")


def from_folder(folder: Path, name: str) -> Backbone:
    """timm's folder format: config.json with `architecture`, model.safetensors."""
    config = _weights.read_config(folder / "config.json")
    settings = config.get("pretrained_cfg", {})
    tensors = _weights.read_weights(folder)
    args = _plain_args(config.get("model_args") or {}, folder)
    classes = int(config.get("num_classes", settings.get("num_classes", 0)))
    card = _weights.card(folder, name, tensors, str(settings.get("license", "unknown")))
    backbone = TimmBackbone(str(config["architecture"]), args, from_timm(settings), card, classes)
    _weights.fit_weights(backbone.net, tensors, str(folder))
    backbone.split_head()
    return backbone


def _plain_args(args: Any, where: Path) -> dict[str, Any]:
    """Arguments of an architecture, as a stranger's config gives them: nothing that reads files or runs code."""
    if not isinstance(args, dict):
        raise DataError(f"{where}: model_args is no object")
    asked = sorted(k for k in args if k in LOADING or "path" in k or "dir" in k or k.startswith("pretrained"))
    if asked:
        raise SecurityError(f"{where}: model_args {asked[0]!r} would read other files, and is refused")
    strange = sorted(k for k, v in args.items() if not isinstance(v, str | int | float | bool | list | None))
    if strange:
        raise SecurityError(f"{where}: model_args {strange[0]!r} is no plain value, and is refused")
    return dict(args)


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """The same network with random weights and no classifier."""
    prepare = preprocess(description["preprocess"])
    args = _plain_args(description["args"], assets.parent)
    return TimmBackbone(description["architecture"], args, prepare, Card(description["architecture"]))

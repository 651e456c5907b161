"""Picture backbones of torchvision's architectures, from a folder with a config.json and safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models

from graft.backbones import _weights
from graft.backbones._picture import Preprocess, from_timm, preprocess, stack
from graft.errors import DataError, UsageError, did_you_mean
from graft.heads import SourceHead
from graft.model import Backbone, Card, Encoded, Features


class TorchvisionBackbone(Backbone):
    """A torchvision classification network cut before its last layer; pooled [b, d]."""

    modality = "picture"

    def __init__(self, architecture: str, prepare: Preprocess, card: Card, classes: int = 1000) -> None:
        super().__init__()
        known = models.list_models(module=models)
        if architecture not in known:
            raise UsageError(f"torchvision has no architecture {architecture!r}.{did_you_mean(architecture, known)}")
        self.net = models.get_model(architecture, weights=None, num_classes=classes)
        self.architecture, self.classes, self.prepare, self.card = architecture, classes, prepare, card
        self.path, self.last = _last_layer(self.net)
        self.dim = int(self.last.in_features if isinstance(self.last, nn.Linear) else self.last.in_channels)

    def split_head(self) -> None:
        """Take the last layer off and keep it as `source_head`; what came after it goes."""
        parent = self.net.get_submodule(self.path.rpartition(".")[0])
        name = self.path.rpartition(".")[2]
        if isinstance(self.last, nn.Linear):
            self.source_head = SourceHead(self.last)
        if isinstance(parent, nn.Sequential):
            for after in range(int(name), len(parent)):
                parent[after] = nn.Identity()
        else:
            setattr(parent, name, nn.Identity())

    def encode(self, x: Any, size: int | None = None) -> Encoded:
        return self.prepare(x, size)

    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return stack(xs)

    def stages(self) -> list[tuple[str, list[str]]]:
        return _weights.group_by_depth([n for n, _ in self.named_parameters() if not n.startswith("source_head.")])

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        raise UsageError(f"{self.architecture} has no patch embedding to mask; vision transformers of timm have one")

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        out = self.net(x)
        if isinstance(self.last, nn.Conv2d):  # SqueezeNet classifies maps: [b, d * h * w] once flattened
            side = int((out.shape[1] // self.dim) ** 0.5)
            maps = out.view(len(x), self.dim, side, -1)
            return Features(maps.mean(dim=(2, 3)), maps=(maps,))
        return Features(out)

    def describe(self) -> dict[str, Any]:
        return {"source": "torchvision", "architecture": self.architecture, "preprocess": self.prepare.describe()}


def names(pattern: str = "") -> list[str]:
    """None by name: torchvision publishes its weights as pickles."""
    return []


def load(name: str, schema: Any = None) -> Backbone:
    """Refused with the way round it."""
    raise UsageError(
        f"torchvision:{name}: its weights come as pickles; use timm:{name}, or local:FOLDER with safetensors"
    )


def from_folder(folder: Path, name: str) -> Backbone:
    """config.json with `library: torchvision`, `architecture`, `preprocessing`; model.safetensors."""
    config = _weights.read_config(folder / "config.json")
    if "architecture" not in config:
        raise DataError(f"{folder / 'config.json'}: no 'architecture'")
    tensors = _weights.read_weights(folder)
    card = _weights.card(folder, name, tensors)
    prepare = from_timm(config.get("preprocessing", {}))
    backbone = TorchvisionBackbone(str(config["architecture"]), prepare, card, int(config.get("num_classes", 1000)))
    _weights.fit_weights(backbone.net, tensors, str(folder))
    backbone.split_head()
    return backbone


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """The same network with random weights and no classifier."""
    prepare = preprocess(description["preprocess"])
    backbone = TorchvisionBackbone(description["architecture"], prepare, Card(description["architecture"]))
    backbone.split_head()
    backbone.source_head = None
    return backbone


def _last_layer(net: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """(path, layer) of what gives the class scores: the last linear layer, or SqueezeNet's last convolution."""
    linear = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Linear)]
    if linear and linear[-1][0].split(".")[0] in ("fc", "classifier", "head", "heads"):
        return linear[-1]
    convolutions = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d) and n.startswith("classifier")]
    if convolutions:
        return convolutions[-1]
    raise UsageError(f"{type(net).__name__}: no classifier was found to cut off")

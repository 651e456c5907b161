"""A run's network as a torchvision model, and in a folder with its preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn
from torchvision import models

from graft.backbones.torchvision import TorchvisionBackbone
from graft.errors import UsageError
from graft.files import write_json
from graft.hooks._folder import new_folder
from graft.hooks._parts import Parts, answers, noise, parts, same

if TYPE_CHECKING:
    from graft.run import Run


def export(run: Run, folder: str | Path | None) -> nn.Module:
    """See `graft.hooks.to_torchvision`."""
    own = parts(run, "torchvision", TorchvisionBackbone)
    net = _with_head(own)
    if net is not None:
        if folder is not None:
            _write(net, own, folder)
        return net
    if folder is not None:
        raise UsageError(
            "torchvision has no folder for a network without a linear classifier; "
            "run.to_torchvision() without a folder gives the network, and graft.load(DIR) the whole model"
        )
    bare: nn.Module = own.backbone.net
    return bare


@torch.no_grad()
def _with_head(own: Parts[TorchvisionBackbone]) -> nn.Module | None:
    """The whole network with the trained classifier, or None where it would give other scores."""
    if own.linear is None:
        return None
    path = own.backbone.path
    net: nn.Module = models.get_model(own.backbone.architecture, weights=None, num_classes=own.outs)
    layer = net.get_submodule(path)
    weights = {**own.backbone.net.state_dict()}
    weights[f"{path}.weight"] = own.linear.weight.reshape(layer.state_dict()["weight"].shape)
    weights[f"{path}.bias"] = own.linear.bias
    net.load_state_dict(weights)
    _let_negatives_pass(net, path)
    net.eval()
    size = own.backbone.prepare.size
    x = noise(2, 3, size, size)
    return net if same(answers(own, x), net(x)) else None


def _let_negatives_pass(net: nn.Module, path: str) -> None:
    """Replace ReLUs after the last layer by Identity: SqueezeNet's cuts scores below 0, graft's are not cut."""
    above, _, name = path.rpartition(".")
    parent = net.get_submodule(above)
    if isinstance(parent, nn.Sequential):
        for after in range(int(name) + 1, len(parent)):
            if isinstance(parent[after], nn.ReLU):
                parent[after] = nn.Identity()


def _write(net: nn.Module, own: Parts[TorchvisionBackbone], folder: str | Path) -> None:
    from safetensors.torch import save_file

    prepare = own.backbone.prepare
    config = {
        "library": "torchvision", "architecture": own.backbone.architecture, "num_classes": own.outs,
        "label_names": list(own.labels), "license": own.licence,
        "preprocessing": {
            "input_size": [3, prepare.size, prepare.size], "crop_pct": prepare.crop, "mean": list(prepare.mean),
            "std": list(prepare.std), "interpolation": prepare.interpolation,
        },
    }  # fmt: skip
    with new_folder(folder) as work:
        save_file({k: v.contiguous() for k, v in net.state_dict().items()}, work / "model.safetensors")
        write_json(work / "config.json", config)

"""Picture backbones of the timm library, by name from the hub or from its folder format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import get_pretrained_cfg, group_parameters
from torch import nn

from graft import hub
from graft.backbones import _cards, _channels, _weights
from graft.backbones._picture import Preprocess, from_timm, preprocess, stack
from graft.errors import DataError, UsageError, did_you_mean
from graft.heads import SourceHead
from graft.model import Backbone, Card, Encoded, Features

DEFAULTS = ("mobilenetv3_small_100.lamb_in1k", "mobilenetv2_100.ra_in1k", "resnet18.a1_in1k", "convnext_atto.d2_in1k")
"""Hub models tried when nobody names any: small, permissive, of several families."""


class TimmBackbone(Backbone):
    """A timm network without its classifier; pooled [b, d] as timm's own head would read it."""

    modality = "picture"

    def __init__(
        self,
        architecture: str,
        args: dict[str, Any],
        prepare: Preprocess,
        card: Card,
        classes: int = 0,
        origin: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        base = architecture.partition(".")[0]
        if not timm.is_model(base):
            raise UsageError(f"timm has no architecture {base!r}.{did_you_mean(base, timm.list_models())}")
        self.net = _create(base, args, classes)
        self.architecture, self.args, self.prepare, self.card = base, args, prepare, card
        self.origin, self.channels = origin, _channels.USUAL
        self.net.eval()
        with torch.no_grad():
            example = torch.zeros(1, _channels.USUAL, prepare.size, prepare.size)
            self.dim = int(self.net.forward_head(self.net.forward_features(example), pre_logits=True).shape[1])

    def split_head(self) -> None:
        """Take the classifier off and keep it as `source_head`."""
        classifier = self.net.get_classifier()
        if isinstance(classifier, nn.Linear):
            self.source_head = SourceHead(classifier)
        self.net.reset_classifier(0)

    def widen(self, channels: int) -> None:
        """Take pictures of `channels` from now on. Raises DataError."""
        _channels.widen(self.net, channels, self.net.pretrained_cfg.get("first_conv"), self.architecture)
        self.prepare, self.channels = _channels.preparing(self.prepare, channels), channels

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

    def pool(self, found: torch.Tensor, x: torch.Tensor, mask: torch.Tensor | None = None) -> Features:
        if found.ndim != 3:
            return super().pool(found, x, mask)
        first = int(getattr(self.net, "num_prefix_tokens", 0))  # none where the class token joins late (CaiT, XCiT)
        token = first > 0 and getattr(self.net, "global_pool", "") == "token"
        return Features(found[:, 0] if token else found[:, first:].mean(dim=1), tokens=found)

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
            **({"channels": self.channels} if self.channels != _channels.USUAL else {}),
            **({"origin": self.origin} if self.origin else {}),
        }


def _create(base: str, args: dict[str, Any], classes: int) -> Any:
    try:
        return timm.create_model(base, pretrained=False, num_classes=classes, **args)
    except (TypeError, ValueError, AssertionError, RuntimeError) as e:
        raise DataError(f"timm cannot build {base} with {args} ({str(e).splitlines()[0] if str(e) else e!r})") from e


def names(pattern: str = "") -> list[str]:
    """Names with pretrained weights on the hub that contain the pattern; the defaults without one."""
    return [n for n in timm.list_pretrained() if pattern in n] if pattern else list(DEFAULTS)


def architectures() -> list[str]:
    """Every network that timm can build."""
    listed: list[str] = timm.list_models()
    return listed


def load(name: str, schema: Any = None) -> Backbone:
    """`timm:resnet18.a1_in1k`, or `timm:resnet18` for timm's default weights; `@REVISION` pins them."""
    wanted, _, revision = name.partition("@")
    settings = get_pretrained_cfg(wanted, allow_unregistered=False) if _is_known(wanted) else None
    if settings is None or not settings.has_weights:
        raise UsageError(f"timm has no pretrained model {wanted!r}.{did_you_mean(wanted, timm.list_models())}")
    full = f"{wanted.partition('.')[0]}.{settings.tag}" if settings.tag else wanted
    if not settings.hf_hub_id:
        raise UsageError(f"timm:{full}: its weights are on no hub; save them as safetensors and use local:FOLDER")
    repo = settings.hf_hub_id if not settings.hf_hub_id.endswith("/") else f"{settings.hf_hub_id}{full}"
    repo, at = hub.split(f"{repo}@{revision}")
    fetched = hub.fetch(repo, ("config.json", hub.WEIGHTS), revision=at, check=_weights.read_config)
    return from_folder(fetched.folder, f"timm:{full}@{fetched.commit}", schema, fetched)


def _is_known(name: str) -> bool:
    return timm.is_model(name.partition(".")[0]) and (name in timm.list_pretrained() or "." not in name)


def from_folder(folder: Path, name: str, schema: Any = None, fetched: hub.Fetched | None = None) -> Backbone:
    """timm's folder format: config.json with `architecture`, model.safetensors."""
    config = _weights.read_config(folder / "config.json")
    settings = config.get("pretrained_cfg") or {}
    settings = {**settings, "num_classes": config.get("num_classes", settings.get("num_classes"))}
    args = _weights.plain_args(config.get("model_args") or {}, folder)
    return _loaded(str(config["architecture"]), args, settings, folder / hub.WEIGHTS, name, schema, fetched)


def from_file(file: Path, architecture: str, name: str, schema: Any = None) -> Backbone:
    """Bare safetensors of a timm architecture; size, mean and deviation are timm's own for it."""
    known = get_pretrained_cfg(architecture)
    settings = {**(known.to_dict() if known else {}), "num_classes": None}  # whatever its weights were trained for
    return _loaded(architecture, {}, settings, file, name, schema, None)


def _loaded(
    architecture: str,
    args: dict[str, Any],
    settings: dict[str, Any],
    file: Path,
    name: str,
    schema: Any,
    fetched: hub.Fetched | None,
) -> Backbone:
    tensors = _weights.read_weights(file.parent, file.name)
    base, _, tag = architecture.partition(".")
    tag = str(settings.get("tag") or tag) if fetched else ""  # a file on disk is of nobody knows which training
    prepare = from_timm(settings)
    card = _cards.card(
        file,
        name,
        tensors,
        size=prepare.size,
        license=_license(settings, fetched),
        trained_on=_cards.timm_data(tag),
        top1=_published(base, tag),
    )
    where, classifier = str(file.parent), _classifier(base, settings)
    classes = _weights.head_classes(tensors, classifier, settings.get("num_classes"), where) or 0
    backbone = TimmBackbone(architecture, args, prepare, card, classes, fetched.origin() if fetched else None)
    _weights.fit_weights(backbone.net, tensors, where)
    backbone.split_head()
    backbone.widen(_channels.asked(schema))
    return backbone


def _classifier(base: str, settings: dict[str, Any]) -> str:
    known = get_pretrained_cfg(base) if timm.is_model(base) else None
    said = settings.get("classifier") or (known.classifier if known else None) or "head"
    return str(said if isinstance(said, str) else said[0])


def _license(settings: dict[str, Any], fetched: hub.Fetched | None) -> str:
    said = settings.get("license") or (fetched.license if fetched else None)
    return str(said or "unknown")


def _published(base: str, tag: str) -> float | None:
    """ImageNet top-1 in percent; torchvision's figures for the weights that timm took from there."""
    if tag in ("tv_in1k", "tv2_in1k"):
        from graft.backbones.torchvision import published

        return published(base, "IMAGENET1K_V1" if tag == "tv_in1k" else "IMAGENET1K_V2")
    return _cards.TIMM_TOP1.get(f"{base}.{tag}")


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """The same network with random weights and no classifier."""
    prepare = preprocess(description["preprocess"])
    args = _weights.plain_args(description["args"], assets.parent)
    architecture, origin = description["architecture"], description.get("origin")
    backbone = TimmBackbone(architecture, args, prepare, Card(architecture, size=prepare.size), origin=origin)
    backbone.widen(_channels.asked(description))
    return backbone

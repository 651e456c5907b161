"""Picture backbones of torchvision: the library's own named weights, or a folder with safetensors."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import urllib.parse
import uuid
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision import models

from graft import hub
from graft.backbones import _cards, _channels, _download, _weights
from graft.backbones._picture import Preprocess, from_timm, preprocess, stack
from graft.backbones._stages import group_by_depth
from graft.errors import DataError, SecurityError, SetupError, UsageError, did_you_mean
from graft.files import sha256
from graft.heads import SourceHead
from graft.model import Backbone, Card, Encoded, Features

CONVERT_SECONDS = 300
_INCEPTION = {"aux_logits": False, "init_weights": False, "transform_input": True}
ARGS: dict[str, dict[str, Any]] = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}
"""What torchvision's weights of an architecture ask for, and its plain constructor does not do."""
AUXILIARY = r"^(AuxLogits|aux1|aux2)\."
"""Classifiers in the middle of the Inceptions, which only their own training used."""


class TorchvisionBackbone(Backbone):
    """A torchvision classification network cut before its last layer; pooled [b, d]."""

    modality = "picture"

    def __init__(
        self,
        architecture: str,
        prepare: Preprocess,
        card: Card,
        classes: int = 1000,
        origin: dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        known = architectures()
        if architecture not in known:
            raise UsageError(f"torchvision has no architecture {architecture!r}.{did_you_mean(architecture, known)}")
        self.net = models.get_model(architecture, weights=None, num_classes=classes, **ARGS.get(architecture, {}))
        self.architecture, self.classes, self.prepare, self.card = architecture, classes, prepare, card
        self.origin, self.channels = origin, _channels.USUAL
        self.path, last = last_layer(self.net)
        self.over_maps = isinstance(last, nn.Conv2d)  # SqueezeNet classifies maps
        self.dim = int(last.in_features if isinstance(last, nn.Linear) else last.in_channels)

    def split_head(self) -> None:
        """Take the last layer off and keep it as `source_head`; what came after it goes."""
        parent = self.net.get_submodule(self.path.rpartition(".")[0])
        name = self.path.rpartition(".")[2]
        if not self.over_maps:
            self.source_head = SourceHead(self.net.get_submodule(self.path))
        if isinstance(parent, nn.Sequential):
            at = [n for n, _ in parent.named_children()].index(name)
            for after in range(at, len(parent)):
                parent[after] = nn.Identity()
        else:
            setattr(parent, name, nn.Identity())

    def widen(self, channels: int) -> None:
        """Take pictures of `channels` from now on. Raises DataError."""
        if channels != _channels.USUAL and self.architecture in ARGS:
            raise DataError(f"torchvision's {self.architecture} takes three channels alone; choose another backbone")
        _channels.widen(self.net, channels, None, self.architecture)
        self.prepare, self.channels = _channels.preparing(self.prepare, channels), channels

    def encode(self, x: Any, size: int | None = None) -> Encoded:
        return self.prepare(x, size)

    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return stack(xs)

    def stages(self) -> list[tuple[str, list[str]]]:
        return group_by_depth([n for n, _ in self.named_parameters() if not n.startswith("source_head.")])

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        raise UsageError(f"{self.architecture} has no patch embedding to mask; vision transformers of timm have one")

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        out = self.net(x)
        if self.over_maps:  # [b, d * h * w] once flattened
            side = int((out.shape[1] // self.dim) ** 0.5)
            maps = out.view(len(x), self.dim, side, -1)
            return Features(maps.mean(dim=(2, 3)), maps=(maps,))
        return Features(out)

    def pool(self, found: torch.Tensor, x: torch.Tensor, mask: torch.Tensor | None = None) -> Features:
        if found.ndim == 3 and isinstance(self.net, models.VisionTransformer):
            return Features(found[:, 0], tokens=found)
        return super().pool(found, x, mask)

    def describe(self) -> dict[str, Any]:
        return {
            "source": "torchvision",
            "architecture": self.architecture,
            "preprocess": self.prepare.describe(),
            **({"channels": self.channels} if self.channels != _channels.USUAL else {}),
            **({"origin": self.origin} if self.origin else {}),
        }


def names(pattern: str = "") -> list[str]:
    """Architectures with weights of torchvision's own that contain the pattern; none without one."""
    return [n for n in architectures() if pattern in n] if pattern else []


def architectures() -> list[str]:
    """Every classification network that torchvision can build."""
    listed: list[str] = models.list_models(module=models)
    return listed


# --------------------------------------------------------------------------------------- named weights


def load(name: str, schema: Any = None) -> Backbone:
    """`torchvision:resnet50` (its best weights) or `torchvision:resnet50.IMAGENET1K_V1`; `@SHA256` pins the file.

    torchvision publishes pickles, with the first 8 digits of their SHA-256 in the file's name: these are checked
    always, all 64 where the name pins them. The card's name does, so a recipe repeats the very same weights. The
    file is then turned into safetensors by a process of its own (`_convert`), once. Raises UsageError, SetupError,
    DataError, SecurityError.
    """
    wanted, _, pin = name.partition("@")
    architecture, weights = _entry(wanted)
    if pin and not re.fullmatch(r"[0-9a-f]{64}", pin):
        raise UsageError(f"torchvision:{name}: after @ the 64 digits of the file's SHA-256 are expected")
    file, digest = _fetched(weights.url, f"{architecture}.{weights.name}", pin)
    size, prepare = int(weights.transforms().crop_size[0]), _preparing(weights)
    tensors = _weights.read_weights(file.parent, file.name)
    card = _cards.card(
        file,
        f"torchvision:{architecture}.{weights.name}@{digest}",
        tensors,
        size=size,
        # torchvision's own weights come under its licence (README, "Pre-trained Model License"), SWAG's under theirs
        license=str(weights.meta.get("license") or "BSD-3-Clause"),
        trained_on=_source_data(weights.name),
        top1=published(architecture, weights.name),
    )
    origin = {"url": weights.url, "sha256": digest}
    return _assembled(architecture, prepare, card, tensors, str(file), schema, origin)


def _entry(name: str) -> tuple[str, Any]:
    """(architecture, member of its weights enumeration) of `resnet50`, `resnet50.V` or `ResNet50_Weights.V`."""
    known = architectures()
    first, _, version = name.partition(".")
    if first.endswith("_Weights"):
        first = first.removesuffix("_Weights").lower()
    if first not in known:
        raise UsageError(f"torchvision has no pretrained model {name!r}.{did_you_mean(first, known)}")
    members = models.get_model_weights(first)
    possible = [m.name for m in members]
    if version and version != "DEFAULT" and version not in possible:
        raise UsageError(f"torchvision:{first} has no weights {version!r}.{did_you_mean(version, possible)}")
    return first, models.get_weight(f"{members.__name__}.{version or 'DEFAULT'}")


def published(architecture: str, version: str) -> float | None:
    """ImageNet-1k top-1 in percent that torchvision publishes for weights (its `meta`), or None."""
    if architecture not in architectures():
        return None
    found = {m.name: m for m in models.get_model_weights(architecture)}.get(version)
    top1 = found.meta.get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1") if found is not None else None
    return float(top1) if top1 is not None else None


def _source_data(version: str) -> str:
    return "Instagram-3.6B (SWAG), then ImageNet-1k" if "SWAG" in version else "ImageNet-1k"


def _preparing(weights: Any) -> Preprocess:
    t = weights.transforms()
    size, shorter = int(t.crop_size[0]), int(t.resize_size[0])
    crop = size / shorter
    return Preprocess(
        size=size,
        crop=crop if int(size / crop) == shorter else math.nextafter(crop, 0.0),  # so that size / crop is it again
        mean=tuple(float(v) for v in t.mean),
        std=tuple(float(v) for v in t.std),
        interpolation=str(t.interpolation.value),
    )


def _fetched(address: str, what: str, pin: str) -> tuple[Path, str]:
    """(safetensors in the cache, SHA-256 of the .pth it was made of), downloaded and converted where need be."""
    from graft.features import cache_folder

    published_as = re.search(r"-([0-9a-f]{8,64})\.pth$", urllib.parse.urlsplit(address).path)
    if published_as is None or (not pin.startswith(published_as[1]) and pin):
        raise DataError(f"torchvision:{what}: {address} is not a file whose SHA-256 begins as asked")
    try:
        home = cache_folder() / "torchvision"
        home.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise SetupError(f"torchvision:{what}: the cache cannot be made ({e}); set GRAFT_CACHE") from e
    for file in sorted(home.glob(f"{pin or published_as[1] + '*'}.safetensors")):
        seal = file.with_suffix(".sha256")
        if seal.is_file() and seal.read_text("ascii").strip() == sha256(file):
            return file, file.stem
    pickled = home / Path(urllib.parse.urlsplit(address).path).name
    _download_pickle(address, pickled, pin or published_as[1], what)
    digest = sha256(pickled)
    return _converted(pickled, home / f"{digest}.safetensors", what), digest


def _download_pickle(address: str, target: Path, digest: str, what: str) -> None:
    if target.is_file() and _download.matches(target, digest):
        return
    why = _download.probe(address)
    if why:
        raise SetupError(
            f"torchvision:{what}: not on this machine, and no network: {why}. Elsewhere fetch {address} and copy it to "
            f"{target}; or use a model that is here: {', '.join(hub.cached_models()[:8]) or 'none is'}"
        )
    try:
        with _download.connect(address) as answer:
            size = int(answer.headers.get("Content-Length") or 0)
        hub.say(f"downloading torchvision:{what} from {address}: {_download.megabytes(size)}, into {target.parent}")
        _download.download(address, target, digest, size or None, f"torchvision:{what}")
    except OSError as e:
        raise SetupError(f"torchvision:{what}: {address} failed ({e}); the same command goes on from there") from e


def _converted(source: Path, target: Path, what: str) -> Path:
    """The tensors of a checked .pth as safetensors, read by another process; raises SecurityError where it may not."""
    temp = target.with_name(f".{uuid.uuid4().hex}.safetensors")
    script = Path(__file__).with_name("_convert.py")
    try:
        # -P: that folder holds files named timm.py and torchvision.py, which must not stand for the libraries
        done = subprocess.run(
            [sys.executable, "-P", str(script), str(source), str(temp)],
            capture_output=True, text=True, timeout=CONVERT_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode != 0 or not temp.is_file():
            said = (done.stderr.strip().splitlines() or [f"ended with {done.returncode}"])[-1]
            raise SecurityError(f"torchvision:{what}: {source.name} holds more than tensors, or is damaged ({said})")
        target.with_suffix(".sha256").write_text(sha256(temp), "ascii")
        temp.replace(target)
    except subprocess.TimeoutExpired as e:
        raise DataError(f"torchvision:{what}: {source.name} took over {CONVERT_SECONDS} s to read") from e
    finally:
        temp.unlink(missing_ok=True)
    source.unlink(missing_ok=True)
    return target


# ------------------------------------------------------------------------------------ folders and files


def from_folder(folder: Path, name: str, schema: Any = None, fetched: hub.Fetched | None = None) -> Backbone:
    """config.json (or CARD.json) with `library: torchvision`, `architecture`, `preprocessing`; model.safetensors."""
    own = folder / "config.json"
    config = _weights.read_config(own) if own.is_file() else _cards.read_card(folder / hub.WEIGHTS)
    if "architecture" not in config:
        raise DataError(f"{own}: no 'architecture'")
    tensors = _weights.read_weights(folder)
    prepare = from_timm(config.get("preprocessing") or {})
    card = _cards.card(folder / hub.WEIGHTS, name, tensors, size=prepare.size)
    origin = fetched.origin() if fetched else None
    _classes(str(config["architecture"]), tensors, config.get("num_classes"), str(folder))
    return _assembled(str(config["architecture"]), prepare, card, tensors, str(folder), schema, origin)


def from_file(file: Path, architecture: str, name: str, schema: Any = None) -> Backbone:
    """Bare safetensors of a torchvision architecture; preprocessing as torchvision's best weights of it have."""
    tensors = _weights.read_weights(file.parent, file.name)
    said = _cards.read_card(file).get("preprocessing")
    prepare = from_timm(said) if said else _preparing(_entry(architecture)[1])
    card = _cards.card(file, name, tensors, size=prepare.size)
    return _assembled(architecture, prepare, card, tensors, str(file), schema, None)


def _assembled(
    architecture: str,
    prepare: Preprocess,
    card: Card,
    tensors: dict[str, torch.Tensor],
    where: str,
    schema: Any,
    origin: dict[str, str] | None,
) -> Backbone:
    classes = _classes(architecture, tensors)
    backbone = TorchvisionBackbone(architecture, prepare, card, classes or 1000, origin)
    new = rf"^{re.escape(backbone.path)}\." if classes is None else r"^$"
    _weights.fit_weights(backbone.net, tensors, where, new=new, old=AUXILIARY)
    backbone.split_head()
    if classes is None:  # weights of the trunk alone: the head that was built is random
        backbone.source_head = None
    backbone.widen(_channels.asked(schema))
    return backbone


def _classes(architecture: str, tensors: dict[str, torch.Tensor], said: object = None, where: str = "") -> int | None:
    if architecture not in architectures():
        return None  # refused where it is built
    with torch.device("meta"):
        path, _ = last_layer(models.get_model(architecture, weights=None, **ARGS.get(architecture, {})))
    return _weights.head_classes(tensors, path, said, where)


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """The same network with random weights and no classifier."""
    prepare = preprocess(description["preprocess"])
    architecture, origin = description["architecture"], description.get("origin")
    backbone = TorchvisionBackbone(architecture, prepare, Card(architecture, size=prepare.size), 2, origin)
    backbone.split_head()
    backbone.source_head = None
    backbone.widen(_channels.asked(description))
    return backbone


def last_layer(net: nn.Module) -> tuple[str, nn.Linear | nn.Conv2d]:
    """(path, layer) of what gives the class scores: the last linear layer, or SqueezeNet's last convolution."""
    linear = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Linear)]
    if linear and linear[-1][0].split(".")[0] in ("fc", "classifier", "head", "heads"):
        return linear[-1]
    convolutions = [(n, m) for n, m in net.named_modules() if isinstance(m, nn.Conv2d) and n.startswith("classifier")]
    if convolutions:
        return convolutions[-1]
    raise UsageError(f"{type(net).__name__}: no classifier was found to cut off")

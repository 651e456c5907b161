"""Where pretrained knowledge comes from: one file a source, found by the prefix of a name.

A name may end in `:stages=K` (the first K parts of the network alone, see `_cut`) and in `:weights=random` (the same
network without knowledge). A source has `names(pattern) -> list`, `load(name, schema=None) -> Backbone`, and
`build(description, assets) -> Backbone`, which makes the module again without weights. What was downloaded says in
its card's name which weights it was (`timm:NAME@COMMIT`, `torchvision:NAME@SHA256`): that name loads them again.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from graft import registry
from graft.backbones import _cards, _named
from graft.errors import UsageError, did_you_mean
from graft.files import inside
from graft.model import Backbone
from graft.seeds import seed_of

ARCHITECTURE = "?architecture="
NOTHING = "nothing (random weights)"
"""What the card of a backbone says of its training where the name asked for random weights."""
_LIBRARIES = {"timm": "Apache-2.0", "torchvision": "BSD-3-Clause", "transformers": "Apache-2.0"}
"""Licences of what builds a network: of random weights there is nothing else to license."""


def split(name: str) -> tuple[str, str]:
    """`timm:resnet18` -> (source, name), without `:stages=K` and `:weights=random`.

    A path stands for `local:`. Raises UsageError.
    """
    name, _ = _named.read(name)
    source, colon, rest = name.partition(":")
    if colon and source in registry.names("backbones"):
        return source, rest
    if _is_path(name):
        return "local", name
    known = registry.names("backbones")
    hint = did_you_mean(source, known) if colon else f" Sources: {', '.join(known)}."
    raise UsageError(f"backbone {name!r}: write SOURCE:NAME, for instance timm:resnet18 or local:FOLDER.{hint}")


def suffix(name: str) -> str:
    """What a name says of parts and weights (`:stages=4:weights=random`, in this order); "" where it says nothing."""
    return _named.read(name)[1].suffix


def _is_path(name: str) -> bool:
    path = Path(name.partition(ARCHITECTURE)[0])
    return path.is_dir() or (path.suffix == ".safetensors" and path.is_file())


def absolute(name: str) -> str:
    """The name with a folder or file written out whole, so that a recipe means the same from anywhere."""
    whole, asked = _named.read(name)
    source, colon, rest = whole.partition(":")
    if not (colon and source in ("local", "run")):
        if name == "auto" or not _is_path(whole):
            return name
        source, rest = "local", whole
    path, mark, architecture = rest.partition(ARCHITECTURE)
    return f"{source}:{Path(path).expanduser().resolve()}{mark}{architecture}{asked.suffix}"


def with_architecture(name: str, architecture: str) -> str:
    """`local:FILE.safetensors` with the network that its weights are of, as `timm/NAME` or `torchvision/NAME`.

    A bare NAME is looked for in both libraries. The answer is a name that `load` takes. Raises UsageError for
    an architecture that neither has, or both, and for names of backbones that say their own.
    """
    source, rest = split(name)
    if source != "local":
        raise UsageError(f"--architecture {architecture}: {name} says its own; it is for local:FILE.safetensors")
    if ARCHITECTURE in rest:
        raise UsageError(f"--architecture {architecture}: the backbone's name has {rest.partition('?')[2]} already")
    library, slash, bare = architecture.partition("/")
    chosen = [library] if slash else [n for n in ("timm", "torchvision") if _has(n, architecture)]
    if len(chosen) != 1 or chosen[0] not in ("timm", "torchvision"):
        both = f"both libraries have {architecture!r}" if len(chosen) > 1 else "write timm/NAME or torchvision/NAME"
        near = did_you_mean(architecture, [n for lib in ("timm", "torchvision") for n in _known(lib)])
        raise UsageError(
            f"--architecture {architecture}: {both}"
            + (f": timm/{architecture} or torchvision/{architecture}" if len(chosen) > 1 else f".{near}")
        )
    bare = bare or architecture
    if not _has(chosen[0], bare):
        raise UsageError(f"{chosen[0]} has no architecture {bare!r}.{did_you_mean(bare, _known(chosen[0]))}")
    return f"local:{rest}{ARCHITECTURE}{chosen[0]}/{bare}{suffix(name)}"


def _known(library: str) -> list[str]:
    listed: list[str] = registry.load("backbones", library).architectures()
    return listed


def _has(library: str, architecture: str) -> bool:
    return architecture.partition(".")[0] in _known(library)


def load(name: str, schema: Any = None) -> Backbone:
    """The pretrained backbone called `SOURCE:NAME`, for data of this schema.

    A schema with `channels` gives a picture backbone whose first convolution takes that many. With `:stages=K` it is
    the first K parts of it, with `:weights=random` always the same random weights. Raises UsageError (among others,
    for more parts than there are, by name), SetupError, SecurityError, DataError.
    """
    whole, asked = _named.read(name)
    source, rest = split(whole)
    backbone: Backbone = registry.load("backbones", source).load(rest, schema)
    called = f"{backbone.card.name}{asked.suffix}"
    if asked.random:
        backbone = _decoy(backbone)
    if asked.stages is not None:
        from graft.backbones._cut import cut

        backbone = cut(backbone, asked.stages, name)
    backbone.card = replace(backbone.card, name=called)
    return backbone.to(memory_format=torch.channels_last)  # convolutions run a quarter faster so


def cuts(name: str, schema: Any = None) -> list[str]:
    """Names of all cuts of a backbone, shallow to deep, without the whole one: what `NAME:stages=*` stands for.

    `name` may end in that star or say nothing of parts; `:weights=random` stays. The backbone is loaded to see its
    parts. Raises as `load` does, and UsageError for a name that says how many parts.
    """
    from graft.backbones._cut import possible

    whole, asked = _named.read(name, every=True)
    if asked.stages is not None:
        raise UsageError(f"backbone {name!r}: says how many parts already; give {whole} or {whole}:stages=*")
    found = possible(load(f"{whole}{asked.suffix}", schema))
    return [f"{whole}{replace(asked, stages=k).suffix}" for k in found]


def build(description: dict[str, Any], assets: Path) -> Backbone:
    """The backbone that `description` tells of, with random weights."""
    backbone: Backbone = registry.load("backbones", str(description["source"])).build(description, assets)
    if "stages" in description:
        from graft.backbones._cut import cut

        backbone = cut(backbone, int(description["stages"]))
    return backbone.to(memory_format=torch.channels_last)  # as `load` does: another layout rounds otherwise


def randomised(backbone: Backbone) -> Backbone:
    """The same network with random weights, as its library initialises them, drawn from torch's generator.

    It has no `source_head`: that is knowledge of the pretraining task.
    """
    with tempfile.TemporaryDirectory() as place:
        for name, content in backbone.assets().items():
            file = inside(Path(place), name)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        made = build(backbone.describe(), Path(place))
    made.source_head = None
    return made.to(next(backbone.parameters()).device)


def _decoy(backbone: Backbone) -> Backbone:
    """The network of a backbone with random weights that are the same each time, and a card that says so."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed_of("backbones", "weights=random"))
        made = randomised(backbone)
    card = _cards.of_part(backbone.card, made)
    license = _LIBRARIES.get(str(backbone.describe()["source"]), "unknown")
    made.card = replace(card, trained_on=NOTHING, license=license)
    return made.train(backbone.training)

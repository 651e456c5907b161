"""The first parts of a backbone alone: what comes after them is removed, and no pass computes it.

**What is counted.** `Backbone.stages()` lists the parts of a network from input to output, as `graft features --stages`
and the layer report name them. The first is the input (embedding, stem, first convolution) and always stays; a cut of
K keeps the K parts behind it. K of all parts is the network itself, without its source head.

**What it gives.** What `features._stages.Stages` sees at the end of part K: the output of the part's last module,
pooled as the backbone pools (`Backbone.pool`): maps and text tokens by their mean, the class token where the whole
backbone reads that one. A final normalisation that lies behind the cut goes with the rest: its scale and shift were
fitted to the last layer, and without it a cut gives the numbers that the layer report's probe by depth was measured on.

**How.** One general way for all libraries: a pass stops, by an exception of its own, as soon as part K has said what it
gives. All modules and parameters that belong to later parts are taken out of the network. That nothing kept needed
them is not assumed but tried on an input, before and after; a network of which this does not hold is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from graft import golden
from graft.backbones import _cards, _channels
from graft.errors import DataError, UsageError
from graft.features._stages import ends, tensor
from graft.loading import preprocess_of
from graft.model import Backbone, Encoded, Features

if TYPE_CHECKING:
    from graft.data import Note, Sample


class _Reached(Exception):
    """Carries what the last kept part gave up to the pass that waits for it."""

    def __init__(self, found: torch.Tensor) -> None:
        super().__init__()
        self.found = found


def _stop(module: nn.Module, given: Any, out: Any) -> None:
    found = tensor(out)
    if found is not None:
        raise _Reached(found)


class Cut(Backbone):
    """The first parts of the backbone `inner`, of which only these are left; see `cut`, which makes it."""

    def __init__(self, inner: Backbone, parts: int, groups: Sequence[tuple[str, Sequence[str]]], end: str) -> None:
        """`groups`: the kept entries of `inner.stages()`; `end`: path of the module where a pass stops ("": never)."""
        super().__init__()
        self.inner, self.parts, self.end = inner, parts, end
        self.modality, self.card, self.dim, self.batch_first = inner.modality, inner.card, inner.dim, inner.batch_first
        self.preprocess = preprocess_of(inner)
        self._names = [name for name, _ in groups]
        self._stage_of = {f"inner.{n}": name for name, names in groups for n in names}

    def encode(self, x: Any, size: int | None = None) -> Encoded:
        return self.inner.encode(x, size)

    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return self.inner.collate(xs)

    def stages(self) -> list[tuple[str, list[str]]]:
        """The kept parts; a parameter that came later (an adapter's) belongs to the part of the one before it."""
        found: dict[str, list[str]] = {name: [] for name in self._names}
        stage = self._names[0]
        for name, _ in self.named_parameters():
            stage = self._stage_of.get(name, stage)
            found[stage].append(name)
        return [(name, names) for name, names in found.items() if names]

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner.embed(x)

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        if not self.end:
            whole: Features = self.inner(x, embedded, mask)
            return whole
        # Registered for this pass alone, so that it comes behind all other hooks: those see the last part too.
        hook = self.inner.get_submodule(self.end).register_forward_hook(_stop)
        try:
            self.inner(x, embedded, mask)
        except _Reached as reached:
            found = reached.found
        else:
            raise DataError(f"{self.card.name}: its last part, {self._names[-1]}, did not run on this input")
        finally:
            hook.remove()
        if found.ndim == 3 and not self.inner.batch_first:
            found = found.transpose(0, 1)
        return self.inner.pool(found, x, mask)

    def pool(self, found: torch.Tensor, x: torch.Tensor, mask: torch.Tensor | None = None) -> Features:
        return self.inner.pool(found, x, mask)

    def describe(self) -> dict[str, Any]:
        return {**self.inner.describe(), "stages": self.parts}

    def notes(self, samples: Sequence[Sample]) -> list[Note]:
        return self.inner.notes(samples)

    def assets(self) -> dict[str, bytes]:
        return self.inner.assets()


# ----------------------------------------------------------------------------------------- cutting

Groups = list[tuple[str, list[str]]]
_BROKEN = (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError)
"""What a network raises where a part is gone that it needs."""


def cut(backbone: Backbone, parts: int, name: str = "") -> Cut:
    """The first `parts` of a backbone behind its input, made of the backbone itself: do not use that one any more.

    The card counts what is left, in MB of the whole's file format, and has no top-1: that was the whole network's.
    Raises UsageError where there are fewer parts, or the network cannot be cut there; it names those that there are.
    `name` is what messages call the backbone.
    """
    name = name or backbone.card.name
    groups = backbone.stages()
    if not 1 <= parts < len(groups):
        raise UsageError(f"{name}: stages={parts}, and {_parts(groups)}")
    backbone.source_head = None
    with _evaluating(backbone):
        made = _made(backbone, parts, groups, name)
    made.training = backbone.training
    made.card = _cards.of_part(backbone.card, made)
    return made


def possible(backbone: Backbone) -> list[int]:
    """How many parts a cut of this backbone may keep, without all of them, ascending; it stays as it is."""
    groups = backbone.stages()
    with _evaluating(backbone):
        found = _ends(backbone, groups, backbone.card.name) if len(groups) > 2 else {}
    return [k for k in range(1, len(groups) - 1) if k in found]


@contextmanager
def _evaluating(backbone: Backbone) -> Iterator[None]:
    """Evaluation mode for a while; each module has its own mode back behind it."""
    modes = {m: m.training for m in backbone.modules()}
    backbone.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


def _parts(groups: Groups) -> str:
    names = [name for name, _ in groups[1:]]
    if not names:
        return "its network is of one part, which cannot be cut"
    one = "is 1 part" if len(names) == 1 else f"are {len(names)} parts"
    return f"there {one} behind its input ({', '.join(names)}): give 1 to {len(names)}, or leave :stages= out"


@torch.no_grad()
def _made(backbone: Backbone, parts: int, groups: Groups, name: str) -> Cut:
    again = isinstance(backbone, Cut)
    inner = backbone.inner if isinstance(backbone, Cut) else backbone
    kept = [(stage, [n.removeprefix("inner.") if again else n for n in names]) for stage, names in groups[: parts + 1]]
    if parts == len(groups) - 1:
        end = backbone.end if isinstance(backbone, Cut) else ""
    else:
        found = _ends(backbone, groups, name)
        if parts not in found:
            where = ", ".join(str(k) for k in sorted(found) if k) or "none"
            raise UsageError(
                f"{name}: it cannot be cut behind its part {parts}, {groups[parts][0]}, of which no module of its own "
                f"runs just once; possible numbers: {where}; {_parts(groups)}"
            )
        end = found[parts].removeprefix("inner.") if again else found[parts]
    made = Cut(inner, parts, kept, end).eval()
    x = _example(backbone, name)
    before = made(x).pooled
    made.dim = int(before.shape[1])
    weights = dict(backbone.named_parameters())
    _drop(inner, {id(weights[n]) for _, names in groups[parts + 1 :] for n in names})
    try:
        same = torch.equal(before, made(x).pooled)
    except _BROKEN as e:
        raise _refused(name, groups[parts][0], str(e)) from e
    if not same:
        raise _refused(name, groups[parts][0], "without them it gives other numbers")
    return made


def _refused(name: str, stage: str, why: str) -> UsageError:
    return UsageError(f"{name}: it cannot be cut behind {stage}: this needs what comes later ({why})")


def _ends(backbone: Backbone, groups: Groups, name: str) -> dict[int, str]:
    """By number of parts, the path of the module whose one run in a pass ends them."""
    x = _example(backbone, name)
    with torch.no_grad():
        found = ends(backbone, x)
        runs: dict[nn.Module, int] = dict.fromkeys(found.values(), 0)

        def count(module: nn.Module, given: Any, out: Any) -> None:
            runs[module] += 1

        hooks = [m.register_forward_hook(count) for m in runs]
        try:
            backbone(x)
        finally:
            for hook in hooks:
                hook.remove()
    paths = {module: path for path, module in backbone.named_modules()}
    numbered = {k: found[stage] for k, (stage, _) in enumerate(groups) if stage in found}
    return {k: paths[module] for k, module in numbered.items() if runs[module] == 1}


def _example(backbone: Backbone, name: str) -> torch.Tensor:
    """The golden input of the backbone's modality as a batch of one."""
    sample = golden.sample_of(backbone.modality, int(backbone.describe().get("channels", _channels.USUAL)))
    if sample is None:
        raise UsageError(f"{name}: a backbone for a {backbone.modality} cannot be cut; those of pictures and texts can")
    x = backbone.collate([backbone.encode(sample.x).x])
    return x.to(next(backbone.parameters()).device)


def _drop(module: nn.Module, gone: set[int]) -> None:
    """Take out all parameters in `gone` (by id), with the modules that have no others."""
    places: set[str] = set()
    for name, child in list(module.named_children()):
        own = {id(p) for p in child.parameters()}
        if own and own <= gone:
            places.add(name)
            setattr(module, name, nn.Identity())  # a place that is never reached, so that later ones keep their names
        elif own & gone:
            _drop(child, gone)
    for name, parameter in list(module.named_parameters(recurse=False)):
        if id(parameter) in gone:
            setattr(module, name, None)
    if isinstance(module, nn.Sequential | nn.ModuleList):
        for name in takewhile(places.__contains__, reversed([n for n, _ in module.named_children()])):
            delattr(module, name)

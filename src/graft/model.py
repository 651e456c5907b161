"""What a model is: features of a backbone, a head that answers, and the batch both read."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from graft.errors import UsageError
from graft.pooling import as_maps, over_places, over_tokens

if TYPE_CHECKING:
    from graft.data import Note, Sample
    from graft.tasks import Task


@dataclass(frozen=True)
class Encoded:
    """What a backbone takes for one sample, and where it lies in it (scale and crop, or token offsets)."""

    x: torch.Tensor
    where: Any = None


@dataclass
class Batch:
    """Samples as tensors: x [b, ...], y as the task collates it, weight [b]; the rest has b entries each.

    `views[spec][k]` is draw k of a view of the unlabelled stream; `extra[name]` the same samples under
    another encoder.
    """

    x: torch.Tensor
    y: Any = None
    id: Sequence[str] = ()
    domain: Sequence[str] = ()
    task: Sequence[str] = ()
    weight: torch.Tensor = field(default_factory=lambda: torch.ones(0))
    where: Sequence[Any] = ()
    views: dict[str, list[Batch]] = field(default_factory=dict)
    extra: dict[str, Batch] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with every tensor on `device`."""
        return replace(
            self,
            x=self.x.to(device),
            y=_to(self.y, device),
            weight=self.weight.to(device),
            views={k: [b.to(device) for b in v] for k, v in self.views.items()},
            extra={k: b.to(device) for k, b in self.extra.items()},
        )

    def mix(self, perm: torch.Tensor, lam: torch.Tensor | float) -> Batch:
        """Blend row i with row perm[i]: lam x_i + (1 - lam) x_j, targets weighted alike.

        lam is in [0.5, 1], a number or [b]. id, domain, task and where stay those of row i. Raises
        UsageError for integer x (tokens) and for targets that are not floating point.
        """
        if not all(b.x.is_floating_point() for b in (self, *self.extra.values())):
            raise UsageError("token ids cannot be mixed: use a method that varies texts, or mixes features")
        share = torch.as_tensor(lam, dtype=self.x.dtype, device=self.x.device).expand(len(self))
        if bool((share < 0.5).any()) or bool((share > 1).any()):
            raise ValueError(f"lam is between 0.5 and 1, so that row i stays the main one; got {lam}")
        w = share * self.weight + (1 - share) * self.weight[perm]
        y = self.y
        if y is not None:
            if not (isinstance(y, torch.Tensor) and y.is_floating_point()):
                raise UsageError("these targets cannot be mixed: the task's collate must give probabilities")
            part = (share * self.weight / w).nan_to_num(0.0)
            y = _blend(y, y[perm], part)
        extra = {k: replace(e, x=_blend(e.x, e.x[perm], share)) for k, e in self.extra.items()}
        return replace(self, x=_blend(self.x, self.x[perm], share), y=y, weight=w, extra=extra)


def _blend(a: torch.Tensor, b: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
    s = share.to(a.dtype).reshape(-1, *[1] * (a.ndim - 1))
    return s * a + (1 - s) * b


def _to(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {k: _to(v, device) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to(v, device) for v in value)
    if is_dataclass(value) and not isinstance(value, type):  # boxes
        return replace(value, **{f.name: _to(getattr(value, f.name), device) for f in fields(value)})
    return value


@dataclass(frozen=True)
class Features:
    """What a backbone says of a batch: pooled [b, d], tokens [b, t, d], maps ([b, c, h, w], ...), mask [b, t]."""

    pooled: torch.Tensor
    tokens: torch.Tensor | None = None
    maps: tuple[torch.Tensor, ...] = ()
    mask: torch.Tensor | None = None


@dataclass
class Output:
    """One pass: the features, the head's answer (None where it only left losses), and those losses."""

    features: Features
    pred: Any
    losses: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Card:
    """What is known of a pretrained model before it is used."""

    name: str
    parameters: int = 0
    mb: float = 0.0
    size: int = 0  # pixels a side, or tokens
    license: str = "unknown"
    trained_on: str = "unknown"
    top1: float | None = None


class Backbone(nn.Module):
    """What is known: turns samples into features. Sources subclass it once.

    Attributes: `card`, `dim` (d of pooled), `modality` ("picture", "text", ...), `source_head` (the
    module that answered the pretraining task, or None), `batch_first` (whether the tokens inside lie as
    [b, t, d]; False: as [t, b, d]).
    """

    card: Card
    dim: int
    modality: str
    source_head: nn.Module | None
    batch_first: bool = True

    def __init__(self) -> None:
        super().__init__()
        self.source_head = None  # here, not on the class: there it would hide the module set later

    @abstractmethod
    def encode(self, x: Any, size: int | None = None) -> Encoded:
        """Turn one opened sample into a tensor, at the backbone's own size or at `size`."""

    @abstractmethod
    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        """Stack encoded samples into the x of a batch, padding where needed."""

    @abstractmethod
    def stages(self) -> list[tuple[str, list[str]]]:
        """(name, parameter names) of the parts from input to output; every parameter once."""

    @abstractmethod
    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """The embedding before the trunk, [b, t, d] or [b, c, h, w], so that parts of it can be masked."""

    @abstractmethod
    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
        """Features of a batch; with `embedded` the trunk starts from there and x is only looked at for shape."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """JSON-able values from which the source's `build` makes the same module again, without weights."""

    def pool(self, found: torch.Tensor, x: torch.Tensor, mask: torch.Tensor | None = None) -> Features:
        """Features of batch x, were `found` all that the trunk gives: maps, tokens [b, t, d] or vectors [b, d].

        It is pooled as `forward` pools; here by the mean over places or tokens.
        """
        if found.ndim == 4:
            return Features(over_places(found), maps=(as_maps(found),))
        tokens = found if found.ndim == 3 else None
        return Features(over_tokens(found, mask), tokens=tokens, mask=mask if tokens is not None else None)

    def notes(self, samples: Sequence[Sample]) -> list[Note]:
        """What a person should know of how these samples fit what the backbone takes (cut texts, unknown words)."""
        return []

    def assets(self) -> dict[str, bytes]:
        """Files that `build` needs besides the description (a tokenizer), by name."""
        return {}


class Model(nn.Module):
    """A backbone with a head; `aux` holds modules that only training uses."""

    def __init__(self, backbone: Backbone, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.set_head(head)
        self.aux = nn.ModuleDict()

    def set_head(self, head: nn.Module) -> None:
        """Answer with `head` from now on, moved to where the backbone is."""
        self.head = head.to(next(self.backbone.parameters()).device)
        if self.backbone.source_head is head:
            self.backbone.source_head = None  # else freezing the backbone would freeze its head too

    def forward(self, batch: Batch) -> Output:
        """One pass over a batch."""
        features = self.backbone(batch.x)
        pred, losses = self.head(features, batch)
        return Output(features, pred, losses)

    @torch.no_grad()
    def predict(
        self, samples: Sequence[Sample], task: Task, size: int | None = None, tick: Callable[[int], None] | None = None
    ) -> list[Any]:
        """Decoded answers for samples, in order; `tick(n)` hears of every n samples done."""
        from graft.loading import batches

        self.eval()
        device = next(self.parameters()).device
        answers: dict[int, Any] = {}
        for rows, batch in batches(samples, self.backbone, size):
            out = self(batch.to(device))
            for row, answer in zip(rows, task.decode(out.pred, batch.where), strict=True):
                answers[row] = answer
            if tick is not None:
                tick(len(rows))
        return [answers[i] for i in range(len(samples))]


def fingerprint(module: nn.Module) -> str:
    """SHA-256 over names, shapes and bytes of a module's parameters and buffers, without `source_head`."""
    h = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if name.startswith("source_head."):
            continue  # a run saves the backbone without it
        h.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        h.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return h.hexdigest()


def batch_norms(module: nn.Module) -> Iterator[nn.modules.batchnorm._BatchNorm]:
    """All batch normalisations below a module."""
    return (m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm))

"""Tiny random networks and made data: a task or a method for every row of the design's table of cases."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from graft.backbones._picture import Preprocess
from graft.data import Boxes, Data, Sample
from graft.heads import LinearHead, SourceHead
from graft.methods import Method
from graft.model import Backbone, Batch, Card, Encoded, Features, Model, Output
from graft.recipe import Stage
from graft.tasks import Scores, Task, _classes
from graft.train.loop import Resume, steps
from graft.train.step import Record

WIDTH = 8


# --------------------------------------------------------------------------------------- backbones


class Trunk(nn.Module):
    """Tokens [b, t, d] to tokens [b, t, d]."""

    def __init__(self, norm: bool, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.second = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.first(x).transpose(1, 2)).transpose(1, 2)
        return x + self.second(self.drop(F.gelu(x)))


class Toy(Backbone):
    """A patch embedding and a trunk; `kind` is row ([16] floats), picture, or text (pieces of three letters)."""

    LETTERS = 64

    def __init__(
        self, kind: str = "row", *, norm: bool = False, dropout: float = 0.0, classes: int = 0, seed: int = 0, size: int = 16
    ) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            if kind == "picture":
                self.stem: nn.Module = nn.Conv2d(3, WIDTH, 4, stride=4)
            else:
                self.stem = nn.Linear(4, WIDTH) if kind == "row" else nn.Embedding(self.LETTERS, WIDTH)
            self.trunk = Trunk(norm, dropout)
            if classes:
                self.source_head = SourceHead(nn.Linear(WIDTH, classes))
        self.kind, self.modality, self.dim, self.size, self.card = kind, kind, WIDTH, size, Card(f"toy-{kind}")
        self.options = {"norm": norm, "dropout": dropout, "classes": classes}

    def encode(self, x: Any, size: int | None = None) -> Encoded:
        if self.kind == "picture":
            return Preprocess(self.size, crop=1.0)(x, size)
        if self.kind == "row":
            return Encoded(torch.as_tensor(x, dtype=torch.float32))
        pieces = [(w, word[i : i + 3]) for w, word in enumerate(x.split()) for i in range(0, len(word), 3)]
        ids = [1 + sum(map(ord, piece)) % (self.LETTERS - 1) for _, piece in pieces]
        return Encoded(torch.tensor(ids), [w for w, _ in pieces])  # where: each piece's word

    def collate(self, xs: list[torch.Tensor]) -> torch.Tensor:
        return nn.utils.rnn.pad_sequence(xs, batch_first=True) if self.kind == "text" else torch.stack(xs)

    def stages(self) -> list[tuple[str, list[str]]]:
        names = [n for n, _ in self.named_parameters() if not n.startswith("source_head.")]
        parts = ("stem.", "trunk.first.", "trunk.")
        found: list[tuple[str, list[str]]] = []
        for part in parts:
            taken = {n for _, group in found for n in group}
            found.append((part[:-1], [n for n in names if n.startswith(part) and n not in taken]))
        return found

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        if self.kind == "picture":
            return self.stem(x).flatten(2).transpose(1, 2)
        return self.stem(x.reshape(len(x), -1, 4) if self.kind == "row" else x)

    def forward(self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None) -> Features:
        if mask is None:
            mask = x != 0 if self.kind == "text" else None
        tokens = self.trunk(self.embed(x) if embedded is None else embedded)
        if mask is None:
            pooled = tokens.mean(1)
        else:
            pooled = (tokens * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        maps: tuple[torch.Tensor, ...] = ()
        if self.kind == "picture":
            maps = (tokens.transpose(1, 2).reshape(len(x), WIDTH, x.shape[2] // 4, x.shape[3] // 4),)
        return Features(pooled, tokens, maps, mask)

    def describe(self) -> dict[str, Any]:
        return {"source": "toy", "kind": self.kind, **self.options}


# -------------------------------------------------------------------------------------------- data


def rows(n: int = 24, *, classes: int = 3, seed: int = 0, task: str = "", unlabelled: int = 0) -> Data:
    """Gaussian clouds in 16 dimensions, in two domains that differ by a shift."""
    draw = np.random.default_rng(seed)
    centres = draw.normal(size=(classes, 16)) * 1.5

    def make(count: int, name: str) -> list[Sample]:
        found = []
        for i in range(count):
            y, domain = i % classes, "ab"[(i // classes) % 2]
            x = centres[y] + draw.normal(size=16) + 0.3 * (domain == "b")
            found.append(Sample(x.astype(np.float32), y, f"{name}{i}", domain=domain, task=task, digest=f"{task}{seed}{name}{i}"))
        return found

    unlabeled = [replace(s, y=None) for s in make(unlabelled, "u")]
    labels = tuple(f"c{i}" for i in range(classes))
    return Data(make(n, "train"), make(12, "valid"), make(12, "test"), unlabeled, labels)


def texts(n: int = 18) -> list[Sample]:
    """Words of two letters' kinds; y has one tag a word: 1 where it holds an x."""
    draw = np.random.default_rng(1)
    found = []
    for i in range(n):
        words = ["".join(draw.choice(list("abcx"), size=draw.integers(1, 8))) for _ in range(draw.integers(2, 9))]
        found.append(Sample(" ".join(words), tuple(int("x" in w) for w in words), f"t{i}"))
    return found


def scene(seed: int) -> tuple[Any, tuple[int, int, int, int]]:
    """A dark picture of 60 x 40 with one red rectangle, and its (left, top, right, bottom)."""
    from PIL import Image

    draw = np.random.default_rng(seed)
    left, top = int(draw.integers(15, 30)), int(draw.integers(10, 18))
    box = (left, top, left + int(draw.integers(8, 16)), top + int(draw.integers(8, 14)))
    picture = Image.new("RGB", (60, 40), (20, 20, 20))
    picture.paste((250, 0, 0), box)
    return picture, box


def boxed(n: int = 12) -> list[Sample]:
    made = [scene(i) for i in range(n)]
    return [Sample(p, Boxes(torch.tensor([b], dtype=torch.float32), torch.zeros(1)), f"p{i}") for i, (p, b) in enumerate(made)]


def masked(n: int = 12) -> list[Sample]:
    from PIL import Image

    found = []
    for i, (picture, box) in enumerate(scene(k) for k in range(n)):
        mask = Image.new("L", picture.size, 0)
        mask.paste(1, box)
        found.append(Sample(picture, mask, f"m{i}"))
    return found


def whole(samples: list[Sample]) -> Data:
    return Data(samples, samples[:4], samples[:4], labels=("a", "b"))


# ------------------------------------------------------------------------------------------- tasks


class Classes(Task):
    """Class scores, [b] losses; `head_of` may be the backbone's own."""

    outputs: ClassVar[str] = "classes"

    def __init__(self, labels: Sequence[str] = ("c0", "c1", "c2"), own_head: bool = False) -> None:
        self.labels, self.own_head = tuple(labels), own_head

    def target(self, sample: Sample, where: Any) -> int:
        return int(sample.y)

    def collate(self, ys: list[int]) -> torch.Tensor:
        return _classes.collate(ys, len(self.labels))

    def head(self, backbone: Backbone, data: Data) -> nn.Module:
        if self.own_head:
            assert backbone.source_head is not None
            return backbone.source_head
        return LinearHead(backbone.dim, len(self.labels))

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return _classes.loss(output, batch)

    def scores(self, pred: torch.Tensor) -> Scores:
        return Scores(pred, exclusive=True)

    def decode(self, pred: torch.Tensor, where: Sequence[Any]) -> list[Any]:
        return _classes.decode(pred)

    def measure(self, decoded: Sequence[Any], truth: Sequence[Any]) -> dict[str, float]:
        return _classes.measure(decoded, truth)


class BoxHead(nn.Module):
    """One box a picture, as shares of its side; reads targets in training and leaves its losses there."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 4)

    def forward(self, features: Features, batch: Batch | None) -> tuple[Any, dict[str, torch.Tensor]]:
        boxes = self.linear(features.pooled).sigmoid()  # [b, 4]
        if batch is None or batch.y is None:
            return boxes, {}
        return None, {"l1": (boxes - torch.stack([y.xyxy[0] for y in batch.y])).abs().mean(1)}


class OneBox(Task):
    """The first box of a picture, in shares of the input; losses come from the head."""

    outputs: ClassVar[str] = "boxes"

    def target(self, sample: Sample, where: Any) -> Boxes:
        scale, shift = torch.tensor(where["scale"] * 2), torch.tensor([where["left"], where["top"]] * 2)
        xyxy = sample.y.xyxy if len(sample.y.xyxy) else torch.zeros(1, 4)  # a view may have cut it away
        return Boxes((xyxy * scale - shift) / where["size"], sample.y.labels)

    def collate(self, ys: list[Boxes]) -> list[Boxes]:
        return ys

    def head(self, backbone: Backbone, data: Data) -> nn.Module:
        return BoxHead(backbone.dim)

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return output.losses

    def decode(self, pred: torch.Tensor, where: Sequence[Any]) -> list[Any]:
        found = []
        for box, w in zip(pred, where, strict=True):
            shift, scale = torch.tensor([w["left"], w["top"]] * 2), torch.tensor(w["scale"] * 2)
            found.append(((box * w["size"] + shift) / scale).numpy())
        return found

    def measure(self, decoded: Sequence[Any], truth: Sequence[Any]) -> dict[str, float]:
        return {"l1": float(np.mean([np.abs(d - t.xyxy[0].numpy()).mean() for d, t in zip(decoded, truth, strict=True)]))}


class MaskHead(nn.Module):
    """Two classes at each place of the last map: [b, 2, h, w]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(dim, 2, 1)

    def forward(self, features: Features, batch: Batch | None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.conv(features.maps[-1]), {}


class Masks(Task):
    """A class for each of 4 x 4 places of a picture."""

    outputs: ClassVar[str] = "mask"

    def target(self, sample: Sample, where: Any) -> torch.Tensor:
        new = tuple(round(s * scale) for s, scale in zip(sample.y.size, where["scale"], strict=True))
        left, top, size = where["left"], where["top"], where["size"]
        array = np.array(sample.y.resize(new, 0).crop((left, top, left + size, top + size)), dtype=np.float32)
        return F.avg_pool2d(torch.from_numpy(array)[None], 4)[0].round().long()  # [h, w]

    def collate(self, ys: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack(ys)

    def head(self, backbone: Backbone, data: Data) -> nn.Module:
        return MaskHead(backbone.dim)

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return {"mask": F.cross_entropy(output.pred, batch.y, reduction="none").mean((1, 2))}

    def scores(self, pred: torch.Tensor) -> Scores:
        return Scores(pred, exclusive=True)

    def decode(self, pred: torch.Tensor, where: Sequence[Any]) -> list[Any]:
        return list(pred.argmax(1).numpy())

    def measure(self, decoded: Sequence[Any], truth: Sequence[Any]) -> dict[str, float]:
        return {"accuracy": float(np.mean(np.stack(decoded) == np.stack(truth)))}


class TagHead(nn.Module):
    """Two scores a token: [b, t, 2]."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, 2)

    def forward(self, features: Features, batch: Batch | None) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return self.linear(features.tokens), {}


class Tags(Task):
    """A tag for each word; a word's first piece carries it (`where` gives each piece's word)."""

    outputs: ClassVar[str] = "tokens"

    def target(self, sample: Sample, where: list[int]) -> torch.Tensor:
        first = [i == 0 or where[i - 1] != w for i, w in enumerate(where)]
        return torch.tensor([sample.y[w] if f else -100 for w, f in zip(where, first, strict=True)])

    def collate(self, ys: list[torch.Tensor]) -> torch.Tensor:
        return nn.utils.rnn.pad_sequence(ys, batch_first=True, padding_value=-100)

    def head(self, backbone: Backbone, data: Data) -> nn.Module:
        return TagHead(backbone.dim)

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        each = F.cross_entropy(output.pred.transpose(1, 2), batch.y, reduction="none", ignore_index=-100)
        return {"tags": each.sum(1) / (batch.y != -100).sum(1)}

    def scores(self, pred: torch.Tensor) -> Scores:
        return Scores(pred.transpose(1, 2), exclusive=True)

    def decode(self, pred: torch.Tensor, where: Sequence[list[int]]) -> list[Any]:
        return [[int(p[w.index(k)].argmax()) for k in range(w[-1] + 1)] for p, w in zip(pred, where, strict=True)]

    def measure(self, decoded: Sequence[Any], truth: Sequence[Any]) -> dict[str, float]:
        pairs = [(a, b) for d, t in zip(decoded, truth, strict=True) for a, b in zip(d, t, strict=True)]
        return {"accuracy": float(np.mean([a == b for a, b in pairs]))}


class Numbers(Task):
    """A number for each sample, from pooled features."""

    outputs: ClassVar[str] = "numbers"

    def __init__(self, scalar: bool = False, width: int = 1) -> None:
        self.scalar, self.width = scalar, width

    def target(self, sample: Sample, where: Any) -> float:
        return float(sample.y)

    def collate(self, ys: list[float]) -> torch.Tensor:
        return torch.tensor(ys).unsqueeze(1)

    def head(self, backbone: Backbone, data: Data) -> nn.Module:
        return LinearHead(backbone.dim, 1)

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        each = (output.pred - batch.y).square().squeeze(1)  # [b]
        return {"squared": each.mean() if self.scalar else each}

    def decode(self, pred: torch.Tensor, where: Sequence[Any]) -> list[Any]:
        return pred.squeeze(1).tolist()

    def measure(self, decoded: Sequence[Any], truth: Sequence[Any]) -> dict[str, float]:
        return {"mse": float(np.mean((np.array(decoded) - np.array(truth)) ** 2))}


class Heads(nn.Module):
    """A head for each task; rows go to theirs by `batch.task`: {task: (rows, pred of those rows)}."""

    def __init__(self, heads: dict[str, nn.Module]) -> None:
        super().__init__()
        self.each = nn.ModuleDict(heads)

    def forward(self, features: Features, batch: Batch | None) -> tuple[Any, dict[str, torch.Tensor]]:
        assert batch is not None
        found = {}
        for name, head in self.each.items():
            at = [i for i, task in enumerate(batch.task) if task == name]
            if at:
                found[name] = (at, head(Features(features.pooled[at]), part_of(batch, name, at))[0])
        return found, {}


def part_of(batch: Batch, name: str, at: list[int]) -> Batch:
    y = batch.y[name] if batch.y is not None else None
    return Batch(batch.x[at], y, [batch.id[i] for i in at], weight=batch.weight[at])


class Several(Task):
    """Several tasks over one backbone as one: a term `task/loss` each, [b], zero outside its rows."""

    outputs: ClassVar[str] = "several"

    def __init__(self, tasks: dict[str, Task]) -> None:
        self.tasks = tasks

    def target(self, sample: Sample, where: Any) -> tuple[str, Any]:
        return sample.task, self.tasks[sample.task].target(sample, where)

    def collate(self, ys: list[tuple[str, Any]]) -> dict[str, Any]:
        by_task = {name: [y for task, y in ys if task == name] for name in self.tasks}
        return {name: self.tasks[name].collate(own) for name, own in by_task.items() if own}

    def head(self, backbone: Backbone, data: Data) -> nn.Module:
        return Heads({name: task.head(backbone, data) for name, task in self.tasks.items()})

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        found = {f"{name}/loss": torch.zeros(len(batch)) for name in self.tasks}  # on every process the same
        for name, (at, pred) in output.pred.items():
            terms = self.tasks[name].loss(Output(output.features, pred), part_of(batch, name, at)).values()
            found[f"{name}/loss"] = torch.zeros(len(batch)).index_put((torch.tensor(at),), sum(terms))
        return found

    def decode(self, pred: Any, where: Sequence[Any]) -> list[Any]:
        answers: list[Any] = [None] * len(where)
        for name, (at, own) in pred.items():
            for i, answer in zip(at, self.tasks[name].decode(own, [where[i] for i in at]), strict=True):
                answers[i] = (name, answer)
        return answers

    def measure(self, decoded: Sequence[Any], truth: Sequence[Any]) -> dict[str, float]:
        return {"answered": float(np.mean([d is not None for d in decoded]))}


def clone(module: nn.Module) -> Any:
    """A frozen copy."""
    return copy.deepcopy(module).requires_grad_(False)


# ------------------------------------------------------------------------------------------ running


def model_of(task: Task, data: Data, kind: str = "row", **options: Any) -> Model:
    """A toy with a head of the task; the same numbers every time."""
    backbone = Toy(kind, **options)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return Model(backbone, task.head(backbone, data))


def stage_of(**options: Any) -> Stage:
    return Stage(("toy",), **{"epochs": 2.0, "lr": 1e-2, "batch": 8, "view": "none", **options})


def train(
    model: Model, task: Task, data: Data, methods: Sequence[Method], *, seed: int = 0, origin: Any = None, **options: Any
) -> list[Record]:
    """All records of one stage."""
    return list(steps(model, task, stage_of(**options), data, methods, seed=seed, origin=origin))


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {n: t.detach().clone() for n, t in model.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of weights are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def total(record: Record) -> float:
    return sum(record.terms.values())


def falls(records: Sequence[Record]) -> bool:
    """Whether the mean loss of the last quarter lies below that of the first."""
    quarter = max(1, len(records) // 4)
    mean = [float(np.mean([total(r) for r in part])) for part in (records[:quarter], records[-quarter:])]
    return mean[1] < mean[0]


def resume_from(state: dict[str, Any]) -> Resume:
    return Resume(state["loop"], state["model"], state["optimizer"], state["methods"])

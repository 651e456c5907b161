"""Tiny random networks and made data: a task or a method for every row of the design's table of cases."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from graft.backbones._picture import Preprocess
from graft.data import Boxes, Data, Sample
from graft.heads import SourceHead
from graft.methods import Method
from graft.model import Backbone, Card, Encoded, Features, Model
from graft.recipe import Stage
from graft.tasks import Task
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
    """A patch embedding and a trunk; `kind` is row ([16] floats), picture or text (pieces of 3 letters)."""

    LETTERS = 64

    def __init__(
        self,
        kind: str = "row",
        *,
        norm: bool = False,
        dropout: float = 0.0,
        classes: int = 0,
        seed: int = 0,
        size: int = 16,
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
        self.kind, self.modality, self.dim, self.size, self.card = (
            kind,
            kind,
            WIDTH,
            size,
            Card(f"toy-{kind}"),
        )
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

    def forward(
        self, x: torch.Tensor, embedded: torch.Tensor | None = None, mask: torch.Tensor | None = None
    ) -> Features:
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
            found.append(
                Sample(
                    x.astype(np.float32),
                    y,
                    f"{name}{i}",
                    domain=domain,
                    task=task,
                    digest=f"{task}{seed}{name}{i}",
                )
            )
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
    return [
        Sample(p, Boxes(torch.tensor([b], dtype=torch.float32), torch.zeros(1)), f"p{i}")
        for i, (p, b) in enumerate(made)
    ]


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
    model: Model,
    task: Task,
    data: Data,
    methods: Sequence[Method],
    *,
    seed: int = 0,
    origin: Any = None,
    **options: Any,
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


def held(value: Any) -> Any:
    """A state with tensors of its own, as a checkpoint would hold it."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {k: held(v) for k, v in value.items()}
    return [held(v) for v in value] if isinstance(value, list) else value

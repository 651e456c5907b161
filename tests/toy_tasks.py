"""Tiny tasks: classes, boxes, masks, tags, numbers, and several of them as one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from graft.data import Boxes, Data, Sample
from graft.heads import LinearHead
from graft.model import Backbone, Batch, Features, Output
from graft.tasks import Scores, Task, _classes


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
        return {"cross_entropy": F.cross_entropy(output.pred, batch.y, reduction="none")}

    def scores(self, pred: torch.Tensor) -> Scores:
        return Scores(pred, exclusive=True)

    def decode(self, pred: torch.Tensor, where: Sequence[Any]) -> list[Any]:
        return _classes.decode(pred)

    def measure(self, decoded: Sequence[Any], truth: Sequence[Any]) -> dict[str, float]:
        p, true = np.asarray(decoded), np.asarray(truth)
        loss = -np.log(np.clip(p[np.arange(len(true)), true], 1e-12, 1)).mean()
        return {"accuracy": float((p.argmax(axis=1) == true).mean()), "log_loss": float(loss)}


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
        return {
            "l1": float(np.mean([np.abs(d - t.xyxy[0].numpy()).mean() for d, t in zip(decoded, truth, strict=True)]))
        }


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

"""What picture and text classification share: targets, loss, decoding and measures of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from graft.data import Data, Note, Parts, arrange, scale_weights, vocabulary
from graft.heads import LinearHead
from graft.model import Backbone, Batch, Output
from graft.tasks import Answers


def build(parts: Parts, notes: list[Note], seed: int, schema: dict[str, Any]) -> Data:
    """Split parts and settle the labels; raises DataError (one class, labels only in test, too few)."""
    labels = vocabulary(parts, notes)
    arranged, more = arrange(parts, seed)
    missing = sorted(set(labels) - {s.y for s in arranged["train"]})
    if missing:
        more.append(Note("warning", f"{len(missing)} classes have no sample left to train on", tuple(missing)))
    train = scale_weights(arranged["train"])
    return Data(train, arranged["valid"], arranged["test"], labels=labels, schema=schema, notes=[*notes, *more])


def collate(ys: list[int], classes: int) -> torch.Tensor:
    """Class indices to probabilities [b, classes]."""
    return F.one_hot(torch.tensor(ys), classes).float()


def head(backbone: Backbone, classes: int) -> LinearHead:
    """A linear head that starts with equal scores."""
    return LinearHead(backbone.dim, classes)


def loss(output: Output, batch: Batch) -> dict[str, torch.Tensor]:
    """Cross-entropy against hard or mixed targets, [b]."""
    return {"cross_entropy": F.cross_entropy(output.pred, batch.y, reduction="none")}


def decode(pred: torch.Tensor) -> list[np.ndarray]:
    """Probabilities [classes] of each sample."""
    return list(F.softmax(pred.double(), dim=1).cpu().numpy())


def measure(decoded: Answers, truth: Answers) -> dict[str, float]:
    """Accuracy first, then balanced accuracy, macro-F1 and log-loss of probabilities against indices.

    Balanced accuracy and macro-F1 are means over the classes that occur in `truth`.
    """
    p, t = np.asarray(decoded), np.asarray(truth)
    classes = p.shape[1]
    table = np.bincount(t * classes + p.argmax(axis=1), minlength=classes**2).reshape(classes, classes)
    hits, rows, columns = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    there = rows > 0
    return {
        "accuracy": float(hits.sum() / len(t)),
        "balanced_accuracy": float((hits[there] / rows[there]).mean()),
        "macro_f1": float((2 * hits[there] / (rows + columns)[there]).mean()),
        "log_loss": float(-np.log(np.clip(p[np.arange(len(t)), t], 1e-12, 1)).mean()),
    }


def pointwise(decoded: Answers, truth: Answers) -> np.ndarray:
    """1.0 where the likeliest class is the true one, else 0.0, [n]."""
    right: np.ndarray = np.asarray(decoded).argmax(axis=1) == np.asarray(truth)
    return right.astype(np.float64)

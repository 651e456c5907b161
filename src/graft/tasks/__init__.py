"""What is asked of a model: reading the data, targets, head, loss, decoding and measures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import nn

if TYPE_CHECKING:
    import numpy as np

    from graft.data import Data, Note, Parts, Sample
    from graft.model import Backbone, Batch, Output
    from graft.recipe import Recipe


Answers = Sequence[Any] | NDArray[Any]
"""Decoded answers or true ones, one a sample."""


@dataclass(frozen=True)
class Scores:
    """Class scores as distillation, self-training and confusion want them: logits [b, classes, ...]."""

    logits: torch.Tensor
    exclusive: bool


class Task(ABC):
    """A kind of question about a kind of data; one file each in `graft/tasks`.

    A task that has read data knows its `labels`.
    """

    name: str = ""
    """The file's name."""
    outputs: ClassVar[str] = "classes"
    """What is answered: classes, numbers, boxes, mask, tokens, text or ranking."""
    modality: ClassVar[str] = ""
    """What a backbone must take: picture, text, ..."""
    labels: tuple[str, ...] = ()
    schema: Any = None

    @classmethod
    def recognises(cls, source: Any) -> str:
        """A sentence on why this source is of this task's kind, or nothing."""
        return ""

    def parts(self, source: Any, recipe: Recipe) -> tuple[Parts, list[Note]]:
        """Read the source into the parts it has: train, valid, test, or all. Raises DataError."""
        raise NotImplementedError(f"{type(self).__name__} reads no files")

    def read(self, source: Any, recipe: Recipe) -> Data:
        """Read and split the source, and keep its labels and schema. Raises DataError."""
        raise NotImplementedError(f"{type(self).__name__} reads no files")

    def inputs(self, sources: Sequence[Any]) -> tuple[list[Sample], list[Note]]:
        """Samples without labels to predict, from files, folders, tables, lists or `-`."""
        raise NotImplementedError(f"{type(self).__name__} reads no files")

    @abstractmethod
    def target(self, sample: Sample, where: Any) -> Any:
        """The y of one sample as seen by the backbone."""

    @abstractmethod
    def collate(self, ys: list[Any]) -> Any:
        """Targets of a batch; for classes float probabilities [b, classes], so that they can be mixed."""

    @abstractmethod
    def head(self, backbone: Backbone, data: Data) -> nn.Module:
        """A fresh head, called `head(features, batch) -> (pred, losses)`; may be the backbone's own."""

    @abstractmethod
    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms by name, each [b], or a scalar where no more can be said."""

    def scores(self, pred: Any) -> Scores | None:
        """Class scores in an answer, or None where there are none."""
        return None

    @abstractmethod
    def decode(self, pred: Any, where: Sequence[Any]) -> list[Any]:
        """Answers a person can read, one a sample, in the sample's own coordinates."""

    @abstractmethod
    def measure(self, decoded: Answers, truth: Answers) -> dict[str, float]:
        """Measures by name; the first decides."""

    def pointwise(self, decoded: Answers, truth: Answers) -> np.ndarray | None:
        """Values [n] whose mean is the first measure, or None where it is no mean over samples."""
        return None

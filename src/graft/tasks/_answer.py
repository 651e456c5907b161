"""What kinds of answers have in common: from a target as written to measures of what was answered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import nn

from graft.data import Note, Parts, Sample
from graft.heads import LinearHead

if TYPE_CHECKING:
    from graft.model import Backbone
    from graft.recipe import Recipe
    from graft.tasks import Scores

Schema = dict[str, Any]


class Answer(ABC):
    """A kind of answer: classes, labels (several may hold at once) or numbers.

    It holds nothing of a data set: labels and schema are the task's and are handed in.
    """

    kind: ClassVar[str] = ""
    baseline: ClassVar[str] = ""
    """What the control without any knowledge is called."""

    @abstractmethod
    def settle(self, parts: Parts, notes: list[Note], asked: Recipe, schema: Schema) -> tuple[str, ...]:
        """Turn every y from what was written into what is meant, in place; return the labels.

        What is needed to read later data alike goes into `schema`. Raises DataError.
        """

    @abstractmethod
    def typed(self, raw: Any, schema: Schema) -> Any:
        """One target as written (str, tuple of str) as `settle` would leave it. Raises DataError, ValueError."""

    def strata(self, samples: Sequence[Sample]) -> list[str]:
        """What a split is balanced by, one a sample."""
        return [str(s.y) for s in samples]

    def after_split(self, train: Sequence[Sample], schema: Schema) -> None:  # noqa: B027  a hook
        """Note in `schema` what depends on the training part alone."""

    @abstractmethod
    def truth(self, y: Any, labels: tuple[str, ...]) -> Any:
        """A target as the measures take it: an index, a row of 0 and 1, a number."""

    def target(self, y: Any, labels: tuple[str, ...], schema: Schema) -> Any:
        """A target as the loss takes it."""
        return self.truth(y, labels)

    @abstractmethod
    def collate(self, ys: list[Any], labels: tuple[str, ...]) -> torch.Tensor:
        """Targets of a batch as floats [b, outputs]."""

    def outputs(self, labels: tuple[str, ...]) -> int:
        """How many numbers a head gives."""
        return len(labels)

    def head(self, backbone: Backbone, labels: tuple[str, ...]) -> nn.Module:
        """A linear head that starts with equal scores."""
        return LinearHead(backbone.dim, self.outputs(labels))

    @abstractmethod
    def loss(self, pred: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        """The training loss by name, [b]."""

    @abstractmethod
    def scores(self, pred: torch.Tensor) -> Scores | None:
        """Class scores in an answer, or None for numbers."""

    @abstractmethod
    def decode(self, pred: torch.Tensor, schema: Schema) -> list[Any]:
        """Probabilities [outputs] of each sample, or its number."""

    @abstractmethod
    def always(self, train: Sequence[Sample], labels: tuple[str, ...], n: int, measure: str) -> np.ndarray:
        """The control without knowledge: the same answer n times, as good as the training part allows."""


def said_cleaned(cleaned: Sequence[str]) -> list[Note]:
    """A warning that names the samples whose label was cleaned, each "ID ('as written')", or none."""
    said = f"{len(cleaned)} labels lost blanks around them or were put into Unicode's NFC"
    return [Note("warning", said, tuple(cleaned))] if cleaned else []


def alike(labels: Sequence[str]) -> list[Note]:
    """Labels that differ in case alone are proposed for merging, never merged."""
    folded: dict[str, list[str]] = {}
    for label in labels:
        folded.setdefault(label.casefold(), []).append(label)
    twins = tuple(" / ".join(group) for group in folded.values() if len(group) > 1)
    said = f"{len(twins)} labels differ in case alone and stay apart"
    return [Note("warning", said, twins, "label_case")] if twins else []

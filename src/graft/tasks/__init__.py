"""What is asked of a model: reading the data, targets, head, loss, decoding and measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from numpy.typing import NDArray
from torch import nn

from graft import measures
from graft.data import Data, Note, Parts, Sample, arrange, scale_weights
from graft.errors import DataError, some
from graft.measures import Chosen

if TYPE_CHECKING:
    from graft.doctor import Before
    from graft.model import Backbone, Batch, Output
    from graft.readers import Opened
    from graft.recipe import Recipe
    from graft.tasks._answer import Answer


Answers = Sequence[Any] | NDArray[Any]
"""Decoded answers or true ones, one a sample."""


@dataclass(frozen=True)
class Scores:
    """Class scores as distillation, self-training and confusion want them: logits [b, classes, ...]."""

    logits: torch.Tensor
    exclusive: bool


class Task:
    """A kind of question about a kind of data; one file each in `graft/tasks`.

    A task names its `modality` and its kind of `answer`, and all else follows from these; one that asks
    something new overrides what it needs. A task that has read data knows its `labels` and `schema`.
    """

    name: str = ""
    """The file's name."""
    outputs: ClassVar[str] = "classes"
    """What is answered: classes, labels, numbers, boxes, mask, tokens, text or ranking."""
    modality: ClassVar[str] = ""
    """What a backbone must take: picture, text, ..."""
    answer: ClassVar[Answer | None] = None
    """Targets, loss and decoding; None where the task brings its own."""
    labels: tuple[str, ...] = ()
    schema: Any = None
    opened: Opened | None = None
    """What recognising the source already read of it."""
    small: Mapping[str, bytes | None] = MappingProxyType({})
    """Thumbnails of the pictures that `parts` read, by sample id."""
    first_look: Callable[[], Before] | None = None
    """What the doctor finds in the data as they were read, computed where it is asked."""
    measures: tuple[str, ...] = ()
    """What is measured, the deciding one first; empty: the usual ones of the kind."""

    @classmethod
    def recognises(cls, source: Any) -> str:
        """A sentence on why this source is of this task's kind; a task with an `answer` is found by what it reads."""
        return ""

    def parts(self, source: Any, recipe: Recipe) -> tuple[Parts, list[Note]]:
        """Read the source into the parts it has: train, valid, test, or all; targets as written. Raises DataError."""
        from graft.readers import samples

        self._needs_answer()
        opened, self.opened = self.opened, None
        found = samples.read(source, recipe, self.modality, self.schema, opened)
        # What a run was trained with stands; data read later only add what it does not say.
        self.schema = {**found.schema, **(self.schema or {})} if self.measures else {**found.schema}
        self.small = found.small
        return found.parts, found.notes

    def read(self, source: Any, recipe: Recipe) -> Data:
        """Read and split the source, and keep its labels and schema. Raises DataError."""
        from graft import doctor
        from graft.readers import _names, _near

        answer = self._needs_answer()
        parts, notes = self.parts(source, recipe)
        self.labels = answer.settle(parts, notes, recipe, self.schema)
        self.measures = measures_of(self, recipe.measure)
        # With its costs in it: a run needs no file of them to be measured again.
        self.schema["measure"] = measures.parse(self.measures[0], answer.kind, self.labels).plain()
        arranged, more = arrange(parts, recipe.seed, strata=answer.strata)
        answer.after_split(arranged["train"], self.schema)
        notes += [*more, *_left_empty(self, arranged["train"])]
        near = doctor.near_copies(arranged, self.modality, self.small) if self.modality == "picture" else None
        notes += _near.across(near) if near is not None else []
        if self.modality == "picture" and "all" in parts and not any(s.group for s in parts["all"]):
            notes += _names.shared(arranged, made=True)
        self.first_look = partial(doctor.before, parts, arranged, tuple(notes), {}, self.modality, recipe.data, near)
        self.small = {}  # a hundred thousand of them are no small thing to keep
        train = scale_weights(arranged["train"])
        return Data(train, arranged["valid"], arranged["test"], labels=self.labels, schema=self.schema, notes=notes)

    def labelled(self, source: Any, recipe: Recipe) -> tuple[Parts, list[Note]]:
        """Later data with targets that this task, once trained, understands: for `evaluate`. Raises DataError."""
        answer = self._needs_answer()
        parts, notes = self.parts(source, recipe)
        wrong: list[str] = []
        for part in parts.values():
            for s in part:
                try:
                    s.y = answer.typed(s.y, self.schema)
                except ValueError as e:
                    wrong.append(f"{s.id} ({e})")
        if wrong:
            raise DataError(f"{len(wrong)} targets cannot be read as {answer.kind}: {some(wrong)}; mend them")
        return parts, notes

    def inputs(self, sources: Sequence[Any]) -> tuple[list[Sample], list[Note]]:
        """Samples without labels to predict, from files, folders, tables, lists or `-`."""
        from graft.readers import samples

        self._needs_answer()
        return samples.inputs(sources, self.modality, self.schema or {})

    def target(self, sample: Sample, where: Any) -> Any:
        """The y of one sample as the loss takes it, in the backbone's coordinates."""
        return self._needs_answer().target(sample.y, self.labels, self.schema or {})

    def truth(self, sample: Sample) -> Any:
        """The y of one sample as `measure` takes it."""
        return self.target(sample, None) if self.answer is None else self.answer.truth(sample.y, self.labels)

    def collate(self, ys: list[Any]) -> Any:
        """Targets of a batch; for classes float probabilities [b, classes], so that they can be mixed."""
        return self._needs_answer().collate(ys, self.labels)

    def head(self, backbone: Backbone, data: Data) -> nn.Module:
        """A fresh head, called `head(features, batch) -> (pred, losses)`; may be the backbone's own."""
        return self._needs_answer().head(backbone, self.labels)

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        """Terms by name, each [b], or a scalar where no more can be said."""
        return self._needs_answer().loss(output.pred, batch.y)

    def scores(self, pred: Any) -> Scores | None:
        """Class scores in an answer, or None where there are none."""
        return None if self.answer is None else self.answer.scores(pred)

    def decode(self, pred: Any, where: Sequence[Any]) -> list[Any]:
        """Answers a person can read, one a sample, in the sample's own coordinates."""
        return self._needs_answer().decode(pred, self.schema or {})

    def measure(self, decoded: Answers, truth: Answers) -> dict[str, float]:
        """Measures by name; the first decides."""
        return {k: float(v[0]) for k, v in self.resampled(decoded, truth, None, None).items()}

    def chosen(self) -> list[Chosen]:
        """What is measured, the deciding one first, parsed."""
        answer = self._needs_answer()
        kept = (self.schema or {}).get("measure") if isinstance(self.schema, dict) else None
        found = []
        for text in self.measures or measures_of(self, ""):
            known = Chosen.of(kept) if kept else None
            found.append(
                known if known is not None and str(known) == text else measures.parse(text, answer.kind, self.labels)
            )
        return found

    def resampled(
        self,
        decoded: Answers,
        truth: Answers,
        weights: NDArray[Any] | None,
        offsets: NDArray[Any] | None = None,
        of: Sequence[Chosen] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Every measure [resamples] under `weights` [resamples, n], counts of a bootstrap's draws (None: once each).

        `offsets` [outputs] are added to log-probabilities (log-odds) before an answer is decided; `of` are the
        measures (None: all that the task has).
        """
        return measures.compute(
            self._needs_answer().kind, decoded, truth, labels=self.labels,
            measures=self.chosen() if of is None else of, offsets=offsets, weights=weights,
        )  # fmt: skip

    def decide(self, decoded: Answers, offsets: NDArray[Any] | None = None) -> NDArray[Any]:
        """Answers as decisions: class indices [n], labels that hold [n, c], or the numbers [n].

        With a cost as the deciding measure, the class of least expected cost.
        """
        costs = self.chosen()[0].costs or None
        return measures.decide(self._needs_answer().kind, decoded, offsets, costs)

    def pointwise(self, decoded: Answers, truth: Answers, offsets: NDArray[Any] | None = None) -> NDArray[Any] | None:
        """Values [n] whose mean is the first measure, or None where it is no mean over samples."""
        if self.answer is None:
            return None
        return measures.pointwise(self.answer.kind, self.chosen()[0], decoded, truth, offsets)

    def lower(self) -> bool:
        """Whether less of the deciding measure is better."""
        return bool(self.measures) and measures.is_lower(self.measures[0].partition(":")[0])

    def _needs_answer(self) -> Answer:
        if self.answer is None:
            raise NotImplementedError(f"{type(self).__name__} has no kind of answer, and does not override this")
        return self.answer


def measures_of(task: Task, wanted: str) -> tuple[str, ...]:
    """What a task with an answer measures: the wanted one first (else the kind's own), then the usual ones.

    Raises UsageError for one that does not exist or does not fit.
    """
    if task.answer is None:
        return ()
    usual = measures.names(task.answer.kind, len(task.labels))
    if not wanted:
        return tuple(usual)
    chosen = measures.parse(wanted, task.answer.kind, task.labels)
    return (str(chosen), *(m for m in usual if m != chosen.name))


def _left_empty(task: Task, train: Sequence[Sample]) -> list[Note]:
    if task.outputs != "classes":
        return []
    missing = sorted(set(task.labels) - {s.y for s in train})
    said = f"{len(missing)} classes have no sample left to train on"
    return [Note("warning", said, tuple(missing), "class_empty")] if missing else []

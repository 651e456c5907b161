"""Why a candidate stands where it stands: source classes, classes told apart, layers, dimensions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from graft import backbones, evaluate, features
from graft._wording import number, short
from graft.data import Data, Sample
from graft.errors import DataError, UsageError
from graft.model import Backbone
from graft.ranking.contender import first_look, held_out, source_probabilities
from graft.ranking.forecast import of_constant
from graft.ranking.prior import Prior, prior_of
from graft.ranking.race import ROUNDS, looked_at, some_classes
from graft.tasks import Task
from graft.voice import Voice

NEAREST = 3  # source classes of each class
LOOKED_AT = ROUNDS[1]  # samples


@dataclass(frozen=True)
class ClassView:
    """A class of the data: how well a probe tells it (`recall`), what it takes it for, and the source's own words.

    `nearest` has (name, mean probability) of the source classes that the pretrained classifier sees in it.
    """

    label: str
    n: int
    recall: float
    auroc: float | None
    taken_for: str
    nearest: list[tuple[str, float]]


@dataclass(frozen=True)
class Depth:
    """A stage from input to output: the width of its pooled features and a probe's cross-validated score on them."""

    stage: str
    width: int
    score: float


@dataclass(frozen=True)
class Explanation:
    """What is behind a candidate's row: see `explain`. `dimension` is effective, of `width` columns."""

    name: str
    measure: str
    n: int
    probe: float
    constant: float | None
    width: int
    dimension: float
    prior: Prior
    distance: float | None
    classes: list[ClassView] = field(default_factory=list)
    depths: list[Depth] = field(default_factory=list)
    note: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "sentence": self.sentence()}

    def best_depth(self) -> Depth | None:
        """The stage whose probe is best; of equals the earliest, which is the cheapest."""
        if not self.depths:
            return None
        better = min if self._lower() else max
        return better(self.depths, key=lambda d: d.score)

    def sentence(self) -> str:
        """The explanation in words."""
        said = [
            f"{short(self.name)}: a probe on its features reaches {number(self.probe, self.measure)} on {self.n:,} "
            f"samples"
            + ("" if self.constant is None else f" (the constant answer {number(self.constant, self.measure)})"),
            f"the features vary in about {self.dimension:.0f} of {self.width} dimensions",
        ]
        best = self.best_depth()
        if best is not None and len(self.depths) > 1:
            last = self.depths[-1]
            if best.score == last.score:
                said.append("no stage serves better than its last")
            else:
                said.append(
                    f"its {best.stage} serves best: {number(best.score, self.measure)}, the last stage "
                    f"{number(last.score, self.measure)}"
                )
        if self.classes:
            hard = min(self.classes, key=lambda c: c.recall)
            taken = f", most often taken for {hard.taken_for!r}" if hard.taken_for else ""
            found = f"hardest is {hard.label!r}: {100 * hard.recall:.0f} % found{taken}"
            said.append("every class is told" if hard.recall == 1 else found)
        return "; ".join(said)

    def _lower(self) -> bool:
        from graft._wording import is_lower_better

        return is_lower_better(self.measure)


def explain(
    task: Task, data: Data, name: str, *, seed: int = 0, device: str = "cpu", voice: Voice | None = None
) -> Explanation:
    """Look closely at one candidate on at most LOOKED_AT training samples.

    The probe score by depth is a probe on the pooled features of every stage (Alain and Bengio, "Understanding
    intermediate layers using linear classifier probes", 2016, section 3); the effective dimension is the participation
    ratio (sum of eigenvalues)^2 / sum of squares of the features' covariance (Gao et al. 2017, section 2). Raises
    UsageError for a backbone of another modality, DataError where the samples tell nothing.
    """
    voice = voice or Voice(quiet=True)
    backbone = backbones.load(name, data.schema).to(device)
    if backbone.modality != task.modality:
        raise UsageError(f"--explain {name}: takes a {backbone.modality}, and the task has a {task.modality}")
    samples = looked_at(some_classes(task, data.train, seed), LOOKED_AT, seed, task)
    with voice.bar(f"stages of {short(name)}", len(samples)) as tick:
        table = features.extract(backbone, samples, stages=True, tick=tick)
    if not bool(torch.isfinite(table.pooled).all()):
        raise DataError(f"{name}: its features are not finite on these samples")
    truth = np.asarray(evaluate.truth_of(task, samples))
    held, value = _probe(task, table.pooled, samples, truth)
    same = of_constant(task, samples, truth)
    depths = _depths(task, table.stages, samples, truth, voice)
    told = task.outputs == "classes"
    source = source_probabilities(backbone, table.pooled, device) if told else None
    return Explanation(
        name=name,
        measure=task.measures[0],
        n=len(samples),
        probe=value,
        constant=same if math.isfinite(same) else None,
        width=table.pooled.shape[1],
        dimension=dimension(table.pooled),
        prior=prior_of(backbone.card, task.modality),
        distance=first_look(backbone, samples).distance,
        classes=_classes(held, truth.astype(int), list(data.labels), source, _names(backbone, source)) if told else [],
        depths=depths,
        note="" if source is not None or not told else "no source classes: it has no classifier of its pretraining",
    )


def _probe(task: Task, pooled: torch.Tensor, samples: Sequence[Sample], truth: np.ndarray) -> tuple[np.ndarray, float]:
    """(out-of-fold answers [n, outputs], the deciding measure on them)."""
    _, held, _ = held_out(task, pooled, samples)
    return held, float(next(iter(task.measure(held, truth).values())))


def _depths(
    task: Task, stages: dict[str, torch.Tensor], samples: Sequence[Sample], truth: np.ndarray, voice: Voice
) -> list[Depth]:
    found = []
    with voice.bar("probes by depth", len(stages)) as tick:
        for stage, pooled in stages.items():
            if bool(torch.isfinite(pooled).all()):
                found.append(Depth(stage, pooled.shape[1], _probe(task, pooled, samples, truth)[1]))
            tick(1)
    return [d for d in found if math.isfinite(d.score)]


def dimension(pooled: torch.Tensor) -> float:
    """The participation ratio of features [n, d]: how many directions their variance is spread over; 0 of constants."""
    centred = (pooled - pooled.mean(dim=0)).double()
    gram = centred.T @ centred if centred.shape[1] <= centred.shape[0] else centred @ centred.T
    total, squares = float(gram.trace()), float(gram.square().sum())
    return total**2 / squares if squares > 0 else 0.0


def _classes(
    held: np.ndarray, truth: np.ndarray, labels: list[str], source: torch.Tensor | None, names: list[str]
) -> list[ClassView]:
    """One view a class that occurs, the hardest first."""
    from sklearn.metrics import roc_auc_score

    said, views = held.argmax(axis=1), []
    for k in np.unique(truth):
        here = truth == k
        wrong = said[here & (said != k)]
        other = labels[int(np.bincount(wrong).argmax())] if len(wrong) else ""
        nearest: list[tuple[str, float]] = []
        if source is not None:
            mean = source[torch.from_numpy(here)].mean(dim=0)
            top = mean.topk(min(NEAREST, len(mean)))
            nearest = [(names[i], round(p, 4)) for p, i in zip(top.values.tolist(), top.indices.tolist(), strict=True)]
        auroc = float(roc_auc_score(here, held[:, k])) if 0 < here.sum() < len(here) else None
        recall = float((said[here] == k).mean())
        views.append(ClassView(labels[int(k)], int(here.sum()), recall, auroc, other, nearest))
    return sorted(views, key=lambda v: (v.recall, v.label))


def _names(backbone: Backbone, source: torch.Tensor | None) -> list[str]:
    """What the source's classes are called: ImageNet's by timm's list, else by number."""
    n = 0 if source is None else source.shape[1]
    if backbone.modality == "picture" and n in (1000, 1001):
        from timm.data import ImageNetInfo

        info = ImageNetInfo("imagenet-1k")
        words = [str(info.index_to_description(i)).partition(",")[0] for i in range(1000)]
        return words if n == 1000 else ["background", *words]
    return [f"source class {i}" for i in range(n)]

"""One candidate while it is measured: loaded, its card and cost, and its features as the rounds add samples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from graft import backbones, evaluate, features, linear, scores
from graft.data import Sample, split_key
from graft.errors import DataError, GraftError, Stopped, UsageError
from graft.evaluate import Score
from graft.loading import batches
from graft.methods.probe import LOSSES
from graft.model import Backbone, Features
from graft.ranking import similarity
from graft.ranking.limits import Limits
from graft.ranking.prior import Prior, prior_of
from graft.ranking.table import LEVEL, Candidate
from graft.tasks import Task
from graft.voice import Voice

LOOKED_AT = 32  # samples that the distance to the source is measured on
TIMED = 8  # of them, that speed is measured on
KEPT_MB = 200.0  # weights of candidates up to this size stay in memory between rounds


@dataclass
class Contender:
    """A candidate that can be used: what is known of it, and features [n, d] of the first n samples."""

    row: Candidate
    prior: Prior
    passing: float  # seconds a sample takes to open, prepare and pass
    measuring: float = 0.0  # and to probe and score, in the last round
    backbone: Backbone | None = None
    pooled: torch.Tensor | None = None
    source: torch.Tensor | None = None  # probabilities [n, s] of the head it was pretrained with
    probe: Score | None = None
    held: list[int] = field(default_factory=list)
    first: dict[str, float | None] = field(default_factory=dict)  # its scores in the first round
    told: list[tuple[float, float]] = field(default_factory=list)  # of each round, the probe's y and its variance

    @property
    def name(self) -> str:
        return self.row.name

    @property
    def seconds(self) -> float:
        """What a sample costs in all."""
        return self.passing + self.measuring


def enter(
    name: str, task: Task, samples: Sequence[Sample], limits: Limits, device: str
) -> tuple[Candidate, Contender | None]:
    """A candidate's card, cost and prior; without a contender where it cannot be used, and the row says why."""
    row = Candidate(name)
    try:
        backbone = backbones.load(name, task.schema).to(device)
        if backbone.modality != task.modality:
            raise UsageError(f"takes a {backbone.modality}, and the task has a {task.modality}")
        card = backbone.card
        row.parameters, row.mb, row.license, row.trained_on = card.parameters, card.mb, card.license, card.trained_on
        prior = prior_of(card, task.modality)
        row.prior, row.prior_se, row.prior_source = prior.value, prior.se, prior.source
        row.error = limits.refuse(card)
        if row.error:
            return row, None
        seen = first_look(backbone, samples)
        row.ms, row.gflops, row.distance = seen.ms, seen.gflops, seen.distance
        row.error = limits.too_slow(row.ms)
        kept = backbone if card.mb <= KEPT_MB else None
        return row, None if row.error else Contender(row, prior, seen.seconds, backbone=kept)
    except Stopped:
        raise
    except Exception as e:  # whatever a stranger's folder breaks is that row's fault, not the ranking's
        row.error = said(e)
    return row, None


def said(error: Exception) -> str:
    """What a row says of an error."""
    return str(error) if isinstance(error, GraftError) else f"{type(error).__name__}: {error}"


@dataclass(frozen=True)
class Looked:
    """What a few samples tell of a backbone: see `Candidate`; `seconds` a sample, opening and preparing it included."""

    ms: float
    seconds: float
    gflops: float | None
    distance: float | None


@torch.no_grad()
def first_look(backbone: Backbone, samples: Sequence[Sample]) -> Looked:
    """Speed, operations and distance to the source from one batch of at most LOOKED_AT samples.

    The first pass warms up and tells the distance; speed is the median of three passes over TIMED of them. Operations
    are floating point ones (two for a multiply and add): what costs are compared by where a choice must come out the
    same again, since they know no clock.
    """
    from torch.utils.flop_counter import FlopCounterMode

    backbone.eval()
    some = list(samples[:LOOKED_AT])
    start = time.perf_counter()
    _, batch = next(batches(some, backbone, len(some)))
    opening = (time.perf_counter() - start) / len(some)
    x = batch.x.to(next(backbone.parameters()).device)
    away = similarity.distance(backbone, x)
    few, times = x[:TIMED], []
    for _ in range(4 if away is None else 3):  # where nothing tells the distance, nothing has warmed up yet
        start = time.perf_counter()
        backbone(few).pooled.sum().item()
        times.append((time.perf_counter() - start) / len(few))
    forward = sorted(times[-3:])[1]
    with FlopCounterMode(display=False) as counter:
        backbone(x[:1])
    total = counter.get_total_flops()
    return Looked(
        round(1000 * forward, 3), forward + opening, round(total / 1e9, 6) if total else None,
        None if away is None else round(away, 4),
    )  # fmt: skip


def extend(c: Contender, task: Task, order: Sequence[Sample], n: int, device: str, voice: Voice) -> None:
    """Features of the first n samples; those of earlier rounds are kept. Measures the seconds a sample anew."""
    have = 0 if c.pooled is None else len(c.pooled)
    new = list(order[have:n])
    if not new:
        return
    backbone = c.backbone or backbones.load(c.name, task.schema).to(device)
    start = time.monotonic()
    with voice.bar(f"features of {c.name.rpartition('/')[2]}", len(new)) as tick:
        table = features.extract(backbone, new, tick=tick)
    if not table.cached:
        c.passing = (time.monotonic() - start) / len(new)
    c.pooled = table.pooled.clone() if c.pooled is None else torch.cat([c.pooled, table.pooled])
    if not bool(torch.isfinite(c.pooled).all()):
        raise DataError(
            "its features are not finite on these samples: the weights, or how pictures are prepared, are broken"
        )
    told = source_probabilities(backbone, table.pooled, device)
    if told is not None:
        c.source = told if c.source is None else torch.cat([c.source, told])


@torch.no_grad()
def source_probabilities(backbone: Backbone, pooled: torch.Tensor, device: str) -> torch.Tensor | None:
    """What the classifier that a backbone was pretrained with says [n, s]; None where it has none."""
    head = backbone.source_head
    if head is None:
        return None
    found = []
    for part in torch.split(pooled, 4096):
        scores_, _ = head(Features(part.to(device)), None)
        found.append(torch.softmax(scores_.float(), dim=1).cpu())
    return torch.cat(found)


def measure(c: Contender, task: Task, order: Sequence[Sample], n: int, seed: int) -> None:
    """The probe's cross-validated score and every transferability score on the first n samples."""
    assert c.pooled is not None
    start = time.monotonic()
    samples = order[:n]
    y, answers, c.held = held_out(task, c.pooled[:n], samples)
    truth = np.asarray(evaluate.truth_of(task, [samples[i] for i in c.held]))
    score = evaluate.score(task, answers, truth, seed, level=LEVEL)
    if not np.isfinite(score.value):
        raise DataError(f"{task.measures[0]} has no value for its probe on {n} samples: choose another with --measure")
    values = transferability(c, task, y)
    c.row.scores = {k: v.value for k, v in values.items()}
    c.row.reasons = {k: v.reason for k, v in values.items() if v.value is None}
    c.first = c.first or c.row.scores
    c.row.probe, c.row.samples, c.probe = score.value, n, score
    c.measuring = (time.monotonic() - start) / n


def held_out(task: Task, pooled: torch.Tensor, samples: Sequence[Sample]) -> tuple[torch.Tensor, np.ndarray, list[int]]:
    """(targets [n, outputs], a probe's out-of-fold answers [k, outputs] as the task measures them, their rows [k])."""
    y = task.collate([task.target(s, None) for s in samples])
    loss = LOSSES.get(task.outputs, "softmax")
    seen = y.sum(dim=0) > 0 if loss == "softmax" else torch.ones(y.shape[1], dtype=torch.bool)
    groups = [split_key(s) for s in samples]
    found = linear.cross_validate(pooled, y[:, seen], loss=loss, groups=groups)  # of the classes that occur
    told = torch.zeros(len(found.answers), y.shape[1], dtype=found.answers.dtype)
    told[:, seen] = found.answers
    # Numbers leave the probe in standard units; probabilities are what they are.
    answers = np.asarray(task.decode(told, [None] * len(told))) if task.outputs == "numbers" else told.numpy()
    return y, answers, found.rows.tolist()


def transferability(c: Contender, task: Task, y: torch.Tensor) -> dict[str, scores.Value]:
    """Every score of `graft.scores` that serves the task's kind of answer; {} for kinds that none serves."""
    assert c.pooled is not None and task.answer is not None
    kind, n = task.answer.kind, len(y)
    target = y.argmax(dim=1).numpy() if kind == "classes" else y.numpy()
    source = None if c.source is None else c.source[:n]
    return scores.measure(scores.Material.of(c.pooled[:n], target, kind, source))

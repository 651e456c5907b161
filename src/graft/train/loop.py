"""The one loop: a generator that trains one stage and yields a record a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import distributed, nn

from graft import views
from graft.data import Data
from graft.errors import DataError, UsageError
from graft.loading import load
from graft.methods import Method, freeze, owns
from graft.model import Backbone, Batch, Model, batch_norms
from graft.recipe import Stage, check_stage
from graft.seeds import rng, seed_of
from graft.tasks import Task
from graft.train import optim
from graft.train.step import Record, Step, put_back, statistics, world
from graft.train.streams import Streams

MAX_SKIPPED = 5  # steps in a row without a finite gradient before the stage gives up


@dataclass
class Resume:
    """Where a stage goes on: what `Record.state` gave."""

    loop: Mapping[str, Any]
    model: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, torch.Tensor]
    methods: Mapping[str, dict[str, Any]]


def check(stage: Stage, task: Task, methods: Sequence[Method]) -> None:
    """Refuse, before compute, methods that cannot share a stage; raises UsageError."""
    check_stage(stage)
    names = [m.name for m in methods]
    tuners = [m.name for m in methods if m.tunes]
    if len(tuners) != 1:
        said = " and ".join(tuners) if tuners else "none"
        listed = " + ".join(names) or "an empty stage"
        raise UsageError(f"a stage has exactly one tuning method; {listed} has {said} (finetune is one)")
    for hook in ("sampler", "gradients"):
        owners = [m.name for m in methods if owns(m, hook)]
        if len(owners) > 1:
            raise UsageError(f"{' and '.join(owners)} both own the {hook}: put them into different stages")
    if len(set(names)) < len(names):
        raise UsageError(f"a method stands twice in {' + '.join(names)}")
    supervised = all(m.supervised for m in methods)
    for m in methods:
        if owns(m, "solve") and len(methods) > 1:
            raise UsageError(f"{m.name} solves on cached features: it stands alone in its stage")
        if m.labelled and not supervised:
            raise UsageError(f"{m.name} needs labels, and this stage trains without them")
        if m.outputs is not None and task.outputs not in m.outputs:
            raise UsageError(f"{m.name} serves {', '.join(sorted(m.outputs))}; this task answers {task.outputs}")
        for spec in m.views:
            views.check(spec)
    views.check(stage.view)


def steps(
    model: Model,
    task: Task,
    stage: Stage,
    data: Data,
    methods: Sequence[Method],
    *,
    seed: int = 0,
    index: int = 0,
    origin: Callable[[], Backbone] | None = None,
    resume: Resume | None = None,
) -> Iterator[Record]:
    """Train one stage in place; yields after every step, and ends after the last or after `record.stop`.

    `index` is the stage's place in its recipe. Order of a step: modes, seeds, rates, load, `batch` hooks,
    the task's loss with `weigh`, the methods' losses, `gradients` or one backward, the average over
    processes, the optimizer, `after_step`, yield. Raises UsageError for methods that conflict and when
    the loss stays non-finite.
    """
    check(stage, task, methods)
    methods = sorted(methods, key=lambda m: not m.tunes)  # the tuner prepares first and finishes last
    run = _prepare(model, task, stage, data, methods, (seed, index), origin)
    first, skipped = run.restore(resume) if resume else (0, 0)
    for number in range(first, run.last):
        run.modes()
        torch.manual_seed(seed_of(*run.key, number, "step", world()[0]))
        optim.set_rates(run.optimizer, lr := optim.rate(stage, number, run.total))
        step = run.step(number, run.load(number))
        kept = statistics(model)
        terms = step.terms()
        norm = run.backward(step, terms)
        values = _values(terms)
        finite = all(map(math.isfinite, (norm, *values.values())))
        skipped = 0 if finite else skipped + 1
        if finite:
            run.optimizer.step()
            for m in methods:
                m.after_step(step)
        else:
            put_back(kept)  # one bad batch would stay in the running statistics for good
        run.optimizer.zero_grad(set_to_none=True)
        _give_up(stage, index, number, skipped)
        done = number + 1
        record = Record(done, done / run.per_epoch, values, lr, norm, not finite, run.state(done, skipped))
        yield record
        if record.stop:
            break
    for m in reversed(methods):
        m.finish(model)
    model.aux.clear()


def _give_up(stage: Stage, index: int, number: int, skipped: int) -> None:
    if skipped > MAX_SKIPPED:
        raise UsageError(
            f"stage {index}: loss or gradient was not finite in {skipped} steps in a row (step {number}); "
            f"lower the rate: --set stage.{index}.lr={(stage.lr or 1e-3) / 10:g}"
        )


def steps_of(stage: Stage, per_epoch: int) -> int:
    """Steps of the whole schedule of a stage."""
    return max(1, round((stage.epochs or 1.0) * per_epoch))


@dataclass
class _Run:
    """What stays the same over the steps of a stage."""

    model: Model
    task: Task
    stage: Stage
    methods: Sequence[Method]
    key: tuple[object, ...]
    origin: Callable[[], Backbone] | None
    streams: Streams
    named: dict[str, nn.Parameter]
    optimizer: torch.optim.Optimizer
    encoders: dict[str, Backbone]
    wanted: dict[str, int]  # draws of each unlabelled view

    @property
    def per_epoch(self) -> int:
        return self.streams.per_epoch

    @property
    def supervised(self) -> bool:
        return self.streams.supervised

    @property
    def total(self) -> int:
        return steps_of(self.stage, self.per_epoch)

    @property
    def last(self) -> int:
        return min(self.stage.stop or self.total, self.total)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def modes(self) -> None:
        """Train, except BatchNorms of the backbone whose own weights stand still: their statistics do too."""
        self.model.train()
        for m in batch_norms(self.model.backbone):
            if not any(p.requires_grad for p in m.parameters(recurse=False)):
                m.eval()

    def load(self, number: int) -> Batch:
        """The batch of a step with its views, after the methods' `batch` hooks."""
        seen = self._views(number) if self.wanted else {}
        if self.supervised or not seen:
            batch = self._labelled(number)
        else:
            batch = seen[next(iter(self.wanted))][0]
        batch = replace(batch, views=seen).to(self.device)
        for m in self.methods:
            batch = m.batch(batch, rng(*self.key, number, "batch", m.name))
        return batch

    def _labelled(self, number: int) -> Batch:
        epoch, place = divmod(number, self.per_epoch)
        rows = self.streams.order(epoch)[place]
        rank, n = world()
        samples = [self.streams.samples[i] for i in rows[rank::n]]
        positions = [place * 100_000 + j for j in range(rank, len(rows), n)]
        key = (*self.key, "train", epoch)
        task = self.task if self.supervised else None
        return load(samples, self.model.backbone, task, self.stage.view, key, positions, self.encoders)

    def _views(self, number: int) -> dict[str, list[Batch]]:
        pool, rows, at = self.streams.unlabelled(number)
        rank, n = world()
        some, at, key = [pool[i] for i in rows[rank::n]], at[rank::n], (*self.key, "unlabelled")
        return {
            spec: [load(some, self.model.backbone, None, spec, key, at, self.encoders, k) for k in range(count)]
            for spec, count in self.wanted.items()
        }

    def step(self, number: int, batch: Batch) -> Step:
        epoch, place = divmod(number, self.per_epoch)
        rows = len(self.streams.order(epoch)[place]) if world()[1] > 1 else 0
        return Step(
            self.model,
            self.task,
            batch,
            self.methods,
            self.supervised,
            number,
            number / self.total,
            (*self.key, number),
            next(iter(self.wanted), ""),
            rows,
            self.origin,
        )

    def backward(self, step: Step, terms: dict[str, torch.Tensor]) -> float:
        """Leave averaged, clipped gradients on the weights; returns their norm before clipping."""
        moving = {k: v for k, v in terms.items() if v.requires_grad}  # not those without a row in this batch
        if not moving:
            raise UsageError("no term of this stage depends on a weight that moves; nothing would be trained")
        owner = next((m for m in self.methods if owns(m, "gradients")), None)
        if owner is not None:
            owner.gradients(step, moving)
        else:
            torch.stack(list(moving.values())).sum().backward()  # type: ignore[no-untyped-call]
        _average(list(self.named.values()))
        limit = self.stage.clip or math.inf
        return float(nn.utils.clip_grad_norm_(self.named.values(), limit, foreach=False))

    def state(self, done: int, skipped: int) -> Callable[[], dict[str, dict[str, Any]]]:
        def gather() -> dict[str, dict[str, Any]]:
            return {
                "loop": {"step": done, "skipped": skipped},
                "model": dict(self.model.state_dict()),
                "optimizer": optim.state_by_name(self.optimizer, self.named),
                "methods": {m.name: m.state() for m in self.methods},
            }

        return gather

    def restore(self, resume: Resume) -> tuple[int, int]:
        """Load a checkpoint into the prepared stage; (first step, steps skipped in a row)."""
        try:
            self.model.load_state_dict(dict(resume.model), strict=True)
        except RuntimeError as e:
            raise DataError(f"the checkpoint does not fit this recipe: {e}") from e
        optim.load_by_name(self.optimizer, self.named, resume.optimizer)
        for m in self.methods:
            m.load_state(resume.methods.get(m.name, {}))
        return int(resume.loop["step"]), int(resume.loop["skipped"])


def _prepare(
    model: Model,
    task: Task,
    stage: Stage,
    data: Data,
    methods: Sequence[Method],
    key: tuple[object, ...],
    origin: Callable[[], Backbone] | None,
) -> _Run:
    said = " + ".join(m.name for m in methods)
    if stage.lr is None:
        raise UsageError(f"{said}: the stage has no learning rate: --set stage.{key[-1]}.lr=1e-3")
    streams = Streams(data, stage, methods, key)
    device = next(model.parameters()).device
    freeze(model)
    model.zero_grad(set_to_none=True)
    torch.manual_seed(seed_of(*key, "prepare"))
    for m in methods:
        m.prepare(model, task, data)
    model.to(device)  # what `prepare` added
    named = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if not named:
        raise UsageError(f"{said} leaves no weight that moves")
    wanted: dict[str, int] = {}
    for m in methods:
        for spec in m.views:
            wanted[spec] = max(wanted.get(spec, 0), m.views.count(spec))
    optimizer = optim.build(named, methods, stage.lr, stage.weight_decay)
    shared = _shared(origin, device) if origin else None
    return _Run(model, task, stage, methods, key, shared, streams, named, optimizer, _encoders(methods), wanted)


def _encoders(methods: Sequence[Method]) -> dict[str, Backbone]:
    found: dict[str, Backbone] = {}
    for m in methods:
        for name, encoder in m.encoders().items():
            if found.setdefault(name, encoder) is not encoder:
                raise UsageError(f"{m.name}: another method of this stage already calls its encoder {name!r}")
    return found


def _shared(origin: Callable[[], Backbone], device: torch.device) -> Callable[[], Backbone]:
    """The pretrained backbone, made when first asked for, frozen, once a stage."""

    @cache
    def load() -> Backbone:
        backbone = origin().to(device)
        freeze(backbone)
        return backbone.eval()

    return load


def _values(terms: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Terms as numbers, their means over processes: every process must come to one decision on them."""
    if not terms:
        return {}
    stacked = torch.stack([v.detach().float() for v in terms.values()])
    if world()[1] > 1:
        distributed.all_reduce(stacked)
        stacked /= world()[1]
    return dict(zip(terms, stacked.tolist(), strict=True))


def _average(params: Sequence[nn.Parameter]) -> None:
    """Average gradients over processes; one that a rank did not use counts as zero there."""
    n = world()[1]
    if n == 1:
        return
    used = torch.tensor([float(p.grad is not None) for p in params], device=params[0].device)
    distributed.all_reduce(used)
    for p, count in zip(params, used.tolist(), strict=True):
        if count > 0:
            grad = p.grad if p.grad is not None else torch.zeros_like(p)
            distributed.all_reduce(grad)
            p.grad = grad / n

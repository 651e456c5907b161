"""The one loop: a generator that trains one stage and yields a record a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import nn

from graft import views
from graft.data import Data
from graft.errors import DataError, SetupError, UsageError, some
from graft.loading import load
from graft.methods import Method, freeze, owns
from graft.model import Backbone, Batch, Model, batch_norms
from graft.recipe import Stage, check_stage
from graft.seeds import rng, seed_of
from graft.tasks import Task
from graft.train import memory, optim, ranks, states
from graft.train.step import Place, Record, Statistics, Step, put_back, statistics, world
from graft.train.step import Resume as Resume  # what `steps` takes
from graft.train.streams import Streams

MAX_SKIPPED = 5  # steps in a row without a finite gradient; at one more the stage begins again at half the rate
MOST_HALVED = 2  # how often it does, before it gives up


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
    processes, the optimizer, `after_step`, yield.

    Where memory runs out, the same step goes through again in twice as many pieces. Where the loss stays
    non-finite, the stage begins again at half the rate, at most twice. Raises UsageError for methods that
    conflict and where that did not help, SetupError where the smallest pieces do not fit.
    """
    check(stage, task, methods)
    methods = sorted(methods, key=lambda m: not m.tunes)  # the tuner prepares first and finishes last
    run = _prepare(model, task, stage, data, methods, (seed, index), origin)
    start = resume.start if resume else run.hold()
    at = run.restore(resume) if resume else Place()
    while at.step < run.last or at.skipped > MAX_SKIPPED:
        if at.skipped > MAX_SKIPPED:
            at = run.back(start, at)
        record = run.once(at)
        record.start = start
        yield record
        if record.stop:
            break
    for m in reversed(methods):
        m.finish(model)
    model.aux.clear()


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

    @property
    def said(self) -> str:
        return f"stage {self.key[-1]}"

    @property
    def _least(self) -> int:
        """Rows that a piece of a batch needs: a BatchNorm that learns has no variance of one."""
        return 2 if any(m.training for m in batch_norms(self.model)) else 1

    def once(self, at: Place) -> Record:
        """One step; moves `at` along."""
        step, values, lr, norm, kept = self._gradients(at)
        finite = all(map(math.isfinite, (norm, *values.values())))
        if finite:
            with memory.told(f"{self.said}, the optimizer", self.device):
                self.optimizer.step()
            for m in self.methods:
                m.after_step(step)
        else:
            put_back(kept)  # one bad batch would stay in the running statistics for good
        self.optimizer.zero_grad(set_to_none=True)
        note, at.note = at.note, ""
        at.step, at.skipped = at.step + 1, 0 if finite else at.skipped + 1
        at.ids = [] if finite else list(step.batch.id)
        return Record(
            at.step, at.step / self.per_epoch, values, lr, norm, not finite, self.state(replace(at)), bad=at.skipped,
            ids=tuple(at.ids), pieces=at.pieces, halved=at.halved, note=note,
        )  # fmt: skip

    def _gradients(self, at: Place) -> tuple[Step, dict[str, float], float, float, Statistics]:
        """(step, terms, rate, norm of the gradient, statistics before it), in more pieces if memory runs out."""
        while True:
            self.modes()
            torch.manual_seed(seed_of(*self.key, at.step, "step", world()[0]))
            optim.set_rates(self.optimizer, lr := optim.rate(self.stage, at.step, self.total) * 0.5**at.halved)
            kept = statistics(self.model)
            try:
                step, values = self._attempt(at)
                return step, values, lr, self._norm(), kept
            except (MemoryError, RuntimeError) as e:
                if not memory.ran_out(e):
                    raise
                self._smaller(at, e)
            # Only here, where the error and with it the frames that hold the failed pass are gone.
            put_back(kept)
            self.optimizer.zero_grad(set_to_none=True)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _attempt(self, at: Place) -> tuple[Step, dict[str, float]]:
        step = self.step(at.step, self.load(at.step))
        if at.pieces == 1:
            terms = step.terms()
            self.backward(step, terms)
            return step, ranks.values(terms)
        values: dict[str, float] = {}
        for piece in memory.pieces(step, at.pieces, self._least):
            terms = piece.terms()
            self.backward(piece, terms)
            values = {k: values.get(k, 0.0) + v for k, v in ranks.values(terms).items()}
        return step, values

    def _smaller(self, at: Place, error: BaseException) -> None:
        """Twice as many pieces from now on; raises SetupError where that cannot be."""
        rows = max(len(batch) for batch in self.streams.order(0))
        why = memory.cannot_split(self.methods, bool(self.wanted), world()[1])
        said = f"{self.said}: out of memory at step {at.step + 1} ({memory.peak(self.device)})"
        if not why and rows // (2 * at.pieces) < self._least:
            why = f"batches of {rows} went through in {at.pieces} pieces already"
        if why:
            raise SetupError(
                f"{said}; {why}: end other programs, take a smaller --backbone, or a smaller batch "
                f"(--set {_name(self.key)}.batch={max(2, rows // 2)}); --resume goes on from the last checkpoint"
            ) from error
        at.pieces *= 2
        what = f"each batch goes through in {at.pieces} pieces whose gradients are added, which keeps the step's size"
        at.note = "; ".join(filter(None, [at.note, f"{said}: from here on {what}"]))

    def back(self, start: Mapping[str, Any] | None, at: Place) -> Place:
        """Begin the stage again at half the rate; raises UsageError where that cannot be or did not help."""
        said = f"{self.said}: loss or gradient was not finite in {at.skipped} steps in a row (step {at.step})"
        whose = f"the last of them held {some(at.ids)}" if at.ids else ""
        if start is None or at.halved >= MOST_HALVED:
            rate = (self.stage.lr or 1e-3) / 10
            tried = f", also at {0.5**at.halved:g} of the rate" if at.halved else ""
            raise UsageError(
                f"{said}{tried}; lower the rate: --set {_name(self.key)}.lr={rate:g}, or look at the data: {whose}"
            )
        self.restore(Resume(start["loop"], start["model"], start["optimizer"], start["methods"]))
        note = f"{said}: it begins again at {0.5 ** (at.halved + 1):g} of the rate; {whose}"
        return Place(halved=at.halved + 1, pieces=at.pieces, note=note)

    def hold(self) -> dict[str, Any]:
        """The present state with tensors of its own, but for weights that stand still."""
        tensors, plain = states.split(self.state(Place())())
        still = {n for n, p in self.model.named_parameters() if not p.requires_grad}
        kept = {
            group: {n: t if n in still else t.detach().to("cpu", copy=True) for n, t in named.items()}
            for group, named in tensors.items()
        }
        return states.join(kept, plain)

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

    def backward(self, step: Step, terms: dict[str, torch.Tensor]) -> None:
        """Add the gradients of the terms to what lies on the weights."""
        moving = {k: v for k, v in terms.items() if v.requires_grad}  # not those without a row in this batch
        if not moving:
            raise UsageError("no term of this stage depends on a weight that moves; nothing would be trained")
        owner = next((m for m in self.methods if owns(m, "gradients")), None)
        if owner is not None:
            owner.gradients(step, moving)
        else:
            torch.stack(list(moving.values())).sum().backward()  # type: ignore[no-untyped-call]

    def _norm(self) -> float:
        """Average the gradients over processes and clip them; returns their norm before that."""
        ranks.average(list(self.named.values()))
        limit = self.stage.clip or math.inf
        return float(nn.utils.clip_grad_norm_(self.named.values(), limit, foreach=False))

    def state(self, at: Place) -> Callable[[], dict[str, dict[str, Any]]]:
        def gather() -> dict[str, dict[str, Any]]:
            return {
                "loop": {k: v for k, v in asdict(at).items() if k != "note"},
                "model": dict(self.model.state_dict()),
                "optimizer": optim.state_by_name(self.optimizer, self.named),
                "methods": {m.name: m.state() for m in self.methods},
            }

        return gather

    def restore(self, resume: Resume) -> Place:
        """Load a checkpoint into the prepared stage; returns the place it was made at."""
        try:
            self.model.load_state_dict(dict(resume.model), strict=True)
        except RuntimeError as e:
            raise DataError(f"the checkpoint does not fit this recipe: {e}") from e
        self.optimizer.state.clear()
        optim.load_by_name(self.optimizer, self.named, resume.optimizer)
        for m in self.methods:
            m.load_state(resume.methods.get(m.name, {}))
        return Place(**resume.loop)


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


def _name(key: Sequence[object]) -> str:
    """A stage as `--set` calls it."""
    return f"stage.{key[-1]}"


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

"""Small methods, one for each way in which a technique meets the loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from toys import clone

from graft.data import Data, Sample
from graft.errors import UsageError
from graft.methods import Method, freeze
from graft.methods.finetune import Finetune
from graft.model import Backbone, Batch, Model
from graft.tasks import Task
from graft.train.step import Step


def named(name: str, method: Method) -> Method:
    method.name = name
    return method


def tune(**options: Any) -> Method:
    return named("finetune", Finetune(**options))


# ------------------------------------------------------------------------------------------ tuners


class Low(nn.Module):
    """A linear layer held still, with a low-rank change beside it."""

    def __init__(self, base: nn.Linear, rank: int) -> None:
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / base.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + x @ self.down.T @ self.up.T

    def merged(self) -> nn.Linear:
        with torch.no_grad():
            self.base.weight += self.up @ self.down
        return self.base


@dataclass
class Lora(Method):
    """LoRA (Hu et al. 2021) on the trunk's linear layers, merged at the end."""

    tunes: ClassVar[bool] = True
    rank: int = 2

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        self._places = [
            n for n, m in model.backbone.named_modules() if isinstance(m, nn.Linear) and n.startswith("trunk")
        ]
        for place in self._places:
            base = model.backbone.get_submodule(place)
            assert isinstance(base, nn.Linear)
            model.backbone.set_submodule(place, Low(base, self.rank))
        for p in model.head.parameters():
            p.requires_grad_(True)

    def finish(self, model: Model) -> None:
        for place in self._places:
            low = model.backbone.get_submodule(place)
            assert isinstance(low, Low)
            model.backbone.set_submodule(place, low.merged())


class HeadOnly(Method):
    """The head alone."""

    tunes: ClassVar[bool] = True

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        freeze(model.backbone)
        for p in model.head.parameters():
            p.requires_grad_(True)


# ---------------------------------------------------------------------------- batches and weights


@dataclass
class Mixup(Method):
    """mixup (Zhang et al. 2018)."""

    labelled: ClassVar[bool] = True
    alpha: float = 0.4

    def batch(self, batch: Batch, rng: np.random.Generator) -> Batch:
        lam = float(rng.beta(self.alpha, self.alpha))
        return batch.mix(torch.from_numpy(rng.permutation(len(batch))), max(lam, 1 - lam))


class GroupDRO(Method):
    """Group DRO (Sagawa et al. 2020): weights of domains rise with their loss."""

    labelled: ClassVar[bool] = True

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        self.domains = sorted({s.domain for s in data.train})
        self.q = torch.ones(len(self.domains)) / len(self.domains)

    def _of(self, step: Step) -> torch.Tensor:
        return torch.tensor([self.domains.index(d) for d in step.batch.domain])

    def weigh(self, step: Step) -> torch.Tensor:
        return self.q[self._of(step)] * len(self.domains)

    def after_step(self, step: Step) -> None:
        each = torch.stack([v.detach() for v in step.losses.values()]).sum(0)
        total, count = torch.zeros(len(self.q)), torch.zeros(len(self.q))
        total.index_add_(0, self._of(step), each)
        count.index_add_(0, self._of(step), torch.ones(len(each)))
        mean = step.sum(total) / step.sum(count).clamp_min(1)
        self.q = F.softmax(self.q.log() + 0.1 * mean, dim=0)

    def state(self) -> dict[str, Any]:
        return {"q": self.q, "domains": self.domains}

    def load_state(self, state: dict[str, Any]) -> None:
        self.q, self.domains = state["q"].clone(), state["domains"]


class Balance(Method):
    """Weights of classes against their frequency, mean 1 over the training part."""

    labelled: ClassVar[bool] = True

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        counts = torch.bincount(torch.tensor([s.y for s in data.train]), minlength=len(task.labels))
        self.weight = len(data.train) / (len(counts) * counts)

    def weigh(self, step: Step) -> torch.Tensor:
        return step.batch.y @ self.weight


class Pairs(Method):
    """Each batch holds pairs of one class, as pair losses want them."""

    def sampler(self, samples: Sequence[Sample], batch: int, rng: np.random.Generator) -> list[list[int]]:
        by_class: dict[Any, list[int]] = {}
        for i in rng.permutation(len(samples)):
            by_class.setdefault(samples[i].y, []).append(int(i))
        pairs = [own[k : k + 2] for own in by_class.values() for k in range(0, len(own) - 1, 2)]
        pairs = [pairs[i] for i in rng.permutation(len(pairs))]
        return [
            [i for pair in pairs[k : k + batch // 2] for i in pair]
            for k in range(0, len(pairs) - batch // 2 + 1, batch // 2)
        ]


# --------------------------------------------------------------------------------------- gradients


@dataclass
class Sam(Method):
    """Sharpness-aware minimisation (Foret et al. 2021)."""

    rho: float = 0.05

    def gradients(self, step: Step, terms: dict[str, torch.Tensor]) -> None:
        torch.stack(list(terms.values())).sum().backward()
        moving = [p for p in step.model.parameters() if p.grad is not None]
        norm = torch.stack([p.grad.norm() for p in moving]).norm()
        before = [p.detach().clone() for p in moving]
        with torch.no_grad():
            for p in moving:
                p.add_(self.rho * p.grad / (norm + 1e-12))
                p.grad = None
        torch.stack(list(step.again().values())).sum().backward()
        with torch.no_grad():
            for p, copy in zip(moving, before, strict=True):
                p.copy_(copy)


class PCGrad(Method):
    """Project conflicting gradients of the terms (Yu et al. 2020)."""

    def gradients(self, step: Step, terms: dict[str, torch.Tensor]) -> None:
        moving = [p for p in step.model.parameters() if p.requires_grad]
        each = []
        for term in terms.values():
            found = torch.autograd.grad(term, moving, retain_graph=True, allow_unused=True)
            each.append(
                torch.cat(
                    [torch.zeros(p.numel()) if g is None else g.flatten() for g, p in zip(found, moving, strict=True)]
                )
            )
        projected = []
        for i, g in enumerate(each):
            for j in step.rng(self).permutation(len(each)):
                dot = g @ each[j]
                if i != j and dot < 0:
                    g = g - dot / each[j].square().sum() * each[j]
            projected.append(g)
        flat = torch.stack(projected).sum(0)
        for p, g in zip(moving, flat.split([p.numel() for p in moving]), strict=True):
            p.grad = g.reshape(p.shape).clone()


# -------------------------------------------------------------------- own losses on shared passes


@dataclass
class L2SP(Method):
    """L2-SP (Li et al. 2018): stay near the pretrained weights, whatever the stage began with."""

    weight: float = 0.1

    def loss(self, step: Step) -> torch.Tensor:
        start = dict(step.origin.named_parameters())
        moving = {n: p for n, p in step.model.backbone.named_parameters() if p.requires_grad and n in start}
        if not moving:
            raise UsageError(f"{self.name} holds weights that do not move here")
        return self.weight * torch.stack([(p - start[n]).square().sum() for n, p in moving.items()]).sum()


class CoTuning(Method):
    """Source classes as a second target (You et al. 2020): the source head is trained beside the new one."""

    labelled: ClassVar[bool] = True

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        head = model.backbone.source_head
        if head is None:
            raise UsageError(f"{self.name} needs a backbone with its source head")
        model.aux["source"] = head.requires_grad_(True)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.map = torch.rand(len(task.labels), 5).softmax(1)

    def loss(self, step: Step) -> torch.Tensor:
        pred, _ = step.model.aux["source"](step.out.features, step.batch)
        return 0.3 * F.cross_entropy(pred, step.batch.y @ self.map)

    def state(self) -> dict[str, Any]:
        return {"map": self.map}

    def load_state(self, state: dict[str, Any]) -> None:
        self.map = state["map"].clone()


@dataclass
class Distill(Method):
    """Features of a teacher that takes another input."""

    teacher: Model

    def encoders(self) -> Mapping[str, Backbone]:
        return {"teacher": self.teacher.backbone}

    def loss(self, step: Step) -> torch.Tensor:
        with torch.no_grad():
            said = self.teacher.eval()(step.batch.extra["teacher"])
        return F.mse_loss(step.out.features.pooled, said.features.pooled)


@dataclass
class Ema(Method):
    """An average of the model as teacher (Tarvainen and Valpola 2017), swapped in at the end."""

    decay: float = 0.9

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        self.teacher = clone(model)
        self.teacher.aux.clear()
        self.seen = 0

    def loss(self, step: Step) -> torch.Tensor:
        with torch.no_grad():
            said = self.teacher.eval()(replace(step.batch, y=None))
        return 0.1 * F.mse_loss(step.out.features.pooled, said.features.pooled)

    def after_step(self, step: Step) -> None:
        self.seen += 1
        with torch.no_grad():
            now = step.model.state_dict()
            for name, average in self.teacher.state_dict().items():
                average.copy_(average.lerp(now[name], 1 - self.decay) if average.is_floating_point() else now[name])

    def finish(self, model: Model) -> None:
        model.backbone.load_state_dict(self.teacher.backbone.state_dict())
        model.head.load_state_dict(self.teacher.head.state_dict())

    def state(self) -> dict[str, Any]:
        return {"teacher": dict(self.teacher.state_dict()), "seen": self.seen}

    def load_state(self, state: dict[str, Any]) -> None:
        self.teacher.load_state_dict(state["teacher"])
        self.seen = state["seen"]


@dataclass
class FixMatch(Method):
    """FixMatch (Sohn et al. 2020); `flexible` asks less of classes seldom met (Zhang et al. 2021)."""

    views: ClassVar[tuple[str, ...]] = ("weak", "strong")
    threshold: float = 0.4
    flexible: bool = False

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        self.met = [0.0] * len(task.labels)
        self.best = float("inf")

    def _said(self, step: Step) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        scores = step.task.scores(step.out_u.pred)
        assert scores is not None
        sure, label = scores.logits.detach().softmax(1).max(1)
        share = torch.tensor(self.met) / max(*self.met, 1e-9)
        need = self.threshold * (share[label] if self.flexible else torch.ones(len(label)))
        return sure, label, sure >= need

    def loss(self, step: Step) -> torch.Tensor:
        _, label, kept = self._said(step)
        strong = F.cross_entropy(step.see("strong").pred, label, reduction="none")
        return 0.5 * (strong * kept).mean()

    def after_step(self, step: Step) -> None:
        sure, label, _ = self._said(step)
        self.best = min(self.best, float(sure.min()))
        count = step.sum(torch.bincount(label, minlength=len(self.met)).float())
        self.met = [0.9 * a + 0.1 * b for a, b in zip(self.met, count.tolist(), strict=True)]

    def state(self) -> dict[str, Any]:
        return {"met": self.met, "best": self.best}

    def load_state(self, state: dict[str, Any]) -> None:
        self.met, self.best = state["met"], state["best"]


# ---------------------------------------------------------------------------------- without labels


class Contrast(Method):
    """SimCLR (Chen et al. 2020): two strong views of a sample agree."""

    supervised: ClassVar[bool] = False
    views: ClassVar[tuple[str, ...]] = ("strong", "strong")

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        model.aux["project"] = nn.Linear(model.backbone.dim, 4)

    def loss(self, step: Step) -> torch.Tensor:
        a, b = (F.normalize(step.model.aux["project"](step.see("strong", k).features.pooled), dim=1) for k in (0, 1))
        return F.cross_entropy(a @ b.T / 0.2, torch.arange(len(a)))


class MaskedPatches(Method):
    """MAE-like (He et al. 2022): patches are masked after `embed`, and told from the others."""

    supervised: ClassVar[bool] = False

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        model.aux["decode"] = nn.Linear(model.backbone.dim, model.backbone.dim)
        model.aux["blank"] = nn.ParameterList([nn.Parameter(torch.zeros(model.backbone.dim))])

    def loss(self, step: Step) -> torch.Tensor:
        embedded = step.model.backbone.embed(step.batch.x)  # [b, t, d]
        gone = torch.from_numpy(step.rng(self).random(embedded.shape[:2]) < 0.3).unsqueeze(2)
        shown = torch.where(gone, step.model.aux["blank"][0], embedded)
        context = step.model.backbone(step.batch.x, shown).tokens
        mixed = context + context.mean(1, keepdim=True)
        return ((step.model.aux["decode"](mixed) - embedded.detach()).square() * gone).sum() / gone.sum().clamp_min(1)


@dataclass
class Watch(Method):
    """Writes down in which order it is asked."""

    said: list[str]

    def prepare(self, model: Model, task: Task, data: Data) -> None:
        self.said.append(f"{self.name}.prepare")

    def batch(self, batch: Batch, rng: np.random.Generator) -> Batch:
        self.said.append("batch")
        return batch

    def weigh(self, step: Step) -> float:
        self.said.append("weigh")
        return 1.0

    def loss(self, step: Step) -> torch.Tensor | None:
        self.said.append("loss")
        return None

    def gradients(self, step: Step, terms: dict[str, torch.Tensor]) -> None:
        self.said.append("gradients")
        torch.stack(list(terms.values())).sum().backward()

    def after_step(self, step: Step) -> None:
        self.said.append("after_step")

    def finish(self, model: Model) -> None:
        self.said.append(f"{self.name}.finish")

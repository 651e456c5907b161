"""Which backbone: every candidate measured by a cross-validated probe before anything is trained."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft import backbones, evaluate, features, floors, hub, linear, registry, sources
from graft._wording import short
from graft.data import Sample, by_label, split_key, subset
from graft.errors import DataError, GraftError, SetupError, Stopped, UsageError, some
from graft.loading import batches
from graft.methods.probe import LOSSES
from graft.model import Backbone
from graft.recipe import Recipe
from graft.tasks import Task
from graft.voice import Voice

MOST_SAMPLES = 1000
"""Training samples a candidate is measured on."""


@dataclass
class Candidate:
    """One row of the ranking: `predicted` in the task's measure with its interval, cost, licence, or the fault.

    `probe` is the cross-validated score of a linear probe; in this version it is the prediction too.
    Sizes in parameters and MB of the weights file, `ms` milliseconds a sample on this machine.
    """

    name: str
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    probe: float | None = None
    parameters: int | None = None
    mb: float | None = None
    ms: float | None = None
    license: str | None = None
    error: str | None = None


@dataclass
class Ranking:
    """Candidates, the best first and the broken last; the choice, and what cannot be told from it."""

    candidates: list[Candidate]
    choice: str | None = None
    tied: list[str] = field(default_factory=list)
    skipped: str = ""  # why hub candidates were left out, where they were
    n: int = 0  # samples measured on
    measure: str = "accuracy"

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"candidates": [asdict(c) for c in self.candidates], "choice": self.choice, "tied": self.tied}

    def sentence(self) -> str:
        """The ranking in words."""
        if self.choice is None:
            return f"none of {len(self.candidates)} candidates can be used"
        if len(self.candidates) == 1:
            return f"{short(self.choice)} is the only candidate"
        if self.tied:
            others = some(short(t) for t in self.tied)
            return f"{short(self.choice)} is predicted best; {others} cannot be told apart from it on {self.n} samples"
        return f"{short(self.choice)} is predicted best, and the others measurably worse, on {self.n} samples"


def candidates_for(task: Task, zoos: Sequence[Path], voice: Voice) -> tuple[list[str], str]:
    """(names, why hub models were left out): what is bundled, every zoo folder, and the hub's where it answers."""
    found = [f"bundled:{n}" for n in registry.load("backbones", "bundled").names() if task.modality == "text"]
    for zoo in zoos:
        if not zoo.is_dir():
            raise UsageError(f"--zoo {zoo}: there is no such folder")
        below = registry.load("backbones", "local").names(str(zoo))
        found.extend(f"local:{n}" for n in below if _takes(Path(n), task.modality))
    skipped = ""
    if task.modality == "picture":
        names = registry.load("backbones", "timm").names()
        here = [n for n in names if hub.cached(f"timm/{n}", "model.safetensors")]
        why = hub.reachable()
        skipped = f"no hub: {why}; {len(names) - len(here)} hub models are left out" if why else ""
        found.extend(f"timm:{n}" for n in (here if why else names))
    if skipped:
        voice.say(f"  {skipped}")
    return found, skipped


def _takes(folder: Path, modality: str) -> bool:
    """Whether a model folder can be of this modality, told without loading it: text encoders have a tokenizer."""
    return modality not in ("text", "picture") or (folder / "tokenizer.json").is_file() == (modality == "text")


def zoo_folders(zoo: str | Path | None) -> list[Path]:
    """The folders named by `--zoo` and by GRAFT_ZOO (separated as PATH is)."""
    given = [str(zoo)] if zoo else []
    given += [p for p in os.environ.get("GRAFT_ZOO", "").split(os.pathsep) if p]
    return [Path(p).expanduser().resolve() for p in dict.fromkeys(given)]


def named(candidates: str | Path | Sequence[str]) -> list[str]:
    """`--candidates`: a folder of models, or names separated by commas; the whole list."""
    items = (
        candidates.split(",")
        if isinstance(candidates, str)
        else [str(c) for c in ([candidates] if isinstance(candidates, Path) else candidates)]
    )
    found: list[str] = []
    for item in (i.strip() for i in items if i.strip()):
        folder = Path(item).expanduser()
        if folder.is_dir():
            below = registry.load("backbones", "local").names(str(folder.resolve()))
            if not below:
                raise DataError(f"--candidates {item}: no model folder (config.json, model.safetensors) is below it")
            found.extend(f"local:{n}" for n in below)
        else:
            found.append(item)
    if not found:
        raise UsageError("--candidates: name at least one model or a folder of models")
    return list(dict.fromkeys(found))


def rank(
    task: Task,
    train: Sequence[Sample],
    names: Sequence[str],
    *,
    seed: int = 0,
    device: str = "cpu",
    voice: Voice | None = None,
    more: Callable[[], bool] = lambda: True,
) -> Ranking:
    """Measure each candidate on the training part. A broken one is a row with its reason.

    `more()` is asked before each further candidate; once it says no, the rest are rows that say so.
    """
    voice = voice or Voice(quiet=True)
    samples = subset(train, MOST_SAMPLES, seed, "rank", task.answer.strata if task.answer else by_label)
    truth = np.asarray(evaluate.truth_of(task, samples))
    rows, held = [], {}
    for i, name in enumerate(names):
        if i and not more():
            rows.append(Candidate(name, error="not tried: the time for choosing was over"))
            continue
        row, answers = _try(name, task, samples, truth, seed, device, voice)
        rows.append(row)
        if answers is not None:
            held[name] = answers
    sign = 1 if task.lower() else -1
    ranked = sorted(
        (r for r in rows if r.error is None), key=lambda r: (sign * (r.predicted or 0), r.parameters or 0, r.name)
    )
    ranking = Ranking([*ranked, *(r for r in rows if r.error is not None)], n=len(samples))
    ranking.measure = task.measures[0] if task.measures else "accuracy"
    if ranked:
        ranking.choice = ranked[0].name
        best = held[ranked[0].name]
        for row in ranked[1:]:
            pair = evaluate.paired(task, best, held[row.name], truth, seed)
            if (pair.high >= 0) if task.lower() else (pair.low <= 0):
                ranking.tied.append(row.name)
    return ranking


def _try(
    name: str, task: Task, samples: Sequence[Sample], truth: np.ndarray, seed: int, device: str, voice: Voice
) -> tuple[Candidate, np.ndarray | None]:
    row = Candidate(name)
    try:
        backbone = backbones.load(name, task.schema).to(device)
        if backbone.modality != task.modality:
            raise UsageError(f"takes a {backbone.modality}, and the task has a {task.modality}")
        card = backbone.card
        row.parameters, row.mb, row.license = card.parameters, card.mb, card.license
        row.ms = milliseconds(backbone, samples)
        with voice.bar(f"features of {short(name)}", len(samples)) as tick:
            table = features.extract(backbone, samples, tick=tick)
        answers = _probe(task, table.pooled, samples)
        found = evaluate.score(task, answers, truth, seed)
        row.predicted, row.low, row.high, row.probe = found.value, found.low, found.high, found.value
        return row, answers
    except Stopped:
        raise
    except GraftError as e:
        row.error = str(e)
    except Exception as e:  # whatever a stranger's folder breaks is that row's fault, not the ranking's
        row.error = f"{type(e).__name__}: {e}"
    return row, None


def _probe(task: Task, pooled: torch.Tensor, samples: Sequence[Sample]) -> np.ndarray:
    """Out-of-fold answers [n, outputs] as the task decodes them."""
    y = task.collate([task.target(s, None) for s in samples])
    keys = [split_key(s) for s in samples]
    held = linear.cross_validate(pooled, y, loss=LOSSES.get(task.outputs, "softmax"), groups=keys).answers
    # Numbers leave the probe in standard units; probabilities are what they are.
    return np.asarray(task.decode(held, [None] * len(held))) if task.outputs == "numbers" else held.numpy()


@torch.no_grad()
def milliseconds(backbone: Backbone, samples: Sequence[Sample], size: int = 16) -> float:
    """Milliseconds a sample of a forward pass, preprocessing left out: the median of three after a warm-up."""
    backbone.eval()
    device = next(backbone.parameters()).device
    some_samples = list(samples[:size])
    _, batch = next(batches(some_samples, backbone, size))
    x = batch.x.to(device)
    times = []
    for _ in range(4):
        start = time.perf_counter()
        backbone(x).pooled.sum().item()
        times.append(time.perf_counter() - start)
    return round(1000 * sorted(times[1:])[1] / len(some_samples), 3)


def rank_data(
    data: Any,
    candidates: str | Path | Sequence[str] | None = None,
    *,
    zoo: str | Path | None = None,
    task: str = "auto",
    measure: str = "",
    text: str = "",
    image: str = "",
    label: str = "",
    group: str = "",
    domain: str = "",
    time: str = "",
    split: str = "",
    unknown: str = "refuse",
    drop_unlabelled: bool = False,
    seed: int = 0,
    device: str = "auto",
    max_bad: float = 0.01,
    quiet: bool = True,
    voice: Voice | None = None,
) -> Ranking:
    """Rank pretrained models for data before training: `graft.rank`.

    `candidates` (names, or a folder of models) is the whole list; without it, the bundled ones, those
    below `zoo` and GRAFT_ZOO, and hub models where the hub answers. Raises DataError, UsageError,
    SetupError where there is no candidate.
    """
    from graft.session import pick_device

    voice = voice or Voice(quiet)
    floors.check()
    hub.say = voice.say
    source, name = sources.resolve(data)
    asked = Recipe(
        data=name, task=task, measure=measure, seed=seed, text=text, image=image, label=label, group=group,
        domain=domain, time=time, split=split, unknown=unknown, drop_unlabelled=drop_unlabelled, max_bad=max_bad,
    )  # fmt: skip
    chosen, _ = sources.task_for(source, asked)
    read = chosen.read(source, asked)
    skipped = ""
    if candidates is not None:
        names = named(candidates)
    else:
        names, skipped = candidates_for(chosen, zoo_folders(zoo), voice)
    if not names:
        raise no_candidate(chosen, skipped)
    ranking = rank(chosen, read.train, names, seed=seed, device=pick_device(device), voice=voice)
    ranking.skipped = skipped
    return ranking


def no_candidate(task: Task, why: str) -> SetupError:
    """What to say where no pretrained model is at hand."""
    return SetupError(
        f"no pretrained {task.modality} backbone is at hand: --zoo names no folder with models, nothing is cached, "
        f"and {why or 'the hub was not asked'}. Give --zoo FOLDER (or set GRAFT_ZOO) with models in timm's or "
        "transformers' folder format, or run once with network"
    )

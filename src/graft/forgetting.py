"""What tuning made the backbone forget: the drop on data of an earlier task, `graft fit DATA --keep SOURCE`.

Two questions, each answered on the same samples before (the pretrained backbone) and after (the tuned one), paired:

- **the earlier run's own head**, where the backbone is `run:FOLDER` and SOURCE asks what that run was trained for: does
  what it answered still hold? This is forgetting as continual learning measures it (Chaudhry et al. 2018, section 3).
  It is judged on the samples of SOURCE that the earlier run did not learn from.
- **a probe**, always: a linear model fitted anew on SOURCE's training part and judged on its test part. It says what
  the features still hold for whoever trains another head (Davari et al. 2022, section 3).

A run is flagged where either drop is above `--max-drop`, by the point estimate; the interval stands beside it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from graft import calibrate, evaluate, features, linear, recipe, sources, storage
from graft._wording import interval, is_percent, number, spoken
from graft.backbones import _channels, _weights, split, suffix
from graft.data import Data, Sample, by_label, split_key, subset
from graft.errors import GraftError, UsageError
from graft.evaluate import Score
from graft.files import read_json
from graft.methods.probe import LOSSES
from graft.model import Backbone, Model
from graft.precision import Precision
from graft.recipe import Recipe
from graft.tasks import Task
from graft.voice import Voice

MAX_DROP = 0.05
MOST = 1000  # samples of each part
LEAST = 100  # samples of each part, however little time there is
PILOT = 16  # samples that are timed


@dataclass(frozen=True)
class Earlier:
    """A finished run's own answer: its head, which reads pooled features, and the samples it is judged on."""

    folder: str
    head: nn.Module
    task: Task
    offsets: np.ndarray | None
    judged: list[Sample]
    temperature: float = 1.0
    flattered: bool = False  # every sample of the source is one that the run learned from


@dataclass(frozen=True)
class Kept:
    """Data of an earlier task, read: what a probe is fitted and judged on, and the earlier run's own head."""

    source: str
    task: Task
    fitted: list[Sample]
    judged: list[Sample]
    earlier: Earlier | None = None
    why: str = ""  # there is no head of an earlier run
    notes: list[str] = field(default_factory=list)


# --------------------------------------------------------------------------------------- what is asked


def settled(asked: Recipe) -> Recipe:
    """The recipe with the whole path of `keep`. Raises UsageError where it names nothing, or `max_drop` is none."""
    if not (math.isfinite(asked.max_drop) and asked.max_drop >= 0):
        raise UsageError(f"--max-drop {asked.max_drop:g}: a number of 0 or more is expected, as 0.05 for five points")
    if not asked.keep:
        return asked
    try:
        return replace(asked, keep=sources.resolve(asked.keep)[1])
    except GraftError as e:
        raise _named(e, asked.keep) from e


def read(asked: Recipe, modality: str, schema: Any) -> Kept:
    """Read `asked.keep` for a backbone of this modality, of data of this schema; its task is told from what it holds.

    A recipe.toml of an earlier run stands for that run's data, columns and split. Raises UsageError, DataError for a
    source that cannot be read, or that this run's backbone cannot take: before any training.
    """
    try:
        theirs = _their_recipe(asked)
        source, name = sources.resolve(theirs.data)
        theirs = replace(theirs, data=name)
        kept_task, _ = sources.task_for(source, theirs)
        found = kept_task.read(source, theirs)
    except GraftError as e:
        raise _named(e, asked.keep) from e
    if kept_task.modality != modality:
        raise UsageError(
            f"--keep {asked.keep}: holds a {kept_task.modality} a row, and this run's backbone takes a "
            f"{modality}; name data of the same kind"
        )
    has, wanted = _channels.asked(found.schema), _channels.asked(schema)
    if has != wanted:
        raise UsageError(f"--keep {asked.keep}: pictures of {has} channels, and this run's have {wanted}")
    strata = kept_task.answer.strata if kept_task.answer else by_label
    fitted = subset(found.train, MOST, asked.seed, "keep train", strata)
    judged = subset(found.test, MOST, asked.seed, "keep test", strata)
    earlier, why = _earlier(asked, kept_task, found)
    return Kept(name, kept_task, fitted, judged, earlier, why, [n.text for n in found.notes if n.kind == "warning"])


def _named(error: GraftError, source: str) -> GraftError:
    """The same error, saying that it is of the data to keep."""
    said = str(error)
    return type(error)(f"--keep {said}" if said.startswith(source) else f"--keep {source}: {said}")


def _their_recipe(asked: Recipe) -> Recipe:
    if asked.keep.endswith(".toml"):
        return recipe.load_toml(Path(asked.keep))
    bad, bare = asked.max_bad, asked.drop_unlabelled
    return Recipe(data=asked.keep, seed=asked.seed, max_bad=bad, drop_unlabelled=bare, frames=asked.frames)


def _earlier(asked: Recipe, task: Task, found: Data) -> tuple[Earlier | None, str]:
    """(the earlier run's head, "") where it answers these data, else (None, why not)."""
    source, name = split(asked.backbone) if asked.backbone != "auto" else ("", "")
    if source != "run":
        return None, "the backbone is no earlier run of graft (run:FOLDER), so there is no head to ask"
    if suffix(asked.backbone):
        return None, f"the backbone is {name} with {suffix(asked.backbone)[1:]}, and its head reads the whole of it"
    folder = Path(name)
    meta = storage.read_meta(folder)
    known = storage.task_of(meta)
    strange = set(task.labels) - set(known.labels)
    if known.name != task.name or strange:
        what = f"answers {known.name}" if known.name != task.name else f"knows no {', '.join(sorted(strange)[:3])}"
        return None, f"{folder} {what}: its own head cannot be asked"
    head = storage.load_head(meta["head"], _weights.read_weights(folder, storage.WEIGHTS))
    kept = read_json(folder / "report.json")["chosen"]
    moved = (meta.get("thresholds") or {}).get(kept)
    offsets = None if moved is None else np.asarray(moved, dtype=np.float64)
    temperature = float((meta.get("temperatures") or {}).get(kept, 1.0))
    learned = storage.seen(folder)
    unseen = [s for s in (*found.train, *found.valid, *found.test) if storage.mark(s.digest) not in learned]
    strata = task.answer.strata if task.answer else by_label
    judged = subset(unseen or found.test, MOST, asked.seed, "keep unseen", strata)
    return Earlier(str(folder), head.eval(), known, offsets, judged, temperature, not unseen), ""


# ----------------------------------------------------------------------------------------- what is lost


def measure(
    kept: Kept,
    origin: Backbone,
    tuned: Backbone | None,
    *,
    max_drop: float = MAX_DROP,
    seed: int = 0,
    seconds: float | None = None,
    precision: Precision | None = None,
    voice: Voice | None = None,
) -> dict[str, Any]:
    """The drop from `origin` to `tuned` (None: the backbone was kept as it is) on the earlier data, as plain values.

    `seconds` cuts the samples, never below 100 of each part (None: up to 1,000 of each, and no clock decides).

    Keys: source, task, measure, lower, max_drop, flagged, sentence, seconds, notes, head and probe; each of the
    last two is {before, after: {value, low, high, n}, drop: {difference, low, high}, flagged}, `head` also
    {run, flattered}, or {why} where no earlier run can be asked. `drop` is what was lost: before minus after, or
    after minus before where less is better, in the measure's own units (a share of 1 for percentages).
    Raises DataError for a picture that cannot be read any more.
    """
    start = time.monotonic()
    kept = _cut(kept, origin, tuned, seed, seconds, precision)
    earlier = kept.earlier
    every = [*kept.fitted, *kept.judged, *(earlier.judged if earlier else [])]
    before = _pooled(origin, every, precision, voice, "what it knew")
    after = before if tuned is None else _pooled(tuned, every, precision, voice, "what it still knows")
    n, m = len(kept.fitted), len(kept.judged)
    probes = [_probe(kept, x[:n], x[n : n + m]) for x in ((before,) if after is before else (before, after))]
    probe = _lost(kept.task, probes[0], probes[-1], kept.judged, seed, max_drop)
    head: dict[str, Any] = {"why": kept.why}
    if earlier is not None:
        said = [_asked(earlier, b, x[n + m :]) for b, x in ((origin, before), (tuned or origin, after))]
        lost = _lost(earlier.task, said[0], said[1], earlier.judged, seed, max_drop, earlier.offsets)
        head = {**lost, "run": earlier.folder, "flattered": earlier.flattered}
    found = {
        "source": kept.source,
        "task": kept.task.name,
        "measure": (earlier.task if earlier else kept.task).measures[0],
        "probe_measure": kept.task.measures[0],
        "lower": (earlier.task if earlier else kept.task).lower(),
        "max_drop": max_drop,
        "flagged": bool(probe["flagged"] or head.get("flagged")),
        "tuned": tuned is not None,
        "head": head,
        "probe": probe,
        "notes": kept.notes,
        "seconds": round(time.monotonic() - start, 2),
    }
    return {**found, "sentence": sentence(found)}


def _cut(
    kept: Kept,
    origin: Backbone,
    tuned: Backbone | None,
    seed: int,
    seconds: float | None,
    precision: Precision | None,
) -> Kept:
    """As many samples of each part as the time allows."""
    if seconds is None:
        return kept
    pilot = kept.fitted[:PILOT]
    features.extract(origin, pilot[:4], keep=False, precision=precision)  # warm-up
    start = time.monotonic()
    features.extract(origin, pilot, keep=False, precision=precision)
    each = (time.monotonic() - start) / len(pilot) * (1 if tuned is None else 2)
    most = max(LEAST, int(seconds / each / (3 if kept.earlier else 2)))
    strata = kept.task.answer.strata if kept.task.answer else by_label

    def some(samples: list[Sample]) -> list[Sample]:
        return subset(samples, most, seed, "keep time", strata)

    earlier = replace(kept.earlier, judged=some(kept.earlier.judged)) if kept.earlier else None
    return replace(kept, fitted=some(kept.fitted), judged=some(kept.judged), earlier=earlier)


def _pooled(
    backbone: Backbone, samples: Sequence[Sample], precision: Precision | None, voice: Voice | None, what: str
) -> torch.Tensor:
    """Pooled features [n, d]; a sample that stands there twice is passed once."""
    voice = voice or Voice(quiet=True)
    unique = {id(s): s for s in samples}
    place = {key: i for i, key in enumerate(unique)}
    with voice.bar(what, len(unique)) as tick:
        table = features.extract(backbone, list(unique.values()), keep=False, precision=precision, tick=tick)
    return table.pooled[[place[id(s)] for s in samples]]


def _probe(kept: Kept, fitted: torch.Tensor, judged: torch.Tensor) -> np.ndarray:
    """Answers [m, ...] on the judged part of a linear model fitted on the other."""
    task = kept.task
    y = task.collate([task.target(s, None) for s in kept.fitted])
    weight = torch.tensor([s.weight for s in kept.fitted])
    loss = LOSSES.get(task.outputs, "softmax")
    model = linear.fit(fitted, y, weight, loss=loss, groups=[split_key(s) for s in kept.fitted])
    return np.asarray(task.decode(model(judged), [None] * len(judged)))


def _asked(earlier: Earlier, backbone: Backbone, pooled: torch.Tensor) -> np.ndarray:
    """Answers [m, ...] of the earlier run's head on pooled features."""
    head = Model(backbone, earlier.head)
    answers = features.answers(head, earlier.task, features.Table(pooled, False))
    return calibrate.apply(earlier.task.outputs, answers, earlier.temperature)


def _lost(
    task: Task,
    before: np.ndarray,
    after: np.ndarray,
    samples: Sequence[Sample],
    seed: int,
    max_drop: float,
    offsets: np.ndarray | None = None,
) -> dict[str, Any]:
    """Scores before and after, and the paired drop with its interval."""
    truth = evaluate.truth_of(task, samples)
    scores = [evaluate.score(task, answers, truth, seed, offsets) for answers in (before, after)]
    if np.array_equal(before, after):
        lost, low, high = 0.0, 0.0, 0.0  # the same answers: nothing to estimate
    else:
        first, second = (after, before) if task.lower() else (before, after)
        pair = evaluate.paired(task, first, second, truth, seed, (offsets, offsets))
        lost, low, high = pair.difference, pair.low, pair.high
    return {
        "before": _plain(scores[0]), "after": _plain(scores[1]),
        "drop": {"difference": _finite(lost), "low": _finite(low), "high": _finite(high)},
        "flagged": bool(lost > max_drop),
    }  # fmt: skip


def _plain(score: Score) -> dict[str, Any]:
    return {**{k: _finite(v) for k, v in score.plain().items()}, "n": score.n}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


# --------------------------------------------------------------------------------------------- in words


def sentence(found: Mapping[str, Any]) -> str:
    """What was lost, in one sentence; the earlier run's own head speaks first where it can be asked."""
    of = Path(found["source"]).name
    if not found["tuned"]:
        return f"Nothing of {of} was forgotten: the backbone was kept as it is."
    parts = []
    if "drop" in found["head"]:
        parts.append(_part(found["head"], found["measure"], "the earlier run's own head"))
    parts.append(_part(found["probe"], found["probe_measure"], "a new probe"))
    limit = _amount(found["max_drop"], found["measure"])
    if found["flagged"]:
        return f"Forgetting on {of}: {'; '.join(parts)}. That is above --max-drop {limit}."
    return f"On {of}, {'; '.join(parts)}: within --max-drop {limit}."


def _part(lost: Mapping[str, Any], measure: str, who: str) -> str:
    gap, name = lost["drop"], spoken(measure)
    if gap["difference"] is None:
        return f"{who} has no {name}"
    was, now = (number(lost[k]["value"], measure) for k in ("before", "after"))
    if gap["difference"] == 0:
        return f"{who} keeps its {name} of {now}"
    verb = "loses" if gap["difference"] > 0 else "gains"
    about = f"{was} to {now}; drop {interval(gap, measure, signed=True)}, n {lost['after']['n']}"
    return f"{who} {verb} {_amount(abs(gap['difference']), measure)} of {name} ({about})"


def _amount(value: float, measure: str) -> str:
    return f"{100 * value:.1f} points" if is_percent(measure) else number(value, measure)


def brief(found: Mapping[str, Any]) -> dict[str, Any]:
    """What `graft fit --json` says of it."""
    by = "head" if "drop" in found["head"] else "probe"
    measured = found["measure"] if by == "head" else found["probe_measure"]
    return {
        "source": found["source"], "measure": measured, "by": by, "drop": found[by]["drop"]["difference"],
        "low": found[by]["drop"]["low"], "high": found[by]["drop"]["high"], "max_drop": found["max_drop"],
        "flagged": found["flagged"],
    }  # fmt: skip

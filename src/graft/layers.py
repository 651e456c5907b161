"""Which knowledge carried over: stage by stage, how far the tuned backbone is from the pretrained one.

For each stage, from input to output: the likeness of its features before and after tuning (`graft.cka`), what a linear
probe gets from them, and how far its weights moved. Everything is measured on validation samples and, where these are
few, on training samples besides; never on the test part.

**When a stage changed.** CKA is compared with a line of its own for each stage: how like the pretrained stage's
features are to those of the same samples under a view that keeps their meaning (of pictures a crop of at least half,
half of them mirrored; of texts nine tenths of the words). Tuning that moves a stage no further than that moves it no
further than what later stages meet anyway. The line is kept between 0.71 and 0.95, where the similarities between
samples before tuning explain half and nine tenths of the variance of those after (CKA is their correlation). A stage
changed where the whole interval of its CKA lies below its line.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from graft import cka, evaluate, features, linear
from graft.data import Data, Sample, by_label, split_key, subset
from graft.features._stages import Stages
from graft.loading import load
from graft.methods.probe import LOSSES
from graft.model import Backbone
from graft.precision import Precision, cast, prepared
from graft.tasks import Task

MOST = 200  # samples: the interval of a CKA of 0.8 is about 0.05 to either side then, of one of 0.98 0.005
LEAST = 48  # samples, however little time there is
VIEWED = 64  # of them, under the view that the line is made of
LEAST_VIEWED = 32
LINE = (0.71, 0.95)
PENALTY = 0.1  # of every probe: chosen on none of the samples, it costs a tenth of what choosing does
PASS_SHARE = 0.7  # of the time: the passes; the rest is for the probes
PILOT = 8  # samples that are timed, and of a batch under the view
VIEWS = {"picture": "weak", "text": "strong"}
ESTIMATOR = "linear CKA, debiased"
FEWEST_JUDGED = 5  # samples that a probe is judged on
WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")

Tick = Callable[[int], None]


def sample(data: Data, task: Task, seed: int = 0, most: int = MOST) -> tuple[list[Sample], list[bool]]:
    """(samples, which of them tuning learned from): validation samples, and training samples where these are few."""
    strata = task.answer.strata if task.answer else by_label
    held = subset(data.valid, most, seed, "layers valid", strata)
    more = subset(data.train, most - len(held), seed, "layers train", strata) if len(held) < most else []
    return [*held, *more], [False] * len(held) + [True] * len(more)


def report(
    origin: Backbone,
    tuned: Backbone | None,
    samples: Sequence[Sample],
    task: Task,
    *,
    learned: Sequence[bool] = (),
    seed: int = 0,
    seconds: float | None = None,
    precision: Precision | None = None,
    tick: Tick | None = None,
) -> dict[str, Any]:
    """By stage: CKA, parameter drift, and a probe's score before and after; as plain JSON values.

    `tuned` None means that the backbone was kept as it is: then the probe by depth is all there is to say. Of samples
    that tuning `learned` from [n] the features count for CKA and to fit probes on, but probes are judged on the
    others: a network that saw a sample tells it apart for the wrong reason. `seconds` cuts the samples, never below
    48, and leaves early stages without a probe (None: nothing is cut, and no clock decides). `tick(n)` hears of n
    samples passed.

    Keys: kind (tuned, frozen), n, judged, measure, estimator, seconds, sentence, and stages, a list of {name,
    parameters, cka, low, high, line, changed, drift, before, after, gain {difference, low, high}}; what was not
    measured or is not defined is None. `drift` is |w1 - w0| / |w0|, `gain` after minus before, paired.
    Raises DataError for a picture that cannot be read any more.
    """
    start = time.monotonic()
    asked = _Asked(task, seed, precision, tick, start + seconds if seconds is not None else None)
    samples = samples[: linear.MOST_ROWS]
    learned = learned[: linear.MOST_ROWS]
    some, judged = _cut(origin, tuned, list(samples), [not x for x in learned] or [True] * len(samples), asked, seconds)
    before = _pass(origin, some, asked)
    after = before if tuned is None else _pass(tuned, some, asked)
    lines = {} if tuned is None else _lines(origin, some[: _viewed_of(len(some))], before, asked)
    rows = [_row(stage, names, origin, tuned, before, after, lines) for stage, names in origin.stages()]
    _probes(rows, before, after, some, judged, asked)
    found = {
        "kind": "frozen" if tuned is None else "tuned",
        "n": len(some),
        "judged": sum(judged),
        "measure": task.measures[0] if task.measures else "",
        "lower": task.lower(),
        "estimator": ESTIMATOR,
        "stages": rows,
        "seconds": round(time.monotonic() - start, 2),
    }
    return {**found, "sentence": sentence(found)}


@dataclass(frozen=True)
class _Asked:
    """What holds for one report."""

    task: Task
    seed: int
    precision: Precision | None
    tick: Tick | None
    deadline: float | None


# ---------------------------------------------------------------------------------------- the passes


def _cut(
    origin: Backbone,
    tuned: Backbone | None,
    samples: list[Sample],
    judged: list[bool],
    asked: _Asked,
    seconds: float | None,
) -> tuple[list[Sample], list[bool]]:
    """As many samples as the time allows, unseen ones first."""
    if seconds is not None and len(samples) > LEAST:
        pilot = samples[:PILOT]
        features.extract(origin, pilot[:2], stages=True, keep=False, precision=asked.precision)  # warm-up
        start = time.monotonic()
        features.extract(origin, pilot, stages=True, keep=False, precision=asked.precision)
        each = (time.monotonic() - start) / len(pilot)
        passes = 1 if tuned is None else 2 + 1 / 3
        fit = max(LEAST, int(PASS_SHARE * seconds / (each * passes)))
        order = sorted(range(len(samples)), key=lambda i: not judged[i])[:fit]  # stable
        samples, judged = [samples[i] for i in order], [judged[i] for i in order]
    return samples, judged


def _viewed_of(n: int) -> int:
    """How many of n samples are looked at under the view as well."""
    return min(VIEWED, max(LEAST_VIEWED, n // 3))


def _pass(backbone: Backbone, samples: Sequence[Sample], asked: _Asked) -> dict[str, np.ndarray]:
    """Pooled features [n, d] by stage."""
    table = features.extract(backbone, samples, stages=True, keep=False, precision=asked.precision, tick=asked.tick)
    return {stage: t.numpy() for stage, t in table.stages.items()}


def _lines(
    origin: Backbone, samples: Sequence[Sample], before: dict[str, np.ndarray], asked: _Asked
) -> dict[str, float]:
    """By stage, the CKA below which it counts as changed."""
    if len(samples) < cka.FEWEST:
        return {}
    viewed = _viewed(origin, samples, asked)
    found = {}
    for stage, x in viewed.items():
        alike = cka.linear(before[stage][: len(samples)], x)
        found[stage] = min(max(alike, LINE[0]), LINE[1]) if math.isfinite(alike) else LINE[1]
    return found


@torch.inference_mode()
def _viewed(origin: Backbone, samples: Sequence[Sample], asked: _Asked) -> dict[str, np.ndarray]:
    """Features [n, d] by stage of the samples under the view that leaves their meaning alone."""
    net, spec = prepared(origin, asked.precision), VIEWS.get(origin.modality, "none")
    device = next(origin.parameters()).device
    looking: Stages | None = None
    parts: dict[str, list[np.ndarray]] = {}
    for first in range(0, len(samples), PILOT):
        rows = range(first, min(first + PILOT, len(samples)))
        batch = load([samples[i] for i in rows], origin, None, spec, ("layers", asked.seed), list(rows))
        x = cast(batch.x.to(device), asked.precision)
        looking = looking or Stages(net, x)
        with looking.watching():
            out = net(x)
        for stage, pooled in looking.take(out).items():
            parts.setdefault(stage, []).append(pooled.float().cpu().numpy())
    return {stage: np.concatenate(some) for stage, some in parts.items()}


# -------------------------------------------------------------------------------------------- a stage


def _row(
    stage: str,
    names: Sequence[str],
    origin: Backbone,
    tuned: Backbone | None,
    before: dict[str, np.ndarray],
    after: dict[str, np.ndarray],
    lines: dict[str, float],
) -> dict[str, Any]:
    """What can be said of a stage without a probe."""
    size = {n: p.numel() for n, p in origin.named_parameters()}
    row: dict[str, Any] = {"name": stage, "parameters": sum(size[n] for n in names)}
    row |= dict.fromkeys(("cka", "low", "high", "line", "changed", "drift", "before", "after", "gain"))
    if tuned is None:
        return row
    row["drift"] = drift(origin, tuned, names)
    if stage in before and len(before[stage]) >= cka.FEWEST:
        alike = cka.between(cka.gram(before[stage]), cka.gram(after[stage]))
        row |= {"cka": _plain(alike.value), "low": _plain(alike.low), "high": _plain(alike.high)}
        line = row["line"] = lines.get(stage, LINE[1])
        row["changed"] = None if row["high"] is None else bool(alike.high < line)
    return row


def drift(origin: Backbone, tuned: Backbone, names: Sequence[str]) -> float | None:
    """|w1 - w0| / |w0| over the named parameters; None where all of w0 is zero, or a weight is no finite number."""
    start, end = dict(origin.named_parameters()), dict(tuned.named_parameters())
    moved = weight = 0.0
    with torch.no_grad():
        for name in names:
            w0, w1 = start[name].double().cpu(), end[name].double().cpu()
            moved += float((w1 - w0).square().sum())
            weight += float(w0.square().sum())
    return _plain(math.sqrt(moved / weight)) if weight > 0 else None


def _plain(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


# ------------------------------------------------------------------------------------------ the probes


def _probes(
    rows: Sequence[dict[str, Any]],
    before: dict[str, np.ndarray],
    after: dict[str, np.ndarray],
    samples: Sequence[Sample],
    judged: Sequence[bool],
    asked: _Asked,
) -> None:
    """Scores before and after into the rows, from the last stage back while there is time."""
    task = asked.task
    kept = [i for i, counts in enumerate(judged) if counts]
    if len(kept) < FEWEST_JUDGED:
        return
    y = task.collate([task.target(s, None) for s in samples])
    truth = evaluate.truth_of(task, [samples[i] for i in kept])
    keys = [split_key(s) for s in samples]
    deep_first = [row for row in reversed(rows) if row["name"] in before]
    for row in deep_first:
        if asked.deadline is not None and time.monotonic() > asked.deadline and row is not deep_first[0]:
            break
        stage = row["name"]
        first = _answers(before[stage], y, keys, kept, task)
        row["before"] = _score(first, truth, task)
        if after is before:
            continue
        if np.array_equal(before[stage], after[stage]):
            row |= {"after": row["before"], "gain": {"difference": 0.0, "low": 0.0, "high": 0.0}}
            continue
        last = _answers(after[stage], y, keys, kept, task)
        row["after"] = _score(last, truth, task)
        pair = evaluate.paired(task, last, first, truth, asked.seed)
        row["gain"] = {
            k: _plain(v) for k, v in (("difference", pair.difference), ("low", pair.low), ("high", pair.high))
        }


def _answers(x: np.ndarray, y: torch.Tensor, keys: Sequence[Hashable], kept: Sequence[int], task: Task) -> np.ndarray:
    """Answers of a probe on the rows that are judged, each by a fit that saw neither the row nor its like."""
    loss = LOSSES.get(task.outputs, "softmax")
    held = linear.cross_validate(torch.from_numpy(x), y, None, (PENALTY,), loss, groups=keys).answers[list(kept)]
    # Numbers leave the probe in standard units; probabilities are what they are.
    return np.asarray(task.decode(held, [None] * len(held))) if task.outputs == "numbers" else held.numpy()


def _score(answers: np.ndarray, truth: Sequence[Any], task: Task) -> float | None:
    return _plain(next(iter(task.measure(answers, truth).values())))


# --------------------------------------------------------------------------------------------- in words


def sentence(found: dict[str, Any]) -> str:
    """What a report says, in one sentence: "The last two of 8 stages changed; the rest served as it was."."""
    if found["kind"] == "frozen":
        return "Nothing moved: the pretrained backbone served as it was."
    seen = [row for row in found["stages"] if row["changed"] is not None]
    if not seen:
        return f"On {found['n']} samples it cannot be told which stages changed."
    where = [i for i, row in enumerate(seen) if row["changed"]]
    if not where:
        return "No stage changed much; the pretrained backbone served nearly as it was."
    if len(where) == len(seen):
        return f"All {_word(len(seen))} stages changed." if len(seen) > 1 else "Its one stage changed."
    if where == list(range(len(seen) - len(where), len(seen))):
        which = f"The last {_word(len(where))} of {_word(len(seen))} stages" if len(where) > 1 else "The last stage"
    elif where == list(range(len(where))):
        which = f"The first {_word(len(where))} of {_word(len(seen))} stages" if len(where) > 1 else "The first stage"
    else:
        which = _listed(seen, where)
    return f"{which} changed; the rest served as it was."


def _listed(seen: Sequence[dict[str, Any]], where: Sequence[int]) -> str:
    """Names of stages, runs of three and more as "A to B"."""
    parts: list[str] = []
    for first, last in _runs(where):
        names = [seen[i]["name"] for i in range(first, last + 1)]
        parts += [f"{names[0]} to {names[-1]}"] if len(names) > 2 else names
    said = f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]
    return said[0].upper() + said[1:]


def _runs(where: Sequence[int]) -> Iterator[tuple[int, int]]:
    """(first, last) of each run of neighbours."""
    first = last = where[0]
    for i in where[1:]:
        if i != last + 1:
            yield first, last
            first = i
        last = i
    yield first, last


def _word(n: int) -> str:
    return WORDS[n] if n < len(WORDS) else str(n)

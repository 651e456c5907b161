"""How often 90 % intervals hold the true value: every measure, one model and two, samples alone and in groups.

Simulation on made-up tables of answers (`_worlds.py`) whose true values come from 400,000 samples. "Before" is what
stood here first: percentile bootstrap, within classes for measures that average over them. Coverage outside 87 to 93 %
is marked. Writes intervals.json and intervals.md beside this file; arguments: repetitions at n = 50 (default 500;
fewer of larger n) and processes (default 2). Further arguments are the
parts to run (measures, paired, groups; else all); the files keep the others, and are written after each size.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from _worlds import ERRORS, PRIORS, Classes, Labels, Numbers, World, classes_task, named

from graft import evaluate, measures
from graft.tasks.text_regression import TextRegression

HERE = Path(__file__).resolve().parent
LEVEL = 0.9
SIZES = {50: 1.0, 200: 0.5, 2000: 0.2}  # samples, share of the repetitions
LARGE = 400_000
BEFORE, RESAMPLED = 100, 200  # repetitions of the intervals that were there before, and resamples of each
PARTS = ("measures", "paired", "groups")
PATIENTS = {50: (20,), 200: (60,), 2000: (200,)}  # of five samples each
WITHIN = ("balanced_accuracy", "macro_f1", "auroc", "average_precision", "sensitivity")
MAIN = (
    "accuracy", "balanced_accuracy", "macro_f1", "auroc", "average_precision", "log_loss", "map", "mae", "rmse",
    "r2",
)  # fmt: skip

WORLDS: tuple[World, ...] = (
    *(Classes(shape, accuracy) for shape in PRIORS for accuracy in (0.6, 0.8, 0.95, 0.99)),
    *(Classes(shape, accuracy, 2.5) for shape in PRIORS for accuracy in (0.8, 0.95)),
    *(Labels(a) for a in (1.0, 2.0, 4.0)),
    *(Numbers(errors) for errors in ("normal errors", "Laplace errors", "t errors, 5 df", "log-normal errors")),
)


@dataclass(frozen=True)
class Pair:
    """Two models whose noise correlates by 0.7; the second is worse by `gap` points of accuracy, or in error."""

    world: Classes | Numbers
    gap: float

    def __str__(self) -> str:
        return f"{self.world}; apart by {self.gap:g}"

    def draw(self, r: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Answers of both, truth."""
        if isinstance(self.world, Numbers):
            answers, truth = self.world.draw(r, n)
            own = ERRORS[self.world.errors](r, n)
            shared, other = truth - answers, ERRORS[self.world.errors](r, n)
            halves = np.sqrt([0.7, 0.3])  # both errors are mixed alike, so that neither is heavier than the other
            first, second = halves[0] * shared + halves[1] * own, halves[0] * shared + halves[1] * other
            return truth - first, truth - (1 + self.gap) * second, truth
        prior = PRIORS[self.world.shape]
        truth = r.choice(len(prior), n, p=prior)
        noise = r.standard_normal((n, len(prior)))
        more = 0.7 * noise + np.sqrt(0.51) * r.standard_normal(noise.shape)
        worse = Classes(self.world.shape, round(self.world.accuracy - self.gap, 4), self.world.sharp)
        return self.world.answers(truth, noise), worse.answers(truth, more), truth

    def measures(self) -> tuple[str, ...]:
        return ("mae", "rmse") if isinstance(self.world, Numbers) else ("accuracy", "macro_f1", "auroc", "log_loss")


PAIRS = (
    *(
        Pair(Classes(s, a), gap)
        for s in ("2 classes", "10 classes, imbalanced")
        for a in (0.8, 0.95)
        for gap in (0.0, 0.05)
    ),
    *(Pair(Numbers(errors), gap) for errors in ("normal errors", "t errors, 5 df") for gap in (0.0, 0.1)),
)


def seed_of(*key: object) -> int:
    return zlib.crc32(repr([str(k) for k in key]).encode())


# ------------------------------------------------------------------------------- one model


def covered(job: tuple[World, int, int]) -> list[dict[str, Any]]:
    """Rows of one world at one size: coverage of every measure, and of what was there before."""
    world, n, times = job
    task = world.task()
    true = true_values(world)
    r = np.random.default_rng(seed_of(world, n))
    evaluate.RESAMPLES = 300
    found: dict[str, list[tuple[float, float, float]]] = {k: [] for k in true}
    old: dict[str, list[tuple[float, float, float]]] = {k: [] for k in true}
    for i in range(times):
        answers, truth = world.draw(r, n)
        scores = evaluate.scores(task, answers, truth, i, level=LEVEL)
        for k, s in scores.items():
            found[k].append((s.value, s.low, s.high))
        if i < BEFORE and n == min(SIZES):
            for k, ends in before(task, answers, truth, r).items():
                old[k].append((scores[k].value, *ends))
    return [row(str(world), n, k, true[k], found[k], old[k]) for k in true]


@cache
def true_values(world: World) -> dict[str, float]:
    """Every measure on a sample so large that chance plays no part."""
    return world.task().measure(*world.draw(np.random.default_rng(seed_of(world)), LARGE))


def row(
    world: str, n: int, measure: str, true: float, found: list[tuple[float, float, float]], old: list[Any]
) -> dict[str, Any]:
    """Coverage and width; draws for which the measure is not defined are left out."""
    known = np.array([f for f in found if np.isfinite(f[0])])
    share = held(known, true)
    under, over = float((known[:, 1] > true).mean()), float((known[:, 2] < true).mean())
    made = {
        "world": world, "n": n, "measure": measure, "true": true, "times": len(known), "coverage": share,
        "below": under, "above": over, "width": float((known[:, 2] - known[:, 1]).mean()),
    }  # fmt: skip
    if old:
        was = np.array([f for f in old if np.isfinite(f[0])])
        made["before"] = held(was, true)
        made["width_before"] = float((was[:, 2] - was[:, 1]).mean())
    return made


def held(found: np.ndarray, true: float) -> float:
    """The share of intervals [times, (value, low, high)] that hold the true value, but for rounding."""
    slack = 1e-9 * max(1.0, abs(true))
    return float(((found[:, 1] <= true + slack) & (true - slack <= found[:, 2])).mean())


def before(task: Any, answers: np.ndarray, truth: np.ndarray, r: np.random.Generator) -> dict[str, tuple[float, float]]:
    """Percentile bootstrap; exact for a share of 0 or 1; within classes for measures that average over them."""
    n, kind = len(truth), task.answer.kind
    plain = np.stack([np.bincount(r.integers(0, n, n), minlength=n) for _ in range(RESAMPLED)])
    within = np.zeros_like(plain)
    if kind == "classes":
        for c in np.unique(truth):
            at = np.flatnonzero(truth == c)
            within[:, at] = r.multinomial(len(at), np.ones(len(at)) / len(at), size=RESAMPLED)
    found = {}
    for m in task.chosen():
        counts = within if kind == "classes" and m.name in WITHIN else plain
        values = task.resampled(answers, truth, counts, None, [m])[str(m)]
        values = values[np.isfinite(values)]
        tail = (1 - LEVEL) / 2
        found[str(m)] = tuple(map(float, np.quantile(values, [tail, 1 - tail]))) if len(values) else (np.nan, np.nan)
        points = measures.pointwise(kind, m, answers, truth)
        if m.name in evaluate.SHARES and points is not None and points.mean() in (0.0, 1.0):
            found[str(m)] = evaluate.exact_share(int(points.sum()), n, LEVEL)
    return found


# ------------------------------------------------------------------------------- two models


def covered_pairs(job: tuple[Pair, int, int]) -> list[dict[str, Any]]:
    """Rows of paired differences, with how often p is under 5 % on either side and disagrees with the interval."""
    pair, n, times = job
    tasks = {name: _task(pair.world, name) for name in pair.measures()}
    true = dict.fromkeys(tasks, 0.0)
    if pair.gap:
        a, b, truth = pair.draw(np.random.default_rng(seed_of(pair)), LARGE)
        for name, task in tasks.items():
            one, other = (task.resampled(x, truth, None, None, task.chosen()[:1])[name][0] for x in (a, b))
            true[name] = float(one - other)
    r = np.random.default_rng(seed_of(pair, n))
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in tasks}
    odd, better = dict.fromkeys(tasks, 0), dict.fromkeys(tasks, 0)
    for i in range(times):
        x, y, t = pair.draw(r, n)
        for name, task in tasks.items():
            got = evaluate.paired(task, x, y, t, i, level=LEVEL)
            found[name].append((got.difference, got.low, got.high))
            gains = (got.low > 0, got.high < 0)[:: -1 if task.lower() else 1]
            better[name] += got.p < 0.05
            odd[name] += gains[0] != (got.p < 0.05) or gains[1] != (got.p > 0.95 and got.difference != 0)
    return [
        row(str(pair), n, name, true[name], found[name], [])
        | {"odd": odd[name] / times, "better": better[name] / times}
        for name in tasks
    ]


def _task(world: Classes | Numbers, name: str) -> Any:
    if isinstance(world, Numbers):
        return named(TextRegression(), "text_regression", (), name)
    return classes_task(len(PRIORS[world.shape]), name)


# ------------------------------------------------------------------------------- groups


def covered_groups(job: tuple[int, int, int]) -> list[dict[str, Any]]:
    """Patients with several samples each: half of the evidence's noise, and the class, are the patient's."""
    patients, each, times = job
    world = Classes("2 classes", 0.8)
    task = world.task()

    def draw(r: np.random.Generator, patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sizes = r.integers(1, 2 * each, size=patients)
        group = np.repeat(np.arange(patients), sizes)
        truth = r.choice(2, patients)[group]
        shared, own = r.standard_normal((patients, 2))[group], r.standard_normal((len(group), 2))
        return world.answers(truth, np.sqrt(0.5) * (shared + own)), truth, group

    big = draw(np.random.default_rng(3), LARGE // each)
    true = task.measure(big[0], big[1])
    names = [k for k in true if k in MAIN]
    r = np.random.default_rng(seed_of(job))
    evaluate.RESAMPLES = 300
    whole: dict[str, list[Any]] = {k: [] for k in names}
    alone: dict[str, list[Any]] = {k: [] for k in names}
    for i in range(times):
        answers, truth, group = draw(r, patients)
        for found, groups in ((whole, [f"p{g}" for g in group]), (alone, None)):
            scores = evaluate.scores(task, answers, truth, i, groups=groups, level=LEVEL)
            for k in names:
                found[k].append((scores[k].value, scores[k].low, scores[k].high))
    name = f"{patients} patients of {each} samples on average"
    rows = [row(name, patients * each, k, true[k], whole[k], []) for k in names]
    return [x | {"alone": held(np.array(alone[x["measure"]]), x["true"])} for x in rows]


# ------------------------------------------------------------------------------- tables


def run(found: dict[str, Any], times: int, processes: int, parts: Sequence[str]) -> Iterator[None]:
    """Fill `found`, a part and a size at a time."""
    sizes = {n: max(100, int(times * share)) for n, share in SIZES.items()}
    found |= {"level": LEVEL, "times": sizes}
    with Pool(processes) as pool:
        for part in parts:
            found[part] = []
            for n, t in sizes.items():
                jobs = {
                    "measures": (covered, [(w, n, t) for w in WORLDS]),
                    "paired": (covered_pairs, [(p, n, max(t // 2, 100)) for p in PAIRS]),
                    "groups": (covered_groups, [(k, 5, max(t // 2, 100)) for k in PATIENTS[n]]),
                }[part]
                found[part] += [r for rows in _said(pool.imap(*jobs)) for r in rows]
                yield


def _said(results: Any) -> Iterator[Any]:
    start = time.time()
    for rows in results:
        print(f"{time.time() - start:6.0f} s  {rows[0]['world']}, n = {rows[0]['n']}", flush=True)
        yield rows


def mark(coverage: float) -> str:
    """Percent; marked where it is outside 87 to 93."""
    text = f"{100 * coverage:.1f}"
    return text if 0.87 <= round(coverage, 3) <= 0.93 else f"**{text}**"


def page(found: dict[str, Any]) -> str:
    """The tables as markdown."""
    times = ", ".join(f"{t} at n = {n}" for n, t in found["times"].items())
    lines = [
        "# Intervals", "",
        f"`python bench/intervals.py`: coverage of {100 * found['level']:.0f} % intervals in simulation ({times}). "
        "Bold: outside 87 to 93 %. The simulation's own error is 1.3 points at 500 repetitions, 1.9 at 250, 3 at 100; "
        "pairs and groups have half as many, at least 100.",
        "",
        "## In short", "",
        "Mean coverage over the worlds of a measure, lowest and highest in brackets; before: percentile bootstrap.", "",
        "| measure | " + "n = 50 | before | n = 200 | n = 2000 |",
        "| --- |" + " --- |" * 4,
    ]  # fmt: skip
    for name in dict.fromkeys(r["measure"] for r in found.get("measures", [])):
        cells = []
        for n in SIZES:
            own = [r for r in found.get("measures", []) if r["measure"] == name and r["n"] == n]
            cells.append(_range([r["coverage"] for r in own]))
            if n == min(SIZES):
                cells.append(_range([r["before"] for r in own]))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    inside = [r for r in found.get("measures", []) if r["measure"] in MAIN]
    for n in SIZES:
        own = [r for r in inside if r["n"] == n]
        good = sum(0.87 <= round(r["coverage"], 3) <= 0.93 for r in own)
        short = sum(round(r["coverage"], 3) < 0.87 for r in own)
        said = f"{good} of {len(own)} cells inside, {short} below, {len(own) - good - short} above"
        lines += ["", f"Main measures at n = {n}: {said}."]
    lines += ["", "## Every cell", "", "| world | n | measure | true | coverage | width | before | width before |",
              "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for r in found.get("measures", []):
        was = f"{mark(r['before'])} | {r['width_before']:.3g}" if "before" in r else " | "
        lines.append(f"{_head(r)} | {was} |")
    lines += ["", "## Two models on the same samples", "",
              "`better`: how often the one-sided p of \"the first is not better\" is under 0.05 (5 % where they are "
              "equal). `odd`: how often p and interval disagree.", "",
              "| models | n | measure | true | coverage | width | better | odd |",
              "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for r in found.get("paired", []):
        lines.append(f"{_head(r)} | {100 * r['better']:.1f} | {100 * r['odd']:.1f} |")
    lines += ["", "## Groups", "", "Samples of one patient share their class and half of the noise. `alone`: without "
              "`groups=`, as if samples were independent.", "", "| patients | measure | coverage | alone |",
              "| --- | --- | --- | --- |"]  # fmt: skip
    lines += [
        f"| {r['world']} | {r['measure']} | {mark(r['coverage'])} | {mark(r['alone'])} |"
        for r in found.get("groups", [])
    ]
    return "\n".join(lines) + "\n"


def _head(r: dict[str, Any]) -> str:
    """The first cells of a row."""
    cells = (r["world"], str(r["n"]), r["measure"], f"{r['true']:.4g}", mark(r["coverage"]), f"{r['width']:.3g}")
    return "| " + " | ".join(cells)


def _range(shares: list[float]) -> str:
    if not shares:
        return ""
    return f"{mark(float(np.mean(shares)))} ({100 * min(shares):.0f}-{100 * max(shares):.0f})"


def main() -> None:
    times, processes = (int(x) for x in (*sys.argv[1:3], *("500", "2")[len(sys.argv[1:3]) :]))
    place = HERE / "intervals.json"
    found: dict[str, Any] = json.loads(place.read_text()) if place.exists() else {}
    for _ in run(found, times, processes, sys.argv[3:] or PARTS):
        place.write_text(json.dumps(found, indent=1) + "\n")
        (HERE / "intervals.md").write_text(page(found))


if __name__ == "__main__":
    main()

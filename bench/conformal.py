"""Do sets hold the truth as often as asked, which score makes them smallest, and what does the temperature mend?

Six sets of ../shared, frozen features and graft's probe. A set's samples (at most 3,000) are split anew each time: 10
probes on 40 %, for each 50 splits of the rest into 200 validation samples and the test part. Over such splits coverage
is exact whatever the data: without ties ceil(201 a) / 201 on average, or the share of the likeliest class where that
is more. Writes conformal.json and conformal.md beside this file; takes about ten minutes. Names of sets as arguments
run those alone.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from graft import backbones, calibrate, conformal, features, linear, measures, sources
from graft.recipe import Recipe
from graft.seeds import rng

HERE = Path(__file__).resolve()
SHARED = HERE.parents[2] / "shared"
PICTURES, TEXTS = ("flowers17", "brain_tumor_mri", "cifar10"), ("trec", "tweeteval_emotion", "banking77")
WEIGHTS = f"local:{SHARED / 'zoo' / 'mobilenetv1_050_160'}"
MOST, PROBES, SPLITS, VALID = 3000, 10, 50, 200
KIND = measures.CLASSES


def encoded(name: str) -> tuple[torch.Tensor, np.ndarray, int]:
    """(features [n, d], class indices [n], classes) of all parts of a set together."""
    kind, weights = ("vision", WEIGHTS) if name in PICTURES else ("text", "bundled:all-MiniLM-L6-v2")
    source, place = sources.resolve(SHARED / "data" / kind / name)
    asked = Recipe(data=place)
    task, _ = sources.task_for(source, asked)
    data = task.read(source, asked)
    samples = [*data.train, *data.valid, *data.test]
    rows = rng("bench conformal", name).permutation(len(samples))[:MOST]
    kept = [samples[i] for i in rows]
    table = features.extract(backbones.load(weights), kept)
    return table.pooled, np.array([task.truth(s) for s in kept]), len(task.labels)


def probabilities(x: torch.Tensor, y: np.ndarray, classes: int, rows: np.ndarray) -> np.ndarray:
    """Those of a probe that was fitted on some rows, of all."""
    target = torch.eye(classes)[torch.from_numpy(y[rows])]
    probe = linear.fit(x[rows], target)
    return torch.softmax(probe(x).double(), dim=1).numpy()


Reach = dict[float, tuple[float, float]]


def reach(p: np.ndarray, y: np.ndarray, valid: np.ndarray, test: np.ndarray) -> Reach:
    """Where a report says that the coverage of single splits usually lies, by level; it depends on sizes alone."""
    names = [str(c) for c in range(p.shape[1])]
    said = conformal.measured(KIND, p[valid], y[valid], p[test], y[test], names)
    return {row["coverage"]: (row["expected"]["low"], row["expected"]["high"]) for row in said["levels"]}


def one_split(p: np.ndarray, y: np.ndarray, valid: np.ndarray, test: np.ndarray, usual: Reach) -> dict[str, float]:
    """Everything that is measured on one split."""
    t = calibrate.temperature(KIND, p[valid], y[valid])
    found: dict[str, float] = {"temperature": t, "accuracy": float((p[test].argmax(axis=1) == y[test]).mean())}
    for when, q in (("before", p), ("after", calibrate.apply(KIND, p, t))):
        found[f"ece {when}"] = float(measures.expected_calibration_error(q[test], y[test])[0])
        own = q[test, y[test]].clip(1e-12)
        found[f"log_loss {when}"] = float(-np.log(own).mean())
    q = calibrate.apply(KIND, p, t)
    for score in conformal.SCORES:
        odd = conformal.oddness(KIND, q, score)  # as `cuts` and `members` do, once for all levels
        for level in conformal.LEVELS:
            cut = conformal.quantile(odd[valid, y[valid]], level)
            found[f"{score} {level} coverage"] = float((odd[test, y[test]] <= cut).mean())
            found[f"{score} {level} size"] = float((odd[test] <= cut).sum(axis=1).mean())
    for level, (low, high) in usual.items():
        value = found[f"{conformal.DEFAULT} {level} coverage"]
        found[f"{level} below"], found[f"{level} above"] = float(value < low), float(value > high)
    return found


def run(name: str) -> dict[str, Any]:
    """One set: each measure's mean over the splits, and the error of that mean."""
    x, y, classes = encoded(name)
    found: dict[str, list[float]] = defaultdict(list)
    for a in range(PROBES):
        order = rng("bench conformal", name, a).permutation(len(y))
        cut = round(0.4 * len(y))
        p = probabilities(x, y, classes, order[:cut])
        usual = reach(p, y, order[cut:][:VALID], order[cut:][VALID:])
        for b in range(SPLITS):
            rest = order[cut:][rng("bench conformal", name, a, b).permutation(len(y) - cut)]
            for k, v in one_split(p, y, rest[:VALID], rest[VALID:], usual).items():
                found[k].append(v)
    means = {k: {"mean": float(np.mean(v)), "se": float(np.std(v, ddof=1) / math.sqrt(len(v)))}
             for k, v in found.items()}  # fmt: skip
    return {"set": name, "classes": classes, "n": len(y), "test": len(y) - round(0.4 * len(y)) - VALID, **means}


def table(rows: list[dict[str, Any]]) -> str:
    """The tables as Markdown."""
    exact = {a: math.ceil((VALID + 1) * a - 1e-9) / (VALID + 1) for a in conformal.LEVELS}
    lines = [
        "# Conformal sets and temperature", "",
        f"Frozen features and probe; {PROBES * SPLITS} splits a set, {VALID} validation samples each; made by "
        "`python bench/conformal.py`. ± is 1.96 standard errors of the mean over splits.", "",
        f"## Coverage of the default score ({conformal.DEFAULT}), in percent", "",
        "Expected without ties: " + ", ".join(f"{100 * exact[a]:.1f} at {100 * a:g}" for a in exact) + "; where "
        "the likeliest class is right more often than asked, it alone is the set, and coverage is the accuracy.",
        "Inside, above: shares of single splits whose coverage is in its beta-binomial 95 % range, and above that.", "",
        "| set | classes | test | accuracy | " + " | ".join(f"at {100 * a:g} | inside, above" for a in exact) + " |",
        "| --- | ---: | ---: | ---: |" + " ---: | ---: |" * len(exact),
    ]  # fmt: skip
    for r in rows:
        cells = []
        for a in exact:
            inside = 1 - r[f"{a} below"]["mean"] - r[f"{a} above"]["mean"]
            cells += [_pm(r[f"{conformal.DEFAULT} {a} coverage"]),
                      f"{100 * inside:.1f}, {100 * r[f'{a} above']['mean']:.1f}"]  # fmt: skip
        lines.append(f"| {r['set']} | {r['classes']} | {r['test']:,} | {100 * r['accuracy']['mean']:.1f} | "
                     + " | ".join(cells) + " |")  # fmt: skip
    lines += ["", "## Classes in a set, and coverage, by score", "",
              "| set | " + " | ".join(f"{s} {100 * a:g}" for a in exact for s in conformal.SCORES) + " |",
              "| --- |" + " ---: |" * len(exact) * len(conformal.SCORES)]  # fmt: skip
    for r in rows:
        cells = [f"{r[f'{s} {a} size']['mean']:.2f} ({100 * r[f'{s} {a} coverage']['mean']:.1f})"
                 for a in exact for s in conformal.SCORES]  # fmt: skip
        lines.append(f"| {r['set']} | {' | '.join(cells)} |")
    lines += ["", "## Temperature", "",
              "| set | T | calibration error before | after | log loss before | after |",
              "| --- | ---: | ---: | ---: | ---: | ---: |"]  # fmt: skip
    for r in rows:
        cells = [f"{r['temperature']['mean']:.2f}", *(_pm(r[f"ece {w}"]) for w in ("before", "after")),
                 *(f"{r[f'log_loss {w}']['mean']:.3f}" for w in ("before", "after"))]  # fmt: skip
        lines.append(f"| {r['set']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _pm(value: dict[str, float]) -> str:
    return f"{100 * value['mean']:.2f} ± {196 * value['se']:.2f}"


def main() -> None:
    """Run the named sets, or all, and write what was found beside what is known of the others."""
    file = HERE.with_suffix(".json")
    for name in sys.argv[1:] or (*PICTURES, *TEXTS):
        row = run(name)
        found = {r["set"]: r for r in json.loads(file.read_text())} if file.exists() else {}
        found[name] = row
        rows = [found[n] for n in (*PICTURES, *TEXTS) if n in found]
        file.write_text(json.dumps(rows, indent=1) + "\n")
        file.with_suffix(".md").write_text(table(rows))
        print(name, flush=True)
    print(table(rows))


if __name__ == "__main__":
    main()

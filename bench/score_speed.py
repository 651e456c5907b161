"""What do the transferability scores cost, beside their published formulation and on a large set?

Part 1: LogME, LEEP and H-score at n = 10,000, d = 1,280, 100 classes, 1,000 source classes, each from the bare
features, beside what their papers write, restated here plainly: the same value to 1e-6, in a fifth of the time or less.
LEEP stands beside two: sums for each pair of source and target class, and a loop over target classes alone, with
matrix products.

Part 2: all scores of one candidate at n = 50,000, d = 2,048, 100 classes, 1,000 source classes, in the order of the
table and with what they share made once; a fresh process each time, its peak of memory beyond the features themselves.

Medians of 3; in part 1 both sides take turns. Writes score_speed.json and score_speed.md beside this file. Threads:
those of OMP_NUM_THREADS. Arguments: the parts to run (beside, large; else both; the file keeps the other).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from graft.scores import SCORES, Material, measure

FILE = Path(__file__).resolve()
TIMES, FASTER, SAME = 3, 5.0, 1e-6
SMALL = {"n": 10_000, "d": 1280, "classes": 100, "source": 1000}
LARGE = {"n": 50_000, "d": 2048, "classes": 100, "source": 1000}
SHARED = ("moments", "spectrum", "raw_spectrum")


def world(n: int, d: int, classes: int, source: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features [n, d], class ids [n], source probabilities [n, s]), single precision, made in place.

    Features decay as those of networks do, have means far from zero, and hold a weak trace of the class.
    """
    draw = np.random.default_rng(0)
    y = draw.integers(0, classes, n)
    x = draw.standard_normal((n, d), dtype=np.float32)
    means = draw.standard_normal((classes, d), dtype=np.float32)
    size = np.logspace(0, -1.5, d, dtype=np.float32)
    theta = draw.random((n, source), dtype=np.float32)
    for a in range(0, n, 1000):
        some = slice(a, a + 1000)
        x[some] = (x[some] + 0.3 * means[y[some]]) * size + 0.5
        theta[some] = theta[some] ** 8
        theta[some][np.arange(len(y[some])), 7 * y[some]] += 1
        theta[some] /= theta[some].sum(axis=1, keepdims=True)
    return x, y, theta


# ------------------------------------------------------------------------- published formulations


def published_logme(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> float:
    """Algorithm 2 of You et al. 2021: an SVD of the features, then a fixed point for each class."""
    n, d = x.shape
    u, s, _ = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    sigma, found = s**2, []
    for k in np.unique(y):
        target = (y == k).astype(np.float64)
        z = (u.T @ target) ** 2
        outside = target @ target - z.sum()
        alpha = beta = 1.0
        for _ in range(1000):
            t = alpha / beta
            gamma = (sigma / (t + sigma)).sum()
            norm = (sigma * z / (t + sigma) ** 2).sum()
            error = outside + (z / (1 + sigma / t) ** 2).sum()
            alpha, beta = gamma / norm, (n - gamma) / error
            if abs(alpha / beta - t) / t <= 1e-6:
                break
        log_det = np.log(alpha + beta * sigma).sum()
        evidence = n / 2 * np.log(beta) + d / 2 * np.log(alpha) - n / 2 * np.log(2 * np.pi)
        found.append((evidence - beta / 2 * error - alpha / 2 * norm - log_det / 2) / n)
    return float(np.mean(found))


def published_leep(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> float:
    """Section 3 of Nguyen et al. 2020, sums as they are written: a pair of source and target class at a time."""
    n, s = theta.shape
    classes = np.unique(y)
    theta = theta.astype(np.float64)
    joint = np.zeros((len(classes), s))
    for i, k in enumerate(classes):
        rows = np.flatnonzero(y == k)
        for z in range(s):
            joint[i, z] = theta[rows, z].sum() / n
    given = joint / joint.sum(axis=0)
    return float(np.mean([np.log(sum_of(theta[i], given[y[i]])) for i in range(n)]))


def sum_of(a: np.ndarray, b: np.ndarray) -> float:
    """The expected empirical prediction of one sample."""
    return float((a * b).sum())


def looped_leep(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> float:
    """The same with a loop over target classes alone, and a matrix product for all predictions."""
    theta = theta.astype(np.float64)
    joint = np.vstack([theta[y == k].sum(axis=0) for k in np.unique(y)]) / len(y)
    predicted = theta @ (joint / joint.sum(axis=0)).T
    return float(np.log(predicted[np.arange(len(y)), y]).mean())


def published_hscore(x: np.ndarray, y: np.ndarray, theta: np.ndarray) -> float:
    """Definition 2 of Bao et al. 2019: two covariances and a pseudo-inverse, class means by a loop."""
    x = x.astype(np.float64)
    g = np.zeros_like(x)
    for k in np.unique(y):
        g[y == k] = x[y == k].mean(axis=0)
    return float(np.trace(np.linalg.pinv(np.cov(x.T), rcond=1e-15) @ np.cov(g.T)))


PUBLISHED: tuple[tuple[str, str, Callable[..., float]], ...] = (
    ("logme", "SVD of the features, a fixed point a class", published_logme),
    ("leep", "a sum for each pair of classes, a sample at a time", published_leep),
    ("leep", "a loop over target classes, matrix products", looped_leep),
    ("hscore", "two covariances, pseudo-inverse", published_hscore),
)


def beside() -> list[dict[str, Any]]:
    """Part 1: graft and the published form take turns, so that both see the same machine."""
    x, y, theta = world(**SMALL)
    rows = []
    for name, form, function in PUBLISHED:
        ours, theirs, values = [], [], (0.0, 0.0)
        for _ in range(TIMES):
            start = time.perf_counter()
            value = measure(Material.of(x, y, "classes", theta), [name])[name].value
            middle = time.perf_counter()
            values = (float(value or 0), function(x, y, theta))
            ours.append(middle - start)
            theirs.append(time.perf_counter() - middle)
        rows.append({"score": name, "form": form, "graft": median(ours), "published": median(theirs), "values": values})
        print(rows[-1], flush=True)
    return rows


def product() -> float:
    """Seconds of x'x in double precision, without which neither side of the H-score can do."""
    x, seconds = world(**SMALL)[0].astype(np.float64), []
    for _ in range(TIMES):
        start = time.perf_counter()
        x.T @ x
        seconds.append(time.perf_counter() - start)
    return median(seconds)


# ------------------------------------------------------------------------------- on a large set


def one_run() -> dict[str, Any]:
    """Seconds of what is shared and of each score after it, and the peak of memory in MiB beyond what is given."""
    x, y, theta = world(**LARGE)
    held = peak()
    measure(Material.of(x[:500], y[:500], "classes", theta[:500]))  # libraries are imported once a process
    m = Material.of(x, y, "classes", theta)
    numbers = Material.of(x, x[:, :3].astype(np.float64) @ [1.0, 2.0, 3.0] + y, "numbers")
    seconds: dict[str, float] = {}
    for part in SHARED:
        start = time.perf_counter()
        {"moments": lambda: m.moments, "spectrum": lambda: m.spectrum, "raw_spectrum": lambda: m.raw_spectrum}[part]()
        seconds[part] = time.perf_counter() - start
    for name, score in SCORES.items():
        start = time.perf_counter()
        found = measure(m if "classes" in score.kinds else numbers, [name])[name]
        seconds[name] = time.perf_counter() - start
        assert found.value is not None, (name, found.reason)
    return {"seconds": seconds, "memory": peak() - held}


def peak() -> float:
    """Most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def large() -> dict[str, Any]:
    """Part 2: medians over processes."""
    runs = []
    for _ in range(TIMES):
        done = subprocess.run([sys.executable, str(FILE), "--one"], check=True, capture_output=True, text=True)
        runs.append(json.loads(done.stdout))
        print(runs[-1], flush=True)
    seconds = {k: median(r["seconds"][k] for r in runs) for k in runs[0]["seconds"]}
    return {"seconds": seconds, "memory": median(r["memory"] for r in runs)}


# ------------------------------------------------------------------------------------ the report


def table(found: dict[str, Any]) -> str:
    """The results as Markdown; what misses its aim says so."""
    lines = [
        "# Speed of the transferability scores",
        "",
        f"`OMP_NUM_THREADS={found['threads']} python bench/score_speed.py`: medians of {TIMES}.",
        "",
        "## Beside the published formulation",
        "",
        "{n:,} samples, {d:,} columns, {classes} classes, {source:,} source classes; each score from the bare "
        "features. "
        "Aim: five times faster, the same value to 1e-6. The published forms are restated plainly in the bench.".format(
            **SMALL
        ),
        "",
        "| score | published form | graft, s | published, s | times faster | difference | |",
        "| --- | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for r in found["beside"]:
        times, apart = r["published"] / r["graft"], abs(r["values"][0] - r["values"][1])
        missed = [w for w, bad in (("slower than the aim", times < FASTER), ("not the same", apart > SAME)) if bad]
        lines.append(
            f"| {r['score']} | {r['form']} | {r['graft']:.2f} | {r['published']:.2f} | {times:.1f} | {apart:.0e} | "
            f"{', '.join(missed)} |"
        )
    lines += [
        "",
        f"The product x'x alone, in double precision, takes {found['product']:.2f} s: the published H-score makes two "
        "such and a pseudo-inverse, graft one and a Cholesky factor.",
    ]
    seconds = found["large"]["seconds"]
    shared = sum(seconds[k] for k in SHARED)
    lines += [
        "",
        "## All scores of one candidate",
        "",
        "{n:,} samples, {d:,} columns in single precision ({mib:,.0f} MiB), {classes} classes, {source:,} source "
        "classes. "
        "What is shared is made once; ridge serves numbers, so its time holds shared parts of its own.".format(
            mib=LARGE["n"] * LARGE["d"] * 4 / 2**20, **LARGE
        ),
        "",
        f"All together {sum(seconds.values()):.0f} s, of which {shared:.1f} s are shared; "
        f"{found['large']['memory']:,.0f} MiB of memory at the peak beyond what is given.",
        "",
        "| part | s |",
        "| --- | ---: |",
        *(f"| {'shared: ' if k in SHARED else ''}{k} | {v:.2f} |" for k, v in seconds.items()),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure both parts, or one run of the second for the process that asks."""
    if sys.argv[1:] == ["--one"]:
        print(json.dumps(one_run()))
        return
    file = FILE.with_suffix(".json")
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    found["threads"] = os.environ.get("OMP_NUM_THREADS", "all")
    parts = sys.argv[1:] or ["beside", "large"]
    if "beside" in parts:
        found |= {"beside": beside(), "product": product()}
    if "large" in parts:
        found |= {"large": large()}
    FILE.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    FILE.with_suffix(".md").write_text(table(found))


if __name__ == "__main__":
    main()

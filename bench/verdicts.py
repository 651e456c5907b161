"""Is the verdict right? Part 1, without training a network: how often it errs where nothing helps, and what it finds.

Made tables (`_worlds.py`): two arms whose errors correlate, truly equal ("null") or 1, 3, 5, 10 points apart, at
n = 20, 50, 200, 2000. Real features of hymenoptera, sst2 and trec, two probes each on a random half of them: with
targets shuffled (neither knows anything), or with real ones, where each test sample's two answers change places by a
coin (equal worth exactly, and errors that hang together as real ones do). "helped" has to come up in under 5 % of null
cases. Beside it, and no null case: probes trained on different halves of the rows, which do differ; it shows how often
two runs of one recipe are told apart.

Writes verdicts.json and verdicts.md beside this file; arguments: null simulations of each measure and size (default
500), processes (default 2), and the parts to run (null, power, real; else all; the files keep the others). Needs
../shared for the real features.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
from _worlds import PRIORS, Classes, Numbers, classes_task, named
from intervals import Pair

from graft import evaluate
from graft.tasks.text_regression import TextRegression
from graft.verdict import WORDS, decide

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared"
SIZES = (20, 50, 200, 2000)
GAPS = (0.01, 0.03, 0.05, 0.10)
SETS = ("hymenoptera", "sst2", "trec")
KINDS = {"targets shuffled": 70, "answers swapped by a coin": 70, "halves of the training rows": 40}  # simulations
PARTS = ("null", "power", "real")
MOST_ROWS = 1200  # of a real set
NULLS = (
    *((Pair(Classes(shape, accuracy), 0.0), "accuracy") for shape in PRIORS for accuracy in (0.7, 0.9)),
    *((Pair(Classes("4 classes", 0.8), 0.0), measure) for measure in ("macro_f1", "auroc", "log_loss")),
    *((Pair(Numbers(errors), 0.0), "mae") for errors in ("normal errors", "t errors, 5 df")),
)


@dataclass(frozen=True)
class Case:
    """Two arms, a measure, a number of test samples and how often."""

    pair: Pair
    measure: str
    n: int
    times: int


def judged(case: Case) -> dict[str, Any]:
    """How often each word came up."""
    world = case.pair.world
    if isinstance(world, Numbers):
        task: Any = named(TextRegression(), "text_regression", (), case.measure)
    else:
        task = classes_task(len(PRIORS[world.shape]), case.measure)
    r = np.random.default_rng(zlib.crc32(repr(case).encode()))
    words: Counter[str] = Counter()
    for i in range(case.times):
        a, b, truth = case.pair.draw(r, case.n)
        found = evaluate.paired(task, a, b, truth, i)
        words[decide(found, case.n, case.measure, task.lower(), evaluate.score(task, b, truth, i)).word] += 1
    return {
        "arms": str(case.pair), "measure": case.measure, "n": case.n, "times": case.times,
        **{w: words[w] / case.times for w in WORDS},
    }  # fmt: skip


# ------------------------------------------------------------------------------- real features


def features(name: str, room: Path) -> tuple[np.ndarray, np.ndarray]:
    """(features [n, d] in standard units, classes [n]) of a shared set, at most MOST_ROWS."""
    import pandas as pd

    from graft import embed

    source, backbone = SHARED / "data/vision" / name, f"local:{SHARED}/zoo/mobilenetv2_100_tv"
    if not source.exists():
        table = pd.read_csv(SHARED / "data/text" / name / "train.csv.gz")
        source, backbone = room / f"{name}.csv", "bundled:all-MiniLM-L6-v2"
        table.sample(MOST_ROWS, random_state=0).to_csv(source, index=False)
    embed.features(source, out=room / f"{name}.npz", backbone=backbone)
    with np.load(room / f"{name}.npz") as held:
        x, label = held["pooled"].astype(np.float64), held["label"]
    return (x - x.mean(axis=0)) / (x.std(axis=0) + 1e-9), np.unique(label, return_inverse=True)[1]


def real(name: str, x: np.ndarray, y: np.ndarray) -> Iterator[dict[str, Any]]:
    """Each kind of cases of one set."""
    task = classes_task(int(y.max()) + 1)
    for kind, times in KINDS.items():
        words: Counter[str] = Counter()
        r = np.random.default_rng(zlib.crc32(f"{name} {kind}".encode()))
        n = 0
        for i in range(times):
            order = r.permutation(len(y))
            target = r.permutation(y) if kind.startswith("targets") else y
            train, test = order[: len(y) // 2], order[len(y) // 2 :]
            columns, rows = r.permutation(x.shape[1]), r.permutation(train)
            if kind.startswith("halves"):
                a, b = (_probe(x, target, half, test) for half in np.array_split(rows, 2))
            else:
                a, b = (_probe(x[:, half], target, train, test) for half in np.array_split(columns, 2))
            if kind.startswith("answers"):
                coin = r.random((len(test), 1)) < 0.5
                a, b = np.where(coin, a, b), np.where(coin, b, a)
            n = len(test)
            pair = evaluate.paired(task, a, b, target[test], i)
            words[decide(pair, n, "accuracy", False, evaluate.score(task, b, target[test], i)).word] += 1
        yield {
            "arms": f"{name}: {kind}", "measure": "accuracy", "n": n, "times": times,
            **{w: words[w] / times for w in WORDS},
        }  # fmt: skip


def _probe(x: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Probabilities [test, c] of a linear probe."""
    import torch

    from graft import linear

    one_hot = torch.from_numpy(np.eye(int(y.max()) + 1)[y[train]]).float()
    found = linear.fit(torch.from_numpy(x[train]).float(), one_hot, l2=0.1)
    return np.asarray(torch.softmax(found(torch.from_numpy(x[test]).float()).double(), dim=1))


# ------------------------------------------------------------------------------- tables


def run(found: dict[str, Any], times: int, processes: int, parts: Sequence[str]) -> None:
    """Fill `found`, by part."""
    cases = {
        "null": [Case(p, m, n, times if n < 2000 else max(times // 4, 50)) for n in SIZES for p, m in NULLS],
        "power": [
            Case(Pair(Classes("4 classes", accuracy), gap), "accuracy", n, max(times // 2, 50) if n < 2000 else 200)
            for accuracy in (0.8, 0.95) for gap in GAPS for n in SIZES
        ],
    }  # fmt: skip
    with Pool(processes) as pool:
        for part in parts:
            if part in cases:
                found[part] = _said(pool.imap(judged, cases[part]))
    if "real" in parts and SHARED.exists():
        with tempfile.TemporaryDirectory() as room:
            found["real"] = [r for name in SETS for r in _said(real(name, *features(name, Path(room))))]


def _said(rows: Any) -> list[dict[str, Any]]:
    kept, start = [], time.time()
    for r in rows:
        kept.append(r)
        print(f"{time.time() - start:5.0f} s  {r['arms']}, {r['measure']}, n = {r['n']}: {_words(r)}", flush=True)
    return kept


def _words(r: dict[str, Any]) -> str:
    return ", ".join(f"{w} {100 * r[w]:.1f}" for w in WORDS)


def page(found: dict[str, Any]) -> str:
    """The tables as markdown."""
    rows = found.get("real", [])
    apart = [r for r in rows if r["arms"].endswith("rows")]
    tables = {
        "Two arms of the same worth": found.get("null", []),
        "The same, on real features": [r for r in rows if r not in apart],
        "Arms truly apart": found.get("power", []),
        "No null case: one recipe trained on different halves of the rows": apart,
    }
    lines = ["# Verdicts, part 1", "", "`python bench/verdicts.py`: percent of simulations in which each word came up."]
    for title in list(tables)[:2]:
        times = sum(r["times"] for r in tables[title])
        wrong = [sum(r["times"] * r[w] for r in tables[title]) for w in ("helped", "hurt")]
        if times:
            said = ", ".join(f"{w} {100 * k / times:.2f} %" for w, k in zip(("helped", "hurt"), wrong, strict=True))
            lines += ["", f"{title}: falsely {said} of {times:,} simulations."]
    for title, cells in tables.items():
        if cells:
            lines += ["", f"## {title}", "", "| arms | measure | n | times | " + " | ".join(WORDS) + " |",
                      "| --- | --- | --- | --- |" + " --- |" * len(WORDS)]  # fmt: skip
            if cells is apart:
                helped = sum(r["times"] * r["helped"] for r in cells) / sum(r["times"] for r in cells)
                lines[-2:-2] = [
                    "The probes differ by the luck of their rows, and the verdict is about the two that were trained: "
                    f"helped in {100 * helped:.1f} %. Of a claim about recipes this would be false; it takes several "
                    "seeds, which no interval over test samples replaces.",
                    "",
                ]
            for r in cells:
                shares = " | ".join(f"{100 * r[w]:.1f}" for w in WORDS)
                lines.append(f"| {r['arms']} | {r['measure']} | {r['n']} | {r['times']} | {shares} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    times, processes = (int(x) for x in (*sys.argv[1:3], *("500", "2")[len(sys.argv[1:3]) :]))
    place = HERE / "verdicts.json"
    found: dict[str, Any] = json.loads(place.read_text()) if place.exists() else {}
    run(found, times, processes, sys.argv[3:] or PARTS)
    place.write_text(json.dumps(found, indent=1) + "\n")
    (HERE / "verdicts.md").write_text(page(found))


if __name__ == "__main__":
    main()

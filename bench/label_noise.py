"""Planted label noise: what graft's doctor and cleanlab find of it, on the same probabilities of the same probe.

Of up to 500 training samples (by class, seed 0) of six sets 5, 10 and 20 % of the labels are changed: to any other
class alike ("uniform"), or to the class that the probe finds likeliest after the right one ("likeliest").
Features: zoo/mobilenetv2_100_tv and the bundled MiniLM. Both get held-out probabilities of a probe that was
learnt from the spoilt labels; graft then looks a second time, without those it suspects. cleanlab
(`filter.find_label_issues`) runs in an environment of its own, which GRAFT_BENCH_CLEANLAB names:

    python3.11 -m venv /work/peers/cleanlab && /work/peers/cleanlab/bin/pip install cleanlab
    GRAFT_BENCH_CLEANLAB=/work/peers/cleanlab/bin/python python bench/label_noise.py [SET ...]

Writes label_noise.json and label_noise.md beside this file. Needs ../shared. Thresholds were
chosen on cats_dogs, hymenoptera, brain_tumor_mri, trec, sst2, sst5 and tweeteval_irony. What must be known of a
probe before it accuses was chosen on these, on tweeteval_emotion and imdb_subset, and on other draws of the six sets
here too; it decides "silent" alone, no other figure.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

SHARED = Path(os.environ.get("GRAFT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
SETS = {
    "flowers17": "vision/flowers17", "cifar10": "vision/cifar10", "pneumoniamnist": "vision/pneumoniamnist",
    "ag_news_7600": "text/ag_news_7600", "subj": "text/subj", "cr": "text/cr",
}  # fmt: skip
SHARES = (0.0, 0.05, 0.10, 0.20)
ROWS = 500
FILTERS = ("prune_by_noise_rate", "confident_learning")
"""Of cleanlab: its default, and the one that is nearest to graft's first look."""


def features(name: str) -> tuple[Any, np.ndarray, list[Any], int]:
    """(pooled features [n, d], class indices [n], keys of groups and copies [n], number of classes)."""
    from graft import backbones, readers, sources
    from graft.data import split_key, subset
    from graft.features import extract
    from graft.readers import samples
    from graft.recipe import Recipe

    asked = Recipe(data=str(SHARED / "data" / SETS[name]), max_bad=1.0)
    source, _ = sources.resolve(asked.data)
    task, _ = sources.task_for(source, asked)
    read = samples.read(source, asked, task.modality, None, task.opened or readers.open_source(source, asked))
    assert task.answer is not None
    labels = task.answer.settle(read.parts, [], asked, dict(read.schema))
    chosen = subset(read.parts["train"], ROWS, 0, "label noise")
    picture = task.modality == "picture"
    backbone = f"local:{SHARED / 'zoo' / 'mobilenetv2_100_tv'}" if picture else "bundled:all-MiniLM-L6-v2"
    x = extract(backbones.load(backbone, read.schema).eval(), chosen).pooled
    return x, np.array([labels.index(s.y) for s in chosen]), [split_key(s) for s in chosen], len(labels)


def spoilt(y: np.ndarray, share: float, other: np.ndarray | None, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """(labels with a share changed, the rows that were); `other` [n] is what to, None: any other class."""
    draw = np.random.default_rng(0)
    rows = draw.permutation(len(y))[: round(share * len(y))]
    new = y.copy()
    new[rows] = other[rows] if other is not None else (y[rows] + draw.integers(1, classes, len(rows))) % classes
    return new, np.sort(rows)


def scored(found: list[int], rows: np.ndarray) -> dict[str, Any]:
    """How many were named, and of the planted ones precision and recall."""
    hits = len(set(found) & set(rows.tolist()))
    return {
        "named": len(found),
        "precision": round(hits / len(found), 3) if found else None,
        "recall": round(hits / len(rows), 3) if len(rows) else None,
    }


def peer(p: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """cleanlab's findings by filter, with its seconds, from its own environment."""
    python = os.environ.get("GRAFT_BENCH_CLEANLAB")
    if not python:
        return {}
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "given.npz"
        np.savez(file, p=p, y=y)
        done = subprocess.run([python, __file__, "--peer", str(file)], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def as_peer(file: str) -> None:
    """Inside cleanlab's environment: find issues in the given probabilities and labels."""
    from cleanlab.filter import find_label_issues  # type: ignore[import-not-found]

    given = np.load(file)
    said: dict[str, Any] = {}
    for name in FILTERS:
        start = time.perf_counter()
        found = find_label_issues(
            given["y"], given["p"], return_indices_ranked_by="normalized_margin", filter_by=name, n_jobs=1
        )
        said[name] = {"found": [int(i) for i in found], "seconds": time.perf_counter() - start}
    print(json.dumps(said))


def measure(name: str) -> list[dict[str, Any]]:
    """Every share and kind of noise on one set."""
    import torch

    from graft.suspects import judge

    torch.set_num_threads(1)
    x, y, keys, classes = features(name)
    likeliest = y
    rows: list[dict[str, Any]] = []
    for share in SHARES:
        for kind in ("uniform", "likeliest") if share and classes > 2 else ("uniform",):
            new, planted = spoilt(y, share, likeliest if kind == "likeliest" else None, classes)
            start = time.process_time()
            found = judge(x, new, classes, keys)
            seconds = time.process_time() - start
            listed = [int(i) for i in found.rows]
            row: dict[str, Any] = {
                "set": name, "n": len(y), "classes": classes, "share": share, "kind": kind if share else "none",
                "accuracy": round(found.accuracy, 3), "kept": round(found.kept, 3), "believed": found.believed,
                "graft": {**scored(listed, planted), "seconds": round(seconds, 2)},
            }  # fmt: skip
            for filter_by, said in peer(found.first, new).items():
                row[filter_by] = {**scored(said["found"], planted), "seconds": round(said["seconds"], 3)}
            if not share:
                likeliest = np.where(np.arange(classes) == y[:, None], -1, found.first).argmax(axis=1)
            else:  # how good the order is, whatever the cut: the precision of as many as were planted
                row["graft"]["at_planted"] = scored(listed[: len(planted)], planted)["precision"]
            rows.append(row)
            print(json.dumps(row), flush=True)
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "# Planted label noise: graft's doctor beside cleanlab",
        "",
        "Made by `python bench/label_noise.py`; see its first lines for what was planted. P and R in percent; n named. "
        "Seconds of CPU: graft's with both fits of the probe; cleanlab's filter alone, which is handed the first. "
        '"silent": `graft doctor` says nothing, because the probe knows too little (the figures are those it would '
        "have given). Noise of 0 %: how many labels of the untouched set are named, right or wrong.",
        "",
        "| set | noise | probe | graft P / R (n) | cleanlab default P / R (n) | cleanlab confident_learning "
        "P / R (n) | graft s | cleanlab s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for r in rows:
        cells = [_cell(r.get(k)) for k in ("graft", *FILTERS)]
        cells[0] += "" if r["believed"] else " silent"
        noise = f"{r['share']:.0%} {r['kind']}" if r["share"] else "0 %"
        peer_s = r.get(FILTERS[0], {}).get("seconds", "")
        lines.append(
            f"| {r['set']} ({r['n']}) | {noise} | {100 * r['accuracy']:.0f} | " + " | ".join(cells)
            + f" | {r['graft']['seconds']} | {peer_s} |"
        )  # fmt: skip
    return "\n".join([*lines, "", *_means(rows)]) + "\n"


def _means(rows: list[dict[str, Any]]) -> list[str]:
    """A line for each share: means over sets and kinds, of each finder, with F1."""
    lines = [
        "Means over sets and kinds of noise, P / R / F1. The first three columns take every row, also those on which "
        "`graft doctor` is silent; the last three only those on which it speaks.",
        "",
        "| noise | graft | cleanlab default | confident_learning | speaks on | graft | cleanlab default | "
        "confident_learning |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for share in SHARES[1:]:
        some = [r for r in rows if r["share"] == share]
        spoken = [r for r in some if r["believed"]]
        cells = [*_three(some), f"{len(spoken)} of {len(some)}", *_three(spoken)]
        lines.append(f"| {share:.0%} | " + " | ".join(cells) + " |")
    return lines


def _three(rows: list[dict[str, Any]]) -> list[str]:
    """Mean precision, recall and F1 in percent of each finder; "" for one that did not run."""
    cells = []
    for k in ("graft", *FILTERS):
        some = [r[k] for r in rows if k in r]
        cells.append(" / ".join(f"{100 * np.mean([v(s) for s in some]):.0f}" for v in (_p, _r, _f1)) if some else "")
    return cells


def _p(s: dict[str, Any]) -> float:
    return float(s["precision"] or 0)


def _r(s: dict[str, Any]) -> float:
    return float(s["recall"] or 0)


def _f1(s: dict[str, Any]) -> float:
    return 2 * _p(s) * _r(s) / max(_p(s) + _r(s), 1e-9)


def _cell(s: dict[str, Any] | None) -> str:
    if s is None:
        return ""
    if s["recall"] is None:
        return f"({s['named']})"
    p = "-" if s["precision"] is None else f"{100 * s['precision']:.0f}"
    return f"{p} / {100 * s['recall']:.0f} ({s['named']})"


def main() -> None:
    """Measure the sets that are named, else all; keep the rows of the others."""
    if sys.argv[1:2] == ["--peer"]:
        as_peer(sys.argv[2])
        return
    file = Path(__file__).with_suffix(".json")
    before: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    for name in sys.argv[1:] or list(SETS):
        before = [r for r in before if r["set"] != name] + measure(name)
        before.sort(key=lambda r: list(SETS).index(r["set"]))
        file.write_text(json.dumps(before, indent=1) + "\n")
        file.with_suffix(".md").write_text(table(before))


if __name__ == "__main__":
    main()

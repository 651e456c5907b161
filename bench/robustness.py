"""Is a gain on clean data paid for with robustness? Probe, fine-tuning and nearest neighbours, clean and corrupted.

hymenoptera (MobileNetV2) and sst2, cut to 2,000 training texts (MiniLM): one recipe of three rungs each, then
`graft evaluate RUN DATA --corrupt`. There is no goal: the table shows what the command finds. Writes robustness.json
and robustness.md beside this file. About six minutes on two cores. Needs ../shared.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared"
CASES = {
    "hymenoptera": (f"local:{SHARED}/zoo/mobilenetv2_100_tv", 6),
    "sst2": ("bundled:all-MiniLM-L6-v2", 3),
}
"""The backbone, and epochs of fine-tuning."""
RUNGS = ("nearest_neighbour", "probe", "finetune")
TRAIN, SEED = 2000, 0  # texts to train on


def data_of(case: str, room: Path) -> Path:
    """The data of a case; sst2 cut to its first training texts, shuffled from the seed."""
    if case == "hymenoptera":
        return SHARED / "data/vision/hymenoptera"
    import pandas as pd

    folder = room / "sst2"
    folder.mkdir()
    for part in ("train", "dev", "test"):
        table = pd.read_csv(SHARED / f"data/text/sst2/{part}.csv.gz")
        cut = table.sample(n=TRAIN, random_state=SEED) if part == "train" else table
        cut.to_csv(folder / f"{part}.csv", index=False)
    return folder


def recipe_of(case: str, data: Path, room: Path) -> Path:
    """A recipe of the three rungs: what is measured follows from no clock."""
    backbone, epochs = CASES[case]
    lines = [f'data = "{data}"', f'backbone = "{backbone}"', f"seed = {SEED}"]
    for rung in RUNGS:
        lines += ["[[rungs]]", f'name = "{rung}"', "[[rungs.stages]]", f'methods = ["{rung}"]']
        lines += [f"epochs = {epochs}"] if rung == "finetune" else []
    file = room / f"{case}.toml"
    file.write_text("\n".join(lines) + "\n")
    return file


def run(case: str, room: Path) -> dict[str, Any]:
    """Fit, then evaluate under the usual corruptions."""
    import graft

    data = data_of(case, room)
    start = time.monotonic()
    made = graft.fit(recipe_of(case, data, room), out=room / case, quiet=True)
    fitted = time.monotonic()
    found = made.evaluate(data, corrupt=True)
    return {
        "case": case, "backbone": CASES[case][0].rpartition("/")[2], "kept": made.report["chosen"],
        "fit_seconds": round(fitted - start, 1), "evaluate_seconds": round(time.monotonic() - fitted, 1),
        "corrupted": found["corrupted"], "robustness": found["robustness"],
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """A row a rung: clean, the mean of each corruption over five strengths, the mean of all, and the share left."""
    lines = []
    for r in rows:
        said = r["robustness"]
        names = said["corruptions"]
        lines += [
            f"\n## {r['case']}, {r['backbone']}: {said['n']} of {said['of']} test samples, {said['measure']} in %\n",
            f"| rung | clean | {' | '.join(names)} | corrupted | of it left |",
            f"| --- |{' ---: |' * (len(names) + 3)}",
        ]
        for rung, s in said["rungs"].items():
            means = [sum(x["value"] for x in r["corrupted"][rung][c]) / len(said["strengths"]) for c in names]
            kept = f"**{rung}**" if rung == r["kept"] else rung
            cells = [f"{100 * v:.1f}" for v in (s["clean"]["value"], *means)]
            c = s["corrupted"]
            cells.append(f"{100 * c['value']:.1f} [{100 * c['low']:.1f}, {100 * c['high']:.1f}]")
            lines.append(f"| {kept} | {' | '.join(cells)} | {100 * s['relative']:.0f} |")
        lines += ["", said["sentence"]]
        seconds = f"fit {r['fit_seconds']:.0f} s, evaluate {r['evaluate_seconds']:.0f} s"
        lines.append(f"({seconds}; the kept rung is bold; corruptions are means over five strengths)")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure the named cases, or all; print the table, and write it where all were measured."""
    cases = [c for c in sys.argv[1:] if c in CASES] or list(CASES)
    with tempfile.TemporaryDirectory() as room:
        os.environ["GRAFT_CACHE"] = f"{room}/cache"
        rows = [run(case, Path(room)) for case in cases]
    print(table(rows))
    if len(cases) == len(CASES):
        here = Path(__file__)
        here.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
        here.with_suffix(".md").write_text(f"# Clean and corrupted\n\n`python bench/robustness.py`\n{table(rows)}")


if __name__ == "__main__":
    main()

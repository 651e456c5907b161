"""Is a gain on clean data paid for with robustness? Probe, fine-tuning and nearest neighbours, clean and corrupted.

hymenoptera (MobileNetV2) and sst2, cut to 2,000 training texts (MiniLM): one recipe of three rungs each, then
`graft evaluate RUN DATA --corrupt`, without the controls that start from random weights. There is no goal: the table
shows what the command finds. Names of cases run these alone. Writes robustness.json and robustness.md beside this file.
About six minutes on two idle cores. Needs ../shared.
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
    "hymenoptera": (f"local:{SHARED}/zoo/mobilenetv2_100_tv", 4),
    "sst2": ("bundled:all-MiniLM-L6-v2", 2),
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
    lines = [f'data = "{data}"', f'backbone = "{backbone}"', f"seed = {SEED}", 'evidence = "off"']
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
    made = graft.fit(recipe_of(case, data, room), out=room / f"{case}-run", quiet=True)
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
    """Measure the named cases, or all; keep their rows, and print and write the table of all that are kept."""
    here = Path(__file__)
    for case in [c for c in sys.argv[1:] if c in CASES] or list(CASES):
        with tempfile.TemporaryDirectory() as room:
            os.environ["GRAFT_CACHE"] = f"{room}/cache"
            row = run(case, Path(room))
        known = json.loads(here.with_suffix(".json").read_text()) if here.with_suffix(".json").exists() else []
        rows = sorted([*(r for r in known if r["case"] != case), row], key=lambda r: list(CASES).index(r["case"]))
        here.with_suffix(".json").write_text(json.dumps(rows, indent=1) + "\n")
        here.with_suffix(".md").write_text(f"# Clean and corrupted\n\n`python bench/robustness.py`\n{table(rows)}")
    print(table(rows))


if __name__ == "__main__":
    main()

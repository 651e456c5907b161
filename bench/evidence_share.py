"""What quick evidence costs of a run, with a budget and without one: the share of its time that each report states.

Goal: under 25 %. Pictures and texts, a budget of two minutes, and recipes without a clock. Names of sets run these
alone. Writes evidence_share.json and evidence_share.md beside this file; exits 1 where a share is over the goal. Needs
../shared; about a quarter of an hour.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared"
GOAL = 0.25
SETS = {
    "hymenoptera": ("vision", f"local:{SHARED}/zoo/mobilenetv1_050_160"),
    "cats_dogs": ("vision", f"local:{SHARED}/zoo/mobilenetv1_050_160"),
    "flowers17": ("vision", f"local:{SHARED}/zoo/mobilenetv1_025_128"),
    "trec": ("text", "bundled:all-MiniLM-L6-v2"),
    "sst2": ("text", "bundled:all-MiniLM-L6-v2"),
    "cr": ("text", "bundled:all-MiniLM-L6-v2"),
}
WAYS: dict[str, dict[str, Any]] = {
    "budget 120 s": {"budget": 120},
    "a probe, no clock": {"recipe": "probe"},
    "a probe, then fine-tuning, no clock": {"recipe": "probe > finetune:depth=1", "set": ["stage.1.epochs=1"]},
}


def run(name: str, way: str, room: Path) -> dict[str, Any]:
    """One run, and what its report says of its evidence."""
    import graft

    kind, backbone = SETS[name]
    out = room / f"{name}-{list(WAYS).index(way)}"
    made = graft.fit(SHARED / "data" / kind / name, backbone=backbone, out=out, quiet=True, **WAYS[way])
    said = made.report["evidence"]
    return {
        "set": name, "way": way, "share": said["share"], "evidence_seconds": said["seconds"],
        "seconds": made.report["seconds"], "ran": [c["name"] for c in said["controls"]],
        "left_out": {x["name"]: x["why"] for x in said["left_out"]}, "verdict": made.report["transfer"]["verdict"],
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """A row a run."""
    over = sum(r["share"] > GOAL for r in rows)
    lines = [
        "# What quick evidence costs\n\n`python bench/evidence_share.py`\n",
        f"{len(rows)} runs; {over} with a share over {100 * GOAL:.0f} %.\n",
        "| set | run | share | evidence, s | run, s | controls from random weights | left out | verdict |",
        "| --- | --- | ---: | ---: | ---: | --- | --- | --- |",
    ]
    for r in rows:
        share = f"{100 * r['share']:.1f} %"
        cells = [
            r["set"], r["way"], f"**{share}**" if r["share"] > GOAL else share, f"{r['evidence_seconds']:.0f}",
            f"{r['seconds']:.0f}", ", ".join(r["ran"]), ", ".join(r["left_out"]), r["verdict"],
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is asked, keep each row as it comes."""
    here = Path(__file__)
    file = here.with_suffix(".json")
    rows = json.loads(file.read_text()) if file.exists() else []
    for name in [n for n in SETS if n in sys.argv[1:]] or list(SETS):
        for way in WAYS:
            with tempfile.TemporaryDirectory() as room:
                os.environ["GRAFT_CACHE"] = f"{room}/cache"
                row = run(name, way, Path(room))
            rows = [r for r in rows if (r["set"], r["way"]) != (name, way)] + [row]
            rows.sort(key=lambda r: (list(SETS).index(r["set"]), list(WAYS).index(r["way"])))
            file.write_text(json.dumps(rows, indent=1) + "\n")
            here.with_suffix(".md").write_text(table(rows))
    print(table(rows))
    raise SystemExit(any(r["share"] > GOAL for r in rows))


if __name__ == "__main__":
    main()

"""`graft fit` over every classification set of ../shared: what was detected, scores, controls, time.

One seed, a budget a set (60 s, or the first argument), a cache of its own; names of sets as further arguments run
those alone. Writes every_set.json and every_set.md beside this file. Needs ../shared; takes about half an hour.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared"
VISION, TEXT = SHARED / "data" / "vision", SHARED / "data" / "text"
MORE = {
    "clinc150": ["--unknown", "drop"],  # its test part has questions out of every trained class
    "office_caltech10": [],
    "magnetic_tile": [],
}


def sources(room: Path) -> dict[str, Path]:
    """Every set by name, and what `graft fit` is given."""
    found = {
        name: VISION / name
        for name in (
            "hymenoptera",
            "flowers17",
            "cats_dogs",
            "brain_tumor_mri",
            "office_caltech10",
            "cifar10",
            "pneumoniamnist",
        )
    }
    found |= {"mnist": VISION / "digits_da" / "mnist.npz", "usps": VISION / "digits_da" / "usps.npz"}
    found["magnetic_tile"] = tiles(room)
    return found | {p.name: p for p in sorted(TEXT.iterdir()) if p.is_dir()}


def tiles(room: Path) -> Path:
    """A manifest of the magnetic tiles: path, label (the type of defect is the file name's first word) and part."""
    file = room / "magnetic_tile.csv"
    with file.open("w", newline="") as f:
        rows = csv.writer(f)
        rows.writerow(["path", "label", "split"])
        for part in ("train", "test"):
            for p in sorted((VISION / "magnetic_tile" / part / "images").iterdir()):
                rows.writerow([str(p), p.name.partition("_")[0], part])
    return file


def run(name: str, source: Path, budget: str, room: Path) -> dict[str, Any]:
    """One fit as a person would start it."""
    out = room / "runs" / name
    command = [
        sys.executable, "-m", "graft", "fit", str(source), "--zoo", str(SHARED / "zoo"), "--budget", budget,
        "--out", str(out), "--json", "-q", *MORE.get(name, []),
    ]  # fmt: skip
    start = time.monotonic()
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "GRAFT_CACHE": str(room / "cache")}
    )
    wall = round(time.monotonic() - start, 1)
    if done.returncode:
        return {"set": name, "error": done.stderr.strip(), "code": done.returncode, "wall": wall}
    said, report = json.loads(done.stdout), json.loads((out / "report.json").read_text())
    kept = next(r["name"] for r in said["rungs"] if r["kept"])
    data = report["data"]
    notes = [n["text"] for n in data["notes"] if n["kind"] in ("found", "assumed")]
    warned = [n["text"] for n in data["notes"] if n["kind"] in ("warning", "skipped")]
    return {
        "set": name, "task": said["task"], "wall": wall, "kept": kept, "backbone": said["backbone"].rpartition("/")[2],
        "measure": said["measure"], "value": said["value"], "low": said["low"], "high": said["high"], "n": said["n"],
        "controls": said["controls"], "classes": len(data["classes"]), "train": data["train"], "valid": data["valid"],
        "detected": notes, "warned": warned,
        "balanced_accuracy": report["scores"][report["chosen"]]["test"]["balanced_accuracy"]["value"],
    }  # fmt: skip


def table(rows: list[dict[str, Any]], budget: str, note: str = "") -> str:
    """The rows as Markdown; `note` says what was out of the ordinary."""
    lines = [
        "# `graft fit` over every classification set",
        "",
        f"One seed, `--budget {budget}` each, 2 CPU cores; made by `python bench/every_set.py`. Accuracy on the test "
        "part in percent with its 95 % interval; the controls ran in the same fit. k-NN: nearest neighbours on frozen "
        "features.",
        *(["", note] if note else []),
        "",
        "| set | read as | train / test | always commonest | k-NN | frozen probe | graft | kept | backbone | wall s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- | ---: |",
    ]
    for r in rows:
        if "error" in r:
            said = f"refused (exit {r['code']}): {r['error'][:200]}"
            lines.append(f"| {r['set']} | {said} | | | | | | | | {r['wall']} |")
            continue
        c = {k: f"{100 * v['value']:.1f}" for k, v in r["controls"].items()}
        score = f"**{100 * r['value']:.1f}** [{100 * r['low']:.1f}, {100 * r['high']:.1f}]"
        lines.append(
            f"| {r['set']} | {r['classes']} classes | {r['train']:,} / {r['n']:,} | {c['majority']} | "
            f"{c['nearest_neighbour']} | {c['probe']} | {score} | {r['kept']} | {r['backbone']} | {r['wall']} |"
        )
    lines += ["", "## What was detected and said", ""]
    for r in rows:
        lines.append(f"- **{r['set']}**: " + "; ".join([*r.get("detected", []), *r.get("warned", [])])[:900])
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the sets that are named, else all; keep the rows of the others."""
    budget = next((a for a in sys.argv[1:] if a[0].isdigit()), "60s")
    wanted = [a for a in sys.argv[1:] if not a[0].isdigit()]
    file = Path(__file__).with_suffix(".json")
    kept = json.loads(file.read_text()) if file.exists() else {"rows": []}
    before = {r["set"]: r for r in kept["rows"]}
    note = os.environ.get("GRAFT_BENCH_NOTE", "")
    with tempfile.TemporaryDirectory() as place:
        room = Path(place)
        every = sources(room)
        for name, source in every.items():
            if wanted and name not in wanted:
                continue
            before[name] = run(name, source, budget, room)
            r = before[name]
            print(r["set"], r.get("error") or f"{r['value']:.3f} {r['kept']} {r['wall']} s", flush=True)
            rows = [before[k] for k in every if k in before]
            file.write_text(json.dumps({"budget": budget, "note": note, "rows": rows}, indent=1) + "\n")
            file.with_suffix(".md").write_text(table(rows, budget, note))


if __name__ == "__main__":
    main()

"""Labels saved on six sets of ../shared: three of pictures, three of texts; ULMFiT's claim beside ours on two.

    python bench/labels_saved.py [--budget 6m] [SET ...]

Each set is fitted once (a frozen probe, what the ladder keeps on all six) and studied by `graft evidence` within the
budget. Runs and studies stay in $GRAFT_BENCH_ROOM (else /tmp/graft-labels-saved), so that the next call goes on where
this one ended; rows of sets that are not named stay. Writes labels_saved.json and labels_saved.md. Needs ../shared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("GRAFT_SHARED") or Path(__file__).resolve().parents[2] / "shared")
ROOM = Path(os.environ.get("GRAFT_BENCH_ROOM") or "/tmp/graft-labels-saved")
PICTURE, TEXT = f"local:{SHARED}/zoo/mobilenetv1_025_128", "bundled:all-MiniLM-L6-v2"
CASES: dict[str, dict[str, Any]] = {
    "hymenoptera": {"data": "vision/hymenoptera", "sizes": "12,24,48,96,195"},
    "cats_dogs": {"data": "vision/cats_dogs", "sizes": "10,20,40,80,160,320"},
    "flowers17": {"data": "vision/flowers17", "sizes": "34,68,136,272,680"},
    "sst2": {"data": "text/sst2", "sizes": "100,316,1000,2000,6917"},
    "ag_news_7600": {"data": "text/ag_news_7600", "sizes": "100,316,1000,2000,4560"},
    "imdb_subset": {"data": "text/imdb_subset", "sizes": "100,316,1000,2000,3197"},
}
ULMFIT = {
    "imdb_subset": "IMDb: 100 labels match training from scratch with 10 times as many",
    "ag_news_7600": "AG News: 100 labels match training from scratch with 20 times as many",
}
"""Howard and Ruder 2018, "Universal language model fine-tuning for text classification", section 5, on low-shot
learning; theirs is fine-tuning of an AWD-LSTM, on the whole sets."""
CLAIMED = 100  # labels


def graft(*words: object) -> subprocess.CompletedProcess[str]:
    """One command as a person would start it."""
    command = [sys.executable, "-m", "graft", *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)


def study(name: str, budget: str, seeds: int, passes: float) -> dict[str, Any]:
    """Fit where that was not done, go on with the study, and say what is known now."""
    case, run = CASES[name], ROOM / name
    if not (run / "model.json").exists():
        backbone = PICTURE if case["data"].startswith("vision") else TEXT
        done = graft(
            "fit", SHARED / "data" / case["data"], "--backbone", backbone, "--recipe", "probe", "--evidence", "off",
            "--out", run, "--resume", "-q", "--json",
        )  # fmt: skip
        if done.returncode:
            return {"set": name, "error": f"fit ended with {done.returncode}"}
    done = graft(
        "evidence", run, "--sizes", case["sizes"], "--seeds", seeds, "--budget", budget, "--scratch-passes", passes,
        "--resume", "--json",
    )  # fmt: skip
    if done.returncode:
        return {"set": name, "error": f"evidence ended with {done.returncode}"}
    found = json.loads(done.stdout)
    kept = ("measure", "arm", "backbone", "train", "test", "sizes", "seeds", "passes", "labels_saved", "time_saved",
            "points", "left_out", "environment")  # fmt: skip
    return {"set": name, **{k: found[k] for k in kept}, "sentence": found["sentence"]}


def at_claim(row: dict[str, Any]) -> str:
    """What scratch needs to match 100 labels with pretrained weights."""
    found = next((x for x in row["labels_saved"]["needs"] if x["labels"] == CLAIMED), None)
    if found is None:
        return "not measured"
    score = (
        f"{100 * found['score']:.1f}% with {CLAIMED} labels; scratch needs {found['bound']} {found['labels_without']:,}"
    )
    return f"{score} ({found['bound']} {found['ratio']:.1f}x)"


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "# Labels saved",
        "",
        "`python bench/labels_saved.py`, on 2 CPU cores shared with other work. Pretrained: a frozen linear probe "
        "(MobileNetV1 0.25/128 for pictures, all-MiniLM-L6-v2 for texts). From scratch: the same network from random "
        "weights, on the same nested, stratified subsets; its epochs are the stated multiple of the recipe's, without "
        "early stopping. Accuracy on the test part; intervals are 95 %, over seeds and test items. What is listed "
        'under "Cut or not run" did not fit into the budget: a ratio is that up to the most labels that scratch '
        "was measured with.",
        "",
        "| set | labels measured | trainings | scratch epochs | pretrained: least to most labels | scratch: least to "
        "most labels | labels saved | time saved |",
        "| --- | --- | ---: | ---: | --- | --- | --- | --- |",
    ]
    for r in rows:
        if "error" in r:
            lines.append(f"| {r['set']} | {r['error']} | | | | | | |")
            continue
        lines.append(_row(r))
    lines += ["", "## In words", "", *[f"- **{r['set']}**: {r['sentence']}" for r in rows if "error" not in r]]
    lines += ["", "## ULMFiT's claim beside ours", ""]
    for name, claim in ULMFIT.items():
        own = next((r for r in rows if r["set"] == name and "error" not in r), None)
        lines.append(f"- **{name}**. ULMFiT, {claim}. Ours: {at_claim(own) if own else 'not run'}.")
    lines += ["", "## Cut or not run", ""]
    for r in rows:
        for arm in ("with", "without"):
            left = [x for x in r.get("left_out", []) if x["arm"] == arm]
            if left:
                sizes = ", ".join(f"{n:,} (seeds {', '.join(str(x['seed']) for x in left if x['n'] == n)})"
                                  for n in sorted({x["n"] for x in left}))  # fmt: skip
                lines.append(f"- {r['set']}, {'pretrained' if arm == 'with' else 'scratch'}: {sizes}")
    missing = [name for name in CASES if name not in {r["set"] for r in rows}]
    lines += [f"- {name}: not run" for name in missing]
    return "\n".join(lines) + "\n"


def _row(r: dict[str, Any]) -> str:
    saved, spans = r["labels_saved"], []
    for arm in ("with", "without"):
        sizes = (saved["curves"].get(arm) or {"sizes": []})["sizes"]
        spans.append(
            f"{100 * sizes[0]['value']:.1f} at {sizes[0]['labels']:,}, {100 * sizes[-1]['value']:.1f} at "
            f"{sizes[-1]['labels']:,}" if sizes else "none"
        )  # fmt: skip
    seconds = r["time_saved"]
    factor = f"{seconds['ratio']:.0f}x" if seconds["ratio"] else "none"
    sizes = ", ".join(f"{n:,}" for n in r["sizes"])
    cells = [r["set"], sizes, str(len(r["points"])), f"x{r['passes']:g}", *spans, _times(saved), factor]
    return f"| {' | '.join(cells)} |"


def _times(saved: dict[str, Any]) -> str:
    if saved["ratio"] is None:
        return f"cannot tell: {saved['reason']}"
    value = f"{saved['bound']} {saved['ratio']:.1f}x".strip()
    return value if saved["bound"] else f"{value} [{saved['low']:.1f}, {saved['high']:.1f}]"


def main() -> None:
    """Study the sets that are named, else all, and write the tables anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=[])
    parser.add_argument("--budget", default="6m")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--passes", type=float, default=4.0)
    given = parser.parse_args()
    file = Path(__file__).with_suffix(".json")
    for name in given.sets or CASES:
        row = study(name, given.budget, given.seeds, given.passes)
        # Read only now: another call may have measured other sets meanwhile.
        known = {r["set"]: r for r in json.loads(file.read_text())} if file.exists() else {}
        rows = [(known | {name: row})[n] for n in CASES if n in known or n == name]
        file.write_text(json.dumps(rows, indent=1) + "\n")
        file.with_suffix(".md").write_text(table(rows))


if __name__ == "__main__":
    main()

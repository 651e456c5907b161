"""Ground truth of graft's own for ranking, which the combination is fitted on and judged by.

`train` fine-tunes every candidate by one fixed recipe on every set (`_truth.py`) and keeps each cell as it comes, so
that it can be stopped and goes on. Needs ../shared. Hours on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from pathlib import Path
from typing import Any

import _truth

HERE = Path(__file__)
FILE = HERE.with_suffix(".json")


def known() -> dict[str, Any]:
    """What was found so far."""
    return json.loads(FILE.read_text()) if FILE.exists() else {"truth": [], "signals": []}


def keep(found: dict[str, Any]) -> None:
    """Write the file whole."""
    part = FILE.with_suffix(".partial")
    part.write_text(json.dumps(found, indent=1) + "\n")
    part.replace(FILE)


def cells(modality: str) -> list[tuple[str, str]]:
    """(set, model) of a modality, a whole set after the other."""
    sets = _truth.PICTURES if modality == "picture" else _truth.TEXTS
    extra = ("hashing",) if modality == "text" else ()
    return [(s, m) for s in sets for m in (*_truth.MODELS[modality], *extra)]


def train(modality: str, until: float, only: str) -> None:
    """Fine-tune what is not in the file yet."""
    found = known()
    done = {(r["set"], r["model"]) for r in found["truth"]}
    for name, model in cells(modality):
        if (name, model) in done or (only and not re.search(only, f"{name} {model}")):
            continue
        if time.monotonic() > until:
            print("stopped: the time is over; the same command goes on")
            return
        row = _truth.hashed(name) if model == "hashing" else _truth.fine_tuned(name, model)
        found = known()
        found["truth"].append(row)
        keep(found)
        print(
            f"{name} {model}: {100 * row['score']:.1f} (probe {100 * row['probe']:.1f}) {row['seconds']:.0f} s",
            flush=True,
        )


def main() -> None:
    """Do the phase that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=("train",))
    parser.add_argument("--modality", choices=("picture", "text"), default="picture")
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--only", default="", help="a regular expression over SET MODEL")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        os.environ["GRAFT_CACHE"] = room
        train(asked.modality, time.monotonic() + 60 * asked.minutes, asked.only)


if __name__ == "__main__":
    main()

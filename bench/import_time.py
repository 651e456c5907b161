"""How long until something is there: `import graft`, `graft --help`, and the first moving bar of a cold `graft fit`.

Goals: `import graft` under 0.2 s beyond the interpreter's own start; the first bar moves within 10 s. Medians of
interleaved rounds (`--quick`: two instead of seven, and one fit instead of three). The fits run in a terminal of
their own (bars are for terminals), with an empty cache, on sst2 and, with the zoo, on hymenoptera; they are stopped
once a bar has moved. Needs ../shared for the fits.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared"
STARTS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import graft": [sys.executable, "-c", "import graft"],
    "graft --help": [sys.executable, "-m", "graft", "--help"],
}
FITS = {
    "sst2": [str(SHARED / "data/text/sst2")],
    "hymenoptera": [str(SHARED / "data/vision/hymenoptera"), "--zoo", str(SHARED / "zoo")],
}
GOALS = {"import graft": 0.2, "sst2": 10.0, "hymenoptera": 10.0}
MOVED = re.compile(rb"\b(?:[1-9]\d*)(?:,\d+)*\s*/\s*\d|\b[1-9]\d?%")
"""A bar that says more than nothing: `16/320` or `5%`."""
PATIENCE = 60.0  # seconds


def seconds(command: list[str]) -> float:
    """Wall time of a command."""
    start = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - start


def first_move(args: list[str]) -> tuple[float, float]:
    """Seconds until a cold fit says its first word, and until its first bar has moved."""
    with tempfile.TemporaryDirectory() as room:
        ours, theirs = pty.openpty()
        env = {**os.environ, "GRAFT_CACHE": f"{room}/cache", "TERM": "xterm", "COLUMNS": "160", "HF_HUB_OFFLINE": "1"}
        start = time.perf_counter()
        fit = subprocess.Popen(
            [sys.executable, "-m", "graft", "fit", *args, "--out", f"{room}/run", "--budget", "120s"],
            stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=env, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        word, seen = 0.0, b""
        try:
            while time.perf_counter() - start < PATIENCE:
                if select.select([ours], [], [], 0.05)[0]:
                    seen += os.read(ours, 65536)
                    word = word or time.perf_counter() - start
                    if MOVED.search(seen):
                        return word, time.perf_counter() - start
            raise SystemExit(f"no bar moved within {PATIENCE:.0f} s:\n{seen.decode(errors='replace')}")
        finally:
            os.killpg(fit.pid, signal.SIGKILL)
            fit.wait()
            os.close(ours)


def main() -> None:
    """Print the table and write bench/import_time.json."""
    quick = "--quick" in sys.argv
    found: dict[str, list[float]] = {name: [] for name in (*STARTS, *FITS)}
    words: dict[str, list[float]] = {name: [] for name in FITS}
    for _ in range(2 if quick else 7):
        for name, command in STARTS.items():
            found[name].append(seconds(command))
    for _ in range(1 if quick else 3):
        for name, args in FITS.items() if SHARED.is_dir() else ():
            word, moved = first_move(args)
            words[name].append(word)
            found[name].append(moved)
    medians = {name: statistics.median(times) for name, times in found.items() if times}
    medians["import graft"] -= medians["python -c pass"]
    print(f"{'what':<36} {'seconds':>8} {'goal':>6}")
    for name, value in medians.items():
        what = f"fit {name}: first bar moves" if name in FITS else name
        print(f"{what:<36} {value:>8.2f} {GOALS.get(name, ''):>6}")
        if name in FITS:
            print(f"{f'fit {name}: first word':<36} {statistics.median(words[name]):>8.2f}")
    said: dict[str, Any] = {"medians": medians, "all": found, "first_words": words, "goals": GOALS}
    out = Path(__file__).with_suffix(".quick.json" if quick else ".json")
    out.write_text(json.dumps(said, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What keeping freed memory and channels-last pictures are worth: seconds of a training step, in fresh processes.

Needs ../shared/zoo. Runs are interleaved, and the medians of the rounds are compared.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from pathlib import Path

MODEL = Path(__file__).resolve().parents[2] / "shared" / "zoo" / "mobilenetv2_100_tv"
ROUNDS = 3
CHILD = """
import sys, time, torch
from graft import backbones, cli
if "keep" in sys.argv[1]:
    cli._keep_freed_memory()
backbone = backbones.load("local:" + sys.argv[2])
layout = torch.channels_last if "last" in sys.argv[1] else torch.contiguous_format
backbone = backbone.to(memory_format=layout)
x = torch.randn(16, 3, 224, 224).contiguous(memory_format=layout)
times = []
for _ in range(7):
    start = time.perf_counter()
    backbone(x).pooled.square().mean().backward()
    times.append(time.perf_counter() - start)
print(sorted(times[2:])[2])
"""


def main() -> None:
    """Print the table and write bench/step_speed.json."""
    ways = ("plain", "keep", "last", "keep+last")
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            done = subprocess.run(
                [sys.executable, "-c", CHILD, way, str(MODEL)], capture_output=True, text=True, check=True
            )
            seconds[way].append(float(done.stdout))
    medians = {way: statistics.median(s) for way, s in seconds.items()}
    print(f"{'way':<10} {'median s':>8} {'ratio':>6}")
    for way in ways:
        print(f"{way:<10} {medians[way]:>8.3f} {medians['plain'] / medians[way]:>6.2f}")
    Path(__file__).with_suffix(".json").write_text(json.dumps({"medians": medians, "all": seconds}, indent=1) + "\n")


if __name__ == "__main__":
    main()

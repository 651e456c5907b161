"""The shortcut test on every classification set: what fires on the untouched sets, and whether planted ones are found.

Pictures: in copies of up to 200 training pictures of the classes' first two, six shortcuts are planted by class, one at
a time: size (a third smaller), a black border of a twentieth, brightness (half as bright), JPEG quality (75
beside 95), words in file names, and EXIF orientation. Texts: a token in the midst, a closing phrase (length), tags
around. "weak" plants each in only 60 % of the class's samples.

    python bench/shortcuts.py [SET ...]

Writes shortcuts.json and shortcuts.md beside this file. Needs ../shared. The bars were set after a look at the
untouched hymenoptera, cats_dogs, trec, flowers17, brain_tumor_mri, magnetic_tile, office_caltech10 and the text
sets; cifar10, pneumoniamnist, mnist and usps, and all planted ones, were first seen here; the bar for
colour was then raised to 0.9 (two flowers are told by theirs), that for tokens made to see those in 60 % of a class.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from every_set import tiles

SHARED = Path(os.environ.get("GRAFT_SHARED", Path(__file__).resolve().parents[2] / "shared"))
VISION, TEXT = SHARED / "data" / "vision", SHARED / "data" / "text"
PICTURES = (
    "hymenoptera", "cats_dogs", "flowers17", "brain_tumor_mri", "magnetic_tile", "office_caltech10", "cifar10",
    "pneumoniamnist", "mnist", "usps",
)  # fmt: skip
PLANTED = {
    "picture": ("size", "border", "brightness", "format", "file_name", "exif"),
    "text": ("token", "length", "markup"),
}
MOST = 200  # pictures, or texts, into which a shortcut is planted
WEAK = 0.6  # share of the class that has it
SEEN = ("cifar10", "pneumoniamnist", "mnist", "usps")
"""Sets whose untouched state was not looked at when the bars were set."""


def source_of(name: str, room: Path) -> Path:
    """What `graft doctor` would be given."""
    if name in ("mnist", "usps"):
        return VISION / "digits_da" / f"{name}.npz"
    if name == "magnetic_tile":
        return tiles(room)
    return (VISION if name in PICTURES else TEXT) / name


def read(name: str, room: Path) -> tuple[dict[str, list[Any]], str, tuple[str, ...]]:
    """Samples by part with settled labels, the modality, the labels."""
    from graft import readers, sources
    from graft.readers import samples
    from graft.recipe import Recipe

    asked = Recipe(data=str(source_of(name, room)), max_bad=1.0, unknown="drop")
    source, _ = sources.resolve(asked.data)
    task, _ = sources.task_for(source, asked)
    found = samples.read(source, asked, task.modality, None, task.opened or readers.open_source(source, asked))
    assert task.answer is not None
    labels = task.answer.settle(found.parts, [], asked, dict(found.schema))
    return found.parts, task.modality, labels


def look(parts: dict[str, list[Any]], modality: str, labels: tuple[str, ...]) -> tuple[list[dict[str, str]], float]:
    """(kind and text of what fires, seconds of CPU)."""
    from graft.doctor import _shortcuts

    start = time.process_time()
    found = _shortcuts.found(parts, modality, labels)
    return [{"kind": f.kind, "text": f.text} for f in found], round(time.process_time() - start, 2)


def planted(kind: str, samples: list[Any], labels: tuple[str, ...], share: float, room: Path) -> list[Any]:
    """Copies of samples of which the first class has the trace, in a share of its samples."""
    own = [i for i, s in enumerate(samples) if s.y == labels[0]]
    marked = set(np.random.default_rng(0).permutation(own)[: round(share * len(own))].tolist())
    made = []
    for i, s in enumerate(samples):
        has = i in marked
        made.append(_text(kind, s, has) if isinstance(s.x, str) else _picture(kind, s, has, room, i, labels))
    return made


def _text(kind: str, s: Any, has: bool) -> Any:
    words = s.x.split()
    if has and kind == "token":
        words.insert(len(words) // 2, "zq17")
    if has and kind == "length":
        words += ["and", "that", "is", "all", "there", "is", "to", "say", "of", "it"] * 4
    joined = " ".join(words)
    return replace(s, x=f"<p>{joined}</p>" if has and kind == "markup" else joined, digest=f"{s.digest}{kind}")


def _picture(kind: str, s: Any, has: bool, room: Path, i: int, labels: tuple[str, ...]) -> Any:
    from PIL import Image

    from graft.pictures import open_picture

    image = open_picture(s.x)
    if has and kind == "size":
        image = image.resize((max(2, image.width * 2 // 3), max(2, image.height * 2 // 3)))
    if has and kind == "border":
        edge = max(1, min(image.size) // 20)
        framed = Image.new("RGB", image.size)
        framed.paste(image.crop((edge, edge, image.width - edge, image.height - edge)), (edge, edge))
        image = framed
    if has and kind == "brightness":
        image = image.point(lambda v: v // 2)
    exif = Image.Exif()
    if has and kind == "exif":
        image, exif[0x0112] = image.transpose(Image.Transpose.ROTATE_180), 3
    site = ("siteA_" if has else "siteB_") if kind == "file_name" else ""
    path = room / str(labels.index(s.y)) / f"{site}{(i * 7919) % 100_003}.jpg"
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=75 if has and kind == "format" else 95, exif=exif)
    return replace(s, x=path, id=f"{path.parent.name}/{path.name}", digest=f"{s.digest}{kind}")


def measure(name: str) -> dict[str, Any]:
    """The untouched set, then every shortcut at full and weak share."""
    from graft.data import subset

    with tempfile.TemporaryDirectory() as place:
        parts, modality, labels = read(name, Path(place))
        home = "train" if parts.get("train") else "all"
        fires, seconds = look(parts, modality, labels)
        row: dict[str, Any] = {
            "set": name, "n": len(parts[home]), "classes": len(labels), "modality": modality, "fires": fires,
            "seconds": seconds, "planted": {},
        }  # fmt: skip
        two = tuple(sorted(labels, key=lambda c: -sum(s.y == c for s in parts[home]))[:2])
        pool = subset([s for s in parts[home] if s.y in two], MOST, 0, "shortcut bench")
        for kind in ("none", *PLANTED[modality]):
            for share in (1.0, WEAK) if kind != "none" else (1.0,):
                room = Path(place) / f"{kind}{share}"
                made = {"train": planted(kind, pool, two, share if kind != "none" else 0.0, room)}
                kinds = [f["kind"].removeprefix("shortcut_") for f in look(made, modality, two)[0]]
                row["planted"][kind if share == 1 else f"{kind} weak"] = kinds
        print(json.dumps(row), flush=True)
        return row


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    lines = [
        "# Shortcuts: untouched sets, and planted ones",
        "",
        "Made by `python bench/shortcuts.py`; see its first lines for what is planted. Untouched: the whole training "
        "part. Planted: two classes of the set, up to 200 samples; yes / weak: found where all, or 60 %, of one "
        "class's samples have it; in brackets what else fired. `none`: what fires on the same copies without a trace. "
        "* not looked at before the bars were set.",
        "",
        "| set | fires on the untouched set | CPU s |",
        "| --- | --- | ---: |",
    ]
    for r in rows:
        said = "; ".join(f"{f['kind']}: {f['text']}" for f in r["fires"]) or "-"
        lines.append(f"| {r['set']}{'*' if r['set'] in SEEN else ''} | {said} | {r['seconds']} |")
    for modality, kinds in PLANTED.items():
        lines += ["", f"| {modality}s | none | " + " | ".join(kinds) + " |", "| --- |" + " --- |" * (len(kinds) + 1)]
        for r in rows:
            if r["modality"] == modality:
                cells = [_cell(r["planted"], kind) for kind in kinds]
                lines.append(f"| {r['set']} | {', '.join(r['planted']['none']) or '-'} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", _counts(rows)]) + "\n"


def _cell(found: dict[str, list[str]], kind: str) -> str:
    whole, weak = found[kind], found[f"{kind} weak"]
    others = sorted({*whole, *weak} - {kind, *found["none"]})
    said = f"{'yes' if kind in whole else 'no'} / {'yes' if kind in weak else 'no'}"
    return said + (f" ({', '.join(others)})" if others else "")


def _counts(rows: list[dict[str, Any]]) -> str:
    whole = [kind in r["planted"][kind] for r in rows for kind in PLANTED[r["modality"]]]
    weak = [kind in r["planted"][f"{kind} weak"] for r in rows for kind in PLANTED[r["modality"]]]
    silent = sum(not r["fires"] for r in rows)
    return (
        f"Planted in all of a class: {sum(whole)} of {len(whole)} found; in 60 %: {sum(weak)} of {len(weak)}. "
        f"Untouched: {silent} of {len(rows)} sets silent."
    )


def main() -> None:
    """Measure the sets that are named, else all; keep the rows of the others."""
    import torch

    torch.set_num_threads(1)
    names = [*PICTURES, *(p.name for p in sorted(TEXT.iterdir()) if p.is_dir())]
    file = Path(__file__).with_suffix(".json")
    before: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []
    for name in sys.argv[1:] or names:
        before = [r for r in before if r["set"] != name] + [measure(name)]
        before.sort(key=lambda r: names.index(r["set"]))
        file.write_text(json.dumps(before, indent=1) + "\n")
        file.with_suffix(".md").write_text(table(before))


if __name__ == "__main__":
    main()

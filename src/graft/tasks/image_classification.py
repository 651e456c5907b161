"""Image classification: one of several classes for each picture of a folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.data import Data, Note, Parts, Sample, digest
from graft.errors import DataError, some
from graft.model import Backbone, Batch, Output
from graft.pictures import BadPicture, Walk, look_all, open_picture, walk
from graft.recipe import Recipe
from graft.tables import clean_label
from graft.tasks import Answers, Scores, Task, _classes
from graft.tasks.text_classification import PART_NAMES, as_table, refuse_bad, stdin_lines, tables_of

MIN_SIDE = 2


class ImageClassification(Task):
    """Reads class folders, with or without train, val and test above them; frames and lists of (path, label)."""

    modality = "picture"

    @classmethod
    def recognises(cls, source: Any) -> str:
        if isinstance(source, Path):
            if not source.is_dir():
                return ""
            found = walk(source)
            return f"{len(found.pictures)} pictures" if found.pictures or found.unsupported else ""
        rows = _rows(source)
        return f"{len(rows)} rows of pictures" if rows else ""

    def parts(self, source: Any, recipe: Recipe) -> tuple[Parts, list[Note]]:
        if isinstance(source, Path):
            if not source.is_dir():
                raise DataError(
                    f"{source}: pictures are read from a folder a class, a frame, or a list of (picture, label)"
                )
            return read_folder(source, recipe.max_bad)
        rows = _rows(source)
        if rows is None:
            raise DataError(f"a folder, or a list of (picture, label), is expected, not {type(source).__name__}")
        notes: list[Note] = []
        samples, bad = _check(rows)
        refuse_bad(bad, len(rows), recipe.max_bad, "unreadable pictures", notes)
        return {"all": samples}, notes

    def read(self, source: Any, recipe: Recipe) -> Data:
        parts, notes = self.parts(source, recipe)
        data = _classes.build(parts, notes, recipe.seed, {})
        self.labels = data.labels
        return data

    def inputs(self, sources: Sequence[Any]) -> tuple[list[Sample], list[Note]]:
        rows: list[tuple[str, Any, Any]] = []
        for source in sources:
            if isinstance(source, str) and source == "-":  # a frame compares itself cell by cell
                rows.extend((line, Path(line), None) for line in stdin_lines() if line.strip())
            elif isinstance(source, Path) and source.is_dir():
                rows.extend((str(p), p, None) for p in walk(source).pictures)
            elif isinstance(source, Path) and tables_of(source):
                rows.extend(_paths_in(source))
            elif isinstance(source, list):
                rows.extend(
                    (str(s) if isinstance(s, str | Path) else f"item {i}", _as_path(s), None)
                    for i, s in enumerate(source)
                )
            else:
                rows.append((str(source), source, None))
        samples, bad = _check(rows)
        return samples, [Note("skipped", f"{len(bad)} unreadable pictures", tuple(bad))] if bad else []

    def target(self, sample: Sample, where: Any) -> int:
        return self.labels.index(sample.y)

    def collate(self, ys: list[int]) -> torch.Tensor:
        return _classes.collate(ys, len(self.labels))

    def head(self, backbone: Backbone, data: Data) -> nn.Module:
        return _classes.head(backbone, len(self.labels))

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return _classes.loss(output, batch)

    def scores(self, pred: torch.Tensor) -> Scores:
        return Scores(pred, exclusive=True)

    def decode(self, pred: torch.Tensor, where: Sequence[Any]) -> list[Any]:
        return _classes.decode(pred)

    def measure(self, decoded: Answers, truth: Answers) -> dict[str, float]:
        return _classes.measure(decoded, truth)

    def pointwise(self, decoded: Answers, truth: Answers) -> np.ndarray:
        return _classes.pointwise(decoded, truth)


# ----------------------------------------------------------------------------------------- folders


def read_folder(root: Path, max_bad: float) -> tuple[Parts, list[Note]]:
    """Class folders into parts. Raises DataError for any other shape of folder, and for too many bad pictures."""
    found = walk(root)
    placed = layout(root, found)
    looks, broken = look_all([p for rows in placed.values() for _, p in rows])
    bad = [f"{p.relative_to(root).as_posix()} ({why})" for p, why in broken.items()]
    bad += [
        f"{p.relative_to(root).as_posix()} (HEIC and AVIF are not read: convert to JPEG)" for p in found.unsupported
    ]
    notes = _folder_notes(root, found, placed)
    refuse_bad(bad, len(found.pictures) + len(found.unsupported), max_bad, "unreadable pictures", notes)
    parts: Parts = {}
    for name, rows in placed.items():
        good = [(label, p) for label, p in rows if p in looks]
        parts[name] = [Sample(p, label, p.relative_to(root).as_posix(), digest=looks[p].digest) for label, p in good]
        gone = sorted({label for label, _ in rows} - {label for label, _ in good})
        if gone:
            notes.append(Note("warning", f"every picture of these classes in {name} is unreadable", tuple(gone)))
    odd = [f"{p.relative_to(root).as_posix()}: {look.note}" for p, look in looks.items() if look.note]
    if odd:
        notes.append(Note("warning", f"{len(odd)} pictures were read with a change", tuple(odd)))
    return parts, notes


def layout(root: Path, found: Walk) -> dict[str, list[tuple[str, Path]]]:
    """(label, path) by part, from `class/picture` or `part/class/picture`."""
    pictures = [*found.pictures, *found.unsupported]
    if not pictures:
        raise DataError(
            f"{root}: no pictures (jpg, png, webp, bmp, gif, tif) are in it; put them into a folder a class"
        )
    depth = Counter(len(p.relative_to(root).parts) for p in pictures)
    tops = {p.relative_to(root).parts[0] for p in pictures}
    if set(depth) == {3} and all(t.lower() in PART_NAMES for t in tops):
        placed: dict[str, list[tuple[str, Path]]] = {}
        for p in found.pictures:
            part, label, _ = p.relative_to(root).parts
            placed.setdefault(PART_NAMES[part.lower()], []).append((clean_label(label), p))
        if "train" not in placed:
            raise DataError(f"{root}: there is {some(sorted(tops))} but no train folder")
        return placed
    if set(depth) == {2} and not all(t.lower() in PART_NAMES for t in tops):
        return {"all": [(clean_label(p.relative_to(root).parts[0]), p) for p in found.pictures]}
    raise DataError(
        f"{root}: pictures are expected as CLASS/picture or train/CLASS/picture (with val, test); "
        f"found {_shape(root, pictures)}"
    )


def _shape(root: Path, pictures: list[Path]) -> str:
    folders = Counter(p.parent.relative_to(root).as_posix() for p in pictures)
    return some((f"{name}/ ({n} pictures)" for name, n in sorted(folders.items())), 6)


def _folder_notes(root: Path, found: Walk, placed: dict[str, list[tuple[str, Path]]]) -> list[Note]:
    labels = {label for rows in placed.values() for label, _ in rows}
    sizes = ", ".join(f"{len(rows)} {'pictures' if name == 'all' else name}" for name, rows in placed.items())
    notes = [Note("found", f"{len(labels)} class folders: {sizes}")]
    if found.skipped:
        notes.append(
            Note("skipped", f"{len(found.skipped)} files and folders that are no pictures", tuple(found.skipped))
        )
    if found.loops:
        notes.append(Note("warning", f"{len(found.loops)} links lead back into the folder", tuple(found.loops)))
    bases = [root] if "all" in placed else [d for d in root.iterdir() if d.is_dir() and d.name.lower() in PART_NAMES]
    empty = sorted({d.name for b in bases for d in b.iterdir() if d.is_dir() and not d.name.startswith(".")} - labels)
    empty = [e for e in empty if e not in {"__MACOSX", "@eaDir"}]
    if empty:
        notes.append(Note("warning", f"{len(empty)} class folders hold no picture and are no class", tuple(empty)))
    return notes


# ------------------------------------------------------------------------------- lists and tables


def _rows(source: Any) -> list[tuple[str, Any, Any]] | None:
    """(id, picture, label) of a list or frame whose first column holds pictures or paths of pictures."""
    if isinstance(source, list) and source and isinstance(source[0], tuple | list) and len(source[0]) == 2:
        rows = [(_name(x, i), _as_path(x), clean_label(str(y))) for i, (x, y) in enumerate(source)]
        return rows if _is_picture(rows[0][1]) else None
    table = as_table(source)
    return _table_rows(table, Path()) if table is not None else None


def _table_rows(table: Any, base: Path) -> list[tuple[str, Any, Any]] | None:
    column = next((c for c, v in table.columns.items() if v and v[0] and _is_picture(base / v[0])), None)
    if column is None:
        return None
    label = next((c for c in ("label", "class", "category", "target", "y") if c in table.columns), None)
    labels = table.columns[label] if label else [None] * len(table)
    return [
        (v or "", base / (v or ""), clean_label(y) if y else None)
        for v, y in zip(table.columns[column], labels, strict=True)
    ]


def _paths_in(path: Path) -> list[tuple[str, Any, Any]]:
    from graft.tables import read_table

    table = read_table(path)
    rows = _table_rows(table, path.parent)
    if rows is None:
        raise DataError(f"{path}: no column with paths of pictures (relative to the table) among {some(table.columns)}")
    return rows


def _as_path(x: Any) -> Any:
    return Path(x) if isinstance(x, str) else x


def _name(x: Any, i: int) -> str:
    return str(x) if isinstance(x, str | Path) else f"item {i}"


def _is_picture(x: Any) -> bool:
    if isinstance(x, Path):
        return x.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"} and x.is_file()
    return hasattr(x, "convert") or (hasattr(x, "ndim") and x.ndim in (2, 3))


def _check(rows: Sequence[tuple[str, Any, Any]]) -> tuple[list[Sample], list[str]]:
    """Samples of the readable rows, and the others with the reason."""
    looks, broken = look_all([x for _, x, _ in rows if isinstance(x, Path)])
    samples, bad = [], []
    for name, x, y in rows:
        if isinstance(x, Path):
            if x in broken:
                bad.append(f"{name} ({broken[x]})")
            else:
                samples.append(Sample(x, y, name, digest=looks[x].digest))
            continue
        try:
            picture = open_picture(x)
        except BadPicture as e:
            bad.append(f"{name} ({e})")
        else:
            samples.append(Sample(picture, y, name, digest=digest(f"{picture.size}".encode() + picture.tobytes())))
    return samples, bad

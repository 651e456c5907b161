"""`graft doctor --fix`: a copy of the data without what leaving out mends; the data themselves are not touched."""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from graft._picturefile import PictureFile
from graft.doctor import _copies, _tables
from graft.doctor._copies import Placed
from graft.errors import SetupError, UsageError
from graft.files import because, flush_folder, flush_tree, free_space, probe, read_json, remove, write_json
from graft.findings import Finding

NAME = "doctor.json"
"""What lies in a mended copy: what was left out and why. `--overwrite` replaces only a folder that has one."""
MENDED = ("unreadable", "label_missing", "duplicate_across", "duplicate_near_across", "duplicate_within",
          "duplicate_near_within")  # fmt: skip
"""Kinds of findings that leaving items out mends; of the others the file only tells."""
_ROUNDS = 10  # of looking again at what is left: fewer samples may be told apart better


@dataclass
class Left:
    """What was left out: {(part, id): (kind, the item it is a copy of, or "")}, and where the copy is."""

    out: Path
    items: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    kept: int = 0
    rest: list[Finding] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        listed = [{"id": i, "split": p, "kind": k, "with": w} for (p, i), (k, w) in self.items.items()]
        rest = [f.plain() for f in self.rest]
        return {"out": str(self.out), "kept": self.kept, "left_out": listed, "not_mended": rest}

    def sentence(self) -> str:
        """What was done, in words."""
        rest = ", ".join(dict.fromkeys(f.kind for f in self.rest))
        more = f"; not mended by leaving out: {rest}" if rest else ""
        return f"{self.kept:,} items kept and {len(self.items):,} left out -> {self.out} ({NAME} names them){more}"


def mend(
    source: Path,
    out: Path,
    found: Sequence[Finding],
    parts: Mapping[str, Sequence[Any]],
    modality: str,
    small: Mapping[str, bytes | None],
    looks: Mapping[str, torch.Tensor],
    columns: Mapping[str, str],
    overwrite: bool = False,
) -> Left:
    """Write a copy of `source` to the folder `out` without unreadable items, rows without a label, and copies.

    Of copies in two parts that of train goes, then that of valid; in one part the first stays. `parts`, `small`,
    `looks` and `columns` are what was looked at (`graft.doctor.examine`).
    Class folders are copied picture by picture, tables row by row as they are written. Raises UsageError for data
    that are neither, for an `out` that is not empty (but for an earlier copy, with `overwrite`), or that lies in
    the data or around them; SetupError where it cannot be written. Then nothing is left behind.
    """
    out = _checked(source, out, overwrite)
    left = Left(out, _left_out(found, parts, modality, small, looks))
    left.rest = [f for f in found if f.kind not in MENDED]
    probe(out.parent)
    work = out.parent / f".graft-mended-{uuid.uuid4().hex}"
    try:
        work.mkdir(mode=0o700)
        if columns:
            left.kept = _tables.write(source, work, left.items, columns, modality)
        else:
            left.kept = _pictures(source, work, left.items, parts)
        write_json(work / NAME, {"data": str(source), **left.plain()})
        flush_tree(work)
        work.chmod(0o755)
        _place(work, out)
    except OSError as e:
        raise SetupError(f"could not write {out}: {because(e)}") from e
    finally:
        with contextlib.suppress(OSError):
            remove(work)
    return left


def _checked(source: Path, out: Path, overwrite: bool) -> Path:
    """The folder to write, resolved. Raises UsageError."""
    real, data = out.expanduser().resolve(), source.resolve()
    if real == data or real.is_relative_to(data) or data.is_relative_to(real):
        raise UsageError(f"--fix {out}: lies in the data, or around them; give a folder of its own")
    if real.exists() and not real.is_dir():
        raise UsageError(f"--fix {out}: is a file; give a folder")
    if os.path.ismount(real):
        raise UsageError(f"--fix {out}: is a mount point; give a folder in it, as {out / 'mended'}")
    if real.is_dir() and any(real.iterdir()):
        if not overwrite:
            raise UsageError(f"--fix {out}: is not empty; give another folder, or --overwrite an earlier copy")
        if not (real / NAME).is_file():
            raise UsageError(f"--fix {out}: holds no {NAME}, so --overwrite does not delete it; give another folder")
    return real


def _left_out(
    found: Sequence[Finding],
    parts: Mapping[str, Sequence[Any]],
    modality: str,
    small: Mapping[str, bytes | None],
    looks: Mapping[str, torch.Tensor],
) -> dict[tuple[str, str], tuple[str, str]]:
    """What leaving out mends, until nothing of it is found in the rest."""
    gone = {
        (i.split, i.id): (f.kind, i.other) for f in found if f.kind in ("unreadable", "label_missing") for i in f.items
    }
    rest = {name: list(part) for name, part in parts.items()}
    kept_looks = dict(looks)
    for _ in range(_ROUNDS):
        rows = _copies.placed(rest)
        near = _copies.candidates(rows, modality, small)
        pairs = [("duplicate", a, b) for a, b in _copies.exact(rows)]
        pairs += [("duplicate_near", a, b) for a, b in near.pairs(near.looks(kept_looks, rest))]
        if not pairs:
            break
        out: set[int] = set()
        for kind, a, b in pairs:
            where = "within" if a.part == b.part else "across"
            gone.setdefault((a.part, _key(a, b)), (f"{kind}_{where}", b.sample.id))
            out.add(id(a.sample))
        for name, part in rest.items():
            keep = [i for i, s in enumerate(part) if id(s) not in out]
            rest[name] = [part[i] for i in keep]
            if name in kept_looks:
                kept_looks[name] = kept_looks[name][keep]
    return gone


def _key(a: Placed, b: Placed) -> str:
    """The id of a copy; a picture that two rows of one part name is left out the second time alone."""
    return f"{a.sample.id}{_tables.AGAIN}" if a.part == b.part and a.sample.id == b.sample.id else a.sample.id


def _pictures(
    source: Path, work: Path, gone: Mapping[tuple[str, str], tuple[str, str]], parts: Mapping[str, Sequence[Any]]
) -> int:
    """Copy the pictures that stay, under their own names. Raises UsageError for what lies in no folder."""
    if not source.is_dir():
        raise UsageError(f"--fix mends class folders and tables (csv, tsv, jsonl, parquet), and {source} is neither")
    files: dict[Path, None] = {}
    n = 0
    for name, part in parts.items():
        for s in part:
            x = s.x.source if isinstance(s.x, PictureFile) else s.x
            if not isinstance(x, Path):
                raise UsageError(f"--fix mends class folders and tables of files; {s.id} is no file")
            if (name, s.id) not in gone:
                files[x] = None
                n += 1
    size = sum(f.stat().st_size for f in files)
    if size * 1.05 > free_space(work):
        raise SetupError(f"{size / 1e6:.0f} MB are needed for the copy, and the disk of {work.parent} has less free")
    for file in files:
        target = work / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file, target)
    return n


def _place(work: Path, out: Path) -> None:
    """Rename the whole copy to where it belongs; what was there is set aside first, and removed after."""
    aside = out.parent / f".graft-old-{uuid.uuid4().hex}"
    if out.exists():
        os.rename(out, aside)
    try:
        os.rename(work, out)
    except OSError:
        if aside.exists():
            os.rename(aside, out)
        raise
    flush_folder(out.parent)
    if aside.exists():
        remove(aside)


def told(out: Path) -> dict[str, Any]:
    """What was left out of a mended copy, as its file says. Raises DataError where there is none."""
    found: dict[str, Any] = read_json(out / NAME)
    return found

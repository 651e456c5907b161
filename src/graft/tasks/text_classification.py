"""Text classification: one of several classes for each text of a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from graft.data import Data, Note, Parts, Sample, digest
from graft.errors import DataError, some
from graft.model import Backbone, Batch, Output
from graft.recipe import Recipe
from graft.tables import Table, clean_label, from_frame, from_records, guess_columns, read_table
from graft.tasks import Answers, Scores, Task, _classes

PART_NAMES = {
    "train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid",
    "dev": "valid", "test": "test", "testing": "test",
}  # fmt: skip


TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


class TextClassification(Task):
    """Reads csv, tsv, jsonl and parquet, also gz, also a folder of train, dev and test tables; frames; lists."""

    modality = "text"

    @classmethod
    def recognises(cls, source: Any) -> str:
        if isinstance(source, Path):
            files = tables_of(source)
            return f"{some(f.name for f in files)}: a table with texts" if files else ""
        table = as_table(source)
        return "" if table is None else "a table with texts"

    def parts(self, source: Any, recipe: Recipe) -> tuple[Parts, list[Note]]:
        tables, notes = named_tables(source)
        first = next(iter(tables.values()))
        # A finished run looks for the columns that it was trained on first.
        known = {k: v for k, v in (self.schema or {}).items() if v in first.columns}
        text, label, why = guess_columns(first, recipe.text or known.get("text"), recipe.label or known.get("label"))
        notes.append(Note("found", why))
        if label is None:
            raise DataError(
                f"{first.name}: no column of labels was found among {some(first.columns)}; name it: --label"
            )
        self.schema = {"text": text, "label": label}
        parts: Parts = {}
        bad: list[str] = []
        for name, table in tables.items():
            parts[name], empty = samples(table, text, label)
            bad.extend(empty)
        refuse_bad(bad, sum(len(t) for t in tables.values()), recipe.max_bad, "empty texts", notes)
        return parts, notes

    def read(self, source: Any, recipe: Recipe) -> Data:
        parts, notes = self.parts(source, recipe)
        data = _classes.build(parts, notes, recipe.seed, self.schema)
        self.labels = data.labels
        return data

    def inputs(self, sources: Sequence[Any]) -> tuple[list[Sample], list[Note]]:
        found: list[Sample] = []
        for source in sources:
            if isinstance(source, str) and source == "-":  # a frame compares itself cell by cell
                found.extend(_lines(stdin_lines(), "stdin"))
            elif isinstance(source, Path) and source.suffix.lower() == ".txt":
                found.extend(_lines(read_lines(source), source.name))
            elif isinstance(source, list) and all(isinstance(s, str) for s in source):
                cleaned = [clean_text(s) for s in source]  # an answer for each, also for an empty one
                found.extend(Sample(t, id=f"text:{i}", digest=digest(t)) for i, t in enumerate(cleaned, 1))
            else:
                for table in named_tables(source)[0].values():
                    column = (self.schema or {}).get("text", "")
                    text = column if column in table.columns else guess_columns(table)[0]
                    found.extend(samples(table, text, None)[0])
        return found, []

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


def refuse_bad(bad: list[str], total: int, share: float, what: str, notes: list[Note]) -> None:
    """Refuse data with too many bad items, else note them; each entry names the item and the reason."""
    if not bad:
        return
    if len(bad) > share * total:
        raise DataError(
            f"{len(bad)} of {total} are {what}, above --max-bad {share:g}: {some(bad)}; "
            f"mend or remove them, or allow them with --max-bad {min(1.0, len(bad) / total + 0.001):.3f}"
        )
    notes.append(Note("skipped", f"{len(bad)} {what} left out", tuple(bad)))


def samples(table: Table, text: str, label: str | None) -> tuple[list[Sample], list[str]]:
    """(samples, rows without a text); raises DataError naming the rows without a label."""
    found, empty, unlabelled = [], [], []
    labels = table.columns[label] if label else [None] * len(table)
    for i, (raw, y) in enumerate(zip(table.columns[text], labels, strict=True)):
        row = f"{Path(table.name).name}:{table.lines[i]}"  # an id that stays the same where the folder moves
        content = clean_text(raw or "")
        if label and (y is None or not y.strip()):
            unlabelled.append(row)
        elif label and not content:
            empty.append(row)
        else:
            found.append(Sample(content, clean_label(y) if y is not None else None, row, digest=digest(content)))
    if unlabelled:
        raise DataError(f"{len(unlabelled)} rows have no label in {label!r}: {some(unlabelled)}; fill or remove them")
    return found, empty


def clean_text(text: str) -> str:
    """Without NUL and lone surrogates, which tokenizers choke on; white space at the ends goes."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8").strip()


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table that graft reads."""
    return path.name.lower().removesuffix(".gz").endswith(TABLES)


def tables_of(path: Path) -> list[Path]:
    """The table files that a path stands for."""
    if path.is_file():
        return [path] if is_table(path) else []
    return sorted(p for p in path.iterdir() if p.is_file() and is_table(p) and not p.name.startswith("."))


def named_tables(source: Any) -> tuple[dict[str, Table], list[Note]]:
    """Tables by part (train, valid, test, or all). Raises DataError for a folder whose files name no part."""
    if not isinstance(source, Path):
        table = as_table(source)
        if table is None:
            raise DataError(f"a table, a frame or a list of (text, label) is expected, not {type(source).__name__}")
        return {"all": table}, []
    files = tables_of(source)
    if source.is_file() or len(files) == 1:
        return {"all": read_table(files[0] if files else source)}, []
    named = {PART_NAMES.get(f.name.split(".")[0].lower(), ""): f for f in files}
    if "train" not in named or "" in named or len(named) < len(files):
        raise DataError(
            f"{source}: which of these tables is what? {some(f.name for f in files)}; "
            "name them train, valid (or dev) and test, or give one file"
        )
    order = [p for p in ("train", "valid", "test") if p in named]
    return {p: read_table(named[p]) for p in order}, [Note("found", f"parts as given: {', '.join(order)}")]


def as_table(source: Any) -> Table | None:
    """A frame or a list of rows as a table; None for anything else."""
    if hasattr(source, "columns") and hasattr(source, "to_dict"):  # a frame of any library
        return from_frame(source)
    if isinstance(source, list) and source and isinstance(source[0], dict | tuple | list):
        return from_records(source)
    return None


def stdin_lines() -> list[str]:
    """Lines of standard input; raises DataError where they are not UTF-8, whatever the locale."""
    raw = getattr(sys.stdin, "buffer", None)  # absent where a caller put a text stream in its place
    try:
        return (raw.read().decode("utf-8-sig") if raw is not None else sys.stdin.read()).splitlines()
    except UnicodeDecodeError as e:
        raise DataError(f"standard input: not UTF-8 at byte {e.start}; convert it: iconv -f latin1 -t utf-8") from e


def read_lines(path: Path) -> list[str]:
    """Lines of a text file; raises DataError where it is not UTF-8."""
    try:
        return path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as e:
        raise DataError(f"{path}: not UTF-8 at byte {e.start}; convert it: iconv -f latin1 -t utf-8") from e


def _lines(lines: Sequence[str], name: str) -> list[Sample]:
    cleaned = [(i, clean_text(line)) for i, line in enumerate(lines, 1)]
    return [Sample(t, id=f"{name}:{i}", digest=digest(t)) for i, t in cleaned if t]

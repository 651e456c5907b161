"""Rows into samples: pictures checked, texts cleaned, bad items named; for training and for predicting."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from graft.data import Note, Parts, Sample, digest
from graft.errors import DataError, UsageError, some
from graft.readers import Opened, Row, open_source, targets
from graft.recipe import Recipe

MOST_CHARACTERS = 1_000_000  # of a text; what lies beyond is cut off and said
_CONTROL = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127], " ")  # all but tab and line ends


@dataclass
class Found:
    """Samples by part with targets as written, what was found, and what later data need to be read alike."""

    parts: Parts
    notes: list[Note]
    schema: dict[str, Any] = field(default_factory=dict)
    small: dict[str, bytes | None] = field(default_factory=dict)  # thumbnails of pictures by id; None: blank


def read(
    source: Any, asked: Recipe, modality: str, schema: Mapping[str, Any] | None = None, opened: Opened | None = None
) -> Found:
    """Everything with a target that a source holds. Raises DataError, UsageError, SecurityError, SetupError."""
    known = dict(schema or {})
    opened = opened or open_source(source, asked, known.get("columns"))
    if opened.modality != modality:
        raise UsageError(f"{asked.data or 'the data'}: holds a {opened.modality} a row, and --task wants a {modality}")
    notes = list(opened.notes)
    _refuse_unlabelled(opened, asked, notes)
    parts, bad, more, facts, small = _checked(opened, asked, known)
    total = sum(len(rows) for rows in opened.rows.values()) + len(opened.bad)
    what = "unreadable pictures" if modality == "picture" else "empty texts"
    notes += more
    refuse_bad([*opened.bad, *bad], total, asked.max_bad, what, notes)
    facts = {**facts, "columns": opened.columns}
    if asked.long_texts != "head":
        facts["long_texts"] = asked.long_texts
    separator = known.get("separator") or separator_of(opened)
    if separator:
        facts["separator"] = separator
    return Found(parts, notes, facts, small)


def separator_of(opened: Opened) -> str:
    """What stands between the labels of one cell, "" where each cell is one label."""
    return targets.guess(values_of(opened)).separator


def values_of(opened: Opened) -> list[object]:
    """The targets of the training part as written, else of all parts."""
    rows = opened.rows.get("train") or [r for part in opened.rows.values() for r in part]
    return [r.y for r in rows if r.y is not None]


def _refuse_unlabelled(opened: Opened, asked: Recipe, notes: list[Note]) -> None:
    """Rows without a target are refused, or left out where `--drop-unlabelled` says so."""
    bare = [r.id for rows in opened.rows.values() for r in rows if r.y is None or r.y == ""]
    if not bare:
        return
    total = sum(len(rows) for rows in opened.rows.values())
    if len(bare) == total:
        raise DataError(f"{asked.data or 'the data'}: nothing has a label; name the column: --label NAME")
    if not asked.drop_unlabelled:
        raise DataError(
            f"{len(bare)} of {total} rows have no label: {some(bare)}; fill or remove them, or leave them out with "
            "--drop-unlabelled"
        )
    for rows in opened.rows.values():
        rows[:] = [r for r in rows if r.y is not None and r.y != ""]
    notes.append(Note("skipped", f"{len(bare)} rows without a label were left out", tuple(bare), "label_missing"))


def refuse_bad(bad: list[str], total: int, share: float, what: str, notes: list[Note]) -> None:
    """Refuse data with too many bad items, else note them; each entry names the item and the reason."""
    if not bad:
        return
    if len(bad) > share * total:
        raise DataError(
            f"{len(bad)} of {total} are {what}, above --max-bad {share:g}: {some(bad)}; "
            f"mend or remove them, or allow them with --max-bad {min(1.0, len(bad) / total + 0.001):.3f}"
        )
    notes.append(Note("skipped", f"{len(bad)} {what} left out", tuple(bad), "unreadable"))


def _checked(
    opened: Opened, asked: Recipe, schema: Mapping[str, Any]
) -> tuple[Parts, list[str], list[Note], dict[str, Any], dict[str, bytes | None]]:
    """(samples by part, bad items, notes, facts of the data set, thumbnails) of opened rows."""
    if opened.modality == "picture":
        from graft.readers import checks

        done = checks.check(opened.rows, asked, schema)
        return done.samples, done.bad, done.notes, done.schema, done.small
    parts: Parts = {}
    bad: list[str] = []
    mended: list[str] = []
    for name, rows in opened.rows.items():
        parts[name] = []
        for row in rows:
            content, change = clean_text(row.x)
            if not content:
                bad.append(f"{row.id} (empty)")
                continue
            if change:
                mended.append(f"{row.id} ({change})")
            parts[name].append(sample_of(row, content, digest(content)))
    notes = [Note("warning", f"{len(mended)} texts were read with a change", tuple(mended))] if mended else []
    return parts, bad, notes, {}, {}


def sample_of(row: Row, x: Any, content: str) -> Sample:
    """A sample with all that its row says."""
    return Sample(x, row.y, row.id, row.group, row.domain, time=row.time, digest=content)


def clean_text(text: Any) -> tuple[str, str]:
    """(the text without what tokenizers choke on, what was changed): NUL, control characters, lone surrogates.

    White space at the ends goes, and what lies beyond MOST_CHARACTERS.
    """
    raw = "" if text is None else str(text)
    said = []
    if len(raw) > MOST_CHARACTERS:
        raw = raw[:MOST_CHARACTERS]
        said.append(f"cut to {MOST_CHARACTERS:,} characters")
    clean = raw.translate(_CONTROL).encode("utf-8", "replace").decode("utf-8")
    if clean != raw:
        said.append("control characters or halves of characters replaced")
    clean = clean.strip()
    return ("", "") if _is_blank(clean) else (clean, "; ".join(said))


def _is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: blanks, zero-width spaces and joiners, marks of direction alone."""
    return all(c.isspace() or unicodedata.category(c) in ("Cf", "Zs") for c in text)  # ends at the first letter


# -------------------------------------------------------------------------------------- to predict


def inputs(sources: Sequence[Any], modality: str, schema: Mapping[str, Any]) -> tuple[list[Sample], list[Note]]:
    """Samples without targets from files, folders, tables, frames, lists or `-` for standard input.

    What cannot be read is named in a note of the kind "skipped". Raises DataError, UsageError, SecurityError.
    """
    rows: list[Row] = []
    bad: list[str] = []
    for source in sources:
        found = _loose(source, modality)
        if found is None:
            opened = open_source(source, Recipe(data=str(source)), schema.get("columns"), labels=False)
            if opened.modality != modality:
                raise DataError(f"{source}: holds a {opened.modality} a row; this model takes a {modality}")
            bad += opened.bad
            found = [row for part in opened.rows.values() for row in part]
        rows += found
    for row in rows:
        row.y = None
    everything = Opened(modality, {"all": rows}, columns={})
    if modality == "text" and any(isinstance(s, list) for s in sources):
        return _texts_as_given(rows), _skipped(bad, modality)
    parts, more, _, _, _ = _checked(everything, Recipe(max_bad=1.0), schema)
    return parts["all"], _skipped([*bad, *more], modality)


def _skipped(bad: list[str], modality: str) -> list[Note]:
    what = "unreadable pictures" if modality == "picture" else "empty texts"
    return [Note("skipped", f"{len(bad)} {what}", tuple(bad))] if bad else []


def _texts_as_given(rows: Sequence[Row]) -> list[Sample]:
    """A list of texts from Python has an answer for each, also for an empty one."""
    cleaned = [(row, clean_text(row.x)[0]) for row in rows]
    return [sample_of(row, text, digest(text)) for row, text in cleaned]


def _loose(source: Any, modality: str) -> list[Row] | None:
    """Rows of what has no columns or class folders: lines, single files, plain lists; None for the rest."""
    if isinstance(source, str) and source == "-":  # a frame would compare itself cell by cell
        lines = stdin_lines()
        if modality == "text":
            return [Row(line, id=f"stdin:{i}") for i, line in enumerate(lines, 1) if line.strip()]
        return [Row(Path(line), id=line) for line in lines if line.strip()]
    if isinstance(source, Path) and source.is_dir() and modality == "picture":
        from graft.pictures import walk

        found = walk(source).pictures
        return [Row(p, id=str(p)) for p in found] if found else None
    if isinstance(source, Path) and modality == "text" and source.suffix.lower() == ".txt":
        return [Row(line, id=f"{source.name}:{i}") for i, line in enumerate(read_lines(source), 1) if line.strip()]
    if isinstance(source, Path) and modality == "picture" and not source.is_dir() and not _has_rows(source):
        return [Row(source, id=str(source))]
    if isinstance(source, list) and not (source and isinstance(source[0], dict | tuple)):
        return [_item(x, i, modality) for i, x in enumerate(source, 1)]
    return None


def _item(x: Any, i: int, modality: str) -> Row:
    if modality == "text":
        return Row(x, id=f"text:{i}")
    if isinstance(x, str | Path):
        return Row(Path(x), id=str(x))
    return Row(x, id=f"item {i}")


def _has_rows(path: Path) -> bool:
    from graft.tables import POSSIBLE as TABLES

    return path.name.lower().removesuffix(".gz").endswith((*TABLES, ".npz"))


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

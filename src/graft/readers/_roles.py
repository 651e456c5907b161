"""Which column is what: as asked, as in training, by name, by content; each said with its reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from graft._columns import (
    Choice,
    clean_label,
    found_label,
    is_number,
    named_label,
    only_numbers,
    say,
    text_column,
    words,
)  # fmt: skip
from graft.data import Note
from graft.errors import DataError, UsageError, did_you_mean, some
from graft.readers import PARTS, _paths, _times
from graft.recipe import Recipe
from graft.tables import Table

GROUP_NAMES = (
    "group", "group_id", "patient", "patient_id", "patientid", "participant", "participant_id", "subject_id",
    "subjectid", "user_id", "userid", "speaker", "speaker_id", "session_id",
)  # fmt: skip
_GROUPS_OF_PICTURES = ("subject", "session", "scene", "scene_id")  # of a text, these may be what it is about
SPLIT_NAMES = ("split", "fold", "partition", "subset", "set")
EXTRAS = ("group", "domain", "time", "split")
TIMES = "time"
"""What a note is about that names a column which looks like times, in `items`."""
_BITS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


@dataclass(frozen=True)
class Roles:
    """The columns of a table by what they are for; `label` has several where each is a label of its own."""

    modality: str
    x: str
    label: tuple[str, ...] = ()
    extras: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()

    def columns(self) -> dict[str, str]:
        """By role, as `Opened.columns` has them; several labels are joined by commas."""
        found = {"image" if self.modality == "picture" else "text": self.x}
        return found | ({"label": ",".join(self.label)} if self.label else {}) | dict(self.extras)


@dataclass
class _Search:
    """What is looked through, and what has been found so far."""

    table: Table
    asked: dict[str, str]
    known: dict[str, str]
    labels: Choice | None
    bases: Sequence[Path]
    task: str
    chosen: list[tuple[str, Choice]] = field(default_factory=list)
    hints: list[Note] = field(default_factory=list)

    def free(self) -> dict[str, list[str | None]]:
        """The text columns that nothing has taken, and that nobody asked for as something else."""
        taken = {c.name for _, c in self.chosen} | set(self.asked.values()) | set(self.known.values())
        taken |= set(names_of(self.labels, self.table))
        return {c: cells for c, cells in self.table.columns.items() if c not in taken}

    def given(self, role: str) -> Choice | None:
        """The column that was asked for, or else that of the finished run."""
        if role in self.asked:
            return Choice(self.asked[role], "as given")
        return Choice(self.known[role], "as in training") if role in self.known else None


def decide(
    table: Table,
    bases: Sequence[Path],
    asked: Recipe,
    known: Mapping[str, str],
    labels: bool = True,
    parted: bool = False,
) -> Roles:
    """Find the columns; `bases` are the folders that paths of pictures may be relative to.

    With `parted` the files name the parts already, and no column does.

    Raises UsageError for asked columns that are not there or stand for two things; DataError where there is
    neither a text nor a picture, and, where `labels` are needed, no label.
    """
    search = _search(table, bases, asked, known)
    modality, x = _content(search)
    search.chosen.append(("image" if modality == "picture" else "text", x))
    extras = {}
    for role in EXTRAS[:-1] if parted else EXTRAS:
        found = search.given(role) or _extra(search, role, modality)
        if found is not None:
            search.chosen.append((role, found))
            extras[role] = found.name
    label = search.labels or _label(search)
    if label is not None:
        search.chosen.append(("label", label))
    elif labels:
        raise DataError(
            f"{table.name}: no column of labels was found among {some(search.table.columns, 8)}; name it: --label NAME"
        )
    return Roles(modality, x.name, names_of(label, table), extras, _notes(search, label))


def bit(cell: str) -> bool | None:
    """Whether a cell of a column that is a label of its own says yes; None where it says neither."""
    return _BITS.get(cell.strip().lower())


def _search(table: Table, bases: Sequence[Path], asked: Recipe, known: Mapping[str, str]) -> _Search:
    wanted = {
        "text": asked.text, "image": asked.image, "group": asked.group, "domain": asked.domain,
        "time": asked.time, "split": asked.split,
    }  # fmt: skip
    there = [*table.columns, *table.blobs]
    given = {role: clean_label(name) for role, name in wanted.items() if name}
    for role, name in given.items():
        if name not in there:
            raise UsageError(f"{table.name} has no column {name!r} (--{role}).{did_you_mean(name, there)}")
        if role != "image" and name in table.blobs:
            raise UsageError(f"{table.name}: column {name!r} (--{role}) holds bytes or pictures, not text.")
    labels = _given_labels(table, asked, known)
    roles = [*given.values(), *(names_of(labels, table) if asked.label else ())]
    twice = {n for n in roles if roles.count(n) > 1}
    allowed = {given["group"]} if "group" in given and given["group"] == given.get("domain") else set()
    if twice - allowed:
        raise UsageError(f"{table.name}: {some(map(repr, twice))} cannot be two things at once among {some(there, 8)}.")
    used = {*given.values(), *names_of(labels, table)}
    earlier = {r: n for r, n in known.items() if r not in (*given, "label") and n in there and n not in used}
    return _Search(table, given, earlier, labels, bases, asked.task)


def _given_labels(table: Table, asked: Recipe, known: Mapping[str, str]) -> Choice | None:
    """The label columns as asked or, where the table has them, as in training; several are joined by commas."""
    written = asked.label or known.get("label", "")
    names = _split_names(written, table)
    strange = [n for n in names if n not in table.columns]
    if strange and asked.label:
        held = " holds bytes or pictures, and no label." if strange[0] in table.blobs else ""
        missing = held or f" is no column (--label).{did_you_mean(strange[0], table.columns)}"
        raise UsageError(f"{table.name}: {strange[0]!r}{missing}")
    if strange or not names:
        return None
    for column in names if len(names) > 1 else ():
        cells = table.columns[column]
        odd = [table.row_id(i) for i, c in enumerate(cells) if c is not None and c.strip() and bit(c) is None]
        if odd:
            raise DataError(
                f"{table.name}: column {column!r} is one of several labels and must hold 0 or 1; "
                f"it does not in {some(odd)}"
            )
    return Choice(",".join(names), "as given" if asked.label else "as in training")


def _split_names(written: str, table: Table) -> tuple[str, ...]:
    whole = clean_label(written)
    return (whole,) if whole in table.columns else tuple(clean_label(p) for p in written.split(",") if p.strip())


def names_of(label: Choice | None, table: Table) -> tuple[str, ...]:
    """The columns of a label choice."""
    return _split_names(label.name, table) if label is not None else ()


# ------------------------------------------------------------------------------- texts or pictures


def _content(search: _Search) -> tuple[str, Choice]:
    wanted = search.task.split("_")[0]
    image, text = search.asked.get("image"), search.asked.get("text")
    if (image and wanted != "text") or (image and not text):
        return "picture", Choice(image, "as given")
    if text:
        return "text", Choice(text, "as given")
    for role, modality in (("image", "picture"), ("text", "text")):
        if role in search.known and wanted in ("auto", "image" if role == "image" else "text"):
            return modality, Choice(search.known[role], "as in training")
    found = None if wanted == "text" else _paths.candidates(_without_asked(search), search.bases)
    if found is not None:
        _hint_at_text(search, found)
        return "picture", found
    if wanted == "image":
        raise DataError(
            f"{search.table.name}: no column names pictures that are there, among {some(search.table.columns, 8)}; "
            "say which: --image NAME; paths are relative to the table, or absolute"
        )
    return "text", _text(search)


def _without_asked(search: _Search) -> Table:
    table, taken = search.table, set(search.asked.values())
    columns = {c: v for c, v in table.columns.items() if c not in taken}
    return Table(table.name, columns, table.lines, {c: v for c, v in table.blobs.items() if c not in taken})


def _text(search: _Search) -> Choice:
    table = search.table
    if table.blobs:
        raise DataError(
            f"{table.name}: column {next(iter(table.blobs))!r} holds bytes that are no pictures; write text as string, "
            "or name the columns that count: --text NAME --label NAME"
        )
    try:
        found = text_column(table.name, search.free())
    except DataError:
        for column, cells in search.free().items():
            if _paths.end_as_pictures(cells):
                _paths.places(table, column, search.bases)  # says that there are no such files
        raise
    addresses = [c for c in table.columns[found.name] if c and c.strip()][:20]
    if addresses and all(map(_paths.is_address, addresses)):
        _paths.places(table, found.name, search.bases)  # says that addresses are not fetched
    return found


def _hint_at_text(search: _Search, image: Choice) -> None:
    try:
        other = text_column(search.table.name, {c: v for c, v in search.free().items() if c != image.name})
    except DataError:
        return
    if not _paths.locate(search.table.columns[other.name], search.bases).found:
        said = f"{other.name!r} looks like text: --text NAME reads it instead of the pictures"
        search.hints.append(Note("found", said))


# ------------------------------------------------------------------- group, domain, time and split


def _extra(search: _Search, role: str, modality: str) -> Choice | None:
    if role == "time":
        for column, cells in search.free().items():
            if _times.looks_like_times(column, cells):
                said = f"{column!r} looks like times: --time NAME makes the latest samples the test part"
                search.hints.append(Note("found", said, (column,), TIMES))
        return None
    names = {
        "group": GROUP_NAMES + (_GROUPS_OF_PICTURES if modality == "picture" else ()),
        "domain": ("domain",),
        "split": SPLIT_NAMES,
    }[role]
    for column, cells in search.free().items():
        plain = "_".join(words(column)) or column.lower()
        if (column.lower() in names or plain in names) and _fits(role, cells):
            return Choice(column, "by its name" + (" and its values" if role == "split" else ""))
    return None


def _fits(role: str, cells: Sequence[str | None]) -> bool:
    values = {c.strip().lower() for c in cells if c is not None and c.strip()}
    if role == "split":
        return bool(values) and values <= set(PARTS) and all(c is not None and c.strip() for c in cells)
    return len(values) > 1


# ------------------------------------------------------------------------------------------ labels


def _label(search: _Search) -> Choice | None:
    """One label column, or several as one choice joined by commas, or None."""
    free = search.free()
    named = named_label(free)
    if named is not None:
        other = found_label({c: v for c, v in free.items() if c != named.name}) if not named.others else None
        return Choice(named.name, named.why, named.others or ((other.name,) if other else ()))
    bits = [c for c, cells in free.items() if "," not in c and _is_bits(cells)]
    if len(bits) > 1 and any(bit(c or "") for column in bits for c in free[column]):
        return Choice(",".join(bits), f"{len(bits)} columns of only 0 and 1, each a label of its own")
    return found_label(free) or only_numbers(free)


def _is_bits(cells: Sequence[str | None]) -> bool:
    filled = [c for c in cells if c is not None and c.strip()]
    return bool(filled) and all(is_number(c) and bit(c) is not None for c in filled)


def _notes(search: _Search, label: Choice | None) -> tuple[Note, ...]:
    said = "; ".join(say(role, choice) for role, choice in search.chosen)
    if label is None:
        said += "; no column looks like a label (--label NAME says which is)"
    found = [Note("found", f"{said}.")]
    groups = [c.name for role, c in search.chosen if role == "group" and c.why != "as given"]
    if groups:
        found.append(
            Note("assumed", f"equal values of {groups[0]!r} stay on one side of a split: --group NAME changes it")
        )
    return (*found, *search.hints)

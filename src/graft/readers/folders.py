"""Class folders: CLASS/picture, with parts (train, val, test) and one level of domains above."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from graft._walk import Walk, shown, walk
from graft.data import Note
from graft.errors import DataError, UsageError, some
from graft.readers import PARTS, Opened, Row, _names
from graft.recipe import Recipe
from graft.tables import clean_label

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
_CONTAINERS = (
    "images", "image", "imgs", "img", "pictures", "photos", "jpegimages", "masks", "mask", "labels", "annotations",
    "ground_truth", "groundtruth", "gt",
)  # fmt: skip
"""Names of folders that say what kind of file lies in them, never which class."""
_COLUMNS = ("text", "image", "label", "group", "domain", "time", "split")  # options that name a column of a table
_LINES = 12  # of a tree in a message
_POSSIBLE = (
    "Possible: CLASS/picture, train|val|test/CLASS/picture, DOMAIN/CLASS/picture with the same classes in each "
    "domain, or a table (csv, jsonl, parquet) of paths and labels in the folder"
)


@dataclass(frozen=True)
class Place:
    """What the folders above a picture say of it; `part` is train, valid, test or all, `domain` may be ""."""

    part: str
    domain: str
    label: str


@dataclass(frozen=True)
class _Layout:
    """The place that each folder stands for, and what was assumed for it."""

    places: dict[tuple[str, ...], Place]
    notes: list[Note]


class _Unclear(Exception):
    """Why these folders are no class folders."""


def open_folder(path: Path, asked: Recipe) -> Opened | None:
    """Class folders as rows, nothing decoded.

    None where there are no pictures, and where the folders say no class but a table lies in or beside the folder
    (also where an option names a column): that is another reader's. `--group prefix` takes the leading token of a
    file's name for its group.
    Raises DataError with a tree of what was seen for any other shape, UsageError for columns without a table.
    """
    found = walk(path)
    pictures = sorted([*found.pictures, *found.unsupported])
    if not pictures:
        return None
    tables = manifests(path)
    columns = [c for c in _COLUMNS if _asked(asked, c)]
    if columns and tables:
        return None
    folders = [p.relative_to(path).parts[:-1] for p in pictures]
    try:
        layout = _layout(sorted(set(folders)))
    except _Unclear as e:
        if tables:
            return None
        raise DataError(f"{shown(path)}: {e}\n{_tree(folders)}\n{_POSSIBLE}") from None
    if tables and len({p.label for p in layout.places.values()}) == 1:
        return None
    if columns:
        raise UsageError(
            f"--{columns[0]} {_asked(asked, columns[0])}: a folder of classes has no columns; give a table with this "
            "column. --group prefix groups pictures by the leading token of their names"
        )
    rows = _rows(path, pictures, layout, asked.group == "prefix")
    return Opened("picture", rows, _notes(path, found, tables, layout, rows))


def manifests(root: Path) -> list[Path]:
    """Files that may say what the pictures of a folder are: tables in it or in its parts, NAME.csv or NAME.json beside
    NAME/, and npz files in it. Arrays come last."""
    inside = [p for p in sorted(root.iterdir()) if not p.name.startswith(".")]
    folders = {p.name for p in inside if p.is_dir()}
    parts = [root / name for name in sorted(folders) if name.lower() in PARTS]
    tables = [p for folder in [root, *parts] for p in sorted(folder.iterdir()) if _is_table(p)]
    beside = [p for p in sorted(root.parent.glob(f"{_escaped(root.name)}.*")) if p.is_file()]
    tables += [p for p in beside if _is_table(p) or p.suffix.lower() == ".json"]
    tables += [p for p in inside if p.suffix.lower() == ".json" and p.stem in folders]
    return tables + [p for p in inside if p.suffix.lower() == ".npz" and p.is_file()]


def _is_table(path: Path) -> bool:
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(_TABLES) and not name.startswith(".") and path.is_file()


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _asked(asked: Recipe, column: str) -> str:
    given = {
        "text": asked.text, "image": asked.image, "label": asked.label, "group": asked.group,
        "domain": asked.domain, "time": asked.time, "split": asked.split,
    }[column]  # fmt: skip
    return "" if (column, given) == ("group", "prefix") else given


# ------------------------------------------------------------------------------------------ layout


def _layout(folders: Sequence[tuple[str, ...]]) -> _Layout:
    """What each folder with pictures says. Raises _Unclear where it cannot be told."""
    outer, inner = _wrapping(folders)
    short = {f: f[len(outer) : len(f) - inner] for f in folders}
    depths = {len(s) for s in short.values()}
    if depths == {0}:
        raise _Unclear("the pictures lie in one folder, so their classes cannot be told.")
    if len(depths) > 1:
        raise _Unclear("pictures lie at several depths, so it cannot be told which folders are classes.")
    places = _BY_DEPTH[depths.pop()](set(short.values())) if max(depths) <= 3 else _too_deep()
    if {p.label.lower() for p in places.values()} <= set(_CONTAINERS):
        raise _Unclear(f"{some(sorted({p.label for p in places.values()}))} are kinds of files, not classes.")
    _check_parts(places.values())
    notes = [Note("assumed", f"everything lies in {shown('/'.join(outer))}/")] if outer else []
    notes += _cleaned(short.values())
    if domains := sorted({p.domain for p in places.values()} - {""}):
        notes.append(Note("found", f"{len(domains)} domains with classes of the same names: {some(domains)}"))
    return _Layout({f: places[s] for f, s in short.items()}, notes)


def _cleaned(folders: Iterable[tuple[str, ...]]) -> list[Note]:
    """Folders that are called otherwise than their label or domain (row 27): two of them may have become one."""
    names = sorted({shown(name) for folder in folders for name in folder if shown(name) != _label(name)})
    said = f"{len(names)} folder names lost blanks around them or were put into Unicode's NFC"
    return [Note("warning", said, tuple(f"{name!r} is {_label(name)!r}" for name in names))] if names else []


def _wrapping(folders: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], int]:
    """(folders above everything that say nothing, levels below the classes that say nothing, as CLASS/images)."""
    least = min(len(f) for f in folders)
    inner = 1 if least >= 2 and {f[-1].lower() for f in folders} in [{c} for c in _CONTAINERS] else 0
    outer = 0
    while outer < least - inner - 1 and len({f[outer] for f in folders}) == 1 and not _is_part(folders[0][outer]):
        outer += 1
    return folders[0][:outer], inner


def _is_part(name: str) -> bool:
    return name.lower() in PARTS


def _one_level(folders: set[tuple[str, ...]]) -> dict[tuple[str, ...], Place]:
    if all(_is_part(f[0]) for f in folders):
        raise _Unclear(f"{some(sorted(f[0] for f in folders))} hold pictures, but no folder a class.")
    return {f: Place("all", "", _label(f[0])) for f in folders}


def _two_levels(folders: set[tuple[str, ...]]) -> dict[tuple[str, ...], Place]:
    parts = sorted({f[0] for f in folders if _is_part(f[0])})
    others = sorted({f[0] for f in folders} - set(parts))
    if parts and others:
        raise _Unclear(f"{some(parts)} are parts of the data, but {some(map(shown, others))} are not; move them out.")
    if parts:
        return {f: Place(PARTS[f[0].lower()], "", _label(f[1])) for f in folders}
    return _with_domains({f: Place("all", _label(f[0]), _label(f[1])) for f in folders})


def _three_levels(folders: set[tuple[str, ...]]) -> dict[tuple[str, ...], Place]:
    if all(_is_part(f[0]) for f in folders):
        return _with_domains({f: Place(PARTS[f[0].lower()], _label(f[1]), _label(f[2])) for f in folders})
    if all(_is_part(f[1]) for f in folders):
        return _with_domains({f: Place(PARTS[f[1].lower()], _label(f[0]), _label(f[2])) for f in folders})
    return _too_deep()


def _too_deep() -> dict[tuple[str, ...], Place]:
    raise _Unclear("there are more levels of folders than domain, part and class.")


_BY_DEPTH = {1: _one_level, 2: _two_levels, 3: _three_levels}


def _with_domains(places: dict[tuple[str, ...], Place]) -> dict[tuple[str, ...], Place]:
    """The places, if their upper folders are domains: two share half of their classes, and each shares one."""
    classes: dict[str, set[str]] = defaultdict(set)
    for p in places.values():
        classes[p.domain].add(p.label)
    names = sorted(classes)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    alike = any(2 * len(classes[a] & classes[b]) >= max(len(classes[a]), len(classes[b])) for a, b in pairs)
    alone = [a for a in names if not any(classes[a] & classes[b] for b in names if b != a)]
    if len(set().union(*classes.values())) == 1:
        raise _Unclear(f"each of {some(names)} holds one folder of the same name, which is no class.")
    if alike and not alone:
        return places
    those = f"{some(alone)} share no class names with the others" if alone else "too few class names are shared"
    raise _Unclear(f"two levels of folders, but the upper ones are no domains: {those}.")


def _check_parts(places: Iterable[Place]) -> None:
    parts = {p.part for p in places}
    if "all" not in parts and "train" not in parts:
        raise _Unclear(f"there is {some(sorted(parts))} but no train folder.")


def _label(name: str) -> str:
    return clean_label(shown(name))


def _tree(folders: Sequence[tuple[str, ...]]) -> str:
    counts = sorted(Counter(folders).items())
    lines = [f"  {shown('/'.join(f)) + '/' if f else '(itself)'}  {n} pictures" for f, n in counts[:_LINES]]
    return "\n".join(lines + [f"  ... and {len(counts) - _LINES} more folders"] * (len(counts) > _LINES))


# -------------------------------------------------------------------------------------------- rows


def _rows(root: Path, pictures: Sequence[Path], layout: _Layout, grouped: bool) -> dict[str, list[Row]]:
    rows: dict[str, list[Row]] = {}
    for picture in pictures:
        inside = picture.relative_to(root)
        place = layout.places[inside.parts[:-1]]
        group = _names.prefix(inside.stem) if grouped else ""
        row = Row(picture, place.label, shown(inside.as_posix()), group=shown(group), domain=place.domain)
        rows.setdefault(place.part, []).append(row)
    return {part: rows[part] for part in ("train", "valid", "test", "all") if part in rows}


# ------------------------------------------------------------------------------------------- notes


def _notes(root: Path, found: Walk, tables: Sequence[Path], layout: _Layout, rows: dict[str, list[Row]]) -> list[Note]:
    labels = {p.label for p in layout.places.values()}
    sizes = ", ".join(f"{len(part)} {'pictures' if name == 'all' else name}" for name, part in rows.items())
    notes = [Note("found", f"{len(labels)} class folders: {sizes}"), *layout.notes]
    unread = [t for t in tables if t.suffix.lower() != ".npz"]
    if unread:
        names = tuple(shown(t.name) for t in unread)
        notes.append(Note("assumed", f"class folders say the labels; {some(names)} was not read", names))
    if found.skipped:
        text = f"{len(found.skipped)} files and folders that are no pictures"
        notes.append(Note("skipped", text, tuple(found.skipped)))
    if found.runs:
        notes.append(Note("skipped", f"{len(found.runs)} folders that are runs of graft", tuple(found.runs)))
    if found.loops:
        notes.append(
            Note("warning", f"{len(found.loops)} links lead to folders met before: left out", tuple(found.loops))
        )
    notes.extend(_empty(root, layout, labels))
    notes.extend(_twins(rows))
    if len(rows) > 1 and not any(r.group for part in rows.values() for r in part):
        notes.extend(_names.shared(rows))
    return notes


def _empty(root: Path, layout: _Layout, labels: set[str]) -> list[Note]:
    """Folders beside the class folders that hold no picture (row 24 of the faults)."""
    full = {f[:-1] for f in layout.places if f}
    hidden = ("__macosx", "@eadir")
    names = {f[: len(above) + 1] for f in layout.places for above in full if f[: len(above)] == above}
    empty: list[tuple[str, ...]] = []
    for above in sorted(full):
        for entry in sorted(root.joinpath(*above).iterdir()):
            plain = not entry.name.startswith(".") and entry.name.lower() not in hidden and not _is_run(entry)
            if plain and entry.is_dir() and (*above, entry.name) not in names:
                empty.append((*above, entry.name))
    unknown = tuple(shown("/".join(f)) for f in empty if _label(f[-1]) not in labels)
    known = tuple(shown("/".join(f)) for f in empty if _label(f[-1]) in labels)
    notes = []
    if unknown:
        said = f"{len(unknown)} class folders hold no picture and are no class"
        notes.append(Note("warning", said, unknown, "class_empty"))
    if known:
        notes.append(Note("warning", f"{len(known)} folders of classes found elsewhere hold no picture", known))
    return notes


def _is_run(folder: Path) -> bool:
    return (folder / "model.json").exists() and (folder / "weights.safetensors").exists()


def _twins(rows: dict[str, list[Row]]) -> list[Note]:
    """Paths, or classes, that differ in case or in Unicode's composition alone: one, on another system (row 68)."""
    notes = []
    files = _alike(r.id for part in rows.values() for r in part)
    if files:
        notes.append(
            Note("warning", f"{len(files)} paths differ from another in case or Unicode form alone", tuple(files))
        )
    labels = _alike(sorted({r.y for part in rows.values() for r in part}))
    if labels:
        notes.append(
            Note("warning", f"{len(labels)} classes differ from another in case alone: one class?", tuple(labels))
        )
    return notes


def _alike(names: Iterable[str]) -> list[str]:
    first: dict[str, str] = {}
    found = []
    for name in names:
        key = unicodedata.normalize("NFC", name).casefold()
        if first.setdefault(key, name) != name:
            found.append(f"{first[key]} = {name}")
    return found

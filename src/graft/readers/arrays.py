"""Pictures in numpy's npz: arrays such as x_train and y_train, opened without ever unpickling."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graft._columns import clean_label
from graft._intake import CAP, refuse_code, shown
from graft.data import Note
from graft.errors import DataError, SecurityError, UsageError, did_you_mean, some
from graft.readers import PARTS, Opened, Row, targets
from graft.recipe import Recipe

X_NAMES = ("x", "images", "image", "imgs", "img", "pictures", "data", "inputs", "input")
Y_NAMES = ("y", "labels", "label", "targets", "target")
_INDEX = re.compile(r"[+-]?\d+", re.ASCII)
_BANDS = 32  # most channels that a picture may have
_CHUNK = 256  # pictures turned into eight bits at a time


CLASS_NAMES = ("classes", "class_names", "label_names", "names")


@dataclass
class _Found:
    """Names of the arrays by part: pictures and labels; `unused` are the others."""

    x: dict[str, str] = field(default_factory=dict)
    y: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)


def open_npz(source: Any, asked: Recipe, labels: bool = True) -> Opened | None:
    """Rows of pictures in an .npz, in a folder with one .npz, or in a mapping of names to arrays; else None.

    Names are such as `x_train`, `train_images`, `X`; `--image` and `--label` name others. Pictures are
    [n, height, width], [n, height, width, channels] or [n, channels, height, width] of uint8, bool, floats in 0..1 or
    0..255, or integers up to 16 bits; labels are [n], [n, 1] or one-hot [n, classes]. `Row.x` is a view
    [height, width] or [height, width, channels]. With `labels` off (to predict), none are needed. An empty text is
    none of the labels where several were asked for by the task's name.

    Raises SecurityError for arrays of objects, which are pickles; DataError for features [n, d], other shapes and
    ranges, too many bytes, rows without a label; UsageError for asked arrays that are not there.
    """
    name, arrays = _arrays(source)
    if arrays is None:
        return None
    found = _pair(name, arrays, asked)
    given = {"image": asked.image, "label": asked.label}
    opened = Opened("picture", {}, columns={role: key for role, key in given.items() if key})
    pictures = {part: _pictures(name, key, arrays[key], opened.notes) for part, key in found.x.items()}
    converted = _eight_bit(name, {found.x[p]: a for p, a in pictures.items()}, opened.notes)
    unlabelled: list[str] = []
    none: list[str] = []
    names = _class_names(arrays, found)
    for part, key in found.x.items():
        ys = _targets(name, found.y[part], arrays[found.y[part]], len(pictures[part])) if part in found.y else None
        if labels and ys is None:
            opened.notes.append(Note("skipped", f"{key} has no labels and is left out"))
            continue
        ys = None if ys is None else _named(f"{name}: {found.y[part]}", ys, names)
        if ys is not None and arrays[found.y[part]].dtype.kind in "US" and targets.empty_is_none(asked):
            none += [f"{key}[{i}]" for i, y in enumerate(ys) if y is None]
            ys = [() if y is None else y for y in ys]
        opened.rows[part] = list(_rows(key, converted[key], ys, unlabelled if labels else None))
    if none:
        opened.notes.append(targets.said_none(none))
    _finish(name, opened, found, unlabelled, asked)
    return opened


def _finish(name: str, opened: Opened, found: _Found, unlabelled: list[str], asked: Recipe) -> None:
    if unlabelled and not asked.drop_unlabelled:
        values = [row.y for rows in opened.rows.values() for row in rows]
        texts = any(isinstance(y, str) and not _INDEX.fullmatch(y) for y in values)
        raise DataError(
            f"{name}: {len(unlabelled)} pictures have no label: {some(unlabelled)}; fill or remove them, or leave them "
            f"out with --drop-unlabelled{targets.or_none(values, 'picture', asked) if texts else ''}"
        )
    if unlabelled:
        text = f"{len(unlabelled)} pictures without a label left out"
        opened.notes.append(Note("skipped", text, tuple(unlabelled)))
    opened.rows = {p: opened.rows[p] for p in ("train", "valid", "test", "all") if opened.rows.get(p)}
    if not opened.rows:
        raise DataError(
            f"{name}: no labels were found for {some(found.x.values())}; name them y_train, y_test, or say --label NAME"
        )
    pairs = ", ".join(f"{x} with {found.y[p]}" if p in found.y else x for p, x in found.x.items())
    opened.notes.insert(0, Note("found", f"pictures and labels: {pairs}"))
    if found.unused:
        opened.notes.append(Note("skipped", f"{len(found.unused)} arrays not used", tuple(found.unused)))


# --------------------------------------------------------------------------------- opening the file


def _arrays(source: Any) -> tuple[str, Mapping[str, NDArray[Any]] | None]:
    if isinstance(source, Path):
        path = _file(source)
        return (shown(path), _load(path)) if path is not None else ("", None)
    if isinstance(source, Mapping) and source and all(isinstance(v, np.ndarray) for v in source.values()):
        objects = [k for k, v in source.items() if v.dtype.hasobject]
        if objects:
            raise DataError(f"<arrays>: {some(objects)} hold Python objects; give arrays of numbers or texts")
        return "<arrays>", {str(k): v for k, v in source.items()}
    return "", None


def _file(path: Path) -> Path | None:
    if path.is_dir():
        inside = [p for p in path.iterdir() if p.suffix.lower() == ".npz" and not p.name.startswith(".")]
        return inside[0] if len(inside) == 1 else None
    return path if path.suffix.lower() == ".npz" and path.is_file() else None


def _load(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a file whose directory and headers promise plain data within the cap."""
    name = shown(path)
    try:
        with zipfile.ZipFile(path) as archive:
            _check(path, archive)
        with np.load(path, allow_pickle=False) as opened:
            return {key: opened[key] for key in opened.files}
    except zipfile.BadZipFile as e:
        with path.open("rb") as file:
            head = file.read(1 << 16)
        if head[:1] == b"\x80" or head.startswith(b"\x93NUMPY"):
            refuse_code(path, head)
        raise DataError(f"{name} is no npz, or a damaged one ({e}); write it again with numpy.savez") from e
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as e:
        raise DataError(f"{name} cannot be read: {e}; write it again with numpy.savez") from e


def _check(path: Path, archive: zipfile.ZipFile) -> None:
    name, size = shown(path), 0
    for info in archive.infolist():
        if not info.filename.lower().endswith(".npy"):
            raise SecurityError(
                f"{name} has {info.filename!r} in it, which no plain npz has; nothing of it was run. "
                "Write the arrays again with numpy.savez"
            )
        size += info.file_size
        if size > CAP:
            raise DataError(f"{name} unpacks to more than {CAP} bytes; write it as several files, or as picture files")
        with archive.open(info) as file:
            _check_header(name, info, file)


def _check_header(name: str, info: zipfile.ZipInfo, file: Any) -> None:
    """Read one array's header: refuse objects, and sizes that are not those of the member."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise SecurityError(
            f"{name}: {info.filename} holds Python objects, which are pickles; nothing of it was run. "
            "Write arrays of numbers or texts (dtype=str) with numpy.savez"
        )
    expected = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if min(shape, default=0) < 0 or expected + file.tell() != info.file_size:
        raise DataError(f"{name}: {info.filename} is not as long as its header says; write it again with numpy.savez")


# ------------------------------------------------------------------------------- what is what


def _pair(name: str, arrays: Mapping[str, NDArray[Any]], asked: Recipe) -> _Found:
    others = {"text": asked.text, "group": asked.group, "domain": asked.domain, "time": asked.time}
    for role, column in (others | {"split": asked.split}).items():
        if column:
            raise UsageError(f"{name}: --{role} {column}: arrays have no columns; write a csv beside picture files")
    found = _Found()
    if asked.image:
        found.x["all"] = _asked(name, asked.image, "image", arrays)
    if asked.label:
        found.y["all"] = _asked(name, asked.label, "label", arrays)
    for key in arrays:
        part, role = _role(key)
        wanted = {"x": found.x, "y": found.y}.get(role)
        given = asked.image if role == "x" else asked.label
        if wanted is None or given or part in wanted:
            found.unused.extend([key] if key not in (asked.image, asked.label) else [])
        else:
            wanted[part] = key
    if not found.x:
        seen = some((f"{k} {list(a.shape)} {a.dtype}" for k, a in arrays.items()), 8)
        features = [k for k, a in arrays.items() if a.ndim == 2 and min(a.shape) > 1 and a.dtype.kind in "uif"]
        hint = f"; {features[0]} looks like features, and graft reads pictures and texts" if features else ""
        raise DataError(
            f"{name} has no pictures by name; it has {seen}{hint}. Name them x_train, y_train, x_test ... or X, y, "
            "or say --image NAME --label NAME"
        )
    if "all" in found.x and len(found.x) > 1:
        raise DataError(f"{name}: {some(found.x.values())}: which is what? Name them x_train, x_val and x_test")
    return found


def _asked(name: str, wanted: str, role: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    if wanted not in arrays:
        raise UsageError(f"{name} has no array {wanted!r} (--{role}).{did_you_mean(wanted, arrays)}")
    return wanted


def _role(key: str) -> tuple[str, str]:
    """(part, "x" or "y") of an array's name, "" for what it does not say."""
    words = [w.lower() for w in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", key)]
    parts = [PARTS[w] for w in words if w in PARTS]
    rest = [w for w in words if w not in PARTS]
    if len(rest) != 1 or len(parts) > 1:
        return "", ""
    role = "x" if rest[0] in X_NAMES else "y" if rest[0] in Y_NAMES else ""
    return (parts[0] if parts else "all"), role


# ------------------------------------------------------------------------------------ pictures


def _pictures(name: str, key: str, array: NDArray[Any], notes: list[Note]) -> NDArray[Any]:
    """The array as [n, height, width] or [n, height, width, channels], a view."""
    where = f"{name}: {key} {list(array.shape)}"
    if array.dtype.kind not in "uifb":
        raise DataError(f"{where} is of {array.dtype}; pictures are arrays of numbers")
    if array.ndim == 2:
        raise DataError(
            f"{where} are features, not pictures; graft reads pictures [n, height, width] or "
            "[n, height, width, channels], and texts"
        )
    if array.ndim == 3:
        return array
    if array.ndim != 4 or 0 in array.shape:
        raise DataError(f"{where}: pictures are [n, height, width], or with channels at the end or after n")
    _, a, b, c = array.shape
    if c <= _BANDS and c < min(a, b):
        return array[..., 0] if c == 1 else array
    if a <= _BANDS and a < min(b, c):
        notes.append(Note("assumed", f"{key} {list(array.shape)} is [n, channels, height, width]"))
        return array[:, 0] if a == 1 else np.moveaxis(array, 1, -1)
    raise DataError(f"{where}: which side is the channels is not clear; give [n, height, width, channels]")


def _eight_bit(name: str, pictures: Mapping[str, NDArray[Any]], notes: list[Note]) -> dict[str, NDArray[Any]]:
    """Each array as uint8 (uint16 stays), by one rule for all; a view where nothing had to be changed."""
    spans = {key: _span(name, key, a) for key, a in pictures.items() if a.size}
    low, high = min(s[0] for s in spans.values()), max(s[1] for s in spans.values())
    fractions = any(a.dtype.kind == "f" for a in pictures.values())
    if low < 0 or high > (255 if fractions else 65535):
        hint = "(x + 1) * 127.5" if low >= -1 and high <= 1 else "their mean and deviation undone"
        possible = "0..1 or 0..255" if fractions else "0..255 or 0..65535"
        raise DataError(
            f"{name}: pixels go from {low:g} to {high:g}; possible are {possible}. "
            f"Bring them back, as by {hint}, and save them as uint8"
        )
    binary = high <= 1 and not fractions
    if fractions and high > 1:
        dark = [key for key, (_, top) in spans.items() if top <= 1]
        if dark:
            raise DataError(f"{name}: {some(dark)} goes to 1, the others to {high:g}; scale them alike")
    if fractions or binary:
        scale = 255.0 if high <= 1 else 1.0
        seen = "0 and 1" if binary else f"floats in 0..{'1' if high <= 1 else '255'}"
        notes.append(Note("assumed", f"pixels are {seen}, read as eight bits"))
        return {key: _scaled(a, scale) for key, a in pictures.items()}
    wide = np.uint16 if high > 255 else np.uint8
    return {key: a if a.dtype == wide else a.astype(wide) for key, a in pictures.items()}


def _span(name: str, key: str, array: NDArray[Any]) -> tuple[float, float]:
    low, high = float(array.min()), float(array.max())
    if not np.isfinite((low, high)).all():
        wrong = [f"{key}[{i}]" for i, a in enumerate(array) if not np.isfinite(a).all()]
        raise DataError(f"{name}: {len(wrong)} pictures hold NaN or infinity: {some(wrong)}; mend or remove them")
    return low, high


def _scaled(array: NDArray[Any], scale: float) -> NDArray[np.uint8]:
    out = np.empty(array.shape, np.uint8)
    for start in range(0, len(array), _CHUNK):  # a float copy of all of them would not fit
        out[start : start + _CHUNK] = np.rint(array[start : start + _CHUNK] * scale)
    return out


# ------------------------------------------------------------------------------------- labels


def _class_names(arrays: Mapping[str, NDArray[Any]], found: _Found) -> list[str]:
    """Names of the classes by position, where an array is called so and holds them."""
    for key in found.unused:
        array = arrays[key]
        if key.lower() in CLASS_NAMES and array.ndim == 1 and array.dtype.kind in "US":
            found.unused.remove(key)
            return [_text(v) or "" for v in array.tolist()]
    return []


def _named(where: str, ys: list[Any], names: Sequence[str]) -> list[Any]:
    """Class indices by their names; labels that are words stay. Raises DataError for an index without a name."""

    def each(y: Any) -> tuple[Any, ...]:
        return y if isinstance(y, tuple) else () if y is None else (y,)

    if not names or not all(_INDEX.fullmatch(p) for y in ys for p in each(y)):
        return ys
    strange = [(i, p) for i, y in enumerate(ys) for p in each(y) if not 0 <= int(p) < len(names)]
    if strange:
        i, p = strange[0]
        raise DataError(
            f"{where}[{i}] is {p}, and only 0 to {len(names) - 1} have a name ({some(names)}); mend the labels, or "
            "take the array of names out"
        )
    return [tuple(names[int(p)] for p in y) if isinstance(y, tuple) else y and names[int(y)] for y in ys]


def _targets(name: str, key: str, array: NDArray[Any], n: int) -> list[Any]:
    """Labels as text: str, tuples of positions for several of one-hot columns, None for NaN and empty."""
    where = f"{name}: {key} {list(array.shape)}"
    if array.ndim == 0 or len(array) != n:
        raise DataError(f"{where} does not have one label for each of the {n} pictures")
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.ndim == 1:
        return [_text(v) for v in flat.tolist()]
    if flat.ndim != 2 or flat.dtype.kind not in "uifb" or not np.isin(flat, (0, 1)).all():
        raise DataError(f"{where}: labels are [n], [n, 1], or [n, classes] of only 0 and 1")
    held = [tuple(map(str, np.flatnonzero(row).tolist())) for row in flat]
    return [h[0] for h in held] if all(len(h) == 1 for h in held) else held


def _text(value: object) -> str | None:
    if isinstance(value, float):
        return None if np.isnan(value) else repr(value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    text = clean_label(str(value))
    return text if text else None


def _rows(key: str, pictures: NDArray[Any], ys: Sequence[Any] | None, unlabelled: list[str] | None) -> Iterator[Row]:
    for i in range(len(pictures)):
        name = f"{key}[{i}]"
        y = ys[i] if ys is not None else None
        if y is None and unlabelled is not None:
            unlabelled.append(name)
        else:
            yield Row(pictures[i], y, name)

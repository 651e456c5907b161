"""Whole files or none: atomic writes, hashes, and names that stay in their folder."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import re
import shutil
import unicodedata
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from graft.errors import DataError, SecurityError, SetupError

MANIFEST = "manifest.json"

LONGEST = 80  # characters of a slug
WIDEST = 160  # bytes of a slug: names of 255 bytes are the limit of most file systems, and endings are added
RESERVED = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9¹²³])(\..*)?", re.IGNORECASE)  # devices of Windows
SUFFIXED = re.compile(r".*-[0-9a-f]{8}", re.DOTALL)

# What a file system without flushing of folders (Windows, some network mounts) answers to it.
_NO_FOLDER_FLUSH = {
    getattr(errno, name)
    for name in ("EACCES", "EPERM", "EINVAL", "EISDIR", "EBADF", "ENOTSUP", "EOPNOTSUPP", "ENOSYS")
    if hasattr(errno, name)
}
_REMEDIES = {
    errno.ENOSPC: "free some space there, or choose a folder on another disk",
    errno.EDQUOT: "free some of your quota, or choose a folder on another disk",
    errno.EFBIG: "this process or file system allows no larger file: see `ulimit -f`",
    errno.EROFS: "choose a folder that can be written to",
    errno.EACCES: "choose a folder that can be written to",
    errno.EPERM: "choose a folder that can be written to",
}


def because(error: OSError) -> str:
    """Return the system's reason for an error, and what to do about it where that is known."""
    reason = error.strerror or str(error)
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{reason}; {remedy}" if remedy else reason


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hex digits.

    Raises SetupError where the file cannot be read.
    """
    try:
        return _digest(path)
    except OSError as e:
        raise SetupError(f"could not read {path}: {because(e)}") from e


def _digest(path: Path) -> str:
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all below it, where there is one. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def flush_file(path: Path) -> None:
    """Wait until a file's content is on the disk (fsync). Raises OSError."""
    fd = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def flush_folder(path: Path) -> None:
    """Wait until a folder's list of names is on the disk, where the system can do that. Raises OSError."""
    try:
        flush_file(path)
    except OSError as e:
        if e.errno not in _NO_FOLDER_FLUSH:
            raise


def flush_tree(path: Path) -> None:
    """Wait until a file, or all that is below a folder, is on the disk. Raises OSError."""
    if path.is_dir():
        for child in path.iterdir():
            flush_tree(child)
        flush_folder(path)
    elif path.is_file():
        flush_file(path)


def probe(folder: Path) -> None:
    """Make sure that files can be made in a folder, by making one; the folder is made where it is missing.

    Raises SetupError where that fails, before work is done whose result could not be kept.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise SetupError(f"could not make {folder}: {because(e)}") from e
    trial = folder / f".graft-probe-{uuid.uuid4().hex}"
    try:
        write_whole(trial, b"\0" * 4096)
    finally:
        with contextlib.suppress(OSError):
            trial.unlink()


def write_whole(path: Path, data: bytes | str) -> None:
    """Write a file so that at every moment `path` holds all of the old content or all of the new.

    Text is written as UTF-8. On return the content and the name are on the disk. Raises SetupError, naming
    the path and the reason, where the system refuses (disk full, file too large, read-only): the old file is
    then untouched, and nothing else is left behind.
    """
    with whole_file(path) as f:
        f.write(data.encode("utf-8") if isinstance(data, str) else data)


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to fill; it is flushed and renamed to `path` once the block ends well, and removed otherwise.

    Raises SetupError as `write_whole` does, for what is too large to be made in memory first.
    """
    # Not made of `path`'s name, which may be as long as names can be.
    temp = path.with_name(f".tmp-{uuid.uuid4().hex}")
    try:
        with temp.open("xb") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(temp, path)
        flush_folder(path.parent)
    except OSError as e:
        raise SetupError(f"could not write {path}: {because(e)}") from e
    finally:
        with contextlib.suppress(OSError):
            temp.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all.

    Raises ValueError for NaN and infinities, TypeError for what JSON cannot hold, SetupError as `write_whole`
    does.
    """
    text = json.dumps(value, allow_nan=False, sort_keys=False, indent=1, ensure_ascii=False) + "\n"
    # A lone surrogate (from a file name of odd bytes) has no UTF-8; Python's escape for it is JSON's too.
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def read_json(path: Path) -> Any:
    """Read a JSON file strictly: no duplicate keys, no NaN, no number too large for a float.

    Raises DataError, naming the file, where it is missing or malformed; SetupError where it cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
    except FileNotFoundError as e:
        raise DataError(f"{path} is missing") from e
    except OSError as e:
        raise SetupError(f"could not read {path}: {because(e)}") from e
    except RecursionError as e:
        raise DataError(f"{path} is not valid JSON: nested too deeply") from e
    except ValueError as e:
        raise DataError(f"{path} is not valid JSON: {e}") from e


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [k for k, _ in pairs]
        raise ValueError(f"the key {next(k for k in keys if keys.count(k) > 1)!r} is given twice")
    return found


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not a number JSON knows")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large a number")
    return number


def inside(root: Path, name: str) -> Path:
    """Return the real path of `name` below `root`; the file need not exist.

    Raises SecurityError for an empty, absolute or NUL-holding name, for "..", and for a link leading outside.
    """
    if not name or "\0" in name or name.startswith(("/", "\\")) or Path(name).is_absolute():
        raise SecurityError(f"{name!r} is refused as a file name: give one relative to {root}")
    if ".." in re.split(r"[/\\]", name):
        raise SecurityError(f"{name!r} is refused as a file name: '..' may lead out of {root}")
    try:
        real, base = (root / name).resolve(), root.resolve()
    except (OSError, RuntimeError, ValueError) as e:  # a loop of links; half a surrogate pair
        raise SecurityError(f"{name!r} is refused as a file name: it cannot be followed ({e})") from e
    if real == base or not real.is_relative_to(base):
        raise SecurityError(f"{name!r} is refused as a file name: it leads to {real}, out of {root}")
    return real


def manifest(folder: Path, names: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
    """Return {"name/below/folder": {"sha256": hex, "bytes": count}}, sorted by name.

    `names` limits it to these files; without, every file but the folder's own manifest.json. Raises
    SecurityError for a name or link that leads out of the folder, SetupError for what cannot be read or is no
    file.
    """
    listed: dict[str, dict[str, Any]] = {}
    for name in sorted(_files(folder) if names is None else set(names)):
        path = inside(folder, name)
        if not path.is_file():  # a FIFO would be waited on for ever
            raise SetupError(f"{folder / name} is not a file that can be hashed")
        listed[name] = {"sha256": sha256(path), "bytes": path.stat().st_size}
    return listed


def _files(folder: Path) -> set[str]:
    found: set[str] = set()
    for here, folders, files in os.walk(folder, onerror=_unlistable):
        for name in folders + files:
            path = Path(here) / name
            # A linked folder is not walked into, so it is listed for `manifest` to refuse.
            if name in files or path.is_symlink():
                found.add(path.relative_to(folder).as_posix())
    return found - {MANIFEST}


def _unlistable(error: OSError) -> None:
    raise SetupError(f"could not list {error.filename}: {because(error)}") from error


def seal(content: dict[str, Any]) -> str:
    """Return the SHA-256, in hex, of a JSON value as it comes back from a file; it vouches for a manifest itself.

    Kept beside the content under a key of its own: `{**content, "seal": seal(content)}`.
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def verify(folder: Path, listed: dict[str, Any]) -> list[str]:
    """Compare a folder with a `manifest` of it and return what differs, in words; nothing if all is whole.

    Files that are not listed are not looked at. Raises SecurityError for a listed name that leads out of the
    folder, SetupError where reading a file is not permitted.
    """
    problems = []
    for name, entry in listed.items():
        problem = _differs(inside(folder, name), entry)
        if problem:
            problems.append(f"{name}: {problem}")
    return problems


def _differs(path: Path, entry: object) -> str:
    size, digest = (entry.get("bytes"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
    if type(size) is not int or not isinstance(digest, str):
        return "not described in the manifest"
    try:
        if not path.is_file():
            return "not a file" if path.exists() else "missing"
        now = path.stat().st_size
        if now != size:
            return "too short" if now < size else "too long"
        return "" if _digest(path) == digest else "changed"
    except PermissionError as e:
        raise SetupError(f"could not read {path}: {because(e)}") from e
    except OSError as e:
        return f"unreadable ({because(e)})"


def slug(name: str) -> str:
    """Return a file name (without ending) for text that came from data: a class, a tensor, a column.

    Letters of any script, digits and . _ - stay; at most 80 characters and 160 bytes; never empty, hidden,
    or the name of a Windows device. What had to be altered ends in 8 hex digits of the original's SHA-256,
    and so does a name that already looks like that. Two names that differ in case alone stay so: on macOS
    and Windows they are one file.
    """
    text = unicodedata.normalize("NFC", name)
    body = "".join(c if c.isalnum() or c in "._-" else "_" for c in text).lstrip(".-").rstrip(".")
    if RESERVED.fullmatch(body):
        body = f"_{body}"
    if body == name and body and _fits(body) and not SUFFIXED.fullmatch(name):
        return name
    mark = "-" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    while not _fits(body + mark):
        body = body[:-1]
    return (body or "name") + mark


def _fits(text: str) -> bool:
    return len(text) <= LONGEST and len(text.encode("utf-8")) <= WIDEST


def free_space(folder: Path) -> int:
    """Return the free bytes of the disk that holds `folder`, or would hold it once it is made.

    Raises SetupError where the system does not tell.
    """
    place = folder.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError as e:
        raise SetupError(f"could not ask for the free space of {folder}: {because(e)}") from e

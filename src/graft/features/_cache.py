"""Features on disk: entries written whole or not at all, verified when read, the least lately used removed first."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from graft.errors import GraftError, UsageError
from graft.files import read_json, remove, sha256, write_json

Arrays = dict[str, NDArray[np.float32]]

MOST_BYTES = 4_000_000_000
"""Of all features together, where GRAFT_CACHE_BYTES does not say."""
MANIFEST, USED = "manifest.json", "last_use"
_TEMP = ".tmp-"
_verified: set[tuple[str, int, int, int]] = set()  # files whose hash this process has compared


def cache_folder() -> Path:
    """`GRAFT_CACHE`, else the system's cache folder; made private to the user. Raises OSError."""
    given = os.environ.get("GRAFT_CACHE")
    if given:
        folder = Path(given)
    elif sys.platform == "win32":
        folder = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "graft" / "cache"
    elif sys.platform == "darwin":
        folder = Path.home() / "Library" / "Caches" / "graft"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "graft"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


def limit() -> int:
    """Bytes that cached features may take: GRAFT_CACHE_BYTES, 4 GB without it. Raises UsageError."""
    given = os.environ.get("GRAFT_CACHE_BYTES", "")
    if not given:
        return MOST_BYTES
    if not given.isdecimal():
        raise UsageError(f"GRAFT_CACHE_BYTES={given!r}: give a number of bytes, as 4000000000; 0 keeps nothing")
    return int(given)


# ----------------------------------------------------------------------------------------- reading


def read(folder: Path) -> Arrays | None:
    """An entry's arrays by name, mapped into memory; None where there is none or it was changed."""
    try:
        listed = read_json(folder / MANIFEST)["arrays"]
        found = {str(entry["name"]): _array(folder, i, entry) for i, entry in enumerate(listed)}
    except (OSError, ValueError, KeyError, TypeError, GraftError):
        return None
    if any(a is None for a in found.values()):
        return None
    _use(folder)
    return {name: array for name, array in found.items() if array is not None}


def _array(folder: Path, index: int, entry: dict[str, Any]) -> NDArray[np.float32] | None:
    file = array_file(folder, index)
    now = file.stat()
    seen = (str(file), now.st_ino, now.st_size, now.st_mtime_ns)
    if seen not in _verified and sha256(file) != entry["sha256"]:
        return None
    array: NDArray[Any] = np.load(file, mmap_mode="c", allow_pickle=False)  # copy on write: torch wants it writable
    if array.dtype != np.float32 or list(array.shape) != entry["shape"]:
        return None
    _verified.add(seen)
    return array


def array_file(folder: Path, index: int) -> Path:
    """Where an entry keeps its array number `index`; names of arrays never become names of files."""
    return folder / f"{index:02d}.npy"


# --------------------------------------------------------------------------------- order of use


def _use(folder: Path) -> None:
    """Give the entry the highest number of all: a count, since clocks may be wrong, set back, or differ by machine."""
    try:
        last = max((_number(e) for e in entries(folder.parent) if e != folder), default=0)
        if _number(folder) <= last:
            _set_number(folder, last + 1)
    except OSError:  # read-only, or just removed by another process
        pass


def _set_number(folder: Path, number: int) -> None:
    temp = folder / f"{USED}.{uuid.uuid4().hex}"
    try:
        temp.write_text(str(number))
        temp.replace(folder / USED)
    finally:
        temp.unlink(missing_ok=True)


def _number(entry: Path) -> int:
    try:
        return int((entry / USED).read_text())
    except (OSError, ValueError):  # of an older version, or damaged: the first to go
        return 0


def entries(root: Path) -> list[Path]:
    """The finished entries of a cache. Raises OSError."""
    return [e for e in root.iterdir() if not e.name.startswith(".")]


def prune(root: Path) -> None:
    """Remove entries, the least lately used first, until the rest is within the limit. Raises OSError."""
    sizes = {e: _bytes(e) for e in entries(root)}
    total, most = sum(sizes.values()), limit()
    for entry in sorted(sizes, key=lambda e: (_number(e), e.name)):
        if total <= most:
            break
        _discard(entry)
        total -= sizes[entry]


def _bytes(entry: Path) -> int:
    try:
        return sum(f.stat().st_size for f in entry.iterdir())
    except OSError:  # removed by another process meanwhile
        return 0


def _discard(entry: Path) -> None:
    """Remove an entry so that nobody ever reads half of it: it loses its name first."""
    gone = entry.with_name(f"{_TEMP}{uuid.uuid4().hex}")
    with contextlib.suppress(OSError):
        entry.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


# ----------------------------------------------------------------------------------------- writing


@contextlib.contextmanager
def room(root: Path) -> Iterator[Path]:
    """An empty folder below a cache to write an entry in; what is left of it at the end goes. Raises OSError.

    Its lock falls with its process, so that the next writer knows what a killed one has left.
    """
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    _clean(root)
    temp = root / f"{_TEMP}{uuid.uuid4().hex}"
    lock = FileLock(_lock(temp))
    try:
        with lock:
            temp.mkdir(mode=0o700)
            yield temp
    finally:
        shutil.rmtree(temp, ignore_errors=True)
        _lock(temp).unlink(missing_ok=True)


def _lock(temp: Path) -> Path:
    return temp.with_name(f"{temp.name}.lock")


def _clean(root: Path) -> None:
    """Remove the rooms of dead processes: those whose lock nobody holds."""
    for found in root.glob(f"{_TEMP}*"):
        temp = found.with_name(found.name.removesuffix(".lock"))
        with contextlib.suppress(OSError, Timeout):
            if _lock(temp).exists():
                with FileLock(_lock(temp), blocking=False):
                    shutil.rmtree(temp, ignore_errors=True)
            elif temp.exists():
                remove(temp)
            if not temp.exists():
                _lock(temp).unlink(missing_ok=True)


def describe(temp: Path, names: list[str]) -> None:
    """Write the manifest of the arrays in a room: name, shape and hash of each. Raises OSError, SetupError."""
    listed = []
    for i, name in enumerate(names):
        file = array_file(temp, i)
        shape = np.load(file, mmap_mode="r", allow_pickle=False).shape
        listed.append({"name": name, "shape": list(shape), "sha256": sha256(file)})
    write_json(temp / MANIFEST, {"arrays": listed})


def publish(temp: Path, folder: Path) -> Arrays | None:
    """Make a described room the entry `folder`, and read it. Where another process was first, its entry is taken.

    None where neither could be read back. Raises OSError.
    """
    last = max((_number(e) for e in entries(folder.parent)), default=0)
    _set_number(temp, last + 1)
    try:
        temp.rename(folder)
    except OSError:
        theirs = read(folder)
        if theirs is not None:
            return theirs
        _discard(folder)  # what stood there is damaged
        temp.rename(folder)
    found = read(folder)
    prune(folder.parent)
    return found

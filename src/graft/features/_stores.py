"""Where a pass writes its rows: into the cache, a temporary file, or memory."""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from graft.errors import SetupError
from graft.features import _cache
from graft.features._cache import Arrays

SMALL = 64_000_000
"""Bytes up to which features that are not cached stay in memory."""


class NoRoom(Exception):
    """A store cannot take what it is given; the next one may."""


class Store(Protocol):
    """Takes rows of arrays [n, d] by name, in any order, and gives the arrays back once."""

    def put(self, name: str, rows: list[int], values: NDArray[np.float32]) -> None:
        """Keep values [len(rows), d]. Raises NoRoom."""

    def finish(self) -> Arrays:
        """All arrays, whole. Raises NoRoom."""


class Memory:
    """Arrays in memory."""

    def __init__(self, n: int) -> None:
        self.n = n
        self.arrays: Arrays = {}

    def put(self, name: str, rows: list[int], values: NDArray[np.float32]) -> None:
        if name not in self.arrays:
            self.arrays[name] = np.zeros((self.n, values.shape[1]), dtype=np.float32)
        self.arrays[name][rows] = values

    def finish(self) -> Arrays:
        return self.arrays


class Disk:
    """Arrays in files of a folder, written as the rows come: they take no memory, and a full disk is an error here.

    (Through a memory map a full disk would be a SIGBUS.) `done(folder, names)` turns the closed files into arrays.
    """

    def __init__(self, folder: Path, n: int, done: Callable[[Path, list[str]], Arrays | None]) -> None:
        self.folder, self.n, self.done = folder, n, done
        self.files: dict[str, tuple[io.FileIO, int]] = {}  # file, bytes of its header
        self.stack = ExitStack()

    def put(self, name: str, rows: list[int], values: NDArray[np.float32]) -> None:
        try:
            file, head = self.files[name] if name in self.files else self._open(name, values.shape[1])
            for first, last in _runs(rows):
                file.seek(head + rows[first] * values.shape[1] * 4)
                _write(file, np.ascontiguousarray(values[first:last]))
        except OSError as e:
            raise NoRoom(str(e)) from e

    def _open(self, name: str, dim: int) -> tuple[io.FileIO, int]:
        path = _cache.array_file(self.folder, len(self.files))
        file = self.stack.enter_context(io.FileIO(path, "x+"))
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (self.n, dim)})
        file.write(head.getvalue())
        size = head.tell() + self.n * dim * 4
        if sys.platform == "linux":  # said now, not after an hour; elsewhere the write itself says it
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
        self.files[name] = (file, head.tell())
        return self.files[name]

    def finish(self) -> Arrays:
        try:
            self.stack.close()
            arrays = self.done(self.folder, list(self.files))
        except (OSError, ValueError, SetupError) as e:
            raise NoRoom(str(e)) from e
        if arrays is None:
            raise NoRoom(f"{self.folder}: what was written could not be read back")
        return arrays


def _write(file: io.FileIO, values: NDArray[np.float32]) -> None:
    """All bytes: a raw file may take fewer at a time."""
    left = memoryview(values.astype("<f4", copy=False).tobytes())
    while left:
        left = left[file.write(left) :]


def _runs(rows: list[int]) -> Iterator[tuple[int, int]]:
    """(first, last) places of rows that follow each other without a gap: pictures come so, texts by length do not."""
    first = 0
    for at in range(1, len(rows) + 1):
        if at == len(rows) or rows[at] != rows[at - 1] + 1:
            yield first, at
            first = at


@contextmanager
def cached(folder: Path, n: int) -> Iterator[Disk]:
    """A store that becomes the cache's entry `folder`. Raises NoRoom where the cache cannot be written to."""

    def done(temp: Path, names: list[str]) -> Arrays | None:
        _cache.describe(temp, names)
        return _cache.publish(temp, folder)

    with ExitStack() as closing:
        try:
            temp = closing.enter_context(_cache.room(folder.parent))
        except OSError as e:
            raise NoRoom(str(e)) from e
        store = Disk(temp, n, done)
        closing.enter_context(store.stack)
        yield store


@contextmanager
def passing(n: int) -> Iterator[Disk]:
    """A store whose files have no name any more once their arrays are mapped. Raises NoRoom."""

    def done(temp: Path, names: list[str]) -> Arrays:
        return {name: np.load(_cache.array_file(temp, i), mmap_mode="c") for i, name in enumerate(names)}

    with ExitStack() as closing:
        try:
            temp = Path(tempfile.mkdtemp(prefix="graft-features-"))
        except OSError as e:
            raise NoRoom(str(e)) from e
        closing.callback(shutil.rmtree, temp, ignore_errors=True)
        store = Disk(temp, n, done)
        closing.enter_context(store.stack)
        yield store


@contextmanager
def memory(n: int) -> Iterator[Memory]:
    """A store in memory."""
    yield Memory(n)

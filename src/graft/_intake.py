"""Bytes of a data file: nothing that could run code, unpacked within a cap, and strictly utf-8."""

from __future__ import annotations

import gzip
import io
import os
import pickletools
import shlex
import stat
import struct
import zipfile
import zlib
from pathlib import Path

from graft.errors import DataError, SecurityError, did_you_mean

CAP = 2**31 - 1  # bytes after unpacking; csv's field limit is a C long, which holds no more on Windows
CODE_SUFFIXES = (
    ".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin", ".npy", ".dill",
)  # fmt: skip
ARRAYS = ".npz"  # plain arrays are data, for readers.arrays to open, but never a table
_CHUNK = 1 << 20
MOST_NULS = 0.01  # of a text's characters; above, a binary file was taken for one
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"


def shown(path: Path) -> str:
    """Return a path as text that can be printed and stored: bytes that are no utf-8 become \\x escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def suffix_of(path: Path) -> str:
    """Return the suffix that names the format, in lower case and without ".gz"."""
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def load(path: Path, cap: int = CAP) -> bytes:
    """Return a file's bytes, unpacked when it ends in .gz.

    Raises SecurityError for pickles, by name or content, packed or not, and DataError for what is missing, no
    regular file, larger than `cap` bytes, or packed otherwise than its name says.
    """
    name = shown(path)
    raw = _read(path, name, cap)
    packed = raw.startswith(_GZIP)
    data = unpack(raw, name, cap) if packed else raw
    refuse_code(path, data)
    if packed and path.suffix.lower() != ".gz":
        raise DataError(f"{name} is gzip inside; rename it to {path.name}.gz, or gunzip it.")
    if not packed and path.suffix.lower() == ".gz":
        raise DataError(f"{name} is not gzip although it is named so; take the .gz off its name.")
    if data.startswith((_ZIP, _GZIP, b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd")):
        raise DataError(f"{name} holds a compressed file (zip, xlsx, gz, bz2, xz or zst); unpack it first.")
    return data


def unpack(raw: bytes, name: str, cap: int = CAP) -> bytes:
    """Gunzip in memory, chunk by chunk, so that a bomb stops at `cap` bytes. Raises DataError."""
    out = bytearray()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
            while chunk := file.read(_CHUNK):
                out += chunk
                if len(out) > cap:
                    raise DataError(f"{name} unpacks to more than {cap} bytes; split it into smaller files.")
    except (EOFError, OSError, zlib.error, struct.error) as e:
        raise DataError(f"{name} is a damaged or cut gzip file ({e}); fetch it again. `gzip -t` checks it.") from e
    return bytes(out)


def refuse_code(path: Path, data: bytes) -> None:
    """Raise SecurityError for pickles and arrays that may hold them, by the suffix and by the content."""
    name = shown(path)
    found = None
    if data[:1] == b"\x80" and data[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        found = "a pickle" + _first_global(data)
    elif data.startswith(_ZIP) and (inner := _zipped_pickle(data)) is not None:
        found = f"a zip with {inner[0]!r} in it" + _first_global(inner[1])
    elif data.startswith(b"\x93NUMPY"):
        found = "a numpy file, which may hold pickled objects"
    elif suffix_of(path) in (*CODE_SUFFIXES, ARRAYS):
        found = f"named {suffix_of(path)}, a format that may run code"
    if found:
        raise SecurityError(
            f"{name} is {found}; nothing of it was run. Write the data as csv, jsonl or parquet instead."
        )


def text_of(data: bytes, path: Path) -> str:
    """Decode utf-8 with or without a byte order mark.

    Raises DataError with line, byte offset, offending byte, the likely encoding and the command that mends it, and
    for what has so many NUL characters that it is no text; a few of them stay in (`tables` replaces them).
    """
    wide = _wide_encoding(data)
    if wide:
        raise _not_utf8(data, 0, wide, path)
    mark = 3 if data.startswith(b"\xef\xbb\xbf") else 0
    try:
        text = data[mark:].decode("utf-8")
    except UnicodeDecodeError as e:
        raise _not_utf8(data, e.start + mark, _narrow_encoding(data), path) from e
    if text.count("\0") > MOST_NULS * len(text):
        line = _line(data, data.index(b"\0"))
        share = f"{text.count(chr(0))} of its {len(text)} characters are"
        raise DataError(
            f"{shown(path)}:{line} holds NUL characters, {share}; is it text? `tr -d '\\000'` removes them."
        )
    return text


def _not_utf8(data: bytes, at: int, likely: str, path: Path) -> DataError:
    name = shown(path)
    packed = path.suffix.lower() == ".gz"
    before = f"gunzip -c {shlex.quote(name)} | " if packed else ""
    after = "" if packed else f" {shlex.quote(name)}"
    mended = f"mended{Path(path.name.removesuffix('.gz')).suffix}"
    there = f"{name}:{_line(data, at)}: byte 0x{data[at]:02X} at offset {at} is not utf-8"
    if likely == "mixed":
        return DataError(
            f"{there}, though most of the file is: mend that line, or drop such bytes with: "
            f"{before}iconv -c -f utf-8 -t utf-8{after} > {mended}"
        )
    return DataError(f"{there}, it looks like {likely}. Run: {before}iconv -f {likely} -t utf-8{after} > {mended}")


def _read(path: Path, name: str, cap: int) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DataError(f"{name} is not a regular file; give a table file.")
        if status.st_size > cap:
            raise DataError(f"{name} has {status.st_size} bytes, over the cap of {cap}; split it.")
        with path.open("rb") as file:
            return file.read(cap + 1)
    except FileNotFoundError as e:
        raise DataError(f"{name} does not exist.{did_you_mean(path.name, _beside(path))}") from e
    except (OSError, ValueError) as e:  # ValueError: a NUL in the path
        raise DataError(f"{name} cannot be read: {e}. Check the path and its permissions.") from e


def _beside(path: Path) -> list[str]:
    try:
        return [p.name for p in path.parent.iterdir()]
    except OSError:
        return []


def _zipped_pickle(data: bytes) -> tuple[str, bytes] | None:
    """Return (name, first bytes) of the first pickle in a zip: no bytes where unreadable, None for none."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name in archive.namelist():
                if name.lower().endswith((*CODE_SUFFIXES, ARRAYS)):
                    with archive.open(name) as file:
                        return name, file.read(_CHUNK)
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError, NotImplementedError, ValueError):
        return ("data.pkl", b"") if b"data.pkl" in data else None
    return None


def _first_global(data: bytes) -> str:
    """Name the first object a pickle would import, read from its opcodes without running them."""
    strings: list[str] = []
    try:
        for op, argument, _ in pickletools.genops(data[:_CHUNK]):
            if op.name == "GLOBAL":
                return f" that names {str(argument).replace(' ', '.')}"
            if op.name == "STACK_GLOBAL" and len(strings) > 1:
                return f" that names {strings[-2]}.{strings[-1]}"
            if isinstance(argument, str):
                strings.append(argument)
    except (ValueError, LookupError, OverflowError, struct.error):
        pass  # cut or no pickle after all; it is refused either way
    return ""


def _wide_encoding(data: bytes) -> str:
    """Return utf-32 or utf-16 where a byte order mark or the pattern of NULs shows it, else ""."""
    for mark, wide in ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32")):
        if data.startswith(mark):
            return wide
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    head = data[:4000]
    odd, even = head[1::2].count(0), head[::2].count(0)
    if max(odd, even) > 0.3 * (len(head) / 2) and min(odd, even) < 0.1 * max(odd, even):
        return "UTF-16LE" if odd > even else "UTF-16BE"
    return ""


def _narrow_encoding(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    wrong = text.count("\ufffd")
    right = sum(1 for c in text if c > "\x7f") - wrong
    if right > wrong:
        return "mixed"
    # latin-1 has control characters at 0x80..0x9F, where cp1252 has quotes, dashes and the euro.
    return "WINDOWS-1252" if any(0x80 <= byte <= 0x9F for byte in data) else "ISO-8859-1"


def _line(data: bytes, at: int) -> int:
    """Return the 1-based line of a byte offset; old Macintosh files have only carriage returns."""
    before = data[:at]
    return 1 + (before.count(b"\n") or before.count(b"\r"))

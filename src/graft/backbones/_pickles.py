"""Pickles are refused, and told by name what they would have run; nothing in one is ever run."""

from __future__ import annotations

import pickletools
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from graft.errors import SecurityError, some

SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".h5", ".keras")
_MOST = 64 * 2**20  # bytes of a pickle's opcodes that are looked at
_HARMLESS = ("torch._utils", "torch.storage", "torch.serialization", "collections.OrderedDict")


def refused(path: Path) -> SecurityError:
    """The error to raise for a file of a format that may run code."""
    found = sorted(set(names_in(path)), key=lambda n: (n.startswith(_HARMLESS), n))
    told = f" (it names {some(found)})" if found else ""
    return SecurityError(
        f"{path}: a pickle may run code when read, and is refused{told}; nothing of it was run. "
        "Where it was made, save it as safetensors: safetensors.torch.save_file(model.state_dict(), FILE)"
    )


def refuse_in(folder: Path) -> None:
    """Raise SecurityError where the only weights in a folder are pickles."""
    pickles = sorted(p for p in folder.glob("*") if p.suffix in SUFFIXES and p.is_file())
    if pickles:
        raise refused(pickles[0])


def names_in(path: Path) -> list[str]:
    """What a pickle file would import, read from its opcodes; nothing where it cannot be read."""
    found: list[str] = []
    try:
        for data in _pickles(path):
            found.extend(_names(data))
    except (OSError, zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, RuntimeError, NotImplementedError):
        pass  # it is refused either way
    return list(dict.fromkeys(found))


def _pickles(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        head = file.read(_MOST)
    if head.startswith(b"PK\x03\x04"):
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if Path(name).suffix in SUFFIXES:
                    with archive.open(name) as member:
                        yield member.read(_MOST)
    else:
        yield head


def _names(data: bytes) -> list[str]:
    """Globals of the pickles that follow one another in `data`, memoised strings included."""
    found: list[str] = []
    at = 0
    while at < len(data) and data[at : at + 1] in (b"\x80", b"(", b"c", b"]", b"}"):
        strings: list[str] = []
        memo: dict[int, str] = {}
        try:
            for op, argument, place in pickletools.genops(data[at:]):
                _follow(op.name, argument, strings, memo, found)
                if op.name == "STOP":
                    at += (place or 0) + 1
                    break
        except (ValueError, LookupError, OverflowError, struct.error, UnicodeDecodeError):
            return found
    return found


def _follow(op: str, argument: object, strings: list[str], memo: dict[int, str], found: list[str]) -> None:
    if op in ("GLOBAL", "INST"):
        found.append(str(argument).replace(" ", "."))
    elif op == "STACK_GLOBAL" and len(strings) > 1:
        found.append(f"{strings[-2]}.{strings[-1]}")
    elif op in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
        index = argument if isinstance(argument, int) else len(memo)
        memo[index] = strings[-1] if strings else ""
    elif op in ("GET", "BINGET", "LONG_BINGET") and isinstance(argument, int):
        strings.append(memo.get(argument, ""))
    elif isinstance(argument, str):
        strings.append(argument)

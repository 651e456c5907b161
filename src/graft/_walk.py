"""The pictures under a folder, and what was left out on the way."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from graft._formats import HEIF, SUFFIXES, readable
from graft.errors import DataError

_JUNK = ("__macosx", "@eadir", "thumbs.db", "desktop.ini", "dicomdir")  # hidden names are junk by their dot
_RUN = {"model.json", "weights.safetensors"}  # what a finished run of graft holds


@dataclass(frozen=True)
class Walk:
    """A folder's files, sorted by path.

    `pictures` and `unsupported` (HEIC, AVIF where the extra is not installed) are paths under the given root;
    `skipped` (hidden files, junk of operating systems, files that are no pictures), `loops` (folders met before,
    through a link) and `runs` (runs of graft, with the pictures of their reports) are posix paths relative to it,
    folders with a slash at the end.
    """

    pictures: list[Path]
    skipped: list[str]
    loops: list[str]
    unsupported: list[Path]
    runs: list[str] = field(default_factory=list)


def walk(root: Path) -> Walk:
    """List the pictures under a folder, by suffix, with what was left out; DICOM also without a suffix.

    A folder behind a link is entered once and never before the real folders, so a link cannot hide one.
    Raises DataError where the folder or one inside it cannot be listed.
    """
    found: dict[str, list[str]] = {"pictures": [], "skipped": [], "loops": [], "unsupported": [], "runs": []}
    seen: set[tuple[int, int]] = set()
    waiting: list[str] = [""]
    links: list[str] = []
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        try:
            status = os.stat(root / folder)
            if (inode := (status.st_dev, status.st_ino)) in seen:
                found["loops"].append(f"{folder}/")
                continue
            seen.add(inode)
            with os.scandir(root / folder) as entries:
                listed = sorted(entries, key=lambda e: e.name)
        except OSError as e:
            raise DataError(f"{shown(root / folder)} cannot be listed: {e.strerror}. Give a folder of pictures.") from e
        if folder and {e.name for e in listed} >= _RUN:
            found["runs"].append(f"{folder}/")
            continue
        for entry in listed:
            where = f"{folder}/{entry.name}" if folder else entry.name
            kind = _kind(entry)
            if kind == "folder":
                (links if entry.is_symlink() else waiting).append(where)
            else:
                found[kind].append(where + "/" * _is_folder(entry))
    ordered = {kind: sorted(names) for kind, names in found.items()}
    return Walk(
        pictures=[root / name for name in ordered["pictures"]],
        skipped=[shown(name) for name in ordered["skipped"]],
        loops=[shown(name) for name in ordered["loops"]],
        unsupported=[root / name for name in ordered["unsupported"]],
        runs=[shown(name) for name in ordered["runs"]],
    )


def shown(name: str | Path) -> str:
    """Make a name printable and storable: bytes that are no utf-8 become \\x escapes."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _kind(entry: os.DirEntry[str]) -> str:
    if entry.name.startswith(".") or entry.name.lower() in _JUNK:
        return "skipped"
    if _is_folder(entry):
        return "folder"
    suffix = Path(entry.name).suffix.lower()
    kind = SUFFIXES.get(suffix, "")
    if kind in HEIF and not readable(kind):
        return "unsupported"
    return "pictures" if kind or _is_bare_dicom(entry, suffix) else "skipped"


def _is_bare_dicom(entry: os.DirEntry[str], suffix: str) -> bool:
    """DICOM is often named by a number, as `IM000012` or `1.2.840.113619`; only such names are looked into."""
    if suffix.lstrip(".").isdigit() or not suffix:
        try:
            if entry.is_file():  # a pipe would wait for a writer for ever
                with open(entry.path, "rb") as file:
                    return file.read(132)[128:] == b"DICM"
        except OSError:
            return False
    return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False

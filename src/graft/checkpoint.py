"""A checkpoint that survives a kill at any moment: written aside, sealed, renamed, old ones pruned last."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from graft.errors import DataError, SecurityError, SetupError
from graft.files import (
    MANIFEST,
    because,
    flush_file,
    flush_folder,
    free_space,
    manifest,
    read_json,
    slug,
    verify,
    write_json,
)
from graft.files import seal as _seal

FORMAT = 1  # version of the layout below; every later one keeps "format" and "seal" as they are
MARGIN = 1.2  # free space asked for, as a multiple of the checkpoint's size
STATE = "state.json"
CORRUPT = "corrupt"

# "step-000000200", or the ".old-..." of it while a checkpoint of the same step takes its place
_NAME = re.compile(r"step-(\d{9,})(\.old-[0-9a-f]{32})?")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files were all found whole."""

    path: Path
    step: int
    state: dict[str, Any]
    files: dict[str, str]  # group -> file name

    def tensors(self, group: str) -> dict[str, torch.Tensor]:
        """Return the tensors of a group, on the CPU, each with memory of its own.

        Raises DataError where the checkpoint has no such group, SetupError where its file cannot be read.
        """
        if group not in self.files:
            raise DataError(f"{self.path} holds no {group!r}; it holds: {', '.join(self.files) or 'nothing'}")
        try:
            loaded = safetensors.torch.load_file(self.path / self.files[group])
        except (OSError, SafetensorError) as e:
            raise SetupError(f"could not read {self.path / self.files[group]}: {e}") from e
        # What was loaded is a map of the file, which may be pruned or lie on a network disk.
        return {name: t.clone() for name, t in loaded.items()}


def save(
    folder: Path,
    step: int,
    tensors: dict[str, dict[str, torch.Tensor]],
    state: dict[str, Any],
    keep: int = 2,
) -> Path:
    """Write the checkpoint of a step into `folder/step-NNNNNNNNN` and return that path.

    `tensors` is group -> name -> tensor: they may share memory, be strided, empty or of no dimension, and lie
    on any device. `state` is what JSON holds, with finite numbers. Afterwards the `keep` newest by step stay,
    and in any case this one. A kill at any moment leaves the old or the new one, whole.

    Raises ValueError for a state that would not come back as it is; SetupError where the disk is full or
    refuses: the last good checkpoint is then untouched.
    """
    if step < 0 or keep < 1:
        raise ValueError(f"step {step} must be 0 or more, and keep {keep} at least 1")
    _check_plain(state, "state")
    files = _file_names(tensors)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make_room(folder, _size(tensors, state))
        temp = folder / f".tmp-{step}-{uuid.uuid4().hex}"
        try:
            _write(temp, step, tensors, state, files)
            path = _put_in_place(temp, folder / f"step-{step:09d}")
        finally:
            shutil.rmtree(temp, ignore_errors=True)
        _prune(folder, keep, path)
    except OSError as e:
        raise SetupError(f"could not write the checkpoint of step {step} in {folder}: {because(e)}") from e
    return path


def latest(folder: Path, say: Callable[[str], None]) -> Checkpoint | None:
    """Return the newest checkpoint by step number of which every file is whole, or None where there is none.

    A damaged one is moved to `folder/corrupt`, `say` is called with one line about it, and the one before is
    tried. Raises DataError for one written by a newer graft, SetupError where reading is not permitted.
    """
    for path in _stored(folder):
        found = _read(path)
        if isinstance(found, Checkpoint):
            return found
        say(f"checkpoint {path} is damaged ({found}): {_set_aside(path)}; trying the one before")
    return None


def _check_plain(value: object, where: str) -> None:
    """Raise ValueError for what JSON cannot hold, or would give back as something else."""
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}, which JSON would turn into text")
            _check_plain(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            _check_plain(item, f"{where}[{i}]")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{where} is {value}, which JSON cannot hold")
    elif not (value is None or isinstance(value, str | int)):
        raise ValueError(f"{where} is a {type(value).__name__}, which JSON cannot hold")


def _file_names(tensors: dict[str, dict[str, torch.Tensor]]) -> dict[str, str]:
    files = {group: f"{slug(group)}.safetensors" for group in tensors}
    if len({f.casefold() for f in files.values()}) < len(files):
        raise ValueError(f"groups {sorted(files)} would share a file: names must differ in more than case")
    return files


def _size(tensors: dict[str, dict[str, torch.Tensor]], state: dict[str, Any]) -> int:
    data = sum(t.numel() * t.element_size() + 200 for group in tensors.values() for t in group.values())
    return data + len(json.dumps(state)) + 4096


def _make_room(folder: Path, size: int) -> None:
    needed = math.ceil(MARGIN * size)
    if free_space(folder) >= needed:
        return
    _drop_leftovers(folder)
    if free_space(folder) < needed:
        _prune_to_last_good(folder)
    free = free_space(folder)
    if free < needed:
        raise SetupError(
            f"{free / 1e6:.0f} MB are free in {folder}, a checkpoint needs {needed / 1e6:.0f} MB; the last "
            "good one is untouched: free some space, then use --resume"
        )


def _write(
    temp: Path,
    step: int,
    tensors: dict[str, dict[str, torch.Tensor]],
    state: dict[str, Any],
    files: dict[str, str],
) -> None:
    temp.mkdir()
    for group, file in files.items():
        _save_file(_separate(tensors[group]), temp / file)
        flush_file(temp / file)
    write_json(temp / STATE, state)
    content = {"format": FORMAT, "step": step, "groups": files, "files": manifest(temp)}
    # The manifest vouches for the files, the seal for the manifest: a flip in "format" is no newer version.
    write_json(temp / MANIFEST, {**content, "seal": _seal(content)})
    flush_folder(temp)


def _separate(group: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the tensors as safetensors takes them: on the CPU, contiguous, no two in the same memory."""
    separate: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, given in group.items():
        t = given.detach().resolve_conj().resolve_neg().cpu().contiguous()
        memory = t.untyped_storage().data_ptr()
        separate[name] = t.clone() if memory in seen else t
        seen.add(memory)
    return separate


def _save_file(tensors: dict[str, torch.Tensor], path: Path) -> None:
    try:
        safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    except SafetensorError as e:
        if "os error" in str(e):  # it has no error of its own for a disk that refuses
            raise SetupError(f"could not write {path}: {e}") from e
        raise


def _put_in_place(temp: Path, path: Path) -> Path:
    if path.exists():
        # A folder cannot be replaced in one move: in between, `latest` finds the old one by this name.
        os.rename(path, path.with_name(f"{path.name}.old-{uuid.uuid4().hex}"))
    os.rename(temp, path)
    flush_folder(path.parent)
    return path


def _stored(folder: Path) -> list[Path]:
    """Return what is named as a checkpoint, newest step first; a replaced one follows what replaced it."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        match = _NAME.fullmatch(path.name)
        if match:
            found.append((int(match[1]), match[2] is None, path.name))
    return [folder / name for _, _, name in sorted(found, reverse=True)]


def _prune(folder: Path, keep: int, last: Path) -> None:
    current = [p for p in _stored(folder) if ".old-" not in p.name]
    for path in _stored(folder):
        if path != last and path not in current[:keep]:
            shutil.rmtree(path, ignore_errors=True)
    _drop_leftovers(folder)


def _prune_to_last_good(folder: Path) -> None:
    stored = _stored(folder)
    good = next((p for p in stored if isinstance(_read(p), Checkpoint)), None)
    for path in stored:
        if good is not None and path != good:
            shutil.rmtree(path, ignore_errors=True)


def _drop_leftovers(folder: Path) -> None:
    """Remove what a killed process was writing: the folder has one owner, so nobody still writes it."""
    for path in folder.glob(".tmp-*"):
        shutil.rmtree(path, ignore_errors=True)


def _read(path: Path) -> Checkpoint | str:
    """Return the checkpoint, or in words what is wrong with it."""
    try:
        content = read_json(path / MANIFEST)
        if not isinstance(content, dict) or content.pop("seal", "") != _seal(content):
            return f"{MANIFEST}: changed"
    except DataError as e:
        return str(e)
    version = content.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise DataError(
            f"{path} was written by a newer graft: its format is {version}, this one reads up to {FORMAT}; "
            "update graft, or train anew with --overwrite"
        )
    step, groups, files = content.get("step"), content.get("groups"), content.get("files")
    if not (version == FORMAT and isinstance(groups, dict) and isinstance(files, dict)):
        return f"{MANIFEST}: not of a checkpoint"
    named = _NAME.fullmatch(path.name)
    if named is None or int(named[1]) != step:
        return f"it is of step {step}"
    if not all(file in list(files) for file in [STATE, *groups.values()]):
        return f"{MANIFEST}: does not list every file"
    try:
        problems = verify(path, files)
        return "; ".join(problems) or Checkpoint(path, step, read_json(path / STATE), groups)
    except (DataError, SecurityError) as e:
        return str(e)


def _set_aside(path: Path) -> str:
    target = path.parent / CORRUPT / f"{path.name}-{uuid.uuid4().hex[:8]}"
    with contextlib.suppress(OSError):
        target.parent.mkdir(exist_ok=True)
        os.rename(path, target)
        return f"moved to {target}"
    return "it could not be moved away"

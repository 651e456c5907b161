"""A new folder that appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from graft.errors import SetupError, UsageError
from graft.files import because, flush_folder, flush_tree, remove


@contextlib.contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Give a folder to fill; it is renamed to `folder` once the block ends well, and removed otherwise.

    Raises UsageError where `folder` exists, SetupError where the system refuses.
    """
    place = Path(folder).expanduser().absolute()
    if place.exists() or place.is_symlink():
        raise UsageError(f"{folder} exists, and is not written over: remove it, or give another folder")
    work = place.with_name(f".graft-new-{uuid.uuid4().hex}")
    try:
        work.mkdir(parents=True)
        yield work
        flush_tree(work)
        if place.exists():  # on POSIX a rename would replace an empty folder silently
            raise UsageError(f"{folder} was made by somebody meanwhile: give another folder")
        os.rename(work, place)
        flush_folder(place.parent)
    except OSError as e:
        raise SetupError(f"could not write {folder}: {because(e)}") from e
    finally:
        with contextlib.suppress(OSError):
            remove(work)

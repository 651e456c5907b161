"""The folder a run works in: one owner at a time, and finished whole or not there."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from graft.errors import DataError, SetupError, UsageError
from graft.files import because, flush_folder, flush_tree, probe, read_json, remove, write_json, write_whole

RUN = "model.json"  # the file that makes a folder a graft run
LOCK, OWNER = ".lock", "owner.json"
REPLACES = ".replaces"  # present where `--overwrite` was said: finishing may replace the old run
WIPE = ".wipe"  # present while an unfinished run is deleted, so that no half of it is continued
MARK = ".finish.json"  # present from the moment a run is whole until its remains are swept
BEAT = 60.0  # seconds between two signs of life
GONE = 600.0  # seconds of silence after which an owner on another host counts as dead

State = Literal["new", "continued", "complete"]


class Workplace:
    """The work folder of one run, used as a context manager.

    Work happens in `path`, which is `out` with ".partial" behind its name; `finish` turns it into `out`.
    After entering, `state` is "new" (an empty work folder), "continued" (an unfinished run, with `resume`)
    or "complete" (`out` holds a finished run, with `resume`; nothing is locked and `path` does not exist).
    Leaving without `finish` keeps the work folder for `resume`. A killed process leaves nothing that blocks
    the next one. Where the owner is on another host and silent for less than ten minutes, nobody here can tell
    whether it lives: `break_lock` says that it does not. It never breaks the lock of a process that lives here.

    Entering raises UsageError where the options do not fit what is there, SetupError where the place cannot
    be written to or another process works in it.
    """

    def __init__(self, out: Path, resume: bool = False, overwrite: bool = False, break_lock: bool = False) -> None:
        try:
            self.out = out.resolve()
        except (OSError, RuntimeError) as e:
            raise UsageError(f"{out} cannot be followed ({e}): give another --out") from e
        self.path = self.out.parent / f"{self.out.name}.partial"
        self.state: State = "new"
        self._resume = resume
        self._overwrite = overwrite
        self._break_lock = break_lock
        self._lock: Any = None  # a filelock.FileLock while this process owns the folder
        self._since = time.time()  # unix time
        self._beaten = 0.0  # monotonic time of the last sign of life

    def __enter__(self) -> Self:
        try:
            if self._is_complete():
                self.state = "complete"
                _sweep(self.out)
                return self
            probe(self.out.parent)
            self._claim()
        except OSError as e:
            self._unlock()
            raise SetupError(f"could not prepare {self.path}: {because(e)}") from e
        except BaseException:
            self._unlock()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            # A disk that is full must not hide the error that ends the run.
            with contextlib.suppress(SetupError):
                if self._is_owner():
                    self._sign(pid=0)
        self._unlock()

    def beat(self) -> None:
        """Give a sign of life to other hosts; call it often, it writes once a minute.

        Raises SetupError where the folder was taken over by another process, or cannot be written to.
        """
        if self._lock is None or time.monotonic() - self._beaten < BEAT:
            return
        if not self._is_owner():
            raise SetupError(f"{_who(_owner(self.path))} has taken over {self.path}: this process stops")
        self._sign(pid=os.getpid())

    def finish(self, keep: Iterable[str]) -> None:
        """Make the work folder the finished run: only the names in `keep` stay, and they are on the disk.

        `keep` names files and folders directly in `path`. A kill at any moment leaves either the work
        folder, which the next `resume` turns into the finished run, or the finished run. Raises ValueError
        for a name that is not there, UsageError where `out` meanwhile holds something that may not be
        replaced, SetupError where the system refuses; the work folder stays in each of these cases.
        """
        names = sorted(set(keep))
        for name in names:
            taken = name in ("", "..", LOCK, OWNER, REPLACES, WIPE, MARK)
            if taken or name != Path(name).name or not (self.path / name).exists():
                raise ValueError(f"cannot keep {name!r}: no such name directly in {self.path}")
        try:
            self._check_target()
            for name in names:
                flush_tree(self.path / name)
            write_json(self.path / MARK, {"keep": names, "aside": f".graft-old-{uuid.uuid4().hex}"})
            self._commit()
        except OSError as e:
            raise SetupError(f"could not finish {self.out}, kept in {self.path}: {because(e)}") from e

    def discard(self) -> None:
        """Leave nothing of a new work folder: what was asked for was refused before any work."""
        if self.state != "new" or self._lock is None:
            return
        with contextlib.suppress(OSError):
            for path in sorted(self.path.iterdir()):
                if path.name != LOCK:
                    remove(path)
            self._unlock()
            remove(self.path)

    def _is_complete(self) -> bool:
        if self._resume and self._overwrite:
            raise UsageError("--resume and --overwrite exclude each other: give one of them")
        if self.out.exists() and not self.out.is_dir():
            raise UsageError(f"{self.out} is a file: give a folder with --out")
        if os.path.ismount(self.out):  # nothing can be renamed onto it: found now, not after hours
            raise UsageError(f"{self.out} is a mount point: give a folder in it, --out {self.out / 'run'}")
        if not _holds_something(self.out):
            return False
        if self._resume:
            if (self.path / REPLACES).exists():
                return False  # an unfinished `--overwrite`: that is what there is to resume
            if not (self.out / RUN).is_file():
                raise UsageError(f"{self.out} is not a run (it holds no {RUN}): give another --out")
            return True
        if not self._overwrite:
            raise UsageError(
                f"{self.out} exists: --resume prints its result, --overwrite replaces it, or give another --out"
            )
        self._check_target()
        return False

    def _check_target(self) -> None:
        if not _holds_something(self.out):
            return
        if not self._overwrite and not (self.path / REPLACES).exists():
            raise UsageError(f"{self.out} was filled by somebody meanwhile: move it away, then use --resume")
        if not (self.out / RUN).is_file():
            raise UsageError(
                f"{self.out} is not a run (it holds no {RUN}), so --overwrite does not delete it: give another --out"
            )

    def _claim(self) -> None:
        if self.path.exists() and not _is_ours(self.path):
            raise UsageError(f"{self.path} is no unfinished run: move it away, or give another --out")
        self.path.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(OSError):
            self.path.chmod(0o700)
        self._take_lock()
        self._refuse_living_owner()
        if self._settle():
            return
        if not self._resume and not self._overwrite:
            remove(self.path / REPLACES)
        self._sign(pid=os.getpid())

    def _settle(self) -> bool:
        """Deal with what an earlier process left; true where it was whole and had only to be put in place."""
        if self._overwrite:
            write_whole(self.path / REPLACES, "")
        if not {p.name for p in self.path.iterdir()} - {LOCK, REPLACES}:
            return False
        if self._overwrite or (self.path / WIPE).exists():
            _wipe(self.path, self.out)
        elif not self._resume:
            raise UsageError(f"an unfinished run is in {self.path}: --resume continues it, --overwrite starts anew")
        elif _mark(self.path) is not None:
            self._check_target()
            self._commit()
            self.state = "complete"
            return True
        else:
            self.state = "continued"
        return False

    def _take_lock(self) -> None:
        from filelock import FileLock, Timeout

        # The kernel releases it when the process dies, however it dies.
        lock = FileLock(str(self.path / LOCK), timeout=0)
        try:
            lock.acquire()
        except Timeout:
            raise SetupError(self._occupied()) from None
        self._lock = lock

    def _unlock(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._lock.release()
            self._lock = None

    def _refuse_living_owner(self) -> None:
        """Ask owner.json too: on some network file systems a lock succeeds for everybody."""
        owner, here = _owner(self.path), _identity()
        if not owner or owner["pid"] == 0:
            return
        if owner["host"] != here["host"]:
            if time.time() - owner["beat"] < GONE and not self._break_lock:
                raise SetupError(f"{self._occupied()}; if it is gone, use --break-lock, or delete {self.path / OWNER}")
        elif owner["boot_id"] != here["boot_id"] or owner["pid"] == here["pid"]:
            return  # the machine was started anew since; or it was this very process, which now has the lock
        elif _started(owner["pid"]) == owner["started"] != 0:
            raise SetupError(f"{self._occupied()}; if that is wrong, delete {self.path / OWNER}")

    def _occupied(self) -> str:
        return f"{_who(_owner(self.path))} works in {self.path}: wait for it, or give another --out"

    def _is_owner(self) -> bool:
        owner = _owner(self.path)
        return not owner or {k: owner[k] for k in ("host", "boot_id", "pid", "started")} == _identity()

    def _sign(self, pid: int) -> None:
        owner = {**_identity(), "pid": pid, "since": self._since, "beat": time.time()}
        write_json(self.path / OWNER, owner)
        self._beaten = time.monotonic()

    def _commit(self) -> None:
        """Put a whole work folder into place; safe to repeat after a kill at any point in it."""
        mark = _mark(self.path)
        if mark is None:
            raise SetupError(f"{self.path / MARK} vanished: another process works in {self.path}")
        aside = self.out.parent / mark["aside"]
        if os.name == "nt":
            self._unlock()  # there a folder with an open file cannot be renamed
        moved = _holds_something(self.out)
        if moved:
            os.rename(self.out, aside)
        elif self.out.exists():
            self.out.rmdir()
        try:
            os.rename(self.path, self.out)
        except OSError:
            if moved:
                os.rename(aside, self.out)
            raise
        flush_folder(self.out.parent)
        _sweep(self.out)
        self._unlock()


def _identity() -> dict[str, Any]:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        boot = ""
    pid = os.getpid()
    return {"host": platform.node(), "boot_id": boot, "pid": pid, "started": _started(pid)}


def _started(pid: int) -> int:
    """Return when a process of this machine started, in clock ticks since boot; 0 if dead or unknown."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()  # the command before it may hold spaces and brackets
    return 0 if fields[0] in "ZX" else int(fields[19])


def _owner(folder: Path) -> dict[str, Any]:
    """Return owner.json, or {} where it is missing or damaged."""
    number = (int, float)
    kinds = {"host": (str,), "boot_id": (str,), "pid": (int,), "started": number, "beat": number}
    try:
        owner = read_json(folder / OWNER)
    except DataError:
        return {}
    whole = isinstance(owner, dict) and all(isinstance(owner.get(k), kind) for k, kind in kinds.items())
    return owner if whole else {}


def _who(owner: dict[str, Any]) -> str:
    if not owner or not owner["pid"]:
        return "another process"
    since = owner.get("since", owner["beat"])
    try:
        when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(since))
    except (TypeError, ValueError, OverflowError, OSError):
        when = "an unknown time"
    return f"another process (pid {owner['pid']} on {owner['host']} since {when})"


def _mark(folder: Path) -> dict[str, Any] | None:
    """Return the mark of a whole run; a stranger's folder may hold one, so it can name nothing outside."""
    try:
        mark = read_json(folder / MARK)
    except (DataError, SetupError):
        return None
    if not isinstance(mark, dict) or not isinstance(mark.get("keep"), list):
        return None
    return mark if re.fullmatch(r"\.graft-old-[0-9a-f]{32}", str(mark.get("aside"))) else None


def _sweep(out: Path) -> None:
    """Remove what a finished run does not keep, and the run it replaced; if that fails, the next time."""
    mark = _mark(out)
    if mark is None:
        return
    with contextlib.suppress(OSError):
        for path in sorted(out.iterdir()):
            if path.name != MARK and path.name not in mark["keep"]:
                remove(path)
        remove(out.parent / mark["aside"])
        remove(out / MARK)
        flush_folder(out)


def _wipe(partial: Path, out: Path) -> None:
    mark = _mark(partial)
    if mark is not None and not out.exists() and (out.parent / mark["aside"]).exists():
        # Killed between two renames: the old run goes back to its place.
        os.rename(out.parent / mark["aside"], out)
    write_whole(partial / WIPE, "")
    for path in sorted(partial.iterdir()):
        if path.name not in (LOCK, REPLACES, WIPE):
            remove(path)
    remove(partial / WIPE)


def _is_ours(partial: Path) -> bool:
    if partial.is_symlink() or not partial.is_dir():
        return False
    return (partial / LOCK).exists() or (partial / OWNER).exists() or not _holds_something(partial)


def _holds_something(folder: Path) -> bool:
    return folder.exists() and any(folder.iterdir())

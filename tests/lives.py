"""Many lives of one command without the seconds of importing: a server that forks a process for each.

Every life is a process of its own: it can be killed, and it dies with what it had in memory. The server itself
only imports. A life may also be told to die at its n-th change of the disk (`Death`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from command import environment

SERVER = r'''
import gc, json, os, resource, signal, sys, time, traceback
import graft.cli, graft.fitting, graft.outcome, graft.report, graft.train
import graft.backbones.local, graft.tasks.text_classification
import matplotlib.pyplot, pandas, pyarrow.parquet, safetensors.torch, scipy.optimize, sklearn.linear_model
import timm, torch, transformers

torch.set_num_threads(1)
gc.collect()
gc.freeze()  # so that lives share what was imported



def arm(deadly, root, trace):
    """Die at the n-th change of the disk below a folder, of two kinds: before it, or with the file cut in half.

    Between two changes a death leaves the same behind, so there is one point for each.
    """
    count = 0
    lasting = {}  # path -> bytes that are on the disk for good

    def place(target, dir_fd=None, **_):
        if isinstance(target, int):
            return os.readlink(f"/proc/self/fd/{target}")
        path = os.fsdecode(target)
        return os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else os.getcwd(), path)

    def point(what, where):
        nonlocal count
        if not where.startswith(root + os.sep):
            return False
        count += 1
        if not deadly:
            with open(trace, "a", encoding="utf-8") as f:
                f.write(f"{what} {os.path.relpath(where, root)}\n")
        return count == deadly

    def mortal(name):
        call = getattr(os, name)

        def wrapped(*args, **kwargs):
            where = place(args[0], **kwargs)
            there = os.path.lexists(where)
            changes = there if name != "mkdir" else not there and os.path.isdir(os.path.dirname(where))
            if changes and point(name, where):
                if name == "replace":  # what is written beside may be torn as long as it is beside
                    os.truncate(where, os.path.getsize(where) // 2)
                os._exit(9)
            found = call(*args, **kwargs)
            there = place(args[1]) if name in ("replace", "rename") else None
            for path in [p for p in lasting if p == where or p.startswith(where + os.sep)]:
                size = lasting.pop(path)
                if there is not None:
                    lasting[there + path[len(where) :]] = size
            return found

        setattr(os, name, wrapped)

    def torn(where):
        """Half of what was added to a file since it was last flushed is lost."""
        if not os.path.isfile(where):
            return
        size, kept = os.path.getsize(where), lasting.get(where, 0)
        if size > kept and not os.path.basename(where).startswith(".tmp-") and point("half of", where):
            os.truncate(where, kept + (size - kept) // 2)
            os._exit(9)

    def flush(fd, call=os.fsync):
        torn(place(fd))
        call(fd)
        lasting[place(fd)] = os.fstat(fd).st_size

    def write(what, path, *args, call=pyarrow.parquet.write_table, **kwargs):  # the one file not flushed at once
        call(what, path, *args, **kwargs)
        torn(place(path))

    pyarrow.parquet.write_table = write
    os.fsync = flush
    for name in ("replace", "rename", "unlink", "rmdir", "mkdir"):
        mortal(name)


def live(job):
    out = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.environ.update(job["env"])
    if job["largest"] is not None:  # Python ignores SIGXFSZ, so a larger file is an error of the write
        resource.setrlimit(resource.RLIMIT_FSIZE, (job["largest"], job["largest"]))
    sys.argv = ["graft", *job["words"]]
    if job["root"]:
        arm(job["deadly"], os.path.realpath(job["root"]), job["trace"])
    code = 1
    try:
        graft.cli.main()
        code = 0
    except SystemExit as e:
        code = int(e.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    pid = os.fork()
    if pid == 0:
        live(job)
    end = time.monotonic() + job["killed_after"] if job["killed_after"] is not None else None
    found = (0, 0)
    while not found[0]:
        found = os.waitpid(pid, 0 if end is None else os.WNOHANG)
        if end is not None and not found[0]:
            if time.monotonic() >= end:
                os.kill(pid, signal.SIGKILL)
                end = None
            else:
                time.sleep(0.002)
    print(os.waitstatus_to_exitcode(found[1]), flush=True)
'''


@dataclass
class Life:
    """A finished life: its exit code (-9 where it was killed, 9 where it died at its point) and all its words."""

    code: int
    said: str


class Lives:
    """A server of lives, as a context."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.said = folder / "said.txt"
        self.trace = folder / "trace.txt"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        quiet = {"PYTHONWARNINGS": "ignore", "TOKENIZERS_PARALLELISM": "false", "MPLBACKEND": "Agg"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=environment(**quiet),
        )  # fmt: skip
        assert self._line() == "ready"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.communicate()

    def live(
        self, *words: object, cache: Path | None = None, killed_after: float | None = None, largest: int | None = None
    ) -> Life:
        """One life of `graft WORDS`; a SIGKILL comes after so many seconds, no file gets more than `largest` bytes."""
        return self._life(words, cache, killed_after=killed_after, largest=largest)

    def die(self, *words: object, root: Path, deadly: int) -> Life:
        """One life that dies (code 9) at its n-th change of the disk below `root`, if there are so many."""
        return self._life(words, root / "cache", root=str(root), deadly=deadly)

    def points(self, *words: object, root: Path) -> list[str]:
        """The changes of the disk below `root` in one whole life, in order."""
        self.trace.write_text("")
        life = self._life(words, root / "cache", root=str(root))
        assert life.code == 0, life
        return self.trace.read_text("utf-8").splitlines()

    def _life(
        self, words: Sequence[object], cache: Path | None, killed_after: float | None = None, root: str = "",
        deadly: int = 0, largest: int | None = None,
    ) -> Life:  # fmt: skip
        assert self._process is not None
        assert self._process.stdin
        job = {
            "words": [str(w) for w in words], "env": {"GRAFT_CACHE": str(cache)} if cache else {}, "root": root,
            "deadly": deadly, "trace": str(self.trace), "said": str(self.said), "killed_after": killed_after,
            "largest": largest,
        }  # fmt: skip
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return Life(int(self._line()), self.said.read_text("utf-8", "replace"))

    def _line(self) -> str:
        assert self._process is not None
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, self._process.communicate()
        return line.strip()

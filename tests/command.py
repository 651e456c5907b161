"""The command line as a person uses it: in this process where that is enough, in one of its own where it is not."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import graft

SOURCE = str(Path(graft.__file__).parents[1])


@dataclass
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def call(*words: object, stdin: str = "") -> Said:
    """`graft WORDS` in this process: what `python -m graft` does, without the seconds of importing."""
    from graft.cli import main

    out, err = io.StringIO(), io.StringIO()
    before, code = (sys.argv, sys.stdin), 0
    sys.argv, sys.stdin = ["graft", *map(str, words)], io.StringIO(stdin)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as e:
        code = int(e.code or 0)
    finally:
        sys.argv, sys.stdin = before
    return Said(code, out.getvalue(), err.getvalue())


def environment(**changed: str) -> dict[str, str]:
    """This process's, with the source tree in front."""
    return {**os.environ, "PYTHONPATH": SOURCE, **changed}


def start(*words: object, env: Mapping[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
    """`graft WORDS` in a process of its own, not waited for."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    command = [sys.executable, "-m", "graft", *map(str, words)]
    return subprocess.Popen(command, env=environment(**(env or {})), text=True, **pipes, **options)


def run(*words: object, env: Mapping[str, str] | None = None, timeout: float = 120, **options: Any) -> Said:
    """`graft WORDS` in a process of its own; raises TimeoutExpired where it hangs."""
    with start(*words, env=env, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    return Said(process.returncode, out, err)


def refused(said: Said, code: int, *parts: str) -> str:
    """Assert a refusal: its exit code, nothing on standard output, one last line with all the parts. Gives the line."""
    assert said.code == code, said
    assert said.out == "", said
    lines = [line for line in said.err.splitlines() if line.startswith("graft: ")]
    assert len(lines) == 1, said.err
    assert said.err.rstrip().endswith(lines[0]), said.err
    assert "Traceback" not in said.err
    missing = [p for p in parts if p.lower() not in lines[0].lower()]
    assert not missing, f"{missing} not in {lines[0]!r}"
    return lines[0]


def python(code: str, *words: object, env: Mapping[str, str] | None = None, timeout: float = 120) -> Said:
    """A few lines of Python in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], env=environment(**(env or {})), text=True, capture_output=True,
        timeout=timeout, check=False,
    )  # fmt: skip
    return Said(done.returncode, done.stdout, done.stderr)


def names(folder: Path) -> set[str]:
    """What lies directly in a folder."""
    return {p.name for p in folder.iterdir()}


def lines(text: str) -> Sequence[str]:
    """Lines without the empty ones."""
    return [line for line in text.splitlines() if line.strip()]

"""What a person sees while work goes on: lines and progress bars on standard error, and a way to stop it."""

from __future__ import annotations

import os
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from graft.errors import Stopped


class Stop:
    """Whether someone asked to stop; long work asks `check` at places where nothing is lost."""

    def __init__(self) -> None:
        self.asked = ""

    def check(self) -> None:
        """Raise Stopped once a stop was asked for."""
        if self.asked:
            raise Stopped(f"stopped by {self.asked}; the same command with --resume goes on from here")


@contextmanager
def listening(say: Callable[[str], None]) -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into a stop at the next safe place; the second one ends the process at once."""
    stop = Stop()

    def hear(number: int, _: FrameType | None) -> None:
        if number == getattr(signal, "SIGHUP", None):
            _leave_terminal()
        if stop.asked:
            os._exit(Stopped.code)  # what is on disk is whole: every file was written by rename
        stop.asked = signal.Signals(number).name
        say(f"{stop.asked}: stopping at the next safe place; once more ends at once")

    named = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]
    # Under nohup SIGHUP stays unheard. Ctrl-C is heard even where a script started us in the background.
    wanted = [s for s in named if s.name != "SIGHUP" or signal.getsignal(s) is not signal.SIG_IGN]
    try:
        before = {s: signal.signal(s, hear) for s in wanted}
    except ValueError:  # not the main thread: the caller's own handling stays
        yield stop
        return
    try:
        yield stop
    finally:
        for s, old in before.items():
            signal.signal(s, old)


def _leave_terminal() -> None:
    """Point standard output and error at nothing where they were a terminal that is gone."""
    for fd in (1, 2):
        try:
            gone = stat.S_ISCHR(os.fstat(fd).st_mode) and not os.isatty(fd)
        except OSError:  # closed by whoever started us
            continue
        if gone:
            _mute(fd)


def _mute(fd: int) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), fd)


@contextmanager
def _unheard() -> Iterator[None]:
    """Where nobody reads standard error any more (`graft fit ... 2>&1 | head`) the work goes on in silence."""
    try:
        yield
    except OSError:
        _mute(2)


class Voice:
    """Lines and bars on standard error. Bars appear on a terminal alone; elsewhere long work leaves a line."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.stop = Stop()
        self._console: Any = None

    @property
    def console(self) -> Any:
        """A rich console on standard error, made when first needed."""
        if self._console is None:
            from rich.console import Console

            class Plain(Console):
                def on_broken_pipe(self) -> None:
                    """Leave it to `_unheard`: rich would close standard output and end the process."""
                    raise BrokenPipeError

            self._console = Plain(stderr=True, quiet=self.quiet, highlight=False, soft_wrap=True)
        return self._console

    def say(self, text: str) -> None:
        """One line of words; no markup is read from it."""
        if not self.quiet:
            with _unheard():
                self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """One line that stands out, also when quiet."""
        with _unheard():
            print(f"graft: {text}", file=sys.stderr, flush=True)

    @contextmanager
    def bar(self, text: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A progress bar with the time left; gives `tick(n)`, which also notices a wish to stop."""
        if self.quiet or not self.console.is_terminal:
            start = time.monotonic()
            yield lambda n: self.stop.check()
            if not self.quiet and time.monotonic() - start > 5:
                self.say(f"  {text}: {time.monotonic() - start:.0f} s")
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        columns = (
            TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self.console, transient=True) as progress:
            job = progress.add_task(text, total=total)

            def tick(n: int) -> None:
                progress.advance(job, n)
                self.stop.check()

            yield tick

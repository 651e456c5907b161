"""Errors that say what was given, what is possible and what to run next; each kind has its exit code.

GraftError                  1   (never raised itself)
├── UsageError              2   a wrong option, method, name or recipe
├── DataError               3   data that is refused, or findings
├── SetupError              4   the machine: a missing package, an unwritable folder, no network
├── SecurityError           6   a file that could run code
└── Stopped                75   a stop that `--resume` continues
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class GraftError(Exception):
    """Root of everything graft raises on purpose; `code` is the command line's exit status."""

    code = 1


class UsageError(GraftError):
    """An option, a name or a recipe that cannot be meant as given."""

    code = 2


class DataError(GraftError):
    """Data that is refused; the message names files, rows or lines."""

    code = 3


class SetupError(GraftError):
    """Something about this machine: packages, folders, network, another process."""

    code = 4


class SecurityError(GraftError):
    """A file that could run code, or reach outside its folder; nothing of it was run."""

    code = 6


class Stopped(GraftError):
    """Work was asked to stop, was saved, and goes on with `--resume`."""

    code = 75


def did_you_mean(word: str, possible: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest of `possible`, or the whole short list, or nothing."""
    options = sorted(set(possible))
    near = difflib.get_close_matches(word, options, n=2, cutoff=0.55)
    if near:
        return " Did you mean " + " or ".join(repr(n) for n in near) + "?"
    return f" Possible: {', '.join(options)}." if 0 < len(options) <= 30 else ""


def some(items: Iterable[object], most: int = 5) -> str:
    """Join the first few items for a message and count the rest: "a, b, c and 4 more"."""
    listed = [str(i) for i in items]
    shown = ", ".join(listed[:most])
    return f"{shown} and {len(listed) - most} more" if len(listed) > most else shown


def need(module: str, extra: str) -> ModuleType:
    """Import an optional package, or say which extra brings it.

    Raises SetupError where it is not installed or does not import.
    """
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise SetupError(
            f"{module} is needed here and did not import ({e}); run: pip install 'graft-learn[{extra}]'"
        ) from e

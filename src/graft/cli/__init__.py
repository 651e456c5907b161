"""The command line: one small function a command, each calling one public function."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from graft.cli import _doctor, _proving, _ranking, _training, _using
from graft.cli._app import app
from graft.errors import GraftError

__all__ = ["app", "main"]
COMMANDS = (_training, _ranking, _doctor, _using, _proving)  # imported for what they hang on the app


def version(value: bool) -> None:
    if value:
        from graft import __version__

        print(f"graft {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Transfer learning with proof: choose a pretrained model, carry it over, show that it helped."""


def main(command: Callable[..., Any] = app) -> None:
    """Run the command line; a GraftError or a wrong option is one line on standard error and its exit code."""
    _quiet_libraries()
    _keep_freed_memory()
    try:
        code = command(standalone_mode=False)
    except GraftError as e:
        _fail(str(e), e.code)
    except TyperException as e:
        if "\n" in e.format_message():  # `graft` alone: its help
            print(e.format_message(), file=sys.stderr)
            sys.exit(e.exit_code)
        _fail(_said(e), e.exit_code)
    else:
        sys.exit(code if isinstance(code, int) else 0)


def _fail(text: str, code: int) -> None:
    print(f"graft: {' '.join(text.split())}", file=sys.stderr)
    sys.exit(code)


def _said(error: TyperException) -> str:
    """A wrong option in our own words: what it may have meant, and where all of them stand."""
    said = re.sub(r" \(Possible options: (.+)\)", r". Did you mean \1?", error.format_message()).rstrip(".")
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "graft"
    return f"{said}{'' if said.endswith('?') else '.'} `{command} --help` shows what is possible"


def _keep_freed_memory() -> None:
    """Let the C library keep large blocks for the next step instead of giving them back to the system.

    Every step asks for the same blocks again; faulting them in anew took over a fifth of its time
    (`bench/step_speed.py`). Only here, not in the library: it concerns the whole process.
    """
    if sys.platform != "linux":
        return
    import ctypes

    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):  # another C library
        pass


def _quiet_libraries() -> None:
    """What libraries print about themselves is noise here; set before any of them is imported."""
    for key, value in {
        "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error", "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin halve the speed where other work shares the cores
    }.items():  # fmt: skip
        os.environ.setdefault(key, value)

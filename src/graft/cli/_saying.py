"""Standard output: whole, quiet where its reader has gone, and nothing but JSON where that was asked for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from graft._wording import finite


def plugins(files: list[str]) -> None:
    from graft import registry

    for file in files:
        registry.plugin(file)


def print_json(value: Any) -> None:
    """One JSON object on one line; a number that JSON has not (NaN, infinite) is null."""
    write(json.dumps(finite(value), ensure_ascii=False, allow_nan=False) + "\n")


def show(rendered: Any, after: str = "") -> None:
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:  # printed by us: rich would answer a lost reader in its own way
        console.print(rendered)
    write(captured.get() + after)


def write(text: str) -> None:
    with reader():
        sys.stdout.write(text)


@contextmanager
def reader() -> Iterator[None]:
    """Writing to standard output; where its reader has gone, as in `graft predict ... | head`, end quietly with 141."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor shall the interpreter's last flush speak
        raise SystemExit(141) from None

"""The application that the commands hang themselves on."""

from __future__ import annotations

import time

import typer

STARTED = time.monotonic()
"""When the process began: a budget counts from here."""

app = typer.Typer(
    name="graft", add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Transfer learning with proof: choose a pretrained model, carry it over, show that it helped.",
)  # fmt: skip

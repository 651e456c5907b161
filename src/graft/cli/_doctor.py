"""The command that says what is wrong with data, and mends what leaving out mends."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from graft.cli._app import app
from graft.cli._options import (
    Device,
    Group,
    Image,
    Json,
    Label,
    MaxBad,
    Plugin,
    Quiet,
    Split,
    TaskName,
    Text,
    Time,
    Zoo,
)
from graft.cli._saying import plugins, print_json, show


@app.command()
def doctor(
    data: Annotated[str, typer.Argument(help="Data as for `graft fit`.", metavar="DATA")],
    fix: Annotated[
        str,
        typer.Option(
            help="Write a copy without unreadable items, rows without a label, and copies.",
            metavar="DIR",
            show_default=False,
        ),
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier copy in DIR.")] = False,
    backbone: Annotated[
        str,
        typer.Option(
            help="Whose features are looked at: SOURCE:NAME, none, or auto (texts: bundled; pictures: --zoo)."
        ),
    ] = "auto",
    zoo: Zoo = "",
    task: TaskName = "auto",
    text: Text = "",
    image: Image = "",
    label: Label = "",
    group: Group = "",
    time_: Time = "",
    split: Split = "",
    max_bad: MaxBad = None,
    device: Device = "auto",
    plugin: Plugin = [],  # noqa: B006
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Say what is wrong with data and what mends it; exits with 3 where anything is."""
    from graft import doctor as looking
    from graft.voice import Voice

    plugins(plugin)
    voice = Voice(quiet)
    found = looking.examine(
        data, task=task, text=text, image=image, label=label, group=group, time=time_, split=split, backbone=backbone,
        zoo=zoo or None, device=device, max_bad=0.01 if max_bad is None else max_bad, voice=voice,
    )  # fmt: skip
    left = looking.fix(found, fix, overwrite) if fix else None
    if as_json:
        print_json({**found.plain(), **({"fixed": left.plain()} if left is not None else {})})
    else:
        from graft.tell import findings

        show(findings(found))
    if left is not None:
        voice.say(left.sentence())
    if found.found:
        sys.exit(3)

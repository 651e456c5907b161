"""Commands that prove: evidence."""

from __future__ import annotations

from typing import Annotated

import typer

from graft.cli._app import app
from graft.cli._options import Device, Json, Plugin, Quiet, Run
from graft.cli._saying import plugins, print_json, show
from graft.errors import UsageError


@app.command()
def evidence(
    run: Run,
    sizes: Annotated[
        str,
        typer.Option(
            help="Label counts, as 16,64,256. [default: six up to all]", metavar="N,N,...", show_default=False
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(help="Trainings of each arm and size.", min=1)] = 3,
    budget: Annotated[
        str, typer.Option(help="Time, as 10m: the cheapest come first. [default: none]", show_default=False)
    ] = "",
    scratch_passes: Annotated[
        float, typer.Option("--scratch-passes", help="Epochs from scratch, times the recipe's.")
    ] = 4.0,
    out: Annotated[
        str, typer.Option(help="The study's folder. [default: RUN.evidence]", metavar="DIR", show_default=False)
    ] = "",
    resume: Annotated[bool, typer.Option("--resume", help="Start, or go on with a study that was begun.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin a study anew.")] = False,
    device: Device = "auto",
    plugin: Plugin = [],  # noqa: B006
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure how many labels, and how much time, a run's pretrained weights saved."""
    from graft.voice import Voice, listening

    voice = Voice(quiet)
    with listening(voice.warn) as voice.stop:
        from graft.saved import labels_saved

        plugins(plugin)
        found = labels_saved(
            run, sizes=_counts(sizes), seeds=seeds, budget=budget or None, passes=scratch_passes, out=out or None,
            resume=resume, overwrite=overwrite, device=device, voice=voice,
        )  # fmt: skip
    if as_json:
        print_json(found)
        return
    from graft._saved_page import terminal

    show(terminal(found), f"{found['evidence']}/evidence.html\n")


def _counts(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise UsageError(f"--sizes {text}: write whole numbers with commas, as 16,64,256") from None

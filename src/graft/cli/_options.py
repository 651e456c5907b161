"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output, nothing else there.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only the result and errors.")]
Plugin = Annotated[
    list[str], typer.Option("--plugin", help="Python file with a method, task or source; it is run.", metavar="FILE")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto.")]
Seed = Annotated[int | None, typer.Option(help="Every random draw comes from it. [default: 0]", show_default=False)]
Zoo = Annotated[
    str,
    typer.Option(
        help="Folder of pretrained models; all below it are candidates. Also: GRAFT_ZOO.",
        metavar="DIR",
        show_default=False,
    ),
]
Text = Annotated[str, typer.Option(help="Column of the texts.", metavar="NAME", show_default=False)]
Image = Annotated[str, typer.Option(help="Column of the pictures' paths.", metavar="NAME", show_default=False)]
Label = Annotated[
    str,
    typer.Option(help="Column of the labels; several columns of 0 and 1 as A,B,C.", metavar="NAME", show_default=False),
]
Measure = Annotated[
    str,
    typer.Option(
        help="What decides: macro_f1, auroc, mae ...; `graft list measures`.", metavar="NAME", show_default=False
    ),
]
TaskName = Annotated[str, typer.Option("--task", help="Kind of task; `graft list tasks`.")]
MaxBad = Annotated[
    float | None,
    typer.Option(help="Share of unreadable items above which data are refused. [default: 0.01]", show_default=False),
]


Run = Annotated[str, typer.Argument(help="A run folder.", metavar="RUN")]
Group = Annotated[
    str, typer.Option(help="Column; equal values never stand on two sides.", metavar="NAME", show_default=False)
]
Domain = Annotated[
    str, typer.Option(help="Column of the world a sample comes from.", metavar="NAME", show_default=False)
]
Time = Annotated[
    str, typer.Option("--time", help="Column; the latest are the test part.", metavar="NAME", show_default=False)
]
Split = Annotated[str, typer.Option(help="Column that says train, valid or test.", metavar="NAME", show_default=False)]
Unknown = Annotated[str, typer.Option(help="Labels that train has not: refuse, or drop the samples.")]
DropUnlabelled = Annotated[bool, typer.Option("--drop-unlabelled", help="Leave rows without a label out.")]
Precision = Annotated[str, typer.Option(help="Of frozen passes: fp32, bf16, or auto, which measures.")]
Keep = Annotated[
    str,
    typer.Option(help="Data of an earlier task: measure what was forgotten.", metavar="SOURCE", show_default=False),
]
MaxDrop = Annotated[float, typer.Option(help="Drop on --keep above which a run is flagged.")]

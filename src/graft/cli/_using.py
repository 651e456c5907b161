"""Commands that look at runs, and list."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from graft.cli._app import app
from graft.cli._options import (
    Device,
    DropUnlabelled,
    Image,
    Json,
    Keep,
    Label,
    MaxDrop,
    Measure,
    Plugin,
    Quiet,
    Run,
    Text,
)
from graft.cli._saying import plugins, print_json, reader, show, write
from graft.errors import UsageError, did_you_mean


@app.command()
def predict(
    run: Run,
    inputs: Annotated[
        list[str], typer.Argument(help="Files, folders, tables, or - for lines of standard input.", metavar="INPUT...")
    ],
    out: Annotated[
        str, typer.Option(help="Write to a .csv, .jsonl or .parquet file instead.", metavar="FILE", show_default=False)
    ] = "",
    top_k: Annotated[int, typer.Option("--top-k", help="So many likeliest classes a row.", min=1)] = 1,
    coverage: Annotated[
        float | None,
        typer.Option(
            help="Add sets of labels, or intervals, that hold the truth so often: 0.9.",
            metavar="SHARE",
            show_default=False,
        ),
    ] = None,
    device: Device = "auto",
    plugin: Plugin = [],  # noqa: B006
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")] = False,
) -> None:
    """Answer new inputs with a run's model."""
    from graft import predict as writing
    from graft.run import Run
    from graft.voice import Voice

    plugins(plugin)
    writing.check_out(out)
    voice = Voice(quiet)
    # As paths: a name that is not there is refused here, not read as a text to classify.
    table = Run(run, device).predict([i if i == "-" else Path(i) for i in inputs], top_k, voice, coverage)
    bad = writing.bad_rows(table)
    if bad:
        voice.warn(f"{len(bad)} of {len(table)} could not be read: {', '.join(bad[:5])}")
    with reader():
        writing.write(table, out, as_json)


@app.command()
def evaluate(
    run: Run,
    data: Annotated[
        str, typer.Argument(help="Labelled data; its test part is used where it has one.", metavar="[DATA]")
    ] = "",
    keep: Keep = "",
    max_drop: MaxDrop = 0.05,
    text: Text = "",
    image: Image = "",
    label: Label = "",
    device: Device = "auto",
    max_bad: Annotated[float, typer.Option(help="Share of unreadable items above which data are refused.")] = 0.01,
    drop_unlabelled: DropUnlabelled = False,
    corrupt: Annotated[
        bool, typer.Option("--corrupt", help="Also every rung under noise, blur, JPEG and contrast, or typos and case.")
    ] = False,
    corruptions: Annotated[
        str, typer.Option(help="Corrupt by these alone, or by all: noise,jpeg.", metavar="NAMES", show_default=False)
    ] = "",
    corrupt_samples: Annotated[
        int, typer.Option(help="Corrupt so many samples at most, drawn by stratum.", min=1)
    ] = 500,
    plugin: Plugin = [],  # noqa: B006
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure a run's model on labelled data, or what it forgot of an earlier task's."""
    from graft import tell
    from graft._wording import clean
    from graft.run import Run
    from graft.voice import Voice

    if not (data or keep):
        raise UsageError(f"graft evaluate {run}: name labelled DATA, or --keep SOURCE of an earlier task, or both")
    plugins(plugin)
    voice, opened = Voice(quiet), Run(run, device)
    lost = opened.forgetting(keep, max_drop, voice) if keep else None
    found = (
        opened.evaluate(
            data, text=text, image=image, label=label, max_bad=max_bad, drop_unlabelled=drop_unlabelled,
            corrupt=corruptions or corrupt, corrupt_samples=corrupt_samples, voice=voice,
        )
        if data
        else {"run": str(opened.folder.resolve()), "notes": []}
    )  # fmt: skip
    if as_json:
        for line in tell.notes(found):
            voice.say(line)
        print_json({**found, "forgetting": lost} if lost else found)
        return
    if data:
        show(tell.evaluation(found))
    if lost:
        write(f"{clean(lost['sentence'])}\n")


@app.command()
def compare(
    run: Run,
    other: Annotated[str, typer.Argument(help="The run to compare it with.", metavar="RUN")],
    measure: Measure = "",
    as_json: Json = False,
) -> None:
    """Say which of two runs is better on the test samples both answered, paired."""
    from graft.versus import compare as paired

    found = paired(run, other, measure)
    if as_json:
        print_json(found.plain())
    else:
        print(found.sentence())


@app.command()
def verify(
    run: Run,
    as_json: Json = False,
) -> None:
    """Compute a report's numbers again from the saved answers; a mismatch or a changed file exits with 3."""
    from graft import tell
    from graft.verify import check

    found = check(run)
    if as_json:
        print_json(found.plain())
    else:
        show(tell.verified(found))
    if not found.whole:
        sys.exit(3)


@app.command()
def report(
    run: Run,
    quiet: Quiet = False,
) -> None:
    """Write report.html and README.md of a run anew, from its report.json."""
    from graft.storage import rebuild
    from graft.voice import Voice

    for file in rebuild(run):
        Voice(quiet).say(str(file))


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="methods, tasks, backbones or measures.", metavar="[methods|tasks|backbones|measures]")
    ] = "methods",
    plugin: Plugin = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Show what there is: a name and a sentence a row."""
    from graft import registry

    kinds = (*registry.KINDS, "measures")
    if kind not in kinds:
        raise UsageError(f"graft list {kind}: possible are {', '.join(kinds)}.{did_you_mean(kind, kinds)}")
    plugins(plugin)
    if kind == "measures":
        from graft.measures import table

        rows = [{"name": m.name, "sentence": f"{m.says} ({', '.join(sorted(m.kinds))})"} for m in table()]
    else:
        rows = [{"name": n, "sentence": registry.sentence(kind, n)} for n in registry.names(kind)]
    if as_json:
        print_json({kind: rows})
        return
    width = max(len(r["name"]) for r in rows)
    write("".join(f"{row['name']:<{width}}  {row['sentence']}\n" for row in rows))

"""The command that compares pretrained models before any training."""

from __future__ import annotations

from typing import Annotated

import typer

from graft.cli._app import app
from graft.cli._options import (
    Device,
    Domain,
    DropUnlabelled,
    Group,
    Image,
    Json,
    Label,
    MaxBad,
    Measure,
    Plugin,
    Quiet,
    Seed,
    Split,
    TaskName,
    Text,
    Time,
    Unknown,
    Zoo,
)
from graft.cli._saying import plugins, print_json, show


@app.command()
def rank(
    data: Annotated[str, typer.Argument(help="Data as for `graft fit`.", metavar="DATA")],
    candidates: Annotated[
        str,
        typer.Option(
            help="Names with commas, a folder of models, or a file with a name a line: the whole list.",
            metavar="NAMES|DIR|FILE",
            show_default=False,
        ),
    ] = "",
    zoo: Zoo = "",
    max_mb: Annotated[
        float | None, typer.Option(help="Largest weights file, in MB.", metavar="MB", show_default=False)
    ] = None,
    max_ms: Annotated[
        float | None,
        typer.Option(help="Slowest forward pass, in ms a sample on this machine.", metavar="MS", show_default=False),
    ] = None,
    license: Annotated[
        str, typer.Option(help="permissive leaves out what is not Apache-2.0, MIT, BSD or like them.")
    ] = "any",
    budget: Annotated[
        str, typer.Option(help="Time it may take, as 60s. [default: none]", metavar="TIME", show_default=False)
    ] = "",
    explain: Annotated[
        str, typer.Option(help="Look closely at one candidate instead.", metavar="NAME", show_default=False)
    ] = "",
    task: TaskName = "auto",
    measure: Measure = "",
    text: Text = "",
    image: Image = "",
    label: Label = "",
    group: Group = "",
    domain: Domain = "",
    time_: Time = "",
    split: Split = "",
    seed: Seed = None,
    device: Device = "auto",
    max_bad: MaxBad = None,
    unknown: Unknown = "refuse",
    drop_unlabelled: DropUnlabelled = False,
    plugin: Plugin = [],  # noqa: B006
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Rank pretrained models for data before any training."""
    from graft import tell_rank as tell
    from graft.errors import SetupError, UsageError
    from graft.ranking import explain_data, rank_data
    from graft.recipe import Recipe
    from graft.voice import Voice

    plugins(plugin)
    bad = 0.01 if max_bad is None else max_bad
    if explain:
        unused = {"--candidates": candidates, "--budget": budget, "--max-mb": max_mb, "--max-ms": max_ms}
        for option in (o for o, value in unused.items() if value):
            raise UsageError(f"--explain looks at one candidate: {option} is for the ranking; leave one of them out")
        asked = Recipe(
            task=task, measure=measure, text=text, image=image, label=label, group=group, domain=domain, time=time_,
            split=split, unknown=unknown, drop_unlabelled=drop_unlabelled, seed=seed or 0, max_bad=bad,
        )  # fmt: skip
        looked = explain_data(data, explain, asked=asked, zoo=zoo or None, device=device, voice=Voice(quiet))
        print_json(looked.plain()) if as_json else show(tell.explanation(looked))
        return
    ranking = rank_data(
        data, candidates or None, zoo=zoo or None, max_mb=max_mb, max_ms=max_ms, license=license,
        budget=budget or None, task=task, measure=measure, text=text, image=image, label=label, group=group,
        domain=domain, time=time_, split=split, unknown=unknown, drop_unlabelled=drop_unlabelled, seed=seed or 0,
        device=device, max_bad=bad, voice=Voice(quiet),
    )  # fmt: skip
    print_json(ranking.plain()) if as_json else show(tell.ranking(ranking))
    if ranking.choice is None:
        raise SetupError(f"{ranking.sentence()}: each line above says why")

"""Commands that train and that look through a backbone: fit, features."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from graft.cli._app import STARTED, app
from graft.cli._options import (
    Device,
    Domain,
    DropUnlabelled,
    Group,
    Image,
    Json,
    Keep,
    Label,
    MaxBad,
    MaxDrop,
    Measure,
    Plugin,
    Precision,
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
def fit(
    data: Annotated[
        str, typer.Argument(help="Folder of class folders, table of texts, or a run's recipe.toml.", metavar="DATA")
    ],
    backbone: Annotated[
        str, typer.Option(help="Pretrained model as SOURCE:NAME; `graft list backbones`.", metavar="NAME")
    ] = "auto",
    recipe: Annotated[
        str, typer.Option(help="What to do, as 'probe > finetune:depth=2'; runs with no clock.", show_default=False)
    ] = "",
    set: Annotated[
        list[str], typer.Option("--set", help="One number, as stage.0.lr=1e-3; may stand often.", metavar="KEY=VALUE")
    ] = [],  # noqa: B006
    budget: Annotated[
        str, typer.Option(help="Time, as 150s, 5m, 1h. [default: 5m, none with --recipe]", show_default=False)
    ] = "",
    evidence: Annotated[
        str, typer.Option(help="Controls without pretrained knowledge: off, quick or full.", metavar="off|quick|full")
    ] = "quick",
    seed: Seed = None,
    out: Annotated[
        str, typer.Option(help="The run folder. [default: runs/NAME]", metavar="DIR", show_default=False)
    ] = "",
    zoo: Zoo = "",
    architecture: Annotated[
        str,
        typer.Option(help="Of a bare .safetensors as backbone: timm/NAME.", metavar="NAME", show_default=False),
    ] = "",
    measure: Measure = "",
    device: Device = "auto",
    precision: Precision = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Start, go on, or print the finished result again.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished run once the new one is whole.")
    ] = False,
    break_lock: Annotated[
        bool, typer.Option("--break-lock", help="Take a work folder over whose owner, on another host, is gone.")
    ] = False,
    task: TaskName = "auto",
    text: Text = "",
    image: Image = "",
    label: Label = "",
    group: Group = "",
    domain: Domain = "",
    time_: Time = "",
    split: Split = "",
    max_bad: MaxBad = None,
    unknown: Unknown = "refuse",
    drop_unlabelled: DropUnlabelled = False,
    frames: Annotated[str, typer.Option(help="Of pictures of several pages: first, or all.")] = "first",
    long_texts: Annotated[str, typer.Option(help="Of too long texts, keep the head, or head_tail.")] = "head",
    keep: Keep = "",
    max_drop: MaxDrop = 0.05,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse data in which the doctor finds anything.")] = False,
    plugin: Plugin = [],  # noqa: B006
    tensorboard: Annotated[
        str, typer.Option(help="Also write TensorBoard event files there.", metavar="DIR", show_default=False)
    ] = "",
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Choose a backbone, carry it over, prove it, write a run folder."""
    from graft.voice import Voice, listening

    voice = Voice(quiet)
    with listening(voice.warn) as voice.stop:
        from graft.fitting import start
        from graft.request import Request

        given = {
            "backbone": backbone, "evidence": evidence, "measure": measure, "seed": seed,
            "device": device, "precision": precision,
            "task": task, "text": text, "image": image, "label": label, "group": group, "domain": domain,
            "time": time_, "split": split, "max_bad": max_bad, "unknown": unknown,
            "drop_unlabelled": drop_unlabelled, "frames": frames, "long_texts": long_texts,
            "keep": keep, "max_drop": max_drop, "strict": strict,
        }  # fmt: skip
        request = Request(
            data, given, recipe or None, set, budget or None, out or None, zoo or None, architecture, resume,
            overwrite, break_lock, plugin, tensorboard or None, STARTED,
        )  # fmt: skip
        _finished(start(request, voice), as_json)


def _finished(run: Any, as_json: bool) -> None:
    from graft import outcome, report

    if as_json:
        print_json({**outcome.summary(run.report), "run": str(run.folder.resolve())})
    else:
        show(report.terminal(run.report), f"{run.folder}/report.html\n")


@app.command()
def features(
    data: Annotated[str, typer.Argument(help="Data as for `graft fit`, with or without labels.", metavar="DATA")],
    out: Annotated[str, typer.Option(help="A .npz or .parquet file.", metavar="FILE")],
    backbone: Annotated[
        str, typer.Option(help="Pretrained model as SOURCE:NAME, or run:FOLDER.", metavar="NAME")
    ] = "auto",
    zoo: Zoo = "",
    stages: Annotated[bool, typer.Option("--stages", help="Also pooled features after each stage.")] = False,
    task: TaskName = "auto",
    text: Text = "",
    image: Image = "",
    label: Label = "",
    device: Device = "auto",
    precision: Precision = "auto",
    max_bad: MaxBad = None,
    plugin: Plugin = [],  # noqa: B006
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the features of a pretrained model, with ids and labels beside them."""
    from graft.embed import features as embed
    from graft.recipe import Recipe
    from graft.voice import Voice

    plugins(plugin)
    voice = Voice(quiet)
    asked = Recipe(
        task=task, text=text, image=image, label=label, device=device, precision=precision,
        max_bad=0.01 if max_bad is None else max_bad,
    )  # fmt: skip
    done = embed(data, out=out, backbone=backbone, stages=stages, asked=asked, zoo=zoo or None, voice=voice)
    if as_json:
        print_json(done.plain())
    else:
        voice.say(done.sentence())

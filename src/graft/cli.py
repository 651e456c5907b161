"""The command line: one small function a command, each calling one public function."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from graft.errors import GraftError, UsageError, did_you_mean

STARTED = time.monotonic()
app = typer.Typer(
    name="graft", add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Transfer learning with proof: choose a pretrained model, carry it over, show that it helped.",
)  # fmt: skip

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
Text = Annotated[
    str, typer.Option(help="Column of the texts, where guessing is not wanted.", metavar="NAME", show_default=False)
]
Label = Annotated[
    str, typer.Option(help="Column of the labels, where guessing is not wanted.", metavar="NAME", show_default=False)
]
TaskName = Annotated[str, typer.Option("--task", help="Kind of task; `graft list tasks`.")]
MaxBad = Annotated[
    float | None,
    typer.Option(help="Share of unreadable items above which data are refused. [default: 0.01]", show_default=False),
]


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
    seed: Seed = None,
    out: Annotated[
        str, typer.Option(help="The run folder. [default: runs/NAME]", metavar="DIR", show_default=False)
    ] = "",
    zoo: Zoo = "",
    device: Device = "auto",
    resume: Annotated[bool, typer.Option("--resume", help="Start, go on, or print the finished result again.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a finished run once the new one is whole.")
    ] = False,
    task: TaskName = "auto",
    text: Text = "",
    label: Label = "",
    max_bad: MaxBad = None,
    plugin: Plugin = [],  # noqa: B006
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Choose a backbone, carry it over, prove it, write a run folder."""
    from graft.voice import Voice, listening

    voice = Voice(quiet)
    with listening(voice.warn) as voice.stop:
        from graft import outcome, report
        from graft.fitting import Request, start

        run = start(
            Request(
                data, backbone, recipe or None, set, budget or None, seed, out or None, zoo or None, device, resume,
                overwrite, plugin, task, text, label, max_bad, STARTED,
            ),
            voice,
        )  # fmt: skip
        if as_json:
            _print_json({**outcome.summary(run.report), "run": str(run.folder.resolve())})
        else:
            _show(report.terminal(run.report), f"{run.folder}/report.html\n")


@app.command()
def predict(
    run: Annotated[str, typer.Argument(help="A run folder.", metavar="RUN")],
    inputs: Annotated[
        list[str], typer.Argument(help="Files, folders, tables, or - for lines of standard input.", metavar="INPUT...")
    ],
    out: Annotated[
        str, typer.Option(help="Write to a .csv, .jsonl or .parquet file instead.", metavar="FILE", show_default=False)
    ] = "",
    top_k: Annotated[int, typer.Option("--top-k", help="So many likeliest classes a row.", min=1)] = 1,
    device: Device = "auto",
    plugin: Plugin = [],  # noqa: B006
    quiet: Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on standard output.")] = False,
) -> None:
    """Answer new inputs with a run's model."""
    from graft import predict as writing
    from graft.run import Run
    from graft.voice import Voice

    _plugins(plugin)
    writing.check_out(out)
    voice = Voice(quiet)
    # As paths: a name that is not there is refused here, not read as a text to classify.
    table = Run(run, device).predict([i if i == "-" else Path(i) for i in inputs], top_k, voice)
    bad = writing.bad_rows(table)
    if bad:
        voice.warn(f"{len(bad)} of {len(table)} could not be read: {', '.join(bad[:5])}")
    with _reader():
        writing.write(table, out, as_json)


@app.command()
def evaluate(
    run: Annotated[str, typer.Argument(help="A run folder.", metavar="RUN")],
    data: Annotated[str, typer.Argument(help="Labelled data; its test part is used where it has one.", metavar="DATA")],
    text: Text = "",
    label: Label = "",
    device: Device = "auto",
    max_bad: Annotated[float, typer.Option(help="Share of unreadable items above which data are refused.")] = 0.01,
    plugin: Plugin = [],  # noqa: B006
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure a run's model on labelled data."""
    from graft import outcome
    from graft.run import Run
    from graft.voice import Voice

    _plugins(plugin)
    voice = Voice(quiet)
    found = Run(run, device).evaluate(data, text=text, label=label, max_bad=max_bad, voice=voice)
    from graft import tell

    if as_json:
        for line in tell.notes(found):
            voice.say(line)
        _print_json({k: found[k] for k in outcome.SUMMARY})
    else:
        _show(tell.evaluation(found))


@app.command()
def rank(
    data: Annotated[str, typer.Argument(help="Data as for `graft fit`.", metavar="DATA")],
    candidates: Annotated[
        str,
        typer.Option(
            help="Folder of models, or names with commas: the whole list.", metavar="DIR|NAMES", show_default=False
        ),
    ] = "",
    zoo: Zoo = "",
    task: TaskName = "auto",
    text: Text = "",
    label: Label = "",
    seed: Seed = None,
    device: Device = "auto",
    max_bad: MaxBad = None,
    plugin: Plugin = [],  # noqa: B006
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Rank pretrained models for data before any training."""
    from graft.ranking import rank_data
    from graft.voice import Voice

    _plugins(plugin)
    ranking = rank_data(
        data, candidates or None, zoo=zoo or None, task=task, text=text, label=label, seed=seed or 0, device=device,
        max_bad=0.01 if max_bad is None else max_bad, voice=Voice(quiet),
    )  # fmt: skip
    if as_json:
        _print_json(ranking.plain())
        return
    from graft.tell import ranking as table

    _show(table(ranking))


@app.command()
def compare(
    run: Annotated[str, typer.Argument(help="A run folder.", metavar="RUN")],
    other: Annotated[str, typer.Argument(help="The run to compare it with.", metavar="RUN")],
    as_json: Json = False,
) -> None:
    """Say which of two runs is better on the test samples both answered, paired."""
    from graft.versus import compare as paired

    found = paired(run, other)
    if as_json:
        _print_json(found.plain())
    else:
        print(found.sentence())


@app.command("list")
def list_(
    kind: Annotated[
        str, typer.Argument(help="methods, tasks or backbones.", metavar="[tasks|methods|backbones]")
    ] = "methods",
    plugin: Plugin = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Show what there is: a name and a sentence a row."""
    from graft import registry

    if kind not in registry.KINDS:
        raise UsageError(
            f"graft list {kind}: possible are {', '.join(registry.KINDS)}.{did_you_mean(kind, registry.KINDS)}"
        )
    _plugins(plugin)
    rows = [{"name": n, "sentence": registry.sentence(kind, n)} for n in registry.names(kind)]
    if as_json:
        _print_json({kind: rows})
        return
    width = max(len(r["name"]) for r in rows)
    _print("".join(f"{row['name']:<{width}}  {row['sentence']}\n" for row in rows))


def _plugins(files: list[str]) -> None:
    from graft import registry

    for file in files:
        registry.plugin(file)


def _print_json(value: Any) -> None:
    _print(json.dumps(value, ensure_ascii=False, allow_nan=False) + "\n")


def _show(rendered: Any, after: str = "") -> None:
    from rich.console import Console

    console = Console(highlight=False)
    with console.capture() as captured:  # printed by us: rich would answer a lost reader in its own way
        console.print(rendered)
    _print(captured.get() + after)


def _print(text: str) -> None:
    with _reader():
        sys.stdout.write(text)


@contextmanager
def _reader() -> Iterator[None]:
    """Writing to standard output; where its reader has gone, as in `graft predict ... | head`, end quietly with 141."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor shall the interpreter's last flush speak
        raise SystemExit(141) from None


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


if __name__ == "__main__":
    main()

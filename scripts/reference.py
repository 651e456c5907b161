"""Print docs/reference.md: commands, recipe fields and everything `graft list` knows, from the code itself."""

from __future__ import annotations

import dataclasses
import inspect

from typer.main import get_command

from graft import measures, registry
from graft.cli import app
from graft.recipe import Recipe, Stage


def main() -> None:
    """Write the page to standard output."""
    print("# Reference\n\nMade by `make docs` from the code; `make check` fails where it is out of date.\n")
    commands()
    print("## A recipe's fields\n\nSet with `--set KEY=VALUE` or in a recipe file.\n")
    fields(Recipe, "")
    print("\n## A stage's fields\n\nSet with `--set stage.N.KEY=VALUE`; N counts from 0.\n")
    fields(Stage, "stage.N.")
    for kind in registry.KINDS:
        print(f"\n## {kind.capitalize()}\n")
        for name in registry.names(kind):
            print(f"- **{name}** {registry.sentence(kind, name)}")
            if kind == "methods":
                options(registry.load(kind, name))
    print("\n## Measures\n\nNamed with `--measure`; the first of a kind of answer decides unasked.\n")
    print("| measure | of | better | meaning |\n| --- | --- | --- | --- |")
    for m in measures.table():
        print(f"| `{m.name}` | {', '.join(sorted(m.kinds))} | {'less' if m.lower else 'more'} | {m.says} |")


def commands() -> None:
    """Every command with its options."""
    print("## Commands\n")
    for name, command in sorted(get_command(app).commands.items()):  # type: ignore[attr-defined]
        print(f"### graft {name}\n\n{inspect.cleandoc(command.help or '')}\n\n| option | meaning |\n| --- | --- |")
        for p in command.params:
            shown = ", ".join(p.opts) if p.param_type_name == "option" else p.metavar or p.name
            print(f"| `{shown}` | {(getattr(p, 'help', '') or '').replace('|', '/')} |")
        print()


def fields(kind: type, prefix: str) -> None:
    """Fields that a user may change."""
    print("| key | default | meaning |\n| --- | --- | --- |")
    for f in dataclasses.fields(kind):
        if f.metadata:
            default = "chosen from the data" if f.default is None else repr(f.default)
            print(f"| `{prefix}{f.name}` | {default} | {f.metadata['help']} |")


def options(kind: type) -> None:
    """A method's options."""
    if dataclasses.is_dataclass(kind):
        for f in dataclasses.fields(kind):
            if f.metadata:
                print(f"    - `{f.name}` = {f.default!r}: {f.metadata['help']}")


if __name__ == "__main__":
    main()

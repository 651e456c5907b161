"""Runs of several rungs that a recipe names: no clock leaves one out, and trained ones lie beside the kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import graft
from graft.run import Run

RUNGS = (
    ("nearest_neighbour", ("nearest_neighbour",)),
    ("probe", ("probe:l2=0.1",)),
    ("tuned", ("finetune:depth=1",)),
    ("whole", ("finetune",)),
)


def recipe(
    path: Path, data: Path, backbone: Path, rungs: Sequence[tuple[str, Sequence[str]]] = RUNGS, epochs: float = 1
) -> Path:
    """A recipe.toml with a stage a rung."""
    # The controls that start from random weights would only take time here.
    lines = [f'data = "{data}"', f'backbone = "local:{backbone}"', 'evidence = "off"']
    for name, methods in rungs:
        lines += ["[[rungs]]", f'name = "{name}"', "[[rungs.stages]]", f"methods = {list(methods)}".replace("'", '"')]
        if methods[0].startswith("finetune"):
            lines.append(f"epochs = {epochs}")
    path.write_text("\n".join(lines) + "\n")
    return path


def climb(folder: Path, data: Path, backbone: Path, epochs: float = 1) -> Run:
    """A run of all these rungs in `folder`/run."""
    folder.mkdir(parents=True, exist_ok=True)
    return graft.fit(recipe(folder / "recipe.toml", data, backbone, epochs=epochs), out=folder / "run", quiet=True)

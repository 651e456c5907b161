"""What a person asked for, settled into a recipe before anything is read."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from graft import constant, controls, forgetting, ladder, recipe, sources, train
from graft.backbones import absolute
from graft.errors import UsageError
from graft.precision import asked_for
from graft.recipe import Recipe, Rung
from graft.tasks import Task

DEFAULT_BUDGET = 300.0  # seconds


@dataclass
class Request:
    """What a person asked for, before anything was read; `given` are fields of the recipe."""

    data: Any
    given: Mapping[str, Any] = field(default_factory=dict)
    recipe: str | Path | None = None
    set: Sequence[str] = ()
    budget: str | float | None = None
    out: str | Path | None = None
    zoo: str | Path | None = None
    architecture: str = ""
    resume: bool = False
    overwrite: bool = False
    break_lock: bool = False
    plugins: Sequence[str | Path] = ()
    tensorboard: str | Path | None = None
    started: float = field(default_factory=time.monotonic)


def settle(request: Request) -> tuple[Recipe, Any, float | None]:
    """(recipe as far as it is known, resolved source, budget). Raises UsageError."""
    if is_recipe(request.data):
        asked = recipe.load_toml(Path(request.data))
        if asked.plugins and not request.plugins:
            raise UsageError(
                f"{request.data} used the plugin {asked.plugins[0]}: give --plugin FILE, graft runs none unasked"
            )
        if not asked.rungs:
            raise UsageError(f'{request.data}: has no stages; write [[stages]] with methods = ["finetune"]')
        if not asked.data:
            raise UsageError(f'{request.data}: names no data; write data = "PATH"')
        source, name = sources.resolve(asked.data)
    else:
        source, name = sources.resolve(request.data)
        asked = Recipe(rungs=_rungs(request.recipe))
    budget = recipe.parse_budget(request.budget)
    if budget is None and not asked.rungs:
        budget = DEFAULT_BUDGET
    asked = replace(asked, rungs=asked.rungs or ladder.rungs(), data=name)
    given = _given(request)
    if given.get("evidence", asked.evidence) != asked.evidence:
        asked = replace(asked, controls=())  # planned for the other
    asked = replace(asked, **given)
    asked = recipe.override(asked, request.set)
    asked = forgetting.settled(replace(asked, backbone=absolute(asked.backbone)))
    _check_names(asked)
    return asked, source, budget


def is_recipe(data: Any) -> bool:
    return isinstance(data, str | Path) and str(data).endswith(".toml")


def _check_names(asked: Recipe) -> None:
    """Names of rungs are those of answers in the report: each once, and a control's name for that control alone."""
    names = [r.name for r in asked.rungs]
    if len(set(names)) < len(names):
        raise UsageError(f"rungs need different names: {', '.join(names)}")
    known = {r.name: r for r in ladder.control_rungs()}
    for rung in asked.rungs:
        same = rung.name in known and ladder.name_of(rung.stages) == rung.name
        reserved = (*constant.BASELINES, *controls.WITHOUT)
        if rung.name in reserved or (rung.name in known and not same):
            raise UsageError(f"a rung cannot be called {rung.name!r}: that is a control; give it another name")
    if not 0 <= asked.max_bad <= 1:
        raise UsageError(f"--max-bad {asked.max_bad:g}: a share between 0 and 1 is expected")
    for key, given, possible in (
        ("evidence", asked.evidence, recipe.EVIDENCE),
        ("unknown", asked.unknown, recipe.UNKNOWN),
        ("frames", asked.frames, recipe.FRAMES),
        ("long-texts", asked.long_texts, recipe.CUTS),
    ):
        if given not in possible:
            raise UsageError(f"--{key} {given}: possible are {', '.join(possible)}")
    asked_for(asked.precision)
    if abs(asked.seed) >= 2**63:
        raise UsageError(f"--seed {asked.seed}: a number of at most 63 bits is expected")


def _given(request: Request) -> dict[str, Any]:
    """What the request says over the recipe's own values: everything that is not as it would be unasked."""
    kinds = {f.name: (str(f.type), f.default) for f in fields(Recipe)}
    given: dict[str, Any] = {}
    for key, value in request.given.items():
        kind, unasked = kinds[key]
        if value is not None and value != unasked:
            given[key] = recipe.coerce(kind, value, f"--{key.replace('_', '-')}")
    if request.given.get("seed") is not None:  # also where it is the usual one, but the recipe's is not
        given["seed"] = recipe.coerce("int", request.given["seed"], "--seed")
    if request.architecture:
        from graft.backbones import with_architecture

        given["backbone"] = with_architecture(str(given.get("backbone", "")), request.architecture)
    if request.plugins:
        given["plugins"] = tuple(str(Path(p).resolve()) for p in request.plugins)
    return given


def _rungs(text: str | Path | None) -> tuple[Rung, ...]:
    if text is None:
        return ()
    if str(text).endswith(".toml"):
        return recipe.load_toml(Path(text)).rungs
    return (Rung("recipe", recipe.parse_stages(str(text))),)


def check_methods(asked: Recipe, task: Task) -> None:
    """Names, options and conflicts of every stage, before anything is read."""
    for rung in asked.rungs:
        for stage in rung.stages:
            train.loop.check(stage, task, train.methods_of(stage))
        if rung.name == "recipe" and all(not train.solves(x) and not _supervised(x) for x in rung.stages):
            raise UsageError(f"{recipe.short_form(rung.stages)}: no stage answers the task; end with probe or finetune")


def _supervised(stage: recipe.Stage) -> bool:
    return all(m.supervised for m in train.methods_of(stage))

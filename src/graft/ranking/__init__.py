"""Which backbone: candidates compared before anything is trained, by prior, transferability scores and a probe."""

from __future__ import annotations

import math
import time as clock
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from graft import floors, hub, sources
from graft.data import Data
from graft.errors import UsageError
from graft.ranking.candidates import candidates_for, named, no_candidate, zoo_folders
from graft.ranking.explain import Explanation, explain
from graft.ranking.limits import ANY, Limits
from graft.ranking.race import rank
from graft.ranking.table import LEVEL, Apart, Candidate, Ranking
from graft.recipe import Recipe, parse_budget
from graft.tasks import Task
from graft.voice import Voice

__all__ = [
    "LEVEL", "Apart", "Candidate", "Explanation", "Limits", "Ranking", "candidates_for", "explain_data", "named",
    "no_candidate", "rank", "rank_data", "read_for", "zoo_folders",
]  # fmt: skip


def rank_data(
    data: Any,
    candidates: str | Path | Sequence[str] | None = None,
    *,
    zoo: str | Path | None = None,
    max_mb: float | None = None,
    max_ms: float | None = None,
    license: str = ANY,
    budget: str | float | None = None,
    task: str = "auto",
    measure: str = "",
    text: str = "",
    image: str = "",
    label: str = "",
    group: str = "",
    domain: str = "",
    time: str = "",
    split: str = "",
    unknown: str = "refuse",
    drop_unlabelled: bool = False,
    seed: int = 0,
    device: str = "auto",
    max_bad: float = 0.01,
    quiet: bool = True,
    voice: Voice | None = None,
) -> Ranking:
    """Rank pretrained models for data before training: `graft.rank`.

    `candidates` (names, a folder of models, or a file with a name a line) is the whole list; without it, the bundled
    ones, those below `zoo` and GRAFT_ZOO, what is cached, and hub models where the hub answers. `max_mb` (of the file
    of weights), `max_ms` (a sample, measured here) and `license` ("permissive") leave candidates out, each with its
    reason. `budget` ("60s") is the time it may take, loading and all. Columns and what is done with rows are said as in
    `graft.fit`. Raises DataError, UsageError, SetupError where there is no candidate.
    """
    from graft.session import pick_device

    began, voice = clock.monotonic(), voice or Voice(quiet)
    limits, seconds = Limits(max_mb, max_ms, license), parse_budget(budget) or math.inf
    floors.check()
    hub.say = voice.say
    asked = Recipe(
        task=task, measure=measure, seed=seed, text=text, image=image, label=label, group=group, domain=domain,
        time=time, split=split, unknown=unknown, drop_unlabelled=drop_unlabelled, max_bad=max_bad,
    )  # fmt: skip
    chosen, read = read_for(data, asked)
    names, skipped = (
        (named(candidates), "") if candidates is not None else candidates_for(chosen, zoo_folders(zoo), voice)
    )
    if not names:
        raise no_candidate(chosen, skipped)
    ranking = rank(
        chosen, read.train, names, seed=seed, device=pick_device(device), voice=voice, limits=limits,
        left=lambda: seconds - (clock.monotonic() - began),
    )  # fmt: skip
    ranking.skipped = skipped
    return ranking


def explain_data(
    data: Any,
    name: str,
    *,
    zoo: str | Path | None = None,
    asked: Recipe | None = None,
    device: str = "auto",
    voice: Voice | None = None,
) -> Explanation:
    """Why one candidate stands where it stands, for data: see `ranking.explain.explain`.

    `name` is a backbone's, or the last part of the name of one that is at hand. Raises DataError, UsageError.
    """
    from graft.session import pick_device

    voice, given = voice or Voice(quiet=True), asked or Recipe()
    floors.check()
    hub.say = voice.say
    task, read = read_for(data, given)
    return explain(task, read, _meant(name, task, zoo, voice), seed=given.seed, device=pick_device(device), voice=voice)


def _meant(name: str, task: Task, zoo: str | Path | None, voice: Voice) -> str:
    """The candidate that a short name is of: `mobilenetv2_100_tv` of a zoo's folder."""
    if ":" in name or Path(name).expanduser().exists():
        return name
    at_hand, _ = candidates_for(task, zoo_folders(zoo), voice)
    found = [n for n in at_hand if n.rpartition("/")[2].rpartition(":")[2] == name]
    if len(found) == 1:
        return found[0]
    called = "several are" if found else "no candidate at hand is"
    raise UsageError(f"--explain {name}: {called} called so; possible are {', '.join(found or at_hand[:8])}")


def read_for(data: Any, asked: Recipe) -> tuple[Task, Data]:
    """The task of some data and the data read, as `fit` reads them. Raises DataError, UsageError."""
    source, name = sources.resolve(data)
    asked = replace(asked, data=name)
    chosen, _ = sources.task_for(source, asked)
    return chosen, chosen.read(source, asked)

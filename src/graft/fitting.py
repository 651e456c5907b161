"""The way of a run: read, choose the backbone, climb the ladder, prove, write the folder."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from graft import evidence, ladder, outcome, ranking, recipe, registry, report, sources, storage, train
from graft._wording import short
from graft.backbones import absolute, split
from graft.data import Data, Note
from graft.errors import DataError, GraftError, SetupError, Stopped, UsageError
from graft.files import slug, write_json, write_whole
from graft.recipe import Recipe, Rung
from graft.run import Run
from graft.session import Clock, Decisions, Session, pick_device
from graft.tasks import Task
from graft.voice import Voice
from graft.workplace import Workplace

DEFAULT_BUDGET = 300.0  # seconds
RANK_SHARE = 0.3  # of the budget, at most, for choosing the backbone
KEPT = (
    "recipe.toml", "model.json", "weights.safetensors", "log.jsonl", "predictions.parquet",
    "report.json", "report.html", "README.md",
)  # fmt: skip


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
    plugins: Sequence[str | Path] = ()
    tensorboard: str | Path | None = None
    started: float = field(default_factory=time.monotonic)


def fit(
    data: Any,
    *,
    backbone: str = "auto",
    architecture: str = "",
    recipe: str | Path | None = None,
    set: Sequence[str] = (),
    budget: str | float | None = None,
    measure: str = "",
    seed: int | None = None,
    out: str | Path | None = None,
    zoo: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    plugins: Sequence[str | Path] = (),
    task: str = "auto",
    text: str = "",
    image: str = "",
    label: str = "",
    group: str = "",
    domain: str = "",
    time: str = "",
    split: str = "",
    max_bad: float | None = None,
    unknown: str = "refuse",
    drop_unlabelled: bool = False,
    frames: str = "first",
    tensorboard: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Choose a pretrained model for the data, carry it over, prove that it helped, and write a run folder.

    `data` is a folder of class folders, a table with texts or paths of pictures, an npz, `hf:NAME`, a frame, a
    Hugging Face data set, a list of (x, label), or a `recipe.toml` of an earlier run; `text`, `image`, `label`,
    `group`, `domain`, `time` and `split` name columns where guessing is not wanted. `recipe`
    ("probe > finetune:depth=2") runs that and the controls, with no clock; without it rungs are climbed for
    `budget` (seconds, or "5m"). `measure` decides between rungs. `out` is the run folder.

    Raises UsageError, DataError, SetupError, SecurityError; each says what to do.
    """
    given = {
        "backbone": backbone, "measure": measure, "seed": seed, "device": device, "precision": precision,
        "task": task, "text": text, "image": image, "label": label, "group": group, "domain": domain, "time": time,
        "split": split, "max_bad": max_bad, "unknown": unknown, "drop_unlabelled": drop_unlabelled, "frames": frames,
    }  # fmt: skip
    request = Request(data, given, recipe, set, budget, out, zoo, architecture, resume, overwrite, plugins, tensorboard)
    return start(request, Voice(quiet))


def start(request: Request, voice: Voice) -> Run:
    """`fit` with the voice that the command line made."""
    for file in request.plugins:
        registry.plugin(file)
    asked, source, budget = settle(request)
    chosen_task, why = sources.task_for(source, asked)
    _check_methods(asked, chosen_task)
    if asked.backbone != "auto":
        split(asked.backbone)  # an unknown source is said before any work
    device = pick_device(asked.device)
    out = Path(request.out) if request.out else _default_out(asked.data, request.resume)
    with Workplace(out, request.resume, request.overwrite) as place:
        if place.state == "complete":
            run = Run(out)
            _check_same(run, asked)
            voice.say(f"{out} is complete:")
            return run
        try:
            decisions = Decisions(place.path / "decisions.json")
            clock = Clock(budget, decisions.made.get("spent", 0.0), request.started)
            voice.say(f"{asked.data} -> {why}" + (f"; budget {budget:.0f} s" if budget else ""))
            data = chosen_task.read(source, asked)
            _tell(data, voice)
            named = replace(asked, task=chosen_task.name)
            own_ladder = request.recipe is None and not _is_recipe(request.data)
            session = Session(place, voice, named, chosen_task, data, clock, decisions, device, own_ladder)
            _same_request(session)
            if own_ladder and len(asked.rungs) > 1:
                session.recipe = replace(named, rungs=ladder.for_data(chosen_task, data.train, asked.rungs))
            write_whole(place.path / "recipe.toml", recipe.dump_toml(session.recipe))
            _work(session, request, out)
        except GraftError as e:
            if not isinstance(e, Stopped) and not (place.path / "arms").exists():
                place.discard()  # refused before any work: the mended command finds nothing in its way
            raise
        place.finish([*KEPT, *(["assets"] if (place.path / "assets").exists() else [])])
    return Run(out)


def _work(s: Session, request: Request, out: Path) -> None:
    """Everything between the data and the whole folder; each part is skipped where an earlier life did it."""
    ranked = s.timed("rank", lambda: _choose(s, request))
    _tell_notes(s.origin().notes(s.data.train), s)
    seen = _seen_before(s)
    arms, left_out = ladder.climb(s)
    s.data.notes += s.timed("suspects", lambda: ladder.suspects(s, arms))
    shown = evidence.gather(s, arms)
    said = s.timed("report", lambda: outcome.report(s, arms, shown, ranked, left_out, out.resolve()))
    model = ladder.model_of(s, shown.arms[shown.chosen])
    import pyarrow.parquet as pq

    pq.write_table(outcome.predictions(s, shown), s.folder / "predictions.parquet")
    write_whole(s.folder / "recipe.toml", said["recipe"])
    said = report.finite({**said, "seconds": round(s.clock.spent(), 2)})
    write_json(s.folder / "report.json", said)
    write_whole(s.folder / "report.html", report.to_html(said))
    write_whole(s.folder / "README.md", report.model_card(said))
    if not (s.folder / "log.jsonl").exists():
        write_whole(s.folder / "log.jsonl", "")
    controls = {r.name: ladder.head_of(shown.arms[r.name]) for r in ladder.control_rungs()}
    offsets = outcome.thresholds(s, shown)
    storage.save_model(s.folder, model, s.task, s.recipe.backbone, s.origin(), controls, seen, KEPT, offsets)


def _tell_notes(notes: Sequence[Note], s: Session) -> None:
    """Keep notes that came up after reading, and say them."""
    s.data.notes.extend(notes)
    for n in notes:
        s.voice.say(f"  {n.text}")


def _seen_before(s: Session) -> set[int]:
    """Marks of what this run's model learned from: its training and validation parts, and those of an earlier run.

    Test samples among what the earlier run saw flatter the score: they are counted and said.
    """
    source, name = split(s.recipe.backbone)
    earlier = storage.seen(Path(name)) if source == "run" else set()
    known = [x.id for x in s.data.test if storage.mark(x.digest) in earlier]
    if known:
        note = Note(
            "warning", f"{len(known)} test samples were learned from by {name}, which is the backbone", tuple(known)
        )
        s.data.notes.append(note)
        s.voice.warn(f"{note.text}: the test score flatters")
    return {storage.mark(x.digest) for part in (s.data.train, s.data.valid) for x in part} | earlier


# --------------------------------------------------------------------------------------- the request


def settle(request: Request) -> tuple[Recipe, Any, float | None]:
    """(recipe as far as it is known, resolved source, budget). Raises UsageError."""
    if _is_recipe(request.data):
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
    asked = replace(asked, **_given(request))
    asked = recipe.override(asked, request.set)
    asked = replace(asked, backbone=absolute(asked.backbone))
    _check_names(asked)
    return asked, source, budget


def _is_recipe(data: Any) -> bool:
    return isinstance(data, str | Path) and str(data).endswith(".toml")


def _check_names(asked: Recipe) -> None:
    """Names of rungs are those of answers in the report: each once, and a control's name for that control alone."""
    names = [r.name for r in asked.rungs]
    if len(set(names)) < len(names):
        raise UsageError(f"rungs need different names: {', '.join(names)}")
    controls = {r.name: r for r in ladder.control_rungs()}
    for rung in asked.rungs:
        same = rung.name in controls and ladder.name_of(rung.stages) == rung.name
        if rung.name == evidence.MAJORITY or (rung.name in controls and not same):
            raise UsageError(f"a rung cannot be called {rung.name!r}: that is a control; give it another name")
    if not 0 <= asked.max_bad <= 1:
        raise UsageError(f"--max-bad {asked.max_bad:g}: a share between 0 and 1 is expected")
    for key, possible in (
        ("unknown", ("refuse", "drop")), ("frames", ("first", "all")), ("precision", ("auto", "fp32", "bf16")),
    ):  # fmt: skip
        if getattr(asked, key) not in possible:
            raise UsageError(f"--{key} {getattr(asked, key)}: possible are {', '.join(possible)}")
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
        from graft.backbones.local import with_architecture

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


def _check_methods(asked: Recipe, task: Task) -> None:
    """Names, options and conflicts of every stage, before anything is read."""
    for rung in asked.rungs:
        for stage in rung.stages:
            train.loop.check(stage, task, train.methods_of(stage))
        if rung.name == "recipe" and all(not train.solves(x) and not _supervised(x) for x in rung.stages):
            raise UsageError(f"{recipe.short_form(rung.stages)}: no stage answers the task; end with probe or finetune")


def _supervised(stage: recipe.Stage) -> bool:
    return all(m.supervised for m in train.methods_of(stage))


def _default_out(data: str, resume: bool) -> Path:
    """runs/NAME, with a number behind it where that is taken."""
    base = Path("runs") / slug(re.sub(r"[<>]", "", Path(data).name.split(".")[0]) or "run")
    taken = (base if i == 1 else base.with_name(f"{base.name}-{i}") for i in range(1, 10_000))
    if resume:
        return base
    return next(p for p in taken if not p.exists() and not Path(f"{p}.partial").exists())


def _check_same(run: Run, asked: Recipe) -> None:
    """`--resume` on a finished run prints it; a run of another request was not meant. Raises UsageError."""
    now = _plain_request(asked)
    different = _differ({**now, **(run.report.get("request") or {})}, now, ("device", "task"))
    if different:
        raise UsageError(
            f"{run.folder} is complete, and was made with another {', '.join(different)} than is asked for now; "
            "give another --out, or --overwrite"
        )


def _plain_request(asked: Recipe) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(asdict(asked)))
    return plain


def _differ(before: dict[str, Any], now: dict[str, Any], apart_from: Sequence[str]) -> list[str]:
    """Keys of a request that are not what they were."""
    return [k for k, v in now.items() if before.get(k) != v and k not in apart_from]


def _same_request(s: Session) -> None:
    """What an unfinished run was asked for must be what is asked for now; raises UsageError, DataError."""
    now: dict[str, Any] = {"recipe": _plain_request(s.recipe), "data": s.data.fingerprint()}
    before = s.decisions.once("request", lambda: now)
    different = _differ(before["recipe"], now["recipe"], ("device",))
    if different:
        raise UsageError(f"{s.folder} was begun with another {', '.join(different)}; --overwrite starts anew")
    if before["data"] != now["data"]:
        raise DataError(f"{s.recipe.data}: the data changed since {s.folder} was begun; --overwrite starts anew")


def _tell(data: Data, voice: Voice) -> None:
    """What was read and what was assumed, in a few lines."""
    what = f"{len(data.labels)} labels; " if data.labels else ""
    voice.say(f"  {what}{len(data.train)} train, {len(data.valid)} validation, {len(data.test)} test")
    for n in data.notes:
        if n.kind == "found":
            voice.say(f"  {n.text}")
        elif n.items:
            voice.say(f"  {n.text}: {', '.join(n.items[:3])}{' ...' if len(n.items) > 3 else ''}")
        else:
            voice.say(f"  {n.text}")


def _choose(s: Session, request: Request) -> ranking.Ranking | None:
    """Settle the backbone: as named, or the best of the candidates. Decided once."""
    if s.recipe.backbone != "auto":
        s.origin()
        if s.origin().modality != s.task.modality:
            raise UsageError(
                f"{s.recipe.backbone} takes a {s.origin().modality}; {s.task.name} needs a {s.task.modality} backbone"
            )
        return None
    made = s.decisions.once("rank", lambda: asdict(_rank(s, request)))
    found = ranking.Ranking(**{**made, "candidates": [ranking.Candidate(**c) for c in made["candidates"]]})
    if found.choice is None:
        broken = "; ".join(f"{c.name}: {c.error}" for c in found.candidates)
        raise SetupError(f"no candidate can be used: {broken}")
    s.recipe = replace(s.recipe, backbone=found.choice)
    s.voice.say(f"  backbone {short(found.choice)}" + (f": {found.sentence()}" if len(found.candidates) > 1 else ""))
    return found if len(found.candidates) > 1 else None


def _rank(s: Session, request: Request) -> ranking.Ranking:
    names, skipped = ranking.candidates_for(s.task, ranking.zoo_folders(request.zoo), s.voice)
    if not names:
        raise ranking.no_candidate(s.task, skipped)
    if len(names) == 1:
        return ranking.Ranking([ranking.Candidate(names[0])], names[0], skipped=skipped)
    limit = s.clock.spent() + RANK_SHARE * s.clock.budget if s.clock.budget is not None else float("inf")
    found = ranking.rank(
        s.task,
        s.data.train,
        names,
        seed=s.recipe.seed,
        device=s.device,
        voice=s.voice,
        more=lambda: s.clock.spent() < limit,
    )
    found.skipped = skipped
    return found

"""The way of a run: read, choose the backbone, climb the ladder, prove, write the folder."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from graft import arms as running
from graft import (
    checkup,
    floors,
    forgetting,
    hub,
    ladder,
    layers,
    outcome,
    ranking,
    recipe,
    registry,
    report,
    rungs,
    sources,
    storage,
)
from graft._wording import short
from graft.backbones import split, suffix
from graft.data import Data, Note
from graft.errors import DataError, GraftError, SetupError, Stopped, UsageError, some
from graft.evidence import Evidence, gather
from graft.files import slug, write_json, write_whole
from graft.model import Backbone, Model
from graft.recipe import Recipe
from graft.request import Request, check_methods, is_recipe, settle
from graft.run import Run
from graft.session import Clock, Decisions, Session, pick_device
from graft.train import memory
from graft.voice import Voice
from graft.workplace import Workplace

RANK_SHARE = 0.3  # of the budget, at most, for choosing the backbone
KEEP_SHARE = 0.1  # of the budget, about, for what was forgotten, where that is asked
if TYPE_CHECKING:
    from graft.board import Board

PINNED = ("timm", "hf", "transformers", "torchvision")  # sources whose names can come to mean other weights
KEPT = (
    "recipe.toml", "model.json", "weights.safetensors", "log.jsonl", "predictions.parquet",
    "report.json", "report.html", "README.md",
)  # fmt: skip


def fit(
    data: Any,
    *,
    backbone: str = "auto",
    architecture: str = "",
    recipe: str | Path | None = None,
    set: Sequence[str] = (),
    budget: str | float | None = None,
    evidence: str = "quick",
    measure: str = "",
    seed: int | None = None,
    out: str | Path | None = None,
    zoo: str | Path | None = None,
    device: str = "auto",
    precision: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    break_lock: bool = False,
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
    long_texts: str = "head",
    keep: str | Path = "",
    max_drop: float = 0.05,
    strict: bool = False,
    tensorboard: str | Path | None = None,
    quiet: bool = False,
) -> Run:
    """Choose a pretrained model for the data, carry it over, prove that it helped, and write a run folder.

    `data` is a folder of class folders, a table with texts or paths of pictures, an npz, `hf:NAME`, a frame, a
    Hugging Face data set, a list of (x, label), or a `recipe.toml` of an earlier run; `text`, `image`, `label`,
    `group`, `domain`, `time` and `split` name columns where guessing is not wanted. `recipe`
    ("probe > finetune:depth=2") runs that and the controls, with no clock; without it rungs are climbed for
    `budget` (seconds, or "5m"). `evidence` says how far the controls without pretrained knowledge go: off, quick (a
    fifth of the rungs' time or steps), full. `measure` decides between rungs. `out` is the run folder. `keep` names
    data of an earlier task: what the model lost on them is measured, and flagged above `max_drop` (`graft.forgetting`).
    With `strict` data in which the doctor finds anything are refused.

    Raises UsageError, DataError, SetupError, SecurityError; each says what to do.
    """
    given = {
        "backbone": backbone, "evidence": evidence, "measure": measure, "seed": seed, "device": device,
        "precision": precision,
        "task": task, "text": text, "image": image, "label": label, "group": group, "domain": domain, "time": time,
        "split": split, "max_bad": max_bad, "unknown": unknown, "drop_unlabelled": drop_unlabelled, "frames": frames,
        "long_texts": long_texts, "keep": str(keep), "max_drop": max_drop, "strict": strict,
    }  # fmt: skip
    request = Request(
        data, given, recipe, set, budget, out, zoo, architecture, resume, overwrite, break_lock, plugins, tensorboard
    )
    return start(request, Voice(quiet))


def start(request: Request, voice: Voice) -> Run:
    """`fit` with the voice that the command line made."""
    for file in request.plugins:
        registry.plugin(file)
    floors.check()
    hub.say = voice.say
    asked, source, budget = settle(request)
    chosen_task, why = sources.task_for(source, asked)
    check_methods(asked, chosen_task)
    if asked.backbone != "auto":
        split(asked.backbone)  # an unknown source is said before any work
    device = pick_device(asked.device)
    out = Path(request.out) if request.out else _default_out(asked.data, request.resume)
    with Workplace(out, request.resume, request.overwrite, request.break_lock) as place:
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
            own_ladder = request.recipe is None and not is_recipe(request.data)
            session = Session(
                place, voice, named, chosen_task, data, clock, decisions, device, _board(request), own_ladder
            )
            _same_request(session)
            if own_ladder and len(asked.rungs) > 1:
                session.recipe = replace(named, rungs=ladder.for_data(chosen_task, data.train, asked.rungs))
            write_whole(place.path / "recipe.toml", recipe.dump_toml(session.recipe))
            try:
                with memory.told("fit", device):
                    _work(session, request, out)
            finally:
                if session.board is not None:
                    session.board.close()
        except GraftError as e:
            if not isinstance(e, Stopped) and not (place.path / "arms").exists():
                place.discard()  # refused before any work: the mended command finds nothing in its way
            raise
        place.finish([*KEPT, *(name for name in ("assets", rungs.FOLDER) if (place.path / name).exists())])
    return Run(out)


def _board(request: Request) -> Board | None:
    if request.tensorboard is None:
        return None
    from graft.board import Board

    return Board(Path(request.tensorboard))


def _work(s: Session, request: Request, out: Path) -> None:
    """Everything between the data and the whole folder; each part is skipped where an earlier life did it."""
    kept = s.timed("keep", lambda: forgetting.read(s.recipe, s.task.modality, s.data.schema)) if s.recipe.keep else None
    ranked = s.timed("rank", lambda: _choose(s, request))
    _pin(s)
    _tell_notes(s.origin().notes(s.data.train), s)
    seen = _seen_before(s)
    if s.recipe.strict:
        s.timed("doctor", lambda: checkup.refuse(s))
    arms, left_out = ladder.climb(s)
    findings = [] if s.recipe.strict else s.timed("doctor", lambda: checkup.look(s))  # strict: there are none
    shown = gather(s, arms)
    beside = {shown.chosen, *(r.name for r in ladder.control_rungs())}  # their weights lie with the model's
    others = _keep_rungs(s, [a for a in arms if a.name not in beside])
    model = running.model_of(s, shown.arms[shown.chosen])
    carried = _carried(s, _moved(s, shown, model), kept)
    said = s.timed("report", lambda: outcome.report(s, arms, shown, ranked, left_out, out.resolve())) | carried
    said["doctor"] = {"findings": [f.plain() for f in findings]}
    import pyarrow.parquet as pq

    pq.write_table(outcome.predictions(s, shown), s.folder / "predictions.parquet")
    write_whole(s.folder / "recipe.toml", said["recipe"])
    said = report.explained({**said, "seconds": round(s.clock.spent(), 2)})
    write_json(s.folder / "report.json", said)
    write_whole(s.folder / "report.html", report.to_html(said))
    write_whole(s.folder / "README.md", report.model_card(said))
    if not (s.folder / "log.jsonl").exists():
        write_whole(s.folder / "log.jsonl", "")
    controls = {r.name: running.head_of(shown.arms[r.name]) for r in ladder.control_rungs() if r.name in shown.arms}
    storage.save_model(
        s.folder,
        model,
        s.task,
        s.recipe.backbone,
        s.origin(),
        controls,
        seen,
        KEPT,
        said["thresholds"],
        s.precision().way,
        others,
        outcome.temperatures(shown),
    )


def _keep_rungs(s: Session, others: Sequence[rungs.Ran]) -> dict[str, dict[str, Any]]:
    """Write the weights of the rungs that are neither the model nor a control; what model.json says of them."""
    kept = rungs.save(s.folder, others, s.origin(), rungs.MOST_BYTES)
    if kept.left_out:
        text = f"weights of {some(kept.left_out)} were not kept: over {rungs.MOST_BYTES / 1e6:.0f} MB of other rungs"
        _tell_notes([Note("assumed", text)], s)
    return kept.rungs


def _moved(s: Session, shown: Evidence, model: Model) -> Backbone | None:
    """The backbone that pretrained knowledge was carried over into; None where it was kept as it is."""
    best = shown.arms[shown.kept]
    if best.frozen:
        return None
    return model.backbone if shown.kept == shown.chosen else running.model_of(s, best).backbone


def _carried(s: Session, tuned: Backbone | None, kept: forgetting.Kept | None) -> dict[str, Any]:
    """The report's `layers` and `forgetting`, measured once; `tuned` None: the backbone was kept as it is."""
    origin, seed, how = s.origin(), s.recipe.seed, s.precision()
    seconds = None if s.clock.budget is None else ladder.LAYERS_SHARE * s.clock.budget

    def by_layer() -> dict[str, Any]:
        samples, learned = layers.sample(s.data, s.task, seed)
        with s.voice.bar("layers", None) as tick:
            return layers.report(
                origin, tuned, samples, s.task, learned=learned, seed=seed, seconds=seconds, precision=how, tick=tick
            )

    still = {"kind": "frozen", "n": 0, "stages": []}
    said: dict[str, Any] = {"layers": {**still, "sentence": layers.sentence(still)}}
    if tuned is not None or s.recipe.evidence == "full":  # of a frozen backbone it shows the probe by depth alone
        said["layers"] = s.timed("layers", lambda: s.decisions.once("layers", by_layer))
        s.voice.say(f"  {said['layers']['sentence']}")
    if kept is None:
        return said

    def lost() -> dict[str, Any]:
        limit = None if s.clock.budget is None else KEEP_SHARE * s.clock.budget
        return forgetting.measure(
            kept, origin, tuned, max_drop=s.recipe.max_drop, seed=seed, seconds=limit, precision=how, voice=s.voice
        )

    found = s.timed("keep", lambda: s.decisions.once("forgetting", lost))
    (s.voice.warn if found["flagged"] else s.voice.say)(found["sentence"])
    return {**said, "forgetting": found}


def _pin(s: Session) -> None:
    """Name downloaded weights with their commit or hash, so that the recipe repeats exactly these."""
    if split(s.recipe.backbone)[0] in PINNED:
        s.recipe = replace(s.recipe, backbone=s.decisions.once("pinned", lambda: s.origin().card.name))


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
    knows = source == "run" and not suffix(s.recipe.backbone).endswith("weights=random")
    earlier = storage.seen(Path(name)) if knows else set()
    known = [x.id for x in s.data.test if storage.mark(x.digest) in earlier]
    if known:
        said = f"{len(known)} test samples were learned from by {name}, which is the backbone"
        note = Note("warning", said, tuple(known), about="leak_seen")
        s.data.notes.append(note)
        s.voice.warn(f"{note.text}: the test score flatters")
    return {storage.mark(x.digest) for part in (s.data.train, s.data.valid) for x in part} | earlier


# --------------------------------------------------------------------------------------- the request


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
    found = ranking.Ranking.from_plain(made)
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
        left=lambda: limit - s.clock.spent(),
    )
    found.skipped = skipped
    return found

"""Which way of carrying knowledge over: rungs climbed under a budget, each kept only if measurably better."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from graft import calibrate, defaults, evaluate, features, recipe, storage, thresholds, train
from graft._wording import interval, is_percent, number
from graft.backbones import _weights
from graft.data import Note, Sample
from graft.evaluate import Score
from graft.files import manifest, read_json, slug, verify, write_json, write_whole
from graft.loading import length
from graft.model import Model
from graft.recipe import Rung, Stage
from graft.session import Session
from graft.suspects import likely_wrong
from graft.tasks import Task

ALPHA = 0.05  # one-sided level at which a costlier rung counts as better
FEWEST_STEPS = 24  # a training rung that cannot make so many is not started
LOOK_SHARE = 0.4  # of what is left, at most, for frozen features
FEWEST_LOOKED_AT = 200  # training samples, however slow the machine
REPORT_SECONDS = 8.0  # kept back for measuring and writing at the end
IMBALANCE = 3  # of the largest class to the smallest, from which counting classes alike is tried
BALANCED = "balanced_probe"
LADDER = ("nearest_neighbour", "probe", "finetune", "probe > finetune")


@dataclass
class Arm:
    """A rung that ran: where it lies, what it answered on validation, and whether it was kept."""

    name: str
    stages: tuple[Stage, ...]
    folder: Path
    seconds: float
    frozen: bool  # the backbone is the pretrained one, untouched
    head: dict[str, Any]
    valid: np.ndarray
    score: Score
    kept: bool = False
    why: str = ""
    trained: int = 0  # weights that moved
    offsets: np.ndarray | None = None  # of decisions, chosen on validation
    judged: np.ndarray | None = None  # what it answers there under such offsets, each half by the other's
    temperature: float = 1.0  # of its answers on validation and test; `calibrate`
    saw: str = ""  # how many of the training samples a frozen stage looked at, where not all

    def cost(self) -> float:
        """What a rung takes, in order: one frozen pass, one that bends the classes' weights, training, more of it."""
        return (0.5 if self.name == BALANCED else 0.0) if self.frozen else len(self.stages)

    def shown(self) -> np.ndarray:
        """The answers on validation that it is compared by."""
        return self.valid if self.judged is None else self.judged

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        s = self.score
        return {
            "name": self.name, "value": s.value, "low": s.low, "high": s.high,
            "seconds": round(self.seconds, 2), "kept": self.kept, "why": self.why,
            "recipe": " ".join(filter(None, (recipe.short_form(self.stages), self.saw))), "trained": self.trained,
        }  # fmt: skip


def name_of(stages: Sequence[Stage]) -> str:
    """A rung's name: its methods, joined."""
    return "_".join(m.partition(":")[0] for s in stages for m in s.methods)


def rungs() -> tuple[Rung, ...]:
    """The ladder that is climbed where nobody names a recipe."""
    parsed = [recipe.parse_stages(text) for text in LADDER]
    return tuple(Rung(name_of(stages), stages) for stages in parsed)


def for_data(task: Task, train_part: Sequence[Sample], usual: tuple[Rung, ...]) -> tuple[Rung, ...]:
    """The ladder for these data: with classes of very different size, also a probe that counts them alike."""
    if task.outputs != "classes":
        return usual
    counts = Counter(s.y for s in train_part)
    if max(counts.values()) < IMBALANCE * min(counts.values()):
        return usual
    balanced = Rung(BALANCED, recipe.parse_stages("probe:balance=true"))
    return (*usual[:2], balanced, *usual[2:])


def control_rungs() -> tuple[Rung, ...]:
    """The rungs that stand beside every chosen model as controls."""
    return rungs()[:2]


def climb(s: Session) -> tuple[list[Arm], list[dict[str, str]]]:
    """(rungs that ran, rungs left out with the reason), in order; one of the first is `kept`."""
    arms: list[Arm] = []
    left_out: list[dict[str, str]] = []
    best: Arm | None = None
    for i, rung in enumerate(s.recipe.rungs):
        plan = s.decisions.once(f"plan {rung.name}", partial(_plan, s, rung, best, s.recipe.rungs[i + 1 :]))
        if plan.get("skip"):
            left_out.append({"name": rung.name, "why": plan["skip"]})
            s.voice.say(f"  {rung.name}: left out, {plan['skip']}")
            continue
        stages = tuple(recipe.stage_from(p) for p in plan["stages"])
        arm = s.timed(rung.name, partial(run, s, rung.name, stages, plan.get("seconds")))
        arms.append(arm)
        best = _compare(s, best, arm)
        said = number(arm.score.value, s.task.measures[0])
        s.voice.say(f"  {arm.name}: {said} on validation ({arm.seconds:.0f} s). {arm.why}")
    assert best is not None
    for arm in arms:
        arm.kept = arm is best
    return arms, left_out


def _compare(s: Session, best: Arm | None, arm: Arm) -> Arm:
    """The better of two arms; the newcomer must be measurably better, for it costs more."""
    if best is None:
        arm.why = "first"
        return arm
    truth = evaluate.truth_of(s.task, s.data.valid)
    pair = evaluate.paired(s.task, arm.shown(), best.shown(), truth, s.recipe.seed)
    name = s.task.measures[0]
    unit = " points" if is_percent(name) else ""
    reach = interval(asdict(pair), name, signed=True)
    said = f"{number(pair.difference, name, signed=True)}{unit} [{reach}] against {best.name}"
    if pair.p < ALPHA or (best.cost() >= arm.cost() and evaluate.better(s.task, pair)):
        what = "better" if pair.p < ALPHA else "ahead at the same cost"
        arm.why = f"{what}: {said}, p {'< 0.001' if pair.p < 0.001 else format(pair.p, '.3f')}"
        best.why = f"{best.why}; replaced by {arm.name}"
        return arm
    arm.why = f"not kept: {said}, p {pair.p:.2f}"
    return best


# ------------------------------------------------------------------------------------------- plans


def _plan(s: Session, rung: Rung, best: Arm | None, rest: Sequence[Rung]) -> dict[str, Any]:
    """The stages of a rung with all their numbers, or why it is left out. Made once, then kept."""
    n, modality = len(s.data.train), s.task.modality
    plain = rung.stages
    if best is not None and best.name == BALANCED and s.own_ladder:
        plain = tuple(_balanced(stage) for stage in plain)  # it helped: go on with it
    stages = tuple(defaults.resolve(stage, modality, n) for stage in plain)
    trained = [i for i, stage in enumerate(stages) if not train.solves(stage)]
    if s.clock.budget is not None:
        limit = s.decisions.once("limit", lambda: _limit(s))
        stages = tuple(x if i in trained or x.limit else replace(x, limit=limit) for i, x in enumerate(stages))
    plan: dict[str, Any] = {"stages": [recipe.plain_stage(stage) for stage in stages]}
    if s.clock.budget is None or not trained:
        return plan
    if best is not None and best.score.value == (0.0 if s.task.lower() else 1.0):
        return {"skip": f"{best.name} makes no mistake on validation: nothing more helps"}
    step, answer = s.decisions.once("speed", lambda: _speed(s, stages[trained[0]]))
    later = sum(1 for r in rest if any(not train.solves(x) for x in r.stages))
    end = REPORT_SECONDS + answer * (len(s.data.valid) + len(s.data.test))
    room = s.clock.left() - end - answer * len(s.data.valid) * later
    wanted = sum(_steps(stages[i], n) for i in trained)
    fit = int(room / step)
    if later and fit / (1 + later) >= wanted / 2:
        fit //= 1 + later  # both rungs get a fair share where each can do half of what it wants
    if fit < min(FEWEST_STEPS, wanted):
        return {
            "skip": f"{max(fit, 0)} steps fit into the {max(s.clock.left(), 0):.0f} s left, "
            f"{min(FEWEST_STEPS, wanted)} are needed"
        }
    if fit < wanted:
        share = fit / wanted
        stages = tuple(
            replace(x, epochs=round((x.epochs or 1) * share, 4)) if i in trained else x for i, x in enumerate(stages)
        )
        plan["stages"] = [recipe.plain_stage(x) for x in stages]
    return {**plan, "seconds": room}


def _balanced(stage: Stage) -> Stage:
    """The stage with every class counted alike."""
    if train.solves(stage):
        methods = tuple("probe:balance=true" if m.partition(":")[0] == "probe" else m for m in stage.methods)
    else:
        methods = (*stage.methods, "balance")
    return replace(stage, methods=methods)


def _limit(s: Session) -> int:
    """Training samples that frozen rungs look at, so that one pass leaves time for the rest; 0: all of them."""
    train_part, others = s.data.train, len(s.data.valid) + len(s.data.test)
    if features.is_cached(s.origin(), train_part, precision=s.precision()):
        return 0
    by_length = sorted(train_part, key=length)  # as a pass goes through them, with little padding
    starts = [max(0, round(len(by_length) * share) - 16) for share in (1 / 6, 1 / 2, 5 / 6)]
    features.extract(s.origin(), by_length[:8], keep=False, precision=s.precision())  # warm-up
    start = time.monotonic()
    looked = sum(len(_look(s, by_length[a : a + 32])) for a in starts)
    each = (time.monotonic() - start) / looked
    fit = int(LOOK_SHARE * s.clock.left() / each) - others
    if fit >= len(train_part):
        return 0
    limit = max(fit, min(FEWEST_LOOKED_AT, len(train_part)))
    if limit > fit:
        s.voice.say(
            f"  the budget cannot be kept: {each * (limit + others):.0f} s is the least that frozen features take"
        )
    s.voice.say(
        f"  one pass over all would take {each * (len(train_part) + others):.0f} s: "
        f"frozen rungs look at {limit} samples"
    )
    return limit


def _look(s: Session, samples: Sequence[Sample]) -> Any:
    return features.extract(s.origin(), samples, keep=False, precision=s.precision()).pooled


def _steps(stage: Stage, n: int) -> int:
    return max(1, round((stage.epochs or 1) * n / (stage.batch or 32)))


def _speed(s: Session, stage: Stage) -> tuple[float, float]:
    """(seconds of a training step, seconds of an answer a sample), measured on a copy that is thrown away."""
    model = s.fresh()
    methods = train.methods_of(stage)
    times = [time.monotonic()]
    for record in train.loop.steps(model, s.task, stage, s.data, methods, seed=s.recipe.seed, origin=s.origin):
        times.append(time.monotonic())
        record.stop = record.step >= 4
    steps = [b - a for a, b in pairwise(times[1:])] or [times[1] - times[0]]
    some = s.data.valid[:48]
    start = time.monotonic()
    model.predict(some, s.task)
    return 1.1 * sum(steps) / len(steps), (time.monotonic() - start) / len(some)


def suspects(s: Session, arms: Sequence[Arm]) -> list[Note]:
    """Training labels that a probe contradicts, on the samples whose frozen features are at hand anyway."""
    frozen = next((a for a in arms if a.frozen and a.stages), None)
    if frozen is None or s.task.outputs != "classes":
        return []
    data = train.limited(s.data, frozen.stages[0], s.recipe.seed)
    table = features.extract(s.origin(), data.train, precision=s.precision())
    y = s.task.collate([s.task.target(x, None) for x in data.train])
    return likely_wrong(table.pooled, y, data.train, s.task.labels)


# -------------------------------------------------------------------------------------------- arms


def run(s: Session, name: str, stages: tuple[Stage, ...], seconds: float | None = None) -> Arm:
    """Train a rung, or take it from the work folder where an earlier life finished it."""
    folder = s.folder / "arms" / slug(name)
    if not _is_whole(s, folder):
        folder.mkdir(parents=True, exist_ok=True)
        before = s.decisions.made.get(f"seconds {name}", 0.0)
        start = time.monotonic()
        deadline = start + seconds - before if seconds is not None else None

        def beat() -> None:
            s.decisions.set(f"seconds {name}", before + time.monotonic() - start)
            s.remember()

        try:
            _train(s, name, stages, folder, deadline, beat)
        finally:
            beat()
    return load(s, name)


def _is_whole(s: Session, folder: Path) -> bool:
    """Whether a rung was finished by an earlier life and its files are what they were; else it is trained anew."""
    if not (folder / "arm.json").exists():
        return False
    problems = verify(folder, read_json(folder / "arm.json").get("files") or {})
    if problems:
        s.voice.warn(f"{folder.name}: {problems[0]}; this rung is trained anew")
        shutil.rmtree(folder)
    return not problems


def _train(
    s: Session, name: str, stages: tuple[Stage, ...], folder: Path, deadline: float | None, beat: Callable[[], None]
) -> None:
    model = s.fresh()
    rung = train.Rung(
        name,
        stages,
        folder / "checkpoints",
        s.folder / "log.jsonl",
        s.recipe.seed,
        s.voice,
        s.origin,
        deadline,
        beat,
        s.precision(),
        s.board,
    )
    train.fit(model, s.task, s.data, rung)
    frozen = all(train.solves(stage) for stage in stages)
    decoded = answers(s, model, frozen, "valid")
    tensors = storage.tensors_of(model)
    if frozen:
        tensors = {k: v for k, v in tensors.items() if k.startswith("head.")}
    storage.save_tensors(folder / "weights.safetensors", tensors)
    save_array(folder / "valid.npy", decoded)
    head: Any = model.head
    moved = (head if frozen else model).parameters()
    said = {
        "stages": [recipe.plain_stage(x) for x in rung.done()], "frozen": frozen, "head": head.describe(),
        "trained": sum(p.numel() for p in moved if frozen or p.requires_grad),
    }  # fmt: skip
    kept = manifest(folder, ["valid.npy", "weights.safetensors"])
    write_json(folder / "arm.json", {**said, "files": kept})
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def load(s: Session, name: str) -> Arm:
    """A finished arm from the work folder."""
    folder = s.folder / "arms" / slug(name)
    said = read_json(folder / "arm.json")
    valid = np.load(folder / "valid.npy", allow_pickle=False)
    truth = evaluate.truth_of(s.task, s.data.valid)
    kind = _kind(s.task)
    temperature = calibrate.temperature(kind, valid, truth) if s.recipe.calibrate else 1.0
    valid = calibrate.apply(kind, valid, temperature)
    offsets, judged = thresholds.fitted(s.task, valid, truth, s.recipe.seed)
    score = evaluate.score(s.task, judged, truth, s.recipe.seed)
    stages = tuple(recipe.stage_from(p) for p in said["stages"])
    seconds = s.decisions.made.get(f"seconds {name}", 0.0)
    trained, saw = said.get("trained", 0), _saw(s, stages)
    return Arm(
        name, stages, folder, seconds, said["frozen"], said["head"], valid, score, trained=trained, offsets=offsets,
        judged=judged, temperature=temperature, saw=saw,
    )  # fmt: skip


def _saw(s: Session, stages: tuple[Stage, ...]) -> str:
    n = len(s.data.train)
    limit = min((x.limit for x in stages if x.limit), default=0)
    return f"on {limit:,} of {n:,} training samples" if 0 < limit < n else ""


def head_of(arm: Arm) -> nn.Module:
    """The trained head of an arm, without its backbone."""
    return storage.load_head(arm.head, _weights.read_weights(arm.folder, "weights.safetensors"))


def model_of(s: Session, arm: Arm) -> Model:
    """The trained model of an arm."""
    model = s.fresh()
    tensors = _weights.read_weights(arm.folder, "weights.safetensors")
    model.set_head(storage.load_head(arm.head, tensors))
    if not arm.frozen:
        own = {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
        _weights.fit_weights(model.backbone, own, str(arm.folder), new=r"^source_head\.")
    return model.eval()


def answers(s: Session, model: Model, frozen: bool, part: str) -> np.ndarray:
    """Decoded answers on a part of the data, [n, ...]; frozen backbones answer from the cached pass."""
    if frozen:
        return np.asarray(features.answers(model, s.task, s.table(part)))
    with s.voice.bar(f"answers on {part}", len(s.part(part))) as tick:
        return np.asarray(model.predict(s.part(part), s.task, tick=tick))


def test_answers(s: Session, arm: Arm) -> np.ndarray:
    """Calibrated answers of an arm on the test part; what the model says is computed once."""
    file = arm.folder / "test.npy"
    if not file.exists():
        save_array(file, answers(s, model_of(s, arm), arm.frozen, "test"))
    return calibrate.apply(_kind(s.task), np.load(file, allow_pickle=False), arm.temperature)


def _kind(task: Task) -> str:
    """What `calibrate` takes answers for: a task that brings its own way of answering has none it knows."""
    return task.answer.kind if task.answer is not None else ""


def save_array(path: Path, array: np.ndarray) -> None:
    """An npy file, whole or not at all."""
    import io

    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_whole(path, buffer.getvalue())

"""Which way of carrying knowledge over: rungs climbed under a budget, each kept only if measurably better."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from itertools import pairwise
from typing import Any

from graft import arms as running
from graft import defaults, evaluate, features, recipe, train
from graft._wording import gap, number
from graft.arms import BALANCED, Arm
from graft.data import Sample
from graft.evaluate import Paired
from graft.loading import length
from graft.recipe import Rung, Stage
from graft.session import Session
from graft.tasks import Task

ALPHA = 0.05  # one-sided level at which a costlier rung counts as better
FEWEST_STEPS = 24  # a training rung that cannot make so many is not started
LOOK_SHARE = 0.4  # of what is left, at most, for frozen features
FEWEST_LOOKED_AT = 200  # training samples, however slow the machine
EVIDENCE_SHARE = 0.3  # of the time before them, at most, for quick controls: under a quarter of a run
LAYERS_SHARE = 0.03  # of the budget, about, for the report by layer
REPORT_SECONDS = 8.0  # kept back for measuring and writing at the end
IMBALANCE = 3  # of the largest class to the smallest, from which counting classes alike is tried
LADDER = ("nearest_neighbour", "probe", "finetune", "probe > finetune")


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
        arm = s.timed(rung.name, partial(running.run, s, replace(rung, stages=stages), plan.get("seconds")))
        arms.append(arm)
        valid = s.data.valid
        best = compare(s.task, evaluate.truth_of(s.task, valid), s.recipe.seed, best, arm, evaluate.groups_of(valid))
        said = number(arm.score.value, s.task.measures[0])
        s.voice.say(f"  {arm.name}: {said} on validation ({arm.seconds:.0f} s). {arm.why}")
    assert best is not None
    for arm in arms:
        arm.kept = arm is best
    return arms, left_out


def compare(
    task: Task, truth: Sequence[Any], seed: int, best: Arm | None, arm: Arm, groups: Sequence[str] | None = None
) -> Arm:
    """The better of two arms on validation, and in `why` how they stand; the newcomer must be measurably better.

    It costs more: one that costs no more need only be ahead.
    """
    if best is None:
        arm.why = "first"
        return arm
    pair = evaluate.paired(task, arm.shown(), best.shown(), truth, seed, groups=groups)
    said = f"{against(task, pair)} against {best.name}"
    if pair.p < ALPHA or (best.cost() >= arm.cost() and evaluate.better(task, pair)):
        what = "better" if pair.p < ALPHA else "ahead at the same cost"
        arm.why = f"{what}: {said}, p {'< 0.001' if pair.p < 0.001 else format(pair.p, '.3f')}"
        best.why = f"{best.why}; replaced by {arm.name}"
        return arm
    arm.why = f"not kept: {said}, p {pair.p:.2f}"
    return best


def against(task: Task, pair: Paired) -> str:
    """A paired difference in the deciding measure, in words."""
    return gap(asdict(pair), task.measures[0])


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
    step, answer = s.decisions.once("speed", lambda: speed_of(s, stages[trained[0]]))
    later = sum(1 for r in rest if any(not train.solves(x) for x in r.stages))
    end = REPORT_SECONDS + answer * (len(s.data.valid) + len(s.data.test))
    room = _room(s, end) - answer * len(s.data.valid) * later
    wanted = sum(running.steps_of(stages[i], n) for i in trained)
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


def _room(s: Session, end: float) -> float:
    """Seconds that rungs may still take, so that the controls and what comes at the `end` fit in too.

    The controls take a share of the time spent before them; full ones train as long as a rung does.
    """
    end += LAYERS_SHARE * (s.clock.budget or 0.0)
    left, spent = s.clock.left() - end, s.clock.spent()
    if s.recipe.evidence == "full":
        return left / 2
    share = EVIDENCE_SHARE if s.recipe.evidence == "quick" else 0.0
    return (left - share * spent) / (1 + share)


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
    each = s.decisions.once("pass", lambda: pass_seconds(s))
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


def pass_seconds(s: Session) -> float:
    """Seconds that a frozen pass takes a sample, measured on some of the training part."""
    by_length = sorted(s.data.train, key=length)  # as a pass goes through them, with little padding
    starts = [max(0, round(len(by_length) * share) - 16) for share in (1 / 6, 1 / 2, 5 / 6)]
    _look(s, by_length[:8])  # warm-up
    start = time.monotonic()
    looked = sum(len(_look(s, by_length[a : a + 32])) for a in starts)
    return (time.monotonic() - start) / looked


def _look(s: Session, samples: Sequence[Sample]) -> Any:
    return features.extract(s.origin(), samples, keep=False, precision=s.precision()).pooled


def speed_of(s: Session, stage: Stage, start: str = "pretrained") -> tuple[float, float]:
    """(seconds of a training step, seconds of an answer a sample), measured on a copy that is thrown away."""
    model = s.fresh(start)
    methods = train.methods_of(stage)
    times = [time.monotonic()]
    for record in train.loop.steps(
        model, s.task, stage, s.data, methods, seed=s.recipe.seed, origin=partial(s.base, start)
    ):
        times.append(time.monotonic())
        record.stop = record.step >= 4
    steps = [b - a for a, b in pairwise(times[1:])] or [times[1] - times[0]]
    some = s.data.valid[:48]
    began = time.monotonic()
    model.predict(some, s.task)
    return 1.1 * sum(steps) / len(steps), (time.monotonic() - began) / len(some)

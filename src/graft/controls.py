"""The controls of a run: which ones stand beside the chosen model, what they may cost, and running them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from graft import arms as running
from graft import defaults, features, ladder, recipe, scratch, train
from graft.arms import Arm
from graft.recipe import Rung, Stage
from graft.session import Session

SCRATCH, RANDOM_PROBE = "scratch", "random_probe"
WITHOUT = (RANDOM_PROBE, SCRATCH)
"""Controls without pretrained knowledge that are trained; `evidence.BASELINES` look at nothing at all."""
FIFTH = 0.2  # of the rungs' seconds (without a clock: of their steps) for training from scratch in quick evidence
FEWEST_SECONDS = 3.0  # of a scratch arm whose speed is not known yet: measuring it takes about as long
FEWEST_LOOKED_AT = 50  # training samples of a probe on random features

LeftOut = list[dict[str, str]]


def run_all(s: Session, ran: Sequence[Arm]) -> tuple[list[Arm], LeftOut]:
    """(the controls that did not run as rungs, those left out with the reason).

    Controls on the pretrained backbone's frozen features (nearest neighbours, the probe) cost next to nothing.
    Those without its knowledge, a probe on random features and training from scratch, are planned by
    `recipe.evidence`; a recipe that names its `controls` runs these, with the numbers that it holds.
    """
    if s.recipe.evidence == "off":
        return [], []
    known = {a.name for a in ran}
    made = [_run(s, rung) for rung in ladder.control_rungs() if rung.name not in known]
    plan = s.decisions.once("controls", partial(_given, s) if s.recipe.controls else partial(_plan, s, ran))
    for left in plan["left_out"]:
        s.voice.say(f"  {left['name']}: left out, {left['why']}")
    made += [_run(s, recipe.rung_from(x["rung"]), x["seconds"]) for x in plan["rungs"]]
    return made, list(plan["left_out"])


def _run(s: Session, rung: Rung, seconds: float | None = None) -> Arm:
    arm: Arm = s.timed(f"control {rung.name}", partial(running.run, s, rung, seconds))
    return arm


def repeatable(ran: Sequence[Arm], left_out: LeftOut) -> tuple[Rung, ...]:
    """The controls as a recipe holds them: with the steps they made, and without stages where they were left out."""
    made = [a.rung for a in ran if a.start == "random"]
    return (*made, *(Rung(x["name"], (), "random") for x in left_out if x["name"] in WITHOUT))


# -------------------------------------------------------------------------------------------- plans


def _given(s: Session) -> dict[str, Any]:
    """The controls that the recipe names; one without stages was left out by the run that it repeats."""
    ran = [(r, None) for r in s.recipe.controls if r.stages]
    why = "as in the run that this recipe repeats; --evidence full runs it"
    return _planned(ran, *((r.name, why) for r in s.recipe.controls if not r.stages))


def _plan(s: Session, ran: Sequence[Arm]) -> dict[str, Any]:
    """{rungs: each with the seconds it may take, left_out}; made once, then kept."""
    pattern, trained = _pattern(s, ran)
    stages = scratch.stages_from(pattern, s.task.modality)
    probe = Rung(RANDOM_PROBE, _probe(s, ran), "random")
    if s.recipe.evidence == "full":
        return _planned([(probe, None), (Rung(SCRATCH, stages, "random"), None)])
    if s.clock.budget is None:
        if not trained:
            why = "the recipe takes no steps to take a fifth of; --evidence full trains it"
            return _planned([(probe, None)], (SCRATCH, why))
        return _planned([(probe, None), (Rung(SCRATCH, _shorter(stages, FIFTH), "random"), None)])
    allowed = min(ladder.EVIDENCE_SHARE * s.clock.spent(), s.clock.left() - ladder.REPORT_SECONDS)
    own, why = _scratch_within(s, stages, min(FIFTH * sum(a.seconds for a in ran), allowed))
    left = allowed - (own[1] or 0.0 if own else 0.0)
    other, lack = _probe_within(s, probe, left)
    found = [x for x in (other, own) if x is not None]
    return _planned(found, *((name, text) for name, text in ((RANDOM_PROBE, lack), (SCRATCH, why)) if text))


def _planned(rungs: Sequence[tuple[Rung, float | None]], *left_out: tuple[str, str]) -> dict[str, Any]:
    return {
        "rungs": [{"rung": recipe.plain_rung(rung), "seconds": seconds} for rung, seconds in rungs],
        "left_out": [{"name": name, "why": why} for name, why in left_out],
    }


def _pattern(s: Session, ran: Sequence[Arm]) -> tuple[tuple[Stage, ...], bool]:
    """(stages that training from scratch follows, whether the run trained such): the kept arm's, else the last
    trained one's, else fine-tuning as it would be."""
    trained = [a for a in ran if not a.frozen]
    own = [a for a in trained if a.kept] or trained[-1:]
    if own:
        return tuple(_unstopped(stage) for stage in own[0].stages), True
    usual = recipe.parse_stages("finetune")
    return tuple(defaults.resolve(x, s.task.modality, len(s.data.train)) for x in usual), False


def _unstopped(stage: Stage) -> Stage:
    """The stage to its end: where its like stopped getting better, this one need not."""
    return replace(stage, stop=0)


def _probe(s: Session, ran: Sequence[Arm]) -> tuple[Stage, ...]:
    """The stages of the probe that random features get: those of the kept arm where it is one, else the usual."""
    kept = [a.stages for a in ran if a.kept and a.frozen and any("probe" in m for m in a.stages[0].methods)]
    usual = next(r.stages for r in ladder.control_rungs() if r.name == "probe")
    resolved = tuple(defaults.resolve(x, s.task.modality, len(s.data.train)) for x in usual)
    return kept[0] if kept else resolved


def _shorter(stages: tuple[Stage, ...], share: float) -> tuple[Stage, ...]:
    """The stages with a share of their passes, and so with a schedule that ends there."""
    return tuple(replace(x, epochs=round((x.epochs or 1) * share, 4)) for x in stages)


def _scratch_within(
    s: Session, stages: tuple[Stage, ...], seconds: float
) -> tuple[tuple[Rung, float | None] | None, str]:
    """(the scratch arm that fits and the seconds it may take, why there is none)."""
    advice = "--evidence full trains it"
    if "speed" not in s.decisions.made and seconds < FEWEST_SECONDS:
        return None, f"a fifth of the rungs' time is {max(seconds, 0):.1f} s, too few to train in; {advice}"
    step, answer = s.decisions.once("speed", lambda: ladder.speed_of(s, stages[0], "random"))
    room = seconds - answer * (len(s.data.valid) + len(s.data.test))
    total = sum(running.steps_of(x, len(s.data.train)) for x in stages)
    fit = int(room / step)
    if fit < min(ladder.FEWEST_STEPS, total):
        fewest = min(ladder.FEWEST_STEPS, total)
        return None, (
            f"{max(fit, 0)} steps fit into a fifth of the rungs' time ({max(seconds, 0):.1f} s), "
            f"{fewest} are needed; {advice}"
        )
    return (Rung(SCRATCH, _shorter(stages, min(1.0, fit / total)), "random"), room), ""


def _probe_within(s: Session, probe: Rung, seconds: float) -> tuple[tuple[Rung, float | None] | None, str]:
    """(the probe on random features, on as many training samples as there is time for; why there is none)."""
    n, others = len(s.data.train), len(s.data.valid) + len(s.data.test)
    if features.is_cached(s.base("random"), s.data.train, precision=s.precision()):
        return (probe, None), ""
    each = s.decisions.once("pass", lambda: ladder.pass_seconds(s))
    fit = int(seconds / each) - others
    if fit < min(n, FEWEST_LOOKED_AT):
        return None, (
            f"a pass with random weights takes {each * (others + min(n, FEWEST_LOOKED_AT)):.1f} s and "
            f"{max(seconds, 0):.1f} s are left for controls; --evidence full takes it"
        )
    earlier = min((x.limit for x in probe.stages if x.limit), default=n)
    limit = 0 if min(fit, earlier) >= n else min(fit, earlier)
    stages = tuple(replace(x, limit=limit) if train.solves(x) else x for x in probe.stages)
    return (replace(probe, stages=stages), None), ""

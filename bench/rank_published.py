"""Ranking on published figures: does the combination order models at least as well as the prior does?

Two tables of published fine-tune accuracies (src/graft/ranking/published.csv): SFDA's, eleven data sets of eleven
ImageNet models, with prior, top-1 and parameters; TLlib's, eight of ten, with its published scores too (LogME, LEEP,
NCE, H-score, from ../shared/anchors). One data set at a time is held out; everything (each model's mean on the other
sets, standard units, shrinkage, choices) is learned from the others, and for a training set its own figures stay out
of its prior too. Weighted Kendall tau is scipy's with hyperbolic weights, as the SFDA paper takes it; regret@1 is the
accuracy lost by taking the first, in points.

Writes rank_published.json and .md beside this file. Exit 1 where a goal is missed: on each table tau and regret no
worse than the prior's, and the figures of issue 6 reproduced (0.837 and 0.654 on SFDA's, 0.757 and .34 on TLlib's).
"""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import weightedtau

from graft.ranking.combine import Combination, Predicted, Row, Scale, fit
from graft.ranking.prior import published
from graft.seeds import rng

HERE = Path(__file__).resolve().parent
SCORES = HERE.parents[1] / "shared" / "anchors" / "model_ranking_tllib.csv"
FACTS = ("top1", "parameters")
KNOWN = {("SFDA", "prior"): (0.837, None), ("SFDA", "top1"): (0.654, None), ("TLlib", "prior"): (0.757, 0.34)}
"""What issue 6 says of the tables: (tau, regret), to be found again."""
RESAMPLES = 10_000
PERCENT = Scale(lower=True, constant=100.0, n=1_000_000)
"""Errors in percent of 100: the tables do not say the constant answer's error, which is the data set's level anyway."""


@dataclass(frozen=True)
class Table:
    """errors [sets, models] in percent; signals by name, [sets, models]."""

    name: str
    sets: tuple[str, ...]
    models: tuple[str, ...]
    errors: np.ndarray
    signals: dict[str, np.ndarray]


def tables() -> list[Table]:
    """SFDA's and TLlib's."""
    shipped, made = published(), []
    for name in ("SFDA", "TLlib"):
        at = [i for i, (table, _) in enumerate(shipped.sets) if table == name]
        errors = shipped.errors[at]
        tried = np.isfinite(errors).all(axis=0)
        sets = tuple(shipped.sets[i][1] for i in at)
        models = tuple(m for m, t in zip(shipped.models, tried, strict=True) if t)
        facts = {"top1": shipped.top1[tried], "parameters": np.log(shipped.parameters[tried])}
        signals = {k: np.tile(v, (len(sets), 1)) for k, v in facts.items()}
        if name == "TLlib":
            signals = {**_scores(len(sets), errors[:, tried], models), **signals}
        made.append(Table(name, sets, models, errors[:, tried], signals))
    return made


def _scores(sets: int, errors: np.ndarray, models: Sequence[str]) -> dict[str, np.ndarray]:
    """TLlib's published scores [sets, models] in the shipped table's order, checked by the accuracies beside them."""
    spelt = {"mobilenetv2": "mobilenet_v2", "mnasnet": "mnasnet1_0", "inceptionv3": "inception_v3"}
    with SCORES.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    order = list(dict.fromkeys(r["dataset"] for r in rows))
    found = {s: np.full((sets, len(models)), np.nan) for s in ("logme", "leep", "nce", "hscore")}
    for r in rows:
        plain = r["model"].lower().replace(" ", "")
        i, j = order.index(r["dataset"]), models.index(spelt.get(plain, plain))
        if abs(100 - float(r["finetune_accuracy"]) - errors[i, j]) > 1e-9:
            raise SystemExit(f"{SCORES}: {r['model']} on {r['dataset']} is not what graft ships")
        for s, values in found.items():
            values[i, j] = float(r[s])
    return found


# ------------------------------------------------------------------------------------------ scales


@dataclass(frozen=True)
class Kind:
    """A scale of y: error in percent to y, and the logarithm of its slope there."""

    y: Callable[[np.ndarray], np.ndarray]
    log_slope: Callable[[np.ndarray], np.ndarray]


# Plain points are divided by a typical error, so that what the model holds of its variances before is as apt for them.
KINDS = {
    "log": Kind(lambda e: np.log(e / 100), lambda e: -np.log(e)),
    "logit": Kind(lambda e: np.log(e / (100 - e)), lambda e: -np.log(e * (100 - e) / 100)),
    "plain": Kind(lambda e: e / 15, lambda e: np.full_like(e, -math.log(15))),
}


def rows_of(t: Table, signals: Sequence[str], train: Sequence[int], d: int, kind: Kind) -> list[Row]:
    """One set's rows: the prior is y of the models' mean error over the training sets, this one left out."""
    others = [i for i in train if i != d]
    prior = kind.y(t.errors[others].mean(axis=0))
    y = kind.y(t.errors[d])
    own = {s: t.signals[s][d] for s in signals if s != "prior"}
    return [
        Row(t.sets[d], m, {"prior": float(prior[j]), **{s: float(v[j]) for s, v in own.items()}}, float(y[j]))
        for j, m in enumerate(t.models)
    ]


def taught(t: Table, signals: Sequence[str], train: Sequence[int], kind: Kind) -> Combination:
    """The combination of these training sets."""
    return fit([r for d in train for r in rows_of(t, signals, train, d, kind)], signals)


def predicted(t: Table, signals: Sequence[str], train: Sequence[int], d: int, kind: Kind) -> Predicted:
    """The held-out set d from the training sets; its own y is not handed over."""
    blind = [replace(r, y=None) for r in rows_of(t, signals, train, d, kind)]
    return taught(t, signals, train, kind).predict(blind)


# ---------------------------------------------------------------------------------------- measures


def tau(errors: np.ndarray, order: np.ndarray) -> float:
    """Weighted Kendall tau of what was predicted (higher is better) with accuracy."""
    return float(weightedtau(-errors, order)[0])


def regret(errors: np.ndarray, order: np.ndarray) -> float:
    """Points of accuracy lost by taking the first."""
    return float(errors[int(np.argmax(order))] - errors.min())


def held_out(t: Table, of: Callable[[list[int], int], np.ndarray]) -> dict[str, list[float]]:
    """tau and regret of each set, `of(train, d)` being the order of d's models."""
    orders = [of([i for i in range(len(t.sets)) if i != d], d) for d in range(len(t.sets))]
    return {
        "tau": [tau(e, o) for e, o in zip(t.errors, orders, strict=True)],
        "regret": [regret(e, o) for e, o in zip(t.errors, orders, strict=True)],
    }


def scores_of(t: Table) -> tuple[str, ...]:
    """The signals that differ from data set to data set."""
    return tuple(s for s in t.signals if s not in FACTS)


def variants(t: Table) -> dict[str, tuple[str, ...]]:
    """Signals of each combination that is tried; the first is graft's."""
    scores = scores_of(t)
    made = {"combination": ("prior", *scores), "with top-1 and parameters": ("prior", *scores, *FACTS)}
    return made if not scores else {**made, "facts without scores": ("prior", *FACTS)}


def chosen(t: Table, train: list[int]) -> str:
    """The variant with the best mean tau when each training set is held out of the others, the prior among them."""
    log, found = KINDS["log"], {}
    for name, signals in {"prior": ("prior",), **variants(t)}.items():
        inner = [(-predicted(t, signals, [i for i in train if i != d], d, log).mean, d) for d in train]
        found[name] = float(np.mean([tau(t.errors[d], order) for order, d in inner]))
    return max(found, key=lambda name: found[name])


def ranked(t: Table) -> tuple[dict[str, dict[str, list[float]]], list[str]]:
    """Everything that orders models, held out; and what the nested choice took for each set."""
    log, all_of = KINDS["log"], {"prior": ("prior",), **variants(t)}
    found = {"prior": held_out(t, lambda train, d: -t.errors[train].mean(axis=0))}
    found["prior by the mean logarithm of errors"] = held_out(t, lambda train, d: -np.log(t.errors[train]).mean(axis=0))
    for s, values in t.signals.items():
        found[s] = held_out(t, lambda _, d, v=values: v[d])  # type: ignore[misc]
    for name, signals in variants(t).items():
        found[name] = held_out(t, lambda train, d, s=signals: -predicted(t, s, train, d, log).mean)  # type: ignore[misc]
    taken: list[str] = []

    def nested(train: list[int], d: int) -> np.ndarray:
        taken.append(chosen(t, train))
        return -predicted(t, all_of[taken[-1]], train, d, log).mean

    found["variant chosen by nested cross-validation"] = held_out(t, nested)
    return found, taken


def apart(a: list[float], b: list[float], *key: object) -> tuple[float, float, float]:
    """Mean of a - b over the data sets with its 90 % interval, from resamples of the data sets."""
    d = np.array(a) - np.array(b)
    drawn = rng(0, "rank_published", *key).integers(0, len(d), (RESAMPLES, len(d)))
    low, high = np.quantile(d[drawn].mean(axis=1), (0.05, 0.95))
    return float(d.mean()), float(low), float(high)


def covered(t: Table) -> dict[str, float]:
    """How often the combination's 90 % intervals hold the held-out errors, and the pairs' differences."""
    single, pairs, wide = [], [], []
    signals = variants(t)["combination"]
    for d in range(len(t.sets)):
        p = predicted(t, signals, [i for i in range(len(t.sets)) if i != d], d, KINDS["log"])
        e = t.errors[d]
        for i in range(len(e)):
            r = p.interval(i, PERCENT)
            single.append(r.low <= e[i] <= r.high)
            for j in range(i):
                r = p.difference(i, j, PERCENT)
                pairs.append(r.low <= e[i] - e[j] <= r.high)
                wide.append(r.high - r.low)
    return {
        "intervals": float(np.mean(single)), "differences": float(np.mean(pairs)),
        "median width of a difference, points": float(np.median(wide)),
    }  # fmt: skip


def scales(t: Table) -> dict[str, dict[str, float]]:
    """Each scale held out: log density of the held-out errors in points (a figure's mean), tau and regret."""
    made, signals = {}, variants(t)["combination"]
    for name, kind in KINDS.items():
        densities, orders = [], []
        for d in range(len(t.sets)):
            p = predicted(t, signals, [i for i in range(len(t.sets)) if i != d], d, kind)
            e = t.errors[d]
            r = kind.y(e) - p.mean
            sign, logdet = np.linalg.slogdet(2 * math.pi * p.covariance)
            density = -0.5 * (float(r @ np.linalg.solve(p.covariance, r)) + float(sign * logdet))
            densities.append((density + float(kind.log_slope(e).sum())) / len(e))
            orders.append((tau(e, -p.mean), regret(e, -p.mean)))
        by_tau, by_regret = np.mean(orders, axis=0)
        made[name] = {
            "log density": float(np.mean(densities)), "tau": float(by_tau), "regret": float(by_regret)
        }  # fmt: skip
    return made


# ------------------------------------------------------------------------------------------ report


def bench(t: Table) -> dict[str, Any]:
    """Everything that is said of a table."""
    found, taken = ranked(t)
    best = found["combination"]
    against = {
        name: {m: apart(best[m], values[m], t.name, name, m) for m in ("tau", "regret")}
        for name, values in found.items()
        if name != "combination"
    }
    every = taught(t, variants(t)["combination"], range(len(t.sets)), KINDS["log"])
    return {
        "sets": list(t.sets), "by set": found, "combination minus": against, "coverage": covered(t),
        "scales": scales(t), "nested choice": dict(zip(t.sets, taken, strict=True)),
        "coefficients": every.coefficients(), "error": every.variances.error, "df": every.df,
    }  # fmt: skip


def misses(results: dict[str, Any]) -> list[str]:
    """The goals that were not reached, in words."""
    said = []
    for name, r in results.items():
        means = {k: {m: float(np.mean(v[m])) for m in v} for k, v in r["by set"].items()}
        mine, prior = means["combination"], means["prior"]
        if mine["tau"] < prior["tau"] - 1e-9 or mine["regret"] > prior["regret"] + 1e-9:
            said.append(f"{name}: the combination is worse than the prior: {mine} against {prior}")
        for (table, signal), (t, r1) in KNOWN.items():
            if table == name and (
                abs(means[signal]["tau"] - t) > 0.0006 or (r1 is not None and abs(means[signal]["regret"] - r1) > 0.006)
            ):
                said.append(f"{name}: {signal} is {means[signal]} here, and issue 6 says {t}, {r1}")
    return said


HEAD = """# Ranking on published figures

`python bench/rank_published.py`: one data set held out at a time, everything learned from the others. tau: weighted
Kendall, mean over the data sets; regret: points of accuracy lost by taking the first. In brackets: 90 % intervals of
combination minus the row, data sets resampled together; tau above 0 and regret below 0 are for the combination.
"""
RANKED = "| ordered by | tau | regret@1 | combination minus it: tau | regret |\n| --- | --- | --- | --- | --- |"
SCALES = """
## The scale

The combination on three scales of y, held out; log density of the held-out accuracies in points, mean of a figure, in
nats: higher is better.

| table | scale | log density | tau | regret@1 |
| --- | --- | --- | --- | --- |"""


def page(results: dict[str, Any], missed: list[str]) -> str:
    """The tables as markdown."""
    reached = "reached." if not missed else "MISSED: " + "; ".join(missed)
    lines = [HEAD, f"Goals (tau and regret no worse than the prior's, the issue's figures found again): {reached}"]
    for name, r in results.items():
        lines += ["", f"## {name}: {len(r['sets'])} data sets", "", RANKED, *_ranks(r), "", _said(r)]
    lines.append(SCALES)
    for name, r in results.items():
        for kind, v in r["scales"].items():
            lines.append(f"| {name} | {kind} | {v['log density']:.3f} | {v['tau']:.3f} | {v['regret']:.3f} |")
    return "\n".join(lines) + "\n" + NOTES


def _ranks(r: dict[str, Any]) -> list[str]:
    """A line for everything that orders, the highest tau first."""
    lines = []
    for row, values in sorted(r["by set"].items(), key=lambda kv: -float(np.mean(kv[1]["tau"]))):
        means = [float(np.mean(values[m])) for m in ("tau", "regret")]
        other = r["combination minus"].get(row)
        gaps = [f"{d:+.3f} [{a:+.3f}, {b:+.3f}]" for d, a, b in (other["tau"], other["regret"])] if other else ["", ""]
        shown = f"**{row}**" if row in ("combination", "prior") else row
        lines.append(f"| {shown} | {means[0]:.3f} | {means[1]:.3f} | {gaps[0]} | {gaps[1]} |")
    return lines


def _said(r: dict[str, Any]) -> str:
    """Coverage, coefficients and choices in words."""
    c = r["coverage"]
    signals = [f"{k} {m:+.3f} ({s:.3f})" for k, (m, s) in r["coefficients"].items() if k not in ("", "level")]
    choices = [f"{d}: {v}" for d, v in r["nested choice"].items()]
    return (
        f"90 % intervals of a held-out accuracy cover {100 * c['intervals']:.0f} % (there is no probe, so the level "
        f"of a new set is a guess), of a difference of two models {100 * c['differences']:.1f} %; median width "
        f"{c['median width of a difference, points']:.1f} points.\n\n"
        f"Coefficients on all sets (standard deviation): {', '.join(signals)}; error {r['error']:.3f}, degrees of "
        f"freedom {r['df']:.1f}.\n\nThe nested choice took: {', '.join(choices)}."
    )


NOTES = """
## What was fixed beforehand, and what was not

- The combination is prior and scores. Top-1 and parameters are not in it as signals: they never differ between data
  sets, so that ten models, not eighty rows, are all there is to learn their coefficients from, and where a model has
  published fine-tunes they say less than those. They enter the prior of a checkpoint that has none
  (`graft.ranking.prior`). This was settled by that reason, but not blindly: these tables had been looked at. The rows
  with top-1 and parameters show what else would have come of it, and the nested row what choosing by
  cross-validation inside the training sets gives.
- On SFDA's table there is no signal that differs between data sets, so the combination orders as the prior does.
- The strength of the ridge is the marginal likelihood's, times what is held of it beforehand (`_mixed`), which was set
  by argument and tried on simulations (tests/test_combine.py). A first draft with the facts as signals had been run
  here at three strengths: tau 0.757 to 0.781 and regret .338 to .213 on TLlib's, better with a weaker ridge; the
  stronger one was kept, since the combination has to bear fifteen scores.
- The logit fits these accuracies a little better than the logarithm does and orders them alike; plain points fit far
  worse. The logarithm was kept: it alone takes losses without an upper end (MAE, log loss) as well.
- A single score can do better on one count: NCE's first choice loses .01 points less than the combination's on TLlib's.
- NCE on DTD is the same column as LogME in TLlib's README, and positive, which NCE cannot be: a slip of the source.
  The figures are taken as published.
- Models, data sets and most training recipes overlap between the two tables; they are no independent evidence.
- Eight and eleven data sets are few: of what is claimed above, the brackets say how much could be chance.
"""


def main() -> int:
    if not SCORES.exists():
        print(f"{SCORES} is not here: TLlib's scores are not shipped with graft, so this bench needs it")
        return 1
    results = {t.name: bench(t) for t in tables()}
    missed = misses(results)
    (HERE / "rank_published.json").write_text(json.dumps(results, indent=1) + "\n")
    text = page(results, missed)
    (HERE / "rank_published.md").write_text(text)
    print(text)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

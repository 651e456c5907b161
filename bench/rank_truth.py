"""Ground truth of graft's own for ranking: what the combination is fitted on, and judged by.

  train     fine-tune every candidate by one fixed recipe on every set (`_truth.py`); each cell is kept as it comes
  signals   what `graft rank` measures of every candidate on the same training samples
  fit       the combinations that ship, into src/graft/ranking/combination.json
  judge     leave one set out: weighted tau, regret@1, coverage and cost, into rank_truth.md

`train` and `signals` can be stopped and go on; `--modality`, `--only` and `--minutes` limit them. Needs ../shared (fit
and judge need only rank_truth.json). All of it takes hours on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student
from scipy.stats import weightedtau

from graft.ranking import combine
from graft.ranking.combine import Row
from graft.ranking.scale import Scale
from graft.scores import SCORES
from graft.seeds import rng

HERE = Path(__file__)
FILE = HERE.with_suffix(".json")
SHIPPED = HERE.parents[1] / "src/graft/ranking/combination.json"
KINDS = ("picture", "text")
SIGNALS = ("prior", "probe", *SCORES)
FEWEST_SETS = 3
LEVEL = 0.90
RESAMPLES = 2000


def known() -> dict[str, Any]:
    """What was found so far."""
    return json.loads(FILE.read_text()) if FILE.exists() else {"truth": [], "signals": []}


def add(part: str, row: dict[str, Any]) -> None:
    """Put a cell into the file, which is written whole; other processes may have added some meanwhile."""
    found = known()
    found[part] = [r for r in found[part] if (r["set"], r["model"]) != (row["set"], row["model"])] + [row]
    partial = FILE.with_name(f"{FILE.stem}.{os.getpid()}.partial")
    partial.write_text(json.dumps(found, indent=1) + "\n")
    partial.replace(FILE)


def cells(modality: str) -> list[tuple[str, str]]:
    """(set, model) of a modality, a whole set after the other."""
    import _truth

    sets = _truth.PICTURES if modality == "picture" else _truth.TEXTS
    extra = ("hashing",) if modality == "text" else ()
    return [(s, m) for s in sets for m in (*_truth.MODELS[modality], *extra)]


def fill(part: str, modality: str, until: float, only: str) -> None:
    """Measure the cells that are not in the file yet."""
    import _truth

    made: dict[str, tuple[Callable[..., dict[str, Any]], Callable[[str], dict[str, Any]]]] = {
        "truth": (_truth.fine_tuned, _truth.hashed),
        "signals": (_truth.signals, _truth.hashed_signals),
    }
    for name, model in cells(modality):
        have = {(r["set"], r["model"]) for r in known()[part]}
        if (name, model) in have or (only and not re.search(only, f"{name} {model}")):
            continue
        if time.monotonic() > until:
            print("stopped: the time is over; the same command goes on")
            return
        row = made[part][1](name) if model == "hashing" else made[part][0](name, model)
        add(part, row)
        said = f"{100 * row['score']:.1f}" if part == "truth" else f"probe {100 * row['probe_value']:.1f}"
        print(f"{name} {model}: {said}, {row['seconds']:.0f} s", flush=True)


# ----------------------------------------------------------------------------------------- rows


def rows_of(modality: str) -> list[tuple[Row, dict[str, Any], dict[str, Any]]]:
    """(row, truth, signals) of every cell that has both, of sets that are complete."""
    found = known()
    truth = {(r["set"], r["model"]): r for r in found["truth"] if r["modality"] == modality}
    made = {(r["set"], r["model"]): r for r in found["signals"] if r["modality"] == modality}
    models = {m for _, m in truth}
    whole = [s for s in dict.fromkeys(s for s, _ in truth) if all((s, m) in truth and (s, m) in made for m in models)]
    rows = []
    for (name, model), t in truth.items():
        if name not in whole:
            continue
        s = made[name, model]
        scale = Scale(False, t["constant"], t["n_test"])
        told = {"prior": s["prior"], "probe": s["probe"], **{k: s["scores"].get(k) for k in SCORES}}
        noise = {"prior": s["prior_se"] ** 2, "probe": s["probe_noise"]}
        rows.append((Row(name, model, told, scale.y(t["score"]), noise), t, s))
    return rows


def fit_shipped() -> None:
    """Write the combinations, of the modalities that have sets enough.

    Models have an effect of their own, so that twelve that recur are not taken for a hundred; users bring others.
    """
    made = {}
    for modality in KINDS:
        rows = [r for r, _, _ in rows_of(modality)]
        if len({r.dataset for r in rows}) >= FEWEST_SETS:
            made[modality] = combine.fit(rows, SIGNALS).plain()
            print(f"{modality}: {len(rows)} rows of {len({r.dataset for r in rows})} sets")
    SHIPPED.write_text(json.dumps(made, indent=1) + "\n")


# ----------------------------------------------------------------------------------------- judged


def order_by(signal: str, rows: Sequence[Row]) -> np.ndarray:
    """A number a candidate, more is better, from one signal alone; NaN where it has none."""
    values = np.array([np.nan if r.signals.get(signal) is None else float(r.signals[signal]) for r in rows])  # type: ignore[arg-type]
    return -values if signal in ("prior", "probe") else values


def tau_and_regret(predicted: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Weighted Kendall tau (on the truth's ranks) and points lost by taking the first."""
    filled = np.where(
        np.isfinite(predicted), predicted, np.nanmin(predicted) - 1 if np.isfinite(predicted).any() else 0
    )
    tau = float(weightedtau(score, filled, rank=None).statistic)
    return (tau if np.isfinite(tau) else 0.0), 100 * float(score.max() - score[int(filled.argmax())])


def judge(modality: str) -> dict[str, Any] | None:
    """Leave one set out: every signal alone, and the combination with its intervals."""
    all_rows = rows_of(modality)
    sets = list(dict.fromkeys(r.dataset for r, _, _ in all_rows))
    if len(sets) < FEWEST_SETS:
        return None
    table: dict[str, list[tuple[float, float]]] = {}
    inside, pairs, costs = [], [], []
    for held in sets:
        part = [x for x in all_rows if x[0].dataset == held]
        rows, score = [r for r, _, _ in part], np.array([t["score"] for _, t, _ in part])
        made = combine.fit([r for r, _, _ in all_rows if r.dataset != held], SIGNALS)
        plain = combine.fit([r for r, _, _ in all_rows if r.dataset != held], ("prior", "probe"))
        rows = [replace(r, model=f"new {r.model}") for r in rows]  # as a user's: no effect of its own is known
        predicted = made.predict(rows)
        table.setdefault("combination", []).append(tau_and_regret(-predicted.mean, score))
        table.setdefault("prior and probe alone", []).append(tau_and_regret(-plain.predict(rows).mean, score))
        for signal in (s for s in SIGNALS if any(r.signals.get(s) is not None for r in rows)):
            table.setdefault(signal, []).append(tau_and_regret(order_by(signal, rows), score))
        for what in ("top1", "parameters"):
            values = np.array([np.nan if s[what] is None else float(s[what]) for _, _, s in part])
            if np.isfinite(values).any():
                table.setdefault(what, []).append(tau_and_regret(values, score))
        inside += _inside(predicted, [t for _, t, _ in part])
        pairs += _pairs(predicted, [t for _, t, _ in part])
        costs.append((sum(s["seconds"] for _, _, s in part), sum(t["seconds"] for _, t, _ in part)))
    fitted = combine.fit([r for r, _, _ in all_rows], SIGNALS)
    return {
        "modality": modality, "sets": sets, "models": sorted({r.model for r, _, _ in all_rows}),
        "table": {k: {"tau": [x for x, _ in v], "regret": [x for _, x in v]} for k, v in table.items()},
        "values_covered": float(np.mean(inside)), "differences_covered": float(np.mean(pairs)),
        "cost_share": sum(a for a, _ in costs) / max(sum(b for _, b in costs), 1e-9),
        "coefficients": {k: list(v) for k, v in fitted.coefficients().items()},
    }  # fmt: skip


def _scale(t: dict[str, Any]) -> Scale:
    return Scale(False, t["constant"], t["n_test"])


def _inside(predicted: combine.Predicted, truth: Sequence[dict[str, Any]]) -> list[bool]:
    """Whether each fine-tuned score lies in its interval."""
    ends = [predicted.interval(i, _scale(t), LEVEL) for i, t in enumerate(truth)]
    return [e.low <= t["score"] <= e.high for e, t in zip(ends, truth, strict=True)]


def _pairs(predicted: combine.Predicted, truth: Sequence[dict[str, Any]]) -> list[bool]:
    """Whether each pair's difference lies in its interval, on the scale of y."""
    found = []
    for i in range(len(truth)):
        for j in range(i):
            apart = _scale(truth[i]).y(truth[i]["score"]) - _scale(truth[j]).y(truth[j]["score"])
            c = predicted.covariance
            half = student.ppf((1 + LEVEL) / 2, predicted.df) * float(c[i, i] + c[j, j] - 2 * c[i, j]) ** 0.5
            found.append(abs(apart - float(predicted.mean[i] - predicted.mean[j])) <= half)
    return found


def between(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """Mean of a - b over sets, with a 90 % bootstrap interval of whole sets."""
    apart = np.array(a) - np.array(b)
    drawn = apart[rng(0, "rank truth").integers(0, len(apart), (RESAMPLES, len(apart)))].mean(axis=1)
    return float(apart.mean()), *(float(x) for x in np.quantile(drawn, [0.05, 0.95]))


def page(found: Sequence[dict[str, Any]]) -> str:
    """The tables, losses too."""
    lines = ["# Ranking on graft's own ground truth\n", "`python bench/rank_truth.py train|signals|fit|judge`\n"]
    for r in found:
        best, n = r["table"]["combination"], len(r["sets"])
        lines += [
            f"## {r['modality']}: {n} sets, {len(r['models'])} candidates\n",
            f"Sets: {', '.join(r['sets'])}. Candidates: {', '.join(r['models'])}.\n",
            f"One set held out at a time. 90 % intervals hold {100 * r['values_covered']:.0f} % of the fine-tuned "
            f"scores and {100 * r['differences_covered']:.0f} % of the differences of two (aim: 85 to 95 %). Measuring "
            f"all candidates took {100 * r['cost_share']:.1f} % of the time of fine-tuning all (aim: under 5 %).\n",
            "| ordered by | tau | regret@1, points | combination minus it: tau [90 %] | regret [90 %] |",
            "| --- | ---: | ---: | --- | --- |",
        ]
        ranked = sorted(r["table"].items(), key=lambda kv: -float(np.mean(kv[1]["tau"])))
        for name, v in ranked:
            if len(v["tau"]) < n:
                continue
            gaps = [between(best[k], v[k]) for k in ("tau", "regret")]
            cells_ = ["" if name == "combination" else f"{g:+.3f} [{lo:+.3f}, {hi:+.3f}]" for g, lo, hi in gaps]
            bold = f"**{name}**" if name in ("combination", "prior", "probe") else name
            lines.append(
                f"| {bold} | {np.mean(v['tau']):.3f} | {np.mean(v['regret']):.2f} | {cells_[0]} | {cells_[1]} |"
            )
        said = ", ".join(f"{k or 'intercept'} {m:+.3f} ({s:.3f})" for k, (m, s) in r["coefficients"].items())
        lines.append(f"\nCoefficients on all sets (standard deviation): {said}.\n")
    return "\n".join(lines)


def main() -> None:
    """Do the phase that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase", choices=("train", "signals", "fit", "judge"))
    parser.add_argument("--modality", choices=KINDS, default="picture")
    parser.add_argument("--minutes", type=float, default=1e6)
    parser.add_argument("--only", default="", help="a regular expression over SET MODEL")
    asked = parser.parse_args()
    if asked.phase == "fit":
        fit_shipped()
    elif asked.phase == "judge":
        found = [r for m in KINDS if (r := judge(m)) is not None]
        HERE.with_name("rank_truth_judged.json").write_text(json.dumps(found, indent=1) + "\n")
        HERE.with_suffix(".md").write_text(page(found))
        print(page(found))
    else:
        with tempfile.TemporaryDirectory() as room:
            os.environ["GRAFT_CACHE"] = room
            part = "truth" if asked.phase == "train" else "signals"
            fill(part, asked.modality, time.monotonic() + 60 * asked.minutes, asked.only)


if __name__ == "__main__":
    main()

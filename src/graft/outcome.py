"""Everything a finished run says, gathered: the report, the predictions and the recipe that repeats it."""

from __future__ import annotations

import datetime
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from graft import calibrate, conformal, details, evaluate, evidence, measures, recipe, storage, train
from graft.data import Data, Sample
from graft.evidence import Evidence
from graft.ladder import Arm, control_rungs
from graft.model import Card
from graft.ranking import Ranking
from graft.recipe import Rung
from graft.session import Session

FORMAT = 1
SUMMARY = (
    "run", "task", "backbone", "measure", "value", "low", "high", "n", "controls", "rungs", "seconds",
)  # fmt: skip
"""Keys of the one JSON object of `graft fit --json` and `graft evaluate --json`."""


def repeatable(s: Session, arms: list[Arm]) -> str:
    """The recipe of this run with every number that was used; it decides nothing by a clock."""
    rungs = tuple(Rung(a.name, a.stages) for a in arms)
    return recipe.dump_toml(replace(s.recipe, rungs=rungs, device=s.device, precision=s.precision().way))


def predictions(s: Session, found: Evidence) -> Any:
    """A table [id, content, split, model, truth, decided, score_LABEL ...]: every rung on validation, the rest on test.

    `content` marks what the sample holds, `decided` is the answer under the model's own thresholds. Numbers
    have `prediction` instead of scores; several labels are a list.
    """
    import pyarrow as pa

    columns: dict[str, list[Any]] = {k: [] for k in ("id", "content", "split", "model", "truth", "decided")}
    blocks: list[np.ndarray] = []
    blocks_of = [("valid", a.name, s.data.valid, a.valid) for a in found.arms.values()]
    blocks_of += [("test", name, s.data.test, a) for name, a in found.answers.items()]
    for split, model, samples, answers in blocks_of:
        columns["id"].extend(x.id for x in samples)
        columns["content"].extend(x.digest[:16] for x in samples)
        columns["decided"].extend(_decided(s, model, found, answers))
        columns["split"].extend([split] * len(samples))
        columns["model"].extend([model] * len(samples))
        columns["truth"].extend(list(x.y) if isinstance(x.y, tuple) else x.y for x in samples)
        blocks.append(answers)
    scores = np.concatenate(blocks)
    if scores.ndim == 1:
        return pa.table({**columns, "prediction": scores})
    return pa.table({**columns, **{f"score_{label}": scores[:, i] for i, label in enumerate(s.task.labels)}})


def _decided(s: Session, model: str, found: Evidence, answers: np.ndarray) -> list[Any]:
    """Answers as a person reads them: a label, a list of labels, a number."""
    arm = found.arms.get(model)
    decided = s.task.decide(answers, arm.offsets if arm is not None else found.offsets.get(model))
    if s.task.outputs == "numbers":
        return [float(v) for v in decided]
    if s.task.outputs == "labels":
        return [[label for label, holds in zip(s.task.labels, row, strict=True) if holds] for row in decided]
    return [s.task.labels[int(i)] for i in decided]


def report(
    s: Session, arms: list[Arm], found: Evidence, ranking: Ranking | None, left_out: list[dict[str, str]], out: Path
) -> dict[str, Any]:
    """The report as plain values; `report.json` and the page are made of it."""
    chosen = found.chosen
    measure = next(iter(found.scores[chosen]))
    own = {name: scores[measure] for name, scores in found.scores.items()}
    truth = np.asarray(evaluate.truth_of(s.task, s.data.test))
    scores: dict[str, Any] = {n: {"test": {k: v.plain() for k, v in m.items()}} for n, m in found.scores.items()}
    for a in found.arms.values():
        scores.setdefault(a.name, {})["valid"] = {measure: a.score.plain()}
    controls = (*evidence.BASELINES, *(r.name for r in control_rungs()))
    detailed = details.of(s.task, s.data.test, found.answers[chosen], truth, found.offsets[chosen])
    return {
        "format": FORMAT,
        "level": evaluate.LEVEL,
        "run": str(out),
        "title": out.name,
        "graft": storage.versions()["graft-learn"],
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "task": {"name": s.task.name, "labels": list(s.task.labels), "answers": s.task.outputs},
        "measure": measure,
        "measures": _definitions(s, found.scores[chosen], truth),
        "chosen": chosen,
        "headline": own[chosen].plain(),
        "verdict": evidence.verdict(
            chosen, measure, own, found.against, {a.name: a.saw for a in found.arms.values()}, s.task.lower()
        ),
        "backbone": card(s.origin().card, s.recipe.backbone),
        "controls": {n: brief(own[n]) for n in controls if n in own},
        "against": {n: asdict(p) for n, p in found.against.items()},
        "rungs": [a.plain() for a in arms],
        "left_out": left_out,
        "scores": scores,
        "thresholds": thresholds(s, found),
        **_trusted(s, found, truth, detailed),
        "curves": curves(s.folder / "log.jsonl"),
        "decided": decided(s, ranking, found),
        "training_notes": train.notes(s.folder / "log.jsonl"),
        "rank": ranking.plain() if ranking else None,
        "data": data_card(s.data, s.recipe.data),
        "recipe": repeatable(s, arms),
        "request": s.decisions.made["request"]["recipe"],
        "seconds": round(s.clock.spent(), 2),
        "timeline": [{"what": k, "seconds": round(v, 2)} for k, v in s.timeline.items()],
        "environment": {**storage.versions(), "device": s.device, "budget": s.clock.budget, "seed": s.recipe.seed,
                        "precision": s.precision().way, "precision_measured": s.precision().rates},
    }  # fmt: skip


def _trusted(s: Session, found: Evidence, truth: np.ndarray, known: dict[str, Any]) -> dict[str, Any]:
    """`known` with what its sureness is worth: calibration without the temperature, sets, and answering less."""
    assert s.task.answer is not None
    kind, arm, answers = s.task.answer.kind, found.arms[found.chosen], found.answers[found.chosen]
    valid, offsets = evaluate.truth_of(s.task, s.data.valid), found.offsets[found.chosen]
    calibration = {**known.get("calibration", {}), **calibrate.checked(kind, answers, truth, arm.temperature)}
    return {
        **known,
        **({"calibration": calibration} if calibration else {}),
        "conformal": conformal.measured(kind, arm.valid, valid, answers, truth, s.task.labels, offsets),
        "abstention": conformal.abstention(kind, answers, truth, offsets),
    }


def temperatures(found: Evidence) -> dict[str, float]:
    """Temperatures fitted on validation, by model; those of 1, which change nothing, are left out."""
    return {a.name: a.temperature for a in found.arms.values() if a.temperature != 1.0}


def decided(s: Session, ranking: Ranking | None, found: Evidence) -> list[dict[str, Any]]:
    """Which rows chose what: the test part decides nothing."""
    train_n, valid_n, test_n = len(s.data.train), len(s.data.valid), len(s.data.test)
    rows = [{"what": "weights", "by": "train", "rows": train_n}]
    if ranking is not None:
        rows.append({"what": "backbone", "by": "train, cross-validated", "rows": ranking.n})
    rows += [{"what": "penalties and neighbours", "by": "train, cross-validated", "rows": train_n}]
    rows += [{"what": "which rung is kept", "by": "valid", "rows": valid_n}]
    if temperatures(found):
        rows.append({"what": "temperatures", "by": "valid, cross-fitted", "rows": valid_n})
    if any(o is not None for o in found.offsets.values()):
        rows.append({"what": "decision thresholds", "by": "valid, cross-fitted", "rows": valid_n})
    return [*rows, {"what": "the score and its intervals", "by": "test", "rows": test_n}]


def thresholds(s: Session, found: Evidence) -> dict[str, list[float]]:
    """Offsets chosen on validation, by model; the models that are not named decide by the plain probabilities."""
    return {name: [float(v) for v in o] for name, o in found.offsets.items() if o is not None}


def _definitions(s: Session, scores: dict[str, evaluate.Score], truth: np.ndarray) -> dict[str, Any]:
    """What each measure is, whether less is better, and why one has no value here."""
    assert s.task.answer is not None
    kind = s.task.answer.kind
    says = {m.name: m.says for m in measures.table()}
    found = {}
    for chosen in s.task.chosen():
        why = measures.undefined(kind, chosen, truth, s.task.labels) if str(chosen) in scores else ""
        found[str(chosen)] = {
            "says": says[chosen.name], "lower": measures.is_lower(chosen.name), "undefined": why,
        }  # fmt: skip
    return found


def brief(score: evaluate.Score) -> dict[str, float]:
    return {"value": score.value, "low": score.low, "high": score.high}


def card(known: Card, name: str) -> dict[str, Any]:
    return {**asdict(known), "name": name}


def curves(log: Path) -> dict[str, Any]:
    """Loss by step and validation by step, a curve a rung; stages follow one another."""
    found: dict[str, Any] = {}
    offset: dict[tuple[str, int], int] = {}
    for line in train.read_log(log):
        curve = found.setdefault(line["rung"], {"step": [], "loss": [], "valid": []})
        key = (line["rung"], line["stage"])
        if key not in offset:
            offset[key] = curve["step"][-1] if curve["step"] else 0
        step = line["step"] + offset[key]
        if "valid" in line:
            curve["valid"].append({"step": step, "value": line["valid"]})
        else:
            values = [v for v in line["terms"].values() if v is not None]
            curve["step"].append(step)
            curve["loss"].append(sum(values) if values else None)
    return found


def data_card(data: Data, source: str) -> dict[str, Any]:
    """Counts by part and class, and what was found, assumed and left out."""
    parts = {"train": data.train, "valid": data.valid, "test": data.test}
    classes = {label: {name: _holds(label, part) for name, part in parts.items()} for label in data.labels}
    notes = [{"kind": n.kind, "text": n.text, "items": list(n.items)} for n in data.notes]
    sizes = {name: len(part) for name, part in parts.items()}
    return {"source": source, **sizes, "classes": classes, "notes": notes, "fingerprint": data.fingerprint()}


def _holds(label: str, part: list[Sample]) -> int:
    return sum(1 for x in part if x.y == label or (isinstance(x.y, tuple) and label in x.y))


def summary(report: dict[str, Any]) -> dict[str, Any]:
    """The one JSON object of `graft fit --json`."""
    head = report["headline"]
    rungs = [{k: r[k] for k in ("name", "value", "low", "high", "seconds", "kept", "why")} for r in report["rungs"]]
    return {
        "run": report["run"], "task": report["task"]["name"], "backbone": report["backbone"]["name"],
        "measure": report["measure"], "value": head["value"], "low": head["low"], "high": head["high"], "n": head["n"],
        "controls": report["controls"], "rungs": rungs, "seconds": report["seconds"],
    }  # fmt: skip

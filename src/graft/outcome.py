"""Everything a finished run says, gathered: the report, the predictions and the recipe that repeats it."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from graft import constant, controls, evaluate, forgetting, proof, recipe, storage, train
from graft.arms import Arm
from graft.controls import LeftOut
from graft.data import Data, Sample
from graft.evidence import Evidence
from graft.model import Card
from graft.proof import Case
from graft.ranking import Ranking
from graft.session import Session

FORMAT = 1
SUMMARY = (
    "run", "task", "backbone", "measure", "value", "low", "high", "n", "controls", "verdict", "rungs", "seconds",
)  # fmt: skip
"""Keys of the one JSON object of `graft fit --json` and `graft evaluate --json`."""


def case_of(s: Session, ran: list[Arm], found: Evidence) -> Case:
    """What the run's claims rest on."""
    truth = {name: evaluate.truth_of(s.task, s.part(name)) for name in ("valid", "test")}
    names = {a.name for a in ran}
    made = [a for n, a in found.arms.items() if n not in names and n not in constant.BASELINES]
    return Case(
        s.task, s.recipe.seed, truth, ran, made, found.answers, found.baseline, found.same, found.kept, found.chosen,
        s.recipe.evidence, {name: evaluate.groups_of(s.part(name)) for name in ("valid", "test")},
    )  # fmt: skip


def repeatable(s: Session, arms: list[Arm], found: Evidence) -> str:
    """The recipe of this run with every number that was used; it decides nothing by a clock."""
    rungs = tuple(a.rung for a in arms)
    made = controls.repeatable(list(found.arms.values()), found.left_out)
    return recipe.dump_toml(replace(s.recipe, rungs=rungs, controls=made, device=s.device, precision=s.precision().way))


def predictions(s: Session, found: Evidence) -> Any:
    """A table [id, content, split, model, truth, decided, score_LABEL ...]: every arm on validation, the rest on test.

    `content` marks what the sample holds, `decided` is the answer under the model's own thresholds. Numbers
    have `prediction` instead of scores; several labels are a list. With groups there is `group` too, numbered.
    """
    import pyarrow as pa

    columns: dict[str, list[Any]] = {k: [] for k in ("id", "content", "split", "model", "truth", "decided")}
    blocks: list[np.ndarray] = []
    groups: list[str] = []
    ran = {n: a.valid for n, a in found.arms.items() if n != found.baseline}
    blocks_of = [("valid", n, s.data.valid, a) for n, a in {**ran, found.baseline: found.same}.items()]
    blocks_of += [("test", name, s.data.test, a) for name, a in found.answers.items()]
    for split, model, samples, answers in blocks_of:
        columns["id"].extend(x.id for x in samples)
        columns["content"].extend(x.digest[:16] for x in samples)
        columns["decided"].extend(_decided(s, model, found, answers))
        columns["split"].extend([split] * len(samples))
        columns["model"].extend([model] * len(samples))
        groups.extend(x.group for x in samples)
        columns["truth"].extend(list(x.y) if isinstance(x.y, tuple) else x.y for x in samples)
        blocks.append(answers)
    scores = np.concatenate(blocks)
    if any(groups):  # numbered: whose group it is, the intervals need not know
        known = {name: f"group {i}" for i, name in enumerate(dict.fromkeys(filter(None, groups)))}
        columns["group"] = [known.get(g, "") for g in groups]
    if scores.ndim == 1:
        return pa.table({**columns, "prediction": scores})
    return pa.table({**columns, **{f"score_{label}": scores[:, i] for i, label in enumerate(s.task.labels)}})


def _decided(s: Session, model: str, found: Evidence, answers: np.ndarray) -> list[Any]:
    """Answers as a person reads them: a label, a list of labels, a number."""
    decided = s.task.decide(answers, found.offsets(model))
    if s.task.outputs == "numbers":
        return [float(v) for v in decided]
    if s.task.outputs == "labels":
        return [[label for label, holds in zip(s.task.labels, row, strict=True) if holds] for row in decided]
    return [s.task.labels[int(i)] for i in decided]


def report(
    s: Session, arms: list[Arm], found: Evidence, ranking: Ranking | None, left_out: list[dict[str, str]], out: Path
) -> dict[str, Any]:
    """The report as plain values; `report.json` and the page are made of it."""
    case = case_of(s, arms, found)
    return {
        "format": FORMAT,
        "level": evaluate.LEVEL,
        "run": str(out),
        "title": out.name,
        "graft": storage.versions()["graft-learn"],
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "task": {"name": s.task.name, "labels": list(s.task.labels), "answers": s.task.outputs},
        "chosen": found.chosen,
        **proof.numbers(case),
        **proof.shown(case, s.data.test),
        "backbone": card(s.origin().card, s.recipe.backbone),
        "left_out": left_out,
        "evidence": evidence_card(s, case.made, found.left_out),
        "curves": curves(s.folder / "log.jsonl"),
        "decided": decided(s, ranking, found),
        "training_notes": train.notes(s.folder / "log.jsonl"),
        "rank": ranking.plain() if ranking else None,
        "data": data_card(s.data, s.recipe.data),
        "recipe": repeatable(s, arms, found),
        "request": s.decisions.made["request"]["recipe"],
        "seconds": round(s.clock.spent(), 2),
        "timeline": [{"what": k, "seconds": round(v, 2)} for k, v in s.timeline.items()],
        "environment": {**storage.versions(), "device": s.device, "budget": s.clock.budget, "seed": s.recipe.seed,
                        "precision": s.precision().way, "precision_measured": s.precision().rates},
    }  # fmt: skip


def evidence_card(s: Session, made: Sequence[Arm], left_out: LeftOut) -> dict[str, Any]:
    """Which controls ran beside the rungs, what they saw, and what share of the run they took."""
    seconds = sum(a.seconds for a in made)
    return {
        "mode": s.recipe.evidence,
        "controls": [
            {"name": a.name, "start": a.start, "saw": a.saw, "seconds": round(a.seconds, 2),
             "recipe": recipe.short_form(a.stages)}
            for a in made
        ],
        "left_out": left_out,
        "seconds": round(seconds, 2),
        "share": round(seconds / max(s.clock.spent(), 1e-9), 4),
    }  # fmt: skip


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
    if any(a.offsets is not None for a in found.arms.values()):
        rows.append({"what": "decision thresholds", "by": "valid, cross-fitted", "rows": valid_n})
    return [*rows, {"what": "the score and its intervals", "by": "test", "rows": test_n}]


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
        "controls": report["controls"], "verdict": report["transfer"]["verdict"], "rungs": rungs,
        "seconds": report["seconds"],
        **({"forgetting": forgetting.brief(report["forgetting"])} if report.get("forgetting") else {}),
    }  # fmt: skip

"""A small, plain report, and the parts that reports of every kind are made of."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np


def score(value: float, low: float, high: float, **more: Any) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, **more}


def picture(kilobytes: int = 8) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(bytes(range(256)) * 4 * kilobytes).decode()


def sample() -> dict[str, Any]:
    curve = {"step": [0, 10, 20], "loss": [0.7, 0.3, 0.2], "valid": [{"step": 10, "value": 0.9}]}
    candidate = {"name": "local:/zoo/a", "predicted": 0.92, "low": 0.88, "high": 0.95, "probe": 0.91, "mb": 7.2}
    failed = {"name": "timm:b", "error": "the hub cannot be reached"}
    note = {"kind": "skipped", "text": "files that are no pictures", "items": [f"odd_{i}.gif" for i in range(70)]}
    return {
        "format": 1, "run": "runs/photos", "title": "photos", "graft": "0.1.0",
        "created": "2026-11-24T08:00:00+00:00", "task": {"name": "image_classification", "labels": ["ants", "bees"]},
        "measure": "accuracy", "chosen": "finetune", "headline": score(0.93, 0.89, 0.97, n=153), "level": 0.95,
        "verdict": "Carrying knowledge over helped.",
        "backbone": {"name": "local:/zoo/mobilenetv2_100_tv", "parameters": 3504872, "mb": 7.2,
                     "license": "Apache-2.0", "trained_on": "ImageNet-1k"},
        "controls": {"majority": score(0.54, 0.46, 0.62), "probe": score(0.92, 0.88, 0.96)},
        "against": {"majority": {"difference": 0.39, "low": 0.30, "high": 0.47},
                    "probe": {"difference": 0.01, "low": -0.02, "high": 0.04}},
        "rungs": [{"name": "probe", **score(0.91, 0.85, 0.96), "seconds": 4.0, "kept": True, "why": "first"},
                  {"name": "finetune", **score(0.94, 0.9, 0.98), "seconds": 62.0, "kept": True, "why": "better",
                   "recipe": "probe > finetune:depth=2"}],
        "scores": {"finetune": {"test": {"accuracy": score(0.93, 0.89, 0.97, n=153),
                                         "log_loss": score(0.213, 0.1, 0.3, n=153)}}},
        "confusion": [[65, 5], [6, 77]],
        "per_class": {"ants": {"precision": 0.915, "recall": 0.929, "f1": 0.922, "n": 70},
                      "bees": {"precision": 0.939, "recall": 0.928, "f1": 0.933, "n": 83}},
        "calibration": {"ece": 0.04, "bins": [
            {"low": 0.5, "high": 0.9, "confidence": 0.7, "accuracy": 0.6, "n": 41},
            {"low": 0.9, "high": 1.0, "confidence": 0.98, "accuracy": 0.96, "n": 112}]},
        "mistakes": [{"id": f"val/{i}.jpg", "truth": "ants", "predicted": "bees", "probability": 0.5 + i / 50,
                      "text": None, "picture": picture()} for i in range(20)],
        "curves": {"finetune": curve},
        "rank": {"candidates": [candidate, failed], "choice": "local:/zoo/a", "tied": []},
        "data": {"source": "photos/", "train": 196, "valid": 48, "test": 153, "notes": [note], "fingerprint": "9f" * 32,
                 "classes": {"ants": {"train": 99, "valid": 24, "test": 70}}},
        "recipe": "seed = 0\n", "seconds": 92.1, "timeline": [{"what": "rank", "seconds": 20.1}],
        "environment": {"python": "3.11.7", "device": "cpu"},
    }  # fmt: skip


def tested(models: tuple[str, ...], table: dict[str, tuple[float | None, ...]], n: int) -> dict[str, Any]:
    """Scores of models on n test items, a column of the table each; None has no value."""
    found: dict[str, Any] = {name: {} for name in models}
    for measure, values in table.items():
        for name, v in zip(models, values, strict=True):
            reach = None if v is None else 1.6 * abs(v) * n**-0.5
            none = dict.fromkeys(("value", "low", "high"))
            found[name][measure] = {
                **(
                    none
                    if v is None or reach is None
                    else score(v, v - reach, v + reach if v > 1 else min(v + reach, 1.0))
                ),
                "n": n,
            }
    return found


def defined(says: str, lower: bool = False, undefined: str = "") -> dict[str, Any]:
    return {"says": says, "lower": lower, "undefined": undefined}


def common(title: str, task: str, answers: str, labels: list[str], measure: str) -> dict[str, Any]:
    """What every kind of report has alike."""
    modality = task.partition("_")[0]
    backbones = {
        "image": ("local:/zoo/mobilenetv2_100_tv", 3504872, "BSD-3-Clause", "ImageNet-1k"),
        "text": ("bundled:all-MiniLM-L6-v2", 22713216, "Apache-2.0", "1 billion sentence pairs of the web"),
    }
    name, parameters, licence, trained_on = backbones[modality]
    return {
        "format": 1,
        "level": 0.95,
        "run": f"runs/{title}",
        "title": title,
        "graft": "0.2.0",
        "created": "2026-11-24T08:00:00+00:00",
        "task": {"name": task, "labels": labels, "answers": answers},
        "measure": measure,
        "chosen": "finetune",
        "backbone": {
            "name": name,
            "parameters": parameters,
            "mb": parameters * 4e-6,
            "license": licence,
            "trained_on": trained_on,
        },
        "curves": {"finetune": curve(0.08 if answers != "numbers" else 4.0)},
        "recipe": f'seed = 0\nmeasure = "{measure}"\n',
        "seconds": 151.8,
        "left_out": [],
        "timeline": [
            {"what": "read", "seconds": 1.2},
            {"what": "nearest_neighbour", "seconds": 9.8},
            {"what": "probe", "seconds": 2.1},
            {"what": "finetune", "seconds": 121.0},
            {"what": "test", "seconds": 14.2},
        ],
        "environment": {"graft-learn": "0.2.0", "python": "3.11.7", "torch": "2.14.1", "device": "cpu", "seed": 0},
    }


def curve(floor: float) -> dict[str, Any]:
    steps = list(range(5, 400, 5))
    noise = np.random.default_rng(1).normal(0, 0.06, len(steps))
    loss = [floor * (1 + 6 * math.exp(-s / 90) + float(e)) for s, e in zip(steps, noise, strict=True)]
    return {
        "step": steps,
        "loss": loss,
        "valid": [{"step": s, "value": 0.9 - 0.2 * math.exp(-s / 90)} for s in steps[::16]],
    }


def climbed(*rungs: tuple[str, float, float, float, float, int, str]) -> list[dict[str, Any]]:
    """Rungs of (name, value, low, high, seconds, parameters trained, why); the last is kept."""
    return [
        {
            "name": name,
            **score(value, low, high),
            "seconds": seconds,
            "trained": trained,
            "why": why,
            "kept": i == len(rungs) - 1,
            "recipe": f"{name}:lr=0.001" if trained > 10_000 else name,
        }
        for i, (name, value, low, high, seconds, trained, why) in enumerate(rungs)
    ]


def bins(rows: list[tuple[float, float, int]], ece: float) -> dict[str, Any]:
    return {"ece": ece, "bins": [{"low": 0, "high": 1, "confidence": c, "accuracy": a, "n": n} for c, a, n in rows]}


def notes(found: str, warning: str) -> list[dict[str, Any]]:
    return [
        {"kind": "warning", "text": warning, "items": ["test/a_17.jpg", "test/a_18.jpg"]},
        {"kind": "found", "text": found, "items": []},
        {"kind": "assumed", "text": "no split was given: cut at random from seed 0", "items": []},
        {"kind": "skipped", "text": "1 file that cannot be read", "items": ["train/broken.jpg (truncated)"]},
    ]

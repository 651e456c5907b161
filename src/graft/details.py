"""What a report says beyond its measures, by kind of answer: tables, calibration, residuals, the worst mistakes."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from graft import evaluate
from graft.data import Sample
from graft.seeds import rng
from graft.tasks import Task

MOST_MISTAKES = 20
MOST_POINTS = 1500  # of a scatter plot


def of(
    task: Task, samples: Sequence[Sample], answers: np.ndarray, truth: np.ndarray, offsets: np.ndarray | None
) -> dict[str, Any]:
    """The parts of a report that only this kind of answer has."""
    assert task.answer is not None
    if task.answer.kind == "numbers":
        return _numbers(samples, answers, truth)
    decided = task.decide(answers, offsets)
    if task.answer.kind == "labels":
        return _labels(task, samples, answers, truth, decided)
    table = evaluate.confusion(decided, truth, len(task.labels))
    wrong = evaluate.worst(answers, decided, truth, MOST_MISTAKES)
    return {
        "confusion": table.tolist(),
        "per_class": evaluate.per_class(table, task.labels),
        "calibration": evaluate.calibration(answers, truth),
        "mistakes": [
            _mistake(samples[i], samples[i].y, task.labels[decided[i]], float(answers[i, decided[i]])) for i in wrong
        ],
    }


def _labels(
    task: Task, samples: Sequence[Sample], answers: np.ndarray, truth: np.ndarray, decided: np.ndarray
) -> dict[str, Any]:
    per_label: dict[str, dict[str, float | int | None]] = {}
    held = truth > 0.5
    for c, label in enumerate(task.labels):
        hit, true, said = int((held[:, c] & decided[:, c]).sum()), int(held[:, c].sum()), int(decided[:, c].sum())
        per_label[label] = evaluate.rates(hit, true, said)
    p = np.clip(answers, 1e-12, 1 - 1e-12)
    losses = -(held * np.log(p) + ~held * np.log(1 - p)).sum(axis=1)
    wrong = np.flatnonzero((held != decided).any(axis=1))
    order = wrong[np.argsort(-losses[wrong], kind="stable")][:MOST_MISTAKES]
    mistakes = [
        _mistake(samples[i], _joined(samples[i].y), _joined(np.array(task.labels)[decided[i]]), None) for i in order
    ]
    binary = np.stack([1 - answers.ravel(), answers.ravel()], axis=1)
    calibration = evaluate.calibration(binary, held.ravel().astype(int))
    return {"per_class": per_label, "calibration": calibration, "mistakes": mistakes}


def _joined(labels: Sequence[str] | np.ndarray) -> str:
    return "; ".join(map(str, labels)) or "none"


def _numbers(samples: Sequence[Sample], answers: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    n = len(truth)
    rows = np.arange(n) if n <= MOST_POINTS else np.sort(rng("points", n).permutation(n)[:MOST_POINTS])
    worst = np.argsort(-np.abs(answers - truth), kind="stable")[:MOST_MISTAKES]
    return {
        "residuals": {"truth": truth[rows].tolist(), "predicted": answers[rows].tolist()},
        "mistakes": [_mistake(samples[i], f"{truth[i]:.6g}", f"{answers[i]:.6g}", None) for i in worst],
    }


def _mistake(sample: Sample, truth: Any, predicted: Any, probability: float | None) -> dict[str, Any]:
    """One wrong answer as a person can look at it."""
    text = sample.x if isinstance(sample.x, str) else None
    return {
        "id": sample.id, "truth": truth, "predicted": predicted, "probability": probability,
        "text": text[:400] if text else None, "picture": None if text is not None else thumbnail(sample.x),
    }  # fmt: skip


def thumbnail(x: Any, side: int = 144) -> str | None:
    """A small JPEG as a data address."""
    from graft.views import opened

    try:
        picture = opened(x)
        if isinstance(picture, np.ndarray):  # more than three channels: the first three are shown
            from PIL import Image

            picture = Image.fromarray(np.ascontiguousarray(picture[:, :, :3]))
        picture = picture.convert("RGB")
    except Exception:  # the page does without: a thumbnail is not worth a run
        return None
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

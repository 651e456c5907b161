"""A golden input: what a model said of it when it was saved must be what it says when it is loaded.

Training and serving that prepare inputs differently (another resize filter, other means, another tokenizer)
cost accuracy that no error tells of. The weights' hashes cannot see it, so one made-up input goes the whole
way, from preprocessing to answer, at both times.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graft.data import Sample
from graft.errors import DataError
from graft.loading import load
from graft.model import Model
from graft.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graft.tasks import Task

VERSION = 1  # of the inputs below; what an older graft made of another one is not compared
MOST = 64  # numbers kept of the features and of the answer
TOLERANCE = 1e-3  # as a share of the largest number: well over another processor's rounding
TEXT = "The quick brown fox, aged 7, jumps over 3 lazy dogs; naïve café owners don't mind it at all!"
SIDES = (173, 131)  # pixels: no backbone's size and not square, so that resizing and cropping both matter


def make(model: Model, task: Task) -> dict[str, Any]:
    """What the model says of the golden input of its kind, as JSON; {} for kinds of data that have none.

    "shape" and "x" tell how the input was prepared (mean, spread and some of the pixels; token ids); "pooled",
    "pred" and "answer" hold up to 64 numbers of the features, of the head and of the decoded answer. Runs on
    the CPU and leaves the model as it is. Raises DataError where a number is not finite: such a model answers nothing.
    """
    sample = sample_of(model.backbone.modality, int((task.schema or {}).get("channels", 3)))
    if sample is None:
        return {}
    said = _answer(model, task, sample)
    strange = next((name for name, numbers in said.items() if not np.isfinite(numbers).all()), None)
    if strange is not None:
        raise DataError(
            f"the model gives numbers that are not finite (its {strange!r} for a plain input); its training failed: "
            "lower the rate (--set stage.N.lr), or look at the data and the pretrained weights"
        )
    return {"version": VERSION, **said}


def check(model: Model, task: Task, golden: Mapping[str, Any], where: str) -> None:
    """Compare what `make` stored with what the model says now; nothing is compared where nothing was stored.

    Raises DataError, naming `where`, what differs and by how much.
    """
    if golden.get("version") != VERSION:
        return
    now = make(model, task)
    for name, means in (
        ("shape", "the input is prepared differently"),
        ("x", "the input is prepared differently"),
        ("pooled", "the backbone sees it differently"),
        ("pred", "the head answers it differently"),
        ("answer", "the answer is read differently"),
    ):
        far = _distance(golden.get(name), now.get(name))
        if far > TOLERANCE:
            by = f"by {far:.2g}, up to {TOLERANCE:g} is allowed" if np.isfinite(far) else "other or more numbers"
            raise DataError(
                f"{where}: a stored input is not answered as when the run was saved: {means} ({by}); install the "
                "versions that report.json names under 'environment', or fit again"
            )


def sample_of(modality: str, channels: int = 3) -> Sample | None:
    """The golden input of a modality; None for kinds of data that have none."""
    if modality == "picture":
        picture = _picture()
        if channels not in (1, 3):  # the three colours over and over
            return Sample(np.asarray(picture)[:, :, np.arange(channels) % 3], None, "golden")
        return Sample(picture, None, "golden")
    return Sample(TEXT, None, "golden") if modality == "text" else None


def _picture() -> Any:
    """A slope in each colour under noise: noise tells resize filters apart, slopes tell crops and colour orders."""
    from PIL import Image

    width, height = SIDES
    across, down = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    slopes = np.stack([across, down, 1 - across * down], axis=2)
    noise = rng("golden", VERSION).random((height, width, 3))
    return Image.fromarray(np.round(255 * (0.6 * slopes + 0.4 * noise)).astype(np.uint8))


@torch.no_grad()
def _answer(model: Model, task: Task, sample: Sample) -> dict[str, Any]:
    moved = next(model.parameters()).device.type != "cpu"
    model = copy.deepcopy(model).cpu() if moved else model
    modes = {m: m.training for m in model.modules()}
    model.eval()
    try:
        batch = load([sample], model.backbone, None, "none", ("golden",), [0])
        out = model(batch)
        answer = task.decode(out.pred, batch.where)[0]
    finally:
        for module, training in modes.items():
            module.training = training
    # The head's own numbers too: beside a probability of nearly 1 a changed head would pass.
    said = {"pooled": _numbers(out.features.pooled), "pred": _numbers(out.pred), "answer": _numbers(answer)}
    return {"shape": list(batch.x.shape), "x": _digest(batch.x), **said}


def _digest(x: torch.Tensor) -> list[float]:
    """Token ids as they are (whole numbers stay ints); of pixels their mean, spread and the first few."""
    if not x.is_floating_point():
        return [int(v) for v in x.flatten()[:MOST].tolist()]
    pixels = x.double()
    return [float(pixels.mean()), float(pixels.std(correction=0)), *_numbers(x)[: MOST - 2]]


def _numbers(value: Any) -> list[float]:
    """The first numbers in a tensor, array, list or mapping of them; texts and other answers give none."""
    if isinstance(value, torch.Tensor):
        return [float(v) for v in value.flatten()[:MOST].tolist()]
    if isinstance(value, np.ndarray):
        return [float(v) for v in value.reshape(-1)[:MOST]] if value.dtype.kind in "biuf" else []
    if isinstance(value, dict):
        return _numbers(list(value.values()))
    if isinstance(value, list | tuple):
        return [n for v in value for n in _numbers(v)][:MOST]
    return [float(value)] if isinstance(value, int | float | np.number) else []


def _distance(before: Any, now: Any) -> float:
    """The largest difference as a share of the largest number."""
    if not isinstance(before, list) or not isinstance(now, list) or len(before) != len(now):
        return float("inf")
    if before == now:
        return 0.0
    if all(type(v) is int for v in before):  # ids: none is near another
        return float("inf")
    a, b = np.asarray(before, dtype=np.float64), np.asarray(now, dtype=np.float64)
    far = float(np.abs(a - b).max() / max(1e-6, float(np.abs(a).max())))
    return far if np.isfinite(far) else float("inf")

"""The model that looks at nothing, for the run in which nothing that looks at data does better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from graft import arms, storage
from graft.arms import Arm
from graft.data import Sample
from graft.files import manifest, slug, write_json
from graft.heads import LinearHead
from graft.session import Session
from graft.tasks import Task

BASELINES = ("majority", "base_rates", "constant")
"""The control without any knowledge, by kind of answer."""
LEAST = 1e-12  # of a probability, before its logarithm


def always(task: Task, train: Sequence[Sample], n: int) -> tuple[str, np.ndarray]:
    """(name, answers [n, ...]) of the control that looks at nothing but the training targets."""
    if task.answer is None:
        raise NotImplementedError(f"{task.name} has no answer that is always the same")
    return task.answer.baseline, task.answer.always(train, task.labels, n, task.measures[0].partition(":")[0])


def arm(s: Session, name: str) -> Arm:
    """A linear head without weights, whose bias gives the same answer to every input, as an arm of the run."""
    folder = s.folder / "arms" / slug(name)
    if not (folder / "arm.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        same = always(s.task, s.data.train, len(s.data.valid))[1]
        bias = _bias(s.task, same[0])
        head = LinearHead(s.origin().dim, len(bias))
        with torch.no_grad():
            head.linear.bias.copy_(bias)
        tensors = {f"head.{k}": v.detach().clone() for k, v in head.state_dict().items()}
        storage.save_tensors(folder / "weights.safetensors", tensors)
        arms.save_array(folder / "valid.npy", same)
        said: dict[str, Any] = {"stages": [], "start": "pretrained", "frozen": True, "head": head.describe()}
        files = manifest(folder, ["valid.npy", "weights.safetensors"])
        write_json(folder / "arm.json", {**said, "trained": 0, "files": files})
    return arms.load(s, name)


def _bias(task: Task, answer: Any) -> torch.Tensor:
    """What a head must give for `answer` to be decoded: log-probabilities, log-odds, or a number in standard units."""
    if task.outputs == "numbers":
        schema = task.schema or {}
        return torch.tensor([(float(answer) - schema["mean"]) / schema["std"]])
    p = np.clip(np.asarray(answer, dtype=np.float64), LEAST, 1 - LEAST)
    logits = np.log(p) - (np.log1p(-p) if task.outputs == "labels" else 0.0)
    return torch.from_numpy(logits).float()

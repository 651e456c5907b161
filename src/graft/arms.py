"""One way of carrying knowledge over that ran: trained, kept in the work folder, and asked."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from graft import calibrate, evaluate, features, recipe, storage, thresholds, train
from graft.backbones import _weights
from graft.evaluate import Score
from graft.files import manifest, read_json, slug, verify, write_json, write_whole
from graft.model import Model
from graft.recipe import Rung, Stage
from graft.session import Session
from graft.tasks import Task

BALANCED = "balanced_probe"


@dataclass
class Arm:
    """A rung that ran: where it lies, what it answered on validation, and whether it was kept."""

    name: str
    stages: tuple[Stage, ...]
    folder: Path
    seconds: float
    frozen: bool  # the backbone is the one it started from, untouched
    head: dict[str, Any]
    valid: np.ndarray
    score: Score
    kept: bool = False
    why: str = ""
    trained: int = 0  # weights that moved
    offsets: np.ndarray | None = None  # of decisions, chosen on validation
    judged: np.ndarray | None = None  # what it answers there under such offsets, each half by the other's
    temperature: float = 1.0  # of its answers on validation and test; `calibrate`
    saw: str = ""  # how many of the training samples a frozen stage looked at, where not all
    start: str = "pretrained"

    @property
    def rung(self) -> Rung:
        """The rung that trains this arm again."""
        return Rung(self.name, self.stages, self.start)

    def cost(self) -> float:
        """What a rung takes, in order: one frozen pass, one that bends the classes' weights, training, more of it."""
        return (0.5 if self.name == BALANCED else 0.0) if self.frozen else len(self.stages)

    def shown(self) -> np.ndarray:
        """The answers on validation that it is compared by."""
        return self.valid if self.judged is None else self.judged

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        s = self.score
        return {
            "name": self.name, "value": s.value, "low": s.low, "high": s.high,
            "seconds": round(self.seconds, 2), "kept": self.kept, "why": self.why,
            "recipe": " ".join(filter(None, (recipe.short_form(self.stages), self.saw))), "trained": self.trained,
            "saw": self.saw,
        }  # fmt: skip


def run(s: Session, rung: Rung, seconds: float | None = None) -> Arm:
    """Train a rung, or take it from the work folder where an earlier life finished it."""
    folder = s.folder / "arms" / slug(rung.name)
    if not _is_whole(s, folder):
        folder.mkdir(parents=True, exist_ok=True)
        before = s.decisions.made.get(f"seconds {rung.name}", 0.0)
        start = time.monotonic()
        deadline = start + seconds - before if seconds is not None else None

        def beat() -> None:
            s.decisions.set(f"seconds {rung.name}", before + time.monotonic() - start)
            s.remember()

        try:
            _train(s, rung, folder, deadline, beat)
        finally:
            beat()
    return load(s, rung.name)


def _is_whole(s: Session, folder: Path) -> bool:
    """Whether a rung was finished by an earlier life and its files are what they were; else it is trained anew."""
    if not (folder / "arm.json").exists():
        return False
    problems = verify(folder, read_json(folder / "arm.json").get("files") or {})
    if problems:
        s.voice.warn(f"{folder.name}: {problems[0]}; this rung is trained anew")
        shutil.rmtree(folder)
    return not problems


def _train(s: Session, rung: Rung, folder: Path, deadline: float | None, beat: Callable[[], None]) -> None:
    model = s.fresh(rung.start)
    training = train.Rung(
        rung.name,
        rung.stages,
        folder / "checkpoints",
        s.folder / "log.jsonl",
        s.recipe.seed,
        s.voice,
        partial(s.base, rung.start),
        deadline,
        beat,
        s.precision(),
        s.board,
    )
    train.fit(model, s.task, s.data, training)
    frozen = all(train.solves(stage) for stage in rung.stages)
    decoded = answers(s, model, "valid", rung.start if frozen else "")
    tensors = storage.tensors_of(model)
    if frozen:
        tensors = {k: v for k, v in tensors.items() if k.startswith("head.")}
    storage.save_tensors(folder / "weights.safetensors", tensors)
    save_array(folder / "valid.npy", decoded)
    head: Any = model.head
    moved = (head if frozen else model).parameters()
    said = {
        "stages": [recipe.plain_stage(x) for x in training.done()], "start": rung.start, "frozen": frozen,
        "head": head.describe(), "trained": sum(p.numel() for p in moved if frozen or p.requires_grad),
    }  # fmt: skip
    kept = manifest(folder, ["valid.npy", "weights.safetensors"])
    write_json(folder / "arm.json", {**said, "files": kept})
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def load(s: Session, name: str) -> Arm:
    """A finished arm from the work folder."""
    folder = s.folder / "arms" / slug(name)
    said = read_json(folder / "arm.json")
    valid = np.load(folder / "valid.npy", allow_pickle=False)
    truth = evaluate.truth_of(s.task, s.data.valid)
    stages = tuple(recipe.stage_from(p) for p in said["stages"])
    fitted = s.recipe.calibrate and bool(stages)  # the answer that is always the same stays what it is
    temperature = calibrate.temperature(_kind(s.task), valid, truth) if fitted else 1.0
    valid = calibrate.apply(_kind(s.task), valid, temperature)
    offsets, judged, score = judge(s.task, valid, truth, s.recipe.seed, evaluate.groups_of(s.data.valid))
    seconds = s.decisions.made.get(f"seconds {name}", 0.0)
    trained, saw = said.get("trained", 0), _saw(s, stages, said["start"])
    return Arm(
        name, stages, folder, seconds, said["frozen"], said["head"], valid, score, trained=trained, offsets=offsets,
        judged=judged, temperature=temperature, saw=saw, start=said["start"],
    )  # fmt: skip


def judge(
    task: Task, valid: np.ndarray, truth: Sequence[Any], seed: int, groups: Sequence[str] | None = None
) -> tuple[np.ndarray | None, np.ndarray, Score]:
    """(offsets of decisions, answers on validation as they are compared, their score) from answers [n, ...]."""
    offsets, judged = thresholds.fitted(task, valid, truth, seed)
    return offsets, judged, evaluate.score(task, judged, truth, seed, groups=groups)


def _saw(s: Session, stages: tuple[Stage, ...], start: str) -> str:
    """What an arm got less of than it might have: training samples, or steps from random weights."""
    n = len(s.data.train)
    steps = sum(x.stop or steps_of(x, n) for x in stages if not train.solves(x))
    if start == "random" and steps:
        return f"within {steps:,} steps"
    limit = min((x.limit for x in stages if x.limit), default=0)
    return f"on {limit:,} of {n:,} training samples" if 0 < limit < n else ""


def steps_of(stage: Stage, n: int) -> int:
    """Steps of a stage over n training samples."""
    return max(1, round((stage.epochs or 1) * n / (stage.batch or 32)))


def head_of(arm: Arm) -> nn.Module:
    """The trained head of an arm, without its backbone."""
    return storage.load_head(arm.head, _weights.read_weights(arm.folder, "weights.safetensors"))


def model_of(s: Session, arm: Arm) -> Model:
    """The trained model of an arm."""
    model = s.fresh(arm.start)
    tensors = _weights.read_weights(arm.folder, "weights.safetensors")
    model.set_head(storage.load_head(arm.head, tensors))
    if not arm.frozen:
        own = {k.removeprefix("backbone."): v for k, v in tensors.items() if k.startswith("backbone.")}
        _weights.fit_weights(model.backbone, own, str(arm.folder), new=r"^source_head\.")
    return model.eval()


def answers(s: Session, model: Model, part: str, frozen: str = "") -> np.ndarray:
    """Decoded answers on a part of the data, [n, ...].

    A frozen backbone answers from its cached pass: `frozen` says what it started from (STARTS), "" that it moved.
    """
    if frozen:
        return np.asarray(features.answers(model, s.task, s.table(part, frozen)))
    with s.voice.bar(f"answers on {part}", len(s.part(part))) as tick:
        return np.asarray(model.predict(s.part(part), s.task, tick=tick))


def test_answers(s: Session, arm: Arm) -> np.ndarray:
    """Calibrated answers of an arm on the test part; what the model says is computed once."""
    file = arm.folder / "test.npy"
    if not file.exists():
        save_array(file, answers(s, model_of(s, arm), "test", arm.start if arm.frozen else ""))
    return calibrate.apply(_kind(s.task), np.load(file, allow_pickle=False), arm.temperature)


def _kind(task: Task) -> str:
    """What `calibrate` takes answers for: a task that brings its own way of answering has none it knows."""
    return task.answer.kind if task.answer is not None else ""


def save_array(path: Path, array: np.ndarray) -> None:
    """An npy file, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_whole(path, buffer.getvalue())

"""A finished run: its model, report and predictions, from the folder alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from graft import (
    calibrate,
    conformal,
    constant,
    evaluate,
    features,
    floors,
    forgetting,
    outcome,
    proof,
    robustness,
    sources,
    storage,
)
from graft import corrupt as corruptions
from graft._intake import shown
from graft.data import Note, Sample
from graft.errors import DataError, SetupError, UsageError, some
from graft.files import read_json
from graft.model import Model
from graft.precision import asked_for
from graft.recipe import Recipe
from graft.session import pick_device
from graft.train import memory
from graft.voice import Voice

if TYPE_CHECKING:
    import pandas as pd

    from graft.tasks import Task


class Run:
    """A run folder. Raises UsageError where none is, DataError where it was changed since it was written."""

    def __init__(self, folder: str | Path, device: str = "auto") -> None:
        floors.check()
        self.folder = Path(folder)
        self.device = pick_device(device)
        self.meta = storage.read_meta(self.folder)

    @cached_property
    def report(self) -> dict[str, Any]:
        """The report as plain values: report.json."""
        found: dict[str, Any] = read_json(self.folder / "report.json")
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes or labels, in the order of the scores; empty where numbers are answered."""
        return tuple(self.meta["task"]["labels"])

    @cached_property
    def _loaded(self) -> tuple[Model, Task]:
        model, task, _ = storage.load_model(self.folder)
        return model.to(self.device), task

    @property
    def model(self) -> Model:
        """The trained model, a torch module in evaluation mode."""
        return self._loaded[0]

    @cached_property
    def task(self) -> Task:
        """The task as it was trained, without loading the model."""
        return storage.task_of(self.meta)

    @cached_property
    def offsets(self) -> np.ndarray | None:
        """What is added to log-probabilities (log-odds) before an answer is decided; None: nothing."""
        return self._offsets(self.report["chosen"])

    @property
    def temperature(self) -> float:
        """What the model's scores are divided by before they become probabilities (`graft.calibrate`); 1: nothing."""
        return self._temperature(self.report["chosen"])

    def predict(
        self, inputs: Any, top_k: int = 1, voice: Voice | None = None, coverage: float | None = None
    ) -> pd.DataFrame:
        """Answers for files, folders, tables, frames or lists.

        Columns: id, label, probability (and label_2, probability_2 ... for `top_k`), then score_LABEL for
        every class. With several labels at once: id, labels (a list), score_LABEL. Numbers: id, value.
        With a `coverage` (0.9) also `set`, a list of labels that holds the true one (each of several) with that
        probability, or `low` and `high` around a number; see `graft.conformal` for what is promised.
        `error` has the reason for an item that could not be read. Raises UsageError, DataError.
        """
        import pandas as pd

        voice = voice or Voice(quiet=True)
        cut = None if coverage is None else self._cut(coverage, voice)
        task = self._loaded[1]
        samples, notes = task.inputs(sources.inputs(inputs, task.modality))
        bad = [item for n in notes if n.kind == "skipped" for item in n.items]
        if not samples and bad:
            raise DataError(f"nothing could be read: {some(bad)}")
        with memory.told("predict", self.device), voice.bar("predict", len(samples)) as tick:
            answers = self._calibrated(self.report["chosen"], self._says(samples, tick))
        top_k = max(1, min(top_k, len(self.labels)))
        rows = _rows(samples, answers, task, self.offsets, top_k, bad)
        if cut is not None:
            given = conformal.columns(task.outputs, answers, cut, self.labels, self.offsets)
            rows = [{**row, **more} for row, more in zip(rows, [*given, *({} for _ in bad)], strict=True)]
        return pd.DataFrame(rows)

    def _cut(self, coverage: float, voice: Voice) -> np.ndarray:
        """Where sets or intervals end, from what the chosen model answered on validation; warns of too few of these."""
        import pyarrow.parquet as pq

        conformal.check(coverage)
        own = [("split", "=", "valid"), ("model", "=", self.report["chosen"])]
        table = pq.read_table(self.folder / "predictions.parquet", filters=own)
        columns = [table[c].to_numpy() for c in [f"score_{x}" for x in self.labels] or ["prediction"]]
        answers = np.stack(columns, axis=1) if self.labels else columns[0]
        given = (tuple(t) if isinstance(t, list) else t for t in table["truth"].to_pylist())
        truth = [self.task.truth(Sample(None, t)) for t in given]
        kind = self.task.outputs
        lacking = conformal.unsupported(kind, truth, coverage, self.labels)
        if lacking:
            voice.warn(lacking)
        return conformal.cuts(kind, conformal.deciding(kind, answers, self.offsets), truth, coverage)

    def _says(self, samples: Sequence[Sample], tick: Callable[[int], None]) -> list[Any]:
        """The model's answers, computed as in the fit: a frozen backbone in the precision that was chosen there."""
        model, task = self._loaded
        if not self.meta["backbone"]["untouched"]:
            return model.predict(samples, task, tick=tick)
        how = asked_for(str(self.meta.get("precision") or "fp32"))
        table = features.extract(model.backbone, samples, keep=False, precision=how, tick=tick)
        return features.answers(model, task, table)

    def evaluate(
        self,
        data: Any,
        *,
        text: str = "",
        image: str = "",
        label: str = "",
        max_bad: float = 0.01,
        drop_unlabelled: bool = False,
        corrupt: bool | str | Sequence[str] = False,
        corrupt_samples: int = robustness.SAMPLES,
        voice: Voice | None = None,
    ) -> dict[str, Any]:
        """Measure the model on labelled data: its test part where it has one, else all of it.

        Returns the object of `graft evaluate --json`, with every measure in `scores`. Controls are those of
        the fit: the commonest class, and nearest neighbours and the probe where the pretrained backbone is at
        hand. `corrupt` also measures every rung under corruptions, on at most `corrupt_samples`: True for the usual
        ones, "all", or names (`graft.corrupt`); the object then has `corrupted` and `robustness` too, as
        `graft.robustness.plain` says. Raises DataError for labels that the model does not know, UsageError for a
        corruption that is not known.
        """
        import time

        start = time.monotonic()
        voice = voice or Voice(quiet=True)
        names = corruptions.chosen(corrupt, self.task.modality) if corrupt else ()
        task = self._loaded[1]
        source, name = sources.resolve(data)
        asked = Recipe(
            data=name,
            task=task.name,
            text=text,
            image=image,
            label=label,
            max_bad=max_bad,
            drop_unlabelled=drop_unlabelled,
        )
        parts, notes = task.labelled(source, asked)
        samples, part = test_part(parts)
        held = {y for s in samples for y in (s.y if isinstance(s.y, tuple) else (s.y,))}
        strange = [] if task.outputs == "numbers" else sorted(held - set(self.labels))
        if strange:
            raise DataError(
                f"{name}: labels that this model does not know: {some(strange)}; it knows {some(self.labels, 10)}"
            )
        known = storage.seen(self.folder)
        learned = [s.id for s in samples if storage.mark(s.digest) in known]
        if learned:
            text = (
                f"{len(learned)} of {len(samples)} samples are among those this model learned from: the score flatters"
            )
            notes.append(Note("warning", text, tuple(learned)))
        with memory.told("evaluate", self.device):
            answers, controls, missing = self._answers(samples, voice)
        answers = self._calibrated(self.report["chosen"], answers)
        controls = {name: self._calibrated(name, a) for name, a in controls.items()}
        truth = evaluate.truth_of(task, samples)
        seed = int(self.report["environment"].get("seed") or 0)  # as the fit: the same samples, the same interval
        groups = evaluate.groups_of(samples)
        found = evaluate.scores(task, answers, truth, seed, self.offsets, groups=groups)
        measure, own = next(iter(found.items()))
        beside = {
            n: proof.brief(evaluate.score(task, a, truth, seed, self._offsets(n), groups=groups))
            for n, a in controls.items()
        }
        notes += [Note("warning", missing)] if missing else []
        more = self._corrupted(samples, names, corrupt_samples, voice, notes) if names else {}
        fit = {
            k: v for k, v in outcome.summary(self.report).items() if k != "verdict"
        }  # that is of the fit's test part
        return {
            **fit, **own.plain(), "run": str(self.folder.resolve()), "measure": measure,
            "controls": beside, "seconds": round(time.monotonic() - start, 2),
            "data": name, "part": part, "scores": {k: v.plain() for k, v in found.items()},
            "notes": [{"kind": n.kind, "text": n.text, "items": list(n.items)} for n in notes], **more,
        }  # fmt: skip

    def _corrupted(
        self, samples: Sequence[Sample], names: Sequence[str], most: int, voice: Voice, notes: list[Note]
    ) -> dict[str, Any]:
        """What every rung is worth under corruptions; what is not compared goes to the notes."""
        if most < 1:
            raise UsageError(f"--corrupt-samples {most}: at least one sample is needed")
        seed = int(self.report["environment"].get("seed") or 0)
        ran = [r["name"] for r in self.report["rungs"]]
        kept = (self.report["chosen"], *self._loaded)
        with memory.told("evaluate --corrupt", self.device):
            found = robustness.measure(
                self.folder, self.meta, kept, samples, names, most=most, seed=seed, ran=ran,
                always=self._always(len(samples)), voice=voice,
            )  # fmt: skip
        said = (("assumed", robustness.note(found)), ("warning", robustness.warned(found)))
        notes += [Note(kind, text) for kind, text in said if text]
        return robustness.plain(found)

    def _answers(self, samples: Sequence[Sample], voice: Voice) -> tuple[np.ndarray, dict[str, np.ndarray], str]:
        """(the model's answers, those of each control, why controls are missing) on samples.

        Controls answer from the pretrained backbone: the model's own where it is untouched, else it is
        loaded by name.
        """
        model, task = self._loaded
        controls, missing = self._always(len(samples)), ""
        answers: np.ndarray | None = None
        try:
            untouched = self.meta["backbone"]["untouched"]
            base = model.backbone if untouched else storage.pretrained(self.meta).to(self.device)
            with voice.bar("features", len(samples)) as tick:
                how = asked_for(str(self.meta.get("precision") or "fp32"))
                table = features.extract(base, samples, precision=how, tick=tick)
            if untouched:
                answers = np.asarray(features.answers(model, task, table))
            for name, head in storage.load_controls(self.folder, self.meta).items():
                controls[name] = np.asarray(features.answers(Model(base, head), task, table))
        except (UsageError, SetupError, DataError) as e:
            missing = f"controls on frozen features are missing: {e}"
        if answers is None:
            with voice.bar("answers", len(samples)) as tick:
                answers = np.asarray(model.predict(samples, task, tick=tick))
        return answers, controls, missing

    def forgetting(
        self, source: str | Path, max_drop: float = forgetting.MAX_DROP, voice: Voice | None = None
    ) -> dict[str, Any]:
        """What this run's model lost on data of an earlier task, as `graft fit --keep` measures it.

        The plain values of `graft.forgetting.measure`. Raises UsageError, DataError for a source that cannot be read
        or is of another kind, SetupError where the weights that the run started from are not at hand.
        """
        backbone, seed = self.meta["backbone"], int(self.report["environment"].get("seed") or 0)
        asked = forgetting.settled(
            Recipe(keep=str(source), max_drop=max_drop, seed=seed, backbone=str(backbone["name"]))
        )
        kept = forgetting.read(asked, self.task.modality, self.task.schema)
        with memory.told("evaluate", self.device):
            origin = storage.pretrained(self.meta).to(self.device)
            tuned = None if backbone["untouched"] else self.model.backbone
            how = asked_for(str(self.meta.get("precision") or "fp32"))
            return forgetting.measure(
                kept, origin, tuned, max_drop=max_drop, seed=seed, precision=how, voice=voice or Voice(quiet=True)
            )

    def _offsets(self, name: str) -> np.ndarray | None:
        found = (self.meta.get("thresholds") or {}).get(name)
        return None if found is None else np.asarray(found, dtype=np.float64)

    def _temperature(self, name: str) -> float:
        return float((self.meta.get("temperatures") or {}).get(name, 1.0))

    def _calibrated(self, name: str, answers: Any) -> np.ndarray:
        return calibrate.apply(self.task.outputs, answers, self._temperature(name))

    def _always(self, n: int) -> dict[str, np.ndarray]:
        """The control that looks at nothing, as the fit's test part had it: {name: answers [n, ...]}."""
        import pyarrow.parquet as pq

        table = pq.read_table(self.folder / "predictions.parquet")
        for row in range(table.num_rows - 1, -1, -1):  # its rows are the last
            name = table["model"][row].as_py()
            if name in constant.BASELINES and table["split"][row].as_py() == "test":
                columns = [f"score_{label}" for label in self.labels] or ["prediction"]
                same = np.array([table[c][row].as_py() for c in columns])
                return {name: np.tile(same, (n, 1)) if self.labels else np.full(n, same[0])}
        return {}

    def __repr__(self) -> str:
        head = self.report["headline"]
        return f"Run({str(self.folder)!r}, {self.report['chosen']}, {self.report['measure']} {head['value']:.3f})"

    def to_timm(self, folder: str | Path | None = None) -> Any:
        """The trained model as timm has it; with `folder` also saved as timm opens it. See `graft.hooks.to_timm`."""
        from graft import hooks

        return hooks.to_timm(self, folder)

    def to_transformers(self, folder: str | Path | None = None) -> Any:
        """The trained encoder as transformers has it; with `folder` also saved. See `graft.hooks.to_transformers`."""
        from graft import hooks

        return hooks.to_transformers(self, folder)

    def to_torchvision(self, folder: str | Path | None = None) -> Any:
        """The trained model as torchvision has it. See `graft.hooks.to_torchvision`."""
        from graft import hooks

        return hooks.to_torchvision(self, folder)

    def as_sklearn(self) -> Any:
        """The run's backbone as a scikit-learn estimator. See `graft.estimator`."""
        from graft import estimator

        return estimator.from_run(self)


def test_part(parts: dict[str, list[Sample]]) -> tuple[list[Sample], str]:
    """(samples, what they are): the test part, else a validation part, else all."""
    for name in ("test", "valid", "all", "train"):
        if parts.get(name):
            return parts[name], name
    raise DataError("there is nothing to evaluate on")


def _rows(
    samples: Sequence[Sample],
    answers: np.ndarray,
    task: Task,
    offsets: np.ndarray | None,
    top_k: int,
    bad: Sequence[str],
) -> list[dict[str, Any]]:
    rows = [{"id": _shown(s.id), **_row(a, task, offsets, top_k)} for s, a in zip(samples, answers, strict=True)]
    for item in bad:
        name, why = _apart(item)
        rows.append({"id": _shown(name), "error": why})
    return rows


def _row(answer: np.ndarray, task: Task, offsets: np.ndarray | None, top_k: int) -> dict[str, Any]:
    """One answer as columns."""
    if task.outputs == "numbers":
        return {"value": float(answer)}
    scores = {f"score_{label}": float(p) for label, p in zip(task.labels, answer, strict=True)}
    if task.outputs == "labels":
        held = task.decide(answer[None], offsets)[0]
        return {"labels": [label for label, holds in zip(task.labels, held, strict=True) if holds], **scores}
    first = int(task.decide(answer[None], offsets)[0])
    moved = np.log(np.clip(answer, 1e-300, None)) + (0.0 if offsets is None else offsets)
    moved[first] = np.inf  # what was decided stands first, whatever rule decided it
    row: dict[str, Any] = {}
    for place, c in enumerate(np.argsort(-moved, kind="stable")[:top_k], 1):
        behind = f"_{place}" if place > 1 else ""
        row[f"label{behind}"], row[f"probability{behind}"] = task.labels[c], float(answer[c])
    return {**row, **scores}


def _shown(name: str) -> str:
    """A name that can be printed and stored, whatever bytes a path held."""
    return shown(Path(name)) if any("\ud800" <= c <= "\udfff" for c in name) else name


def _apart(item: str) -> tuple[str, str]:
    """ "photo (1).jpg (truncated (0 bytes))" into name and reason: the last bracket, with those inside it."""
    depth, at = 0, len(item)
    for at in range(len(item) - 1, -1, -1):
        depth += {")": 1, "(": -1}.get(item[at], 0)
        if depth <= 0:
            break
    return item[:at].rstrip(), item[at + 1 : -1]


def load(folder: str | Path, device: str = "auto") -> Run:
    """Open a finished run: `graft.load("runs/photos")`. Raises UsageError, DataError."""
    return Run(folder, device)

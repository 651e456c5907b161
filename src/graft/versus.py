"""Two runs on the same samples: which is better, by how much, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft import evaluate
from graft._wording import gap, is_lower_better, spoken
from graft.data import Sample
from graft.errors import DataError, UsageError, some
from graft.run import Run
from graft.tasks import Task, measures_of


@dataclass(frozen=True)
class Comparison:
    """a minus b on the n test samples both runs answered, with its 95 % interval and one-sided p of "not better"."""

    a: str
    b: str
    measure: str
    value_a: float
    value_b: float
    difference: float
    low: float
    high: float
    p: float
    n: int

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    def sentence(self) -> str:
        """The comparison in words."""
        low, high = (-self.high, -self.low) if is_lower_better(self.measure) else (self.low, self.high)
        what = "is better than" if low > 0 else "is worse than" if high < 0 else "cannot be told from"
        return (
            f"{Path(self.a).name} {what} {Path(self.b).name} on {self.n} common test samples: "
            f"{gap(asdict(self), self.measure)} {spoken(self.measure)}"
        )


def compare(a: str | Path, b: str | Path, measure: str = "") -> Comparison:
    """Compare two finished runs, paired, from their saved predictions: `graft.compare`.

    `measure` is what both were decided by, unless it is said. Raises UsageError where they were decided by different
    ones and none is said, DataError where their classes, their truth or their test samples are not the same ones.
    """
    runs = (Run(a, "cpu"), Run(b, "cpu"))
    if runs[0].labels != runs[1].labels or runs[0].meta["task"]["name"] != runs[1].meta["task"]["name"]:
        raise DataError(f"{a} and {b} answer different questions: {some(runs[0].labels)} and {some(runs[1].labels)}")
    tables = [_answers(run) for run in runs]
    ids = [i for i in tables[0] if i in tables[1]]
    if not ids:
        raise DataError(f"{a} and {b} have no test sample in common; give both the same data, seed and split")
    task: Task = runs[0].task
    first = [run.task.measures[0] for run in runs]
    if not measure and first[0] != first[1]:
        raise UsageError(f"{a} was decided by {first[0]}, {b} by {first[1]}: say --measure NAME")
    task.measures = measures_of(task, measure or first[0])
    truth = [tables[0][i][0] for i in ids]
    other = next((i for i, t in zip(ids, truth, strict=True) if tables[1][i][0] != t), None)
    if other is not None:
        name = other.partition("\0")[0]
        raise DataError(f"{name}: {a} has {tables[0][other][0]!r} as its truth, {b} has {tables[1][other][0]!r}")
    index = [task.truth(Sample(None, t)) for t in truth]
    answers = [np.stack([table[i][1] for i in ids]) for table in tables]
    offsets = (runs[0].offsets, runs[1].offsets)
    groups = _groups(runs[0], ids)
    pair = evaluate.paired(task, answers[0], answers[1], index, 0, offsets, groups=groups)
    values = [evaluate.scores(task, x, index, 0, o, groups=groups) for x, o in zip(answers, offsets, strict=True)]
    measure = next(iter(values[0]))
    return Comparison(
        str(a),
        str(b),
        measure,
        values[0][measure].value,
        values[1][measure].value,
        pair.difference,
        pair.low,
        pair.high,
        pair.p,
        len(ids),
    )


def _groups(run: Run, ids: Sequence[str]) -> list[str] | None:
    """The groups that the first run knew of; None where it knew none."""
    import pandas as pd

    table = pd.read_parquet(run.folder / "predictions.parquet")
    if "group" not in table.columns:
        return None
    own = table[(table["split"] == "test") & (table["model"] == run.report["chosen"])]
    known = {f"{i}\0{m}": g for i, m, g in zip(own["id"], own["content"], own["group"], strict=True)}
    return [known[i] for i in ids]


def _answers(run: Run) -> dict[str, tuple[Any, np.ndarray]]:
    """(truth, answer) of the chosen model by id of test sample."""
    import pandas as pd

    table = pd.read_parquet(run.folder / "predictions.parquet")
    own = table[(table["split"] == "test") & (table["model"] == run.report["chosen"])]
    columns = [f"score_{label}" for label in run.labels]
    scores = own[columns].to_numpy() if columns else own["prediction"].to_numpy()
    truth = [tuple(t) if isinstance(t, np.ndarray) else t for t in own["truth"]]
    # A row's name alone may be that of another file's row: the content must be the same one.
    marks = own["content"] if "content" in own.columns else [""] * len(own)
    return {f"{i}\0{m}": (t, s) for i, m, t, s in zip(own["id"], marks, truth, scores, strict=True)}

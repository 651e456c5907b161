"""A number for each sample."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from graft.data import Note, Parts, Sample
from graft.errors import DataError, some
from graft.tasks._answer import Answer, Schema

if TYPE_CHECKING:
    from graft.recipe import Recipe
    from graft.tasks import Scores

BINS = 10  # of the training values by which a split is balanced


class Numbers(Answer):
    """Regression: y is a float in the data's own unit. The head works in standard units of the training part."""

    kind = "numbers"
    baseline = "constant"

    def settle(self, parts: Parts, notes: list[Note], asked: Recipe, schema: Schema) -> tuple[str, ...]:
        wrong: list[str] = []
        for part in parts.values():
            for s in part:
                try:
                    s.y = self.typed(s.y, schema)
                except ValueError:
                    wrong.append(f"{s.id} ({s.y!r})")
        if wrong:
            raise DataError(
                f"{len(wrong)} targets are no finite numbers: {some(wrong)}; mend them (a decimal point, no unit), or "
                "say --task ..._classification"
            )
        values = [s.y for s in parts.get("train") or [s for part in parts.values() for s in part]]
        if len(set(values)) < 2:
            raise DataError(f"every training target is {values[0] if values else 'missing'}: there is nothing to learn")
        notes.append(Note("found", f"numbers from {min(values):.6g} to {max(values):.6g}"))
        return ()

    def typed(self, raw: Any, schema: Schema) -> float:
        if isinstance(raw, tuple):
            raise ValueError(f"{raw!r} is no number")
        value = float(raw)
        if not math.isfinite(value):
            raise ValueError(f"{raw!r} is not finite")
        return value

    def strata(self, samples: Sequence[Sample]) -> list[str]:
        """The tenth of the values that each lies in."""
        values = np.array([s.y for s in samples], dtype=np.float64)
        edges = np.unique(np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
        return [str(b) for b in np.searchsorted(edges, values, side="right")]

    def after_split(self, train: Sequence[Sample], schema: Schema) -> None:
        values = np.array([s.y for s in train], dtype=np.float64)
        schema["mean"], schema["std"] = float(values.mean()), float(values.std()) or 1.0

    def truth(self, y: Any, labels: tuple[str, ...]) -> float:
        return float(y)

    def target(self, y: Any, labels: tuple[str, ...], schema: Schema) -> float:
        return (float(y) - float(schema["mean"])) / float(schema["std"])

    def collate(self, ys: list[Any], labels: tuple[str, ...]) -> torch.Tensor:
        return torch.tensor(ys, dtype=torch.float32).unsqueeze(1)

    def outputs(self, labels: tuple[str, ...]) -> int:
        return 1

    def loss(self, pred: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        """Huber's loss in standard units: one wild target does not own the gradient (Huber 1964)."""
        return {"huber": torch.nn.functional.huber_loss(pred, y, reduction="none").mean(dim=1)}

    def scores(self, pred: torch.Tensor) -> Scores | None:
        return None

    def decode(self, pred: torch.Tensor, schema: Schema) -> list[Any]:
        return list((pred.double()[:, 0] * schema["std"] + schema["mean"]).cpu().numpy())

    def always(self, train: Sequence[Sample], labels: tuple[str, ...], n: int, measure: str) -> np.ndarray:
        values = np.array([s.y for s in train], dtype=np.float64)
        return np.full(n, np.median(values) if measure == "mae" else values.mean())

"""Numbers that a recipe leaves open, chosen from the data's size and the kind of backbone."""

from __future__ import annotations

from dataclasses import replace

from graft.recipe import Stage
from graft.train import solves, spelled_out

RATES = {"picture": 2e-4, "text": 1e-4}
BATCHES = {"picture": 16, "text": 32}
PASSES = 3000  # training samples seen in all that few data are repeated to
EPOCHS = (3, 12)


def resolve(stage: Stage, modality: str, n: int) -> Stage:
    """The stage with every open number filled in. `n` is the size of the training part.

    Few data are seen often, many data a few times: 3,000 samples' worth of steps, but 3 to 12 epochs.
    """
    stage = replace(stage, methods=tuple(str(spelled_out(spec)) for spec in stage.specs()))
    if solves(stage):
        return stage
    batch = stage.batch or min(BATCHES.get(modality, 32), max(2, n // 4))
    epochs = stage.epochs or float(min(EPOCHS[1], max(EPOCHS[0], round(PASSES / max(n, 1)))))
    return replace(stage, batch=batch, epochs=epochs, lr=stage.lr or RATES.get(modality, 3e-4))

"""Labels that are likely wrong: training samples whose features say another class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from graft import linear
from graft.data import Note, Sample

MOST = 20
PENALTIES = (1.0, 0.1, 0.01)
CHANCE = 0.1  # of accuracy by which the probe must beat always answering the commonest class
FEWEST = 50  # samples; below, held-out probabilities say little


def likely_wrong(pooled: torch.Tensor, y: torch.Tensor, samples: Sequence[Sample], labels: Sequence[str]) -> list[Note]:
    """A note of the training labels that a cross-validated probe contradicts, the likeliest first, or none.

    Confident learning (Northcutt, Jiang and Chuang 2021, section 3.1): a sample is suspect where its held-out
    probability of another class reaches that class's own mean. pooled [n, d], y probabilities [n, c].
    """
    if len(samples) < FEWEST:
        return []
    held = linear.cross_validate(pooled, y, penalties=PENALTIES)
    p, rows = held.answers.numpy(), held.rows.numpy()
    truth = y[held.rows].argmax(dim=1).numpy()
    own = p[np.arange(len(p)), truth]
    if (p.argmax(axis=1) == truth).mean() <= np.bincount(truth).max() / len(truth) + CHANCE:
        return []  # a probe that knows nothing accuses nobody
    usual = np.array([own[truth == c].mean() if (truth == c).any() else 1.0 for c in range(len(labels))])
    said = p.argmax(axis=1)
    margin = p[np.arange(len(p)), said] - own
    suspect = np.flatnonzero((said != truth) & (p[np.arange(len(p)), said] >= usual[said]))
    if not len(suspect):
        return []
    order = suspect[np.argsort(-margin[suspect], kind="stable")][:MOST]
    items = tuple(
        f"{samples[rows[i]].id}: {labels[truth[i]]!r}, looks like {labels[said[i]]!r} ({p[i, said[i]]:.0%})"
        for i in order
    )
    text = (
        f"{len(suspect)} of {len(p)} training labels may be wrong by a cross-validated probe; the likeliest are named"
    )
    return [Note("warning", text, items)]

"""Labels that are likely wrong: training samples whose features say another class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from graft import linear
from graft.data import Note, Sample, split_key

MOST = 20
PENALTIES = (1.0, 0.1, 0.01)
CHANCE = 0.1  # of accuracy by which the probe must beat always answering the commonest class
MANY = 0.1  # of the samples suspect: with a weak probe, its mistakes rather than the labels'
SURE = 0.8  # accuracy from which a probe is believed even so
FEWEST = 50  # samples; below, held-out probabilities say little


def likely_wrong(pooled: torch.Tensor, y: torch.Tensor, samples: Sequence[Sample], labels: Sequence[str]) -> list[Note]:
    """A note of the training labels that a cross-validated probe contradicts, the widest margin first, or none.

    After confident learning (Northcutt, Jiang and Chuang 2021, section 3.1): a sample is suspect where the probe's
    answer, held out with all of the sample's group and copies, is another class, with a probability that reaches
    the mean that samples of that class give it. No note below FEWEST samples, from a probe that beats the commonest
    class by CHANCE of accuracy or less, or where more than MANY of the samples are suspect to one that is less
    than SURE accurate. pooled [n, d], y probabilities [n, c].
    """
    if len(samples) < FEWEST:
        return []
    held = linear.cross_validate(pooled, y, penalties=PENALTIES, groups=[split_key(s) for s in samples])
    p, rows = held.answers.numpy(), held.rows.numpy()
    truth = y[held.rows].argmax(dim=1).numpy()
    said = p.argmax(axis=1)
    own = p[np.arange(len(p)), truth]
    accuracy = float((said == truth).mean())
    if accuracy <= np.bincount(truth).max() / len(truth) + CHANCE:
        return []  # a probe that knows nothing accuses nobody
    usual = np.array([own[truth == c].mean() if (truth == c).any() else 1.0 for c in range(len(labels))])
    margin = p[np.arange(len(p)), said] - own
    suspect = np.flatnonzero((said != truth) & (p[np.arange(len(p)), said] >= usual[said]))
    if not len(suspect) or (len(suspect) > MANY * len(p) and accuracy < SURE):
        return []
    order = suspect[np.argsort(-margin[suspect], kind="stable")][:MOST]
    items = tuple(
        f"{samples[rows[i]].id}: {labels[truth[i]]!r}, looks like {labels[said[i]]!r} ({p[i, said[i]]:.0%})"
        for i in order
    )
    text = (
        f"the probe disagrees with {len(suspect)} of {len(p)} training labels (its own cross-validated accuracy is "
        f"{100 * accuracy:.0f} %); the widest apart are named"
    )
    return [Note("warning", text, items)]

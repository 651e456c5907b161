"""Labels that are likely wrong: samples whose features say something else than their label, by confident learning."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from graft import linear
from graft.seeds import rng

PENALTIES = (1.0, 0.1, 0.01, 0.001)
# What must be known of a probe before it accuses; chosen on 15 sets, clean and with 5 to 20 % of wrong labels. Skill is
# the share of the mistakes of always giving the commonest class that it saves.
CHANCE = 0.2  # skill of the first probe, on all labels
FAIR = 0.75  # skill of the last one on the labels that it does not suspect, where it suspects few
SURE = 0.82  # the same, where it suspects more than MANY of all: else its mistakes rather than the labels'
MANY = 0.05
SOUND = 0.88  # share of all labels that the first probe agrees with or the last one suspects
LEVEL, EVEN = 0.75, 0.125
"""How often the surer half of the first probe's answers agrees with the labels, at least, and how much less often the
other half may, for mistakes that are those of the labels: a probe's own mistakes are where it is unsure."""
CERTAIN = 0.95  # probability of another class that is enough, where nearly all samples of that class have more
FEWEST = 50  # samples; below, held-out probabilities say little
AT_ONCE = 3000  # rows that are cross-validated together; more are dealt out to blocks of at most so many


@dataclass(frozen=True)
class Judged:
    """What held-out probabilities [n, c] say of labels [n]: `rows` are suspect, the widest margin first.

    `said` [n] is the probe's class, `usual` [c] the mean probability that samples of a class not suspected give it (the
    threshold of confident learning). `first` [n, c] are those of the probe that was learnt from all labels, and
    `accuracy` is the share of all labels that it agrees with; `kept` is that of the last probe over the labels it
    does not suspect, `keep` [n] says which it was learnt from. `surer` and `unsurer` are `accuracy` in the half of the
    first answers with the higher and the lower probability; `commonest` is the share of the commonest class.
    """

    probabilities: NDArray[np.float64]
    first: NDArray[np.float64]
    rows: NDArray[np.intp]
    said: NDArray[np.intp]
    usual: NDArray[np.float64]
    accuracy: float
    kept: float
    surer: float
    unsurer: float
    commonest: float
    keep: NDArray[np.bool_]
    l2: float

    @property
    def believed(self) -> bool:
        """Whether the probe knows enough to accuse.

        Before anything was left out it has the skill CHANCE (afterwards a probe of noise would have some too: what
        contradicted it is gone). And one of three: its skill on the labels that it does not suspect is FAIR, or
        SURE where it suspects more than MANY of all; nearly all labels are either agreed with or suspect (SOUND), so
        that few of its contradictions are half-hearted; or they are as many where it is sure as where it is not (LEVEL,
        EVEN), as those of wrong labels are.
        """
        if self._skill(self.accuracy) <= CHANCE:
            return False
        share = len(self.rows) / len(self.said)
        return (
            self._skill(self.kept) >= (SURE if share > MANY else FAIR)
            or self.accuracy + share >= SOUND
            or (self.surer >= LEVEL and self.surer - self.unsurer <= EVEN)
        )

    def _skill(self, right: float) -> float:
        """The share of the mistakes of always giving the commonest class that being right so often saves."""
        return (right - self.commonest) / max(1 - self.commonest, 1e-9)


def judge(x: torch.Tensor, truth: NDArray[np.intp], classes: int, keys: Sequence[Hashable]) -> Judged:
    """Confident learning (Northcutt, Jiang and Chuang 2021, section 3) on features x [n, d], class indices [n].

    A sample is suspect where it stands off the diagonal of the confident joint: the probe's answer, held out with
    all rows of an equal key, is another class, with a probability that reaches the mean that samples of that
    class give it. Then the probe is cross-validated anew without the suspects (they are still judged), so that wrong
    labels neither teach nor set the thresholds; who is suspect then is what counts.
    """
    y = torch.nn.functional.one_hot(torch.from_numpy(truth), classes).float()
    everyone = np.ones(len(truth), dtype=bool)
    first, l2 = held_out(x, y, everyone, keys, "softmax")
    learnt = everyone.copy()
    learnt[suspected(first, truth, everyone)[0]] = False
    # Labels with less noise bear the same penalty or a weaker one.
    p, l2 = held_out(x, y, learnt, keys, "softmax", [q for q in PENALTIES if q <= l2][:2])
    rows, usual = suspected(p, truth, learnt)
    keep = everyone.copy()
    keep[rows] = False
    said = p.argmax(axis=1)
    right = said == truth
    commonest = float(np.bincount(truth).max() / len(truth))
    kept = float(right[keep].mean()) if keep.any() else 0.0
    accuracy = float((first.argmax(axis=1) == truth).mean())
    return Judged(p, first, rows, said, usual, accuracy, kept, *_halves(first, truth), commonest, learnt, l2)


def _halves(p: NDArray[np.float64], truth: NDArray[np.intp]) -> tuple[float, float]:
    """The share of right answers among the surer half of probabilities p [n, c], and among the others."""
    right = (p.argmax(axis=1) == truth)[np.argsort(-p.max(axis=1), kind="stable")]
    half = len(right) // 2
    return float(right[:half].mean()), float(right[half:].mean())


def suspected(
    p: NDArray[np.float64], truth: NDArray[np.intp], keep: NDArray[np.bool_]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """(the rows of probabilities p [n, c] off the diagonal of the confident joint, the thresholds [c]).

    The widest margin between the class said and the label's own comes first. Thresholds are means over the rows
    that are kept; a class without any is never said. Where a share e is not kept, which is the noise as far as known,
    no threshold is above 1 - e: by Bayes' rule a label is then likelier wrong than right from odds of (1 - e) / e on
    another class, however sure the probe is of the rest. In that second look CERTAIN is always enough.
    """
    each = np.arange(len(p))
    own, said = p[each, truth], p.argmax(axis=1)
    members = [keep & (truth == c) for c in range(p.shape[1])]
    usual = np.array([own[m].mean() if m.any() else np.inf for m in members])
    usual = np.where(np.isfinite(usual) & (not keep.all()), np.minimum(usual, min(keep.mean(), CERTAIN)), usual)
    rows = np.flatnonzero((said != truth) & (p[each, said] >= usual[said]))
    margin = (p[each, said] - own)[rows]
    return rows[np.argsort(-margin, kind="stable")], usual


def held_out(
    x: torch.Tensor,
    y: torch.Tensor,
    keep: NDArray[np.bool_],
    keys: Sequence[Hashable],
    loss: str,
    penalties: Sequence[float] = PENALTIES,
) -> tuple[NDArray[np.float64], float]:
    """(out-of-fold answers [n, c] of a linear probe that learns from the rows to keep alone, its penalty).

    More than AT_ONCE rows are dealt out to blocks, balanced by class, each cross-validated by itself with the
    penalty of the first: every row has an answer, and copies in other blocks cannot speak for one another.
    """
    n = len(x)
    blocks = -(-n // AT_ONCE)
    order = rng("suspects", "blocks").permutation(n)
    order = order[np.argsort((y[:, 0] if loss == "square" else y.argmax(dim=1)).numpy()[order], kind="stable")]
    answers = np.zeros((n, y.shape[1]))
    weight = torch.from_numpy(keep).to(x.dtype)
    for b in range(blocks):
        rows = np.sort(order[b::blocks])
        at = torch.from_numpy(rows)
        some = [keys[i] for i in rows]
        done = linear.cross_validate(x[at], y[at], weight[at], penalties=penalties, loss=loss, groups=some)
        answers[rows] = done.answers.numpy()
        penalties = (done.l2,)
    return answers, penalties[0]

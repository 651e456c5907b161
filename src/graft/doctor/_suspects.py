"""Label errors as findings: of training labels out of fold, of the other parts' by a probe learnt on training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from graft import linear
from graft.data import Sample, split_key
from graft.findings import Finding, Item
from graft.suspects import FEWEST, Judged, held_out, judge

FEW = 10  # samples for which a label holds, and for which it does not, below which it is not judged
AGREES, KNOWN = 0.9, 0.8  # a label's probe: of what it does not suspect, how much it agrees with in all, by yes and no
FAR = 6.0  # robust standard deviations that a number may lie from what the features say
KNOWS = 0.3  # R2 out of fold, below which a probe of numbers accuses nobody


class _Accused(NamedTuple):
    """One sample: by how much the features prefer the other label, and that label."""

    margin: float
    part: str
    row: int
    other: str


@dataclass(frozen=True)
class _Probe:
    """What judged: the accused, how many labels were judged, and how good the probe is, in words."""

    accused: list[_Accused]
    n: int
    said: str


def label_errors(
    parts: Mapping[str, Sequence[Sample]], looks: Mapping[str, torch.Tensor], labels: Sequence[str]
) -> list[Finding]:
    """A finding label_error of all labels that a linear probe on features contradicts, the widest margin first.

    `looks` has pooled features [n, d] of each part, in its order. Training labels are judged out of fold by
    confident learning (`graft.suspects.judge`); those of other parts by a probe learnt from the training labels that
    are not suspect, with the same thresholds; their exact copies and groups in training are passed over. An item's
    `other` is what the features say. Several labels a sample: each by itself, `other` is the set as it would
    be, joined by ";". Numbers: a finding label_outlier of those further than FAR robust standard deviations
    from what a probe says. Nothing below FEWEST samples or from a probe that knows too little to accuse.
    """
    home = "train" if parts.get("train") else "all"
    mine = list(parts.get(home, ()))
    if len(mine) < FEWEST or home not in looks:
        return []
    told = _Told(parts, looks, home)
    if isinstance(mine[0].y, float):
        return _outliers(told)
    if isinstance(mine[0].y, tuple):
        done = _several(told, labels)
    else:
        done = _one(told, labels)
    return [_finding(told, done)] if done is not None and done.accused else []


class _Told:
    """The parts with their features, training first; other parts without what training has too."""

    def __init__(self, parts: Mapping[str, Sequence[Sample]], looks: Mapping[str, torch.Tensor], home: str) -> None:
        self.home = home
        self.samples = parts
        self.x = looks[home]
        self.keys = [split_key(s) for s in parts[home]]
        held = set(self.keys)
        self.others: dict[str, tuple[list[int], torch.Tensor]] = {}
        for name, part in parts.items():
            if name != home and name in looks:
                rows = [i for i, s in enumerate(part) if split_key(s) not in held]
                if rows:
                    self.others[name] = (rows, looks[name][torch.tensor(rows)])

    @property
    def train(self) -> Sequence[Sample]:
        return self.samples[self.home]


def _one(told: _Told, labels: Sequence[str]) -> _Probe | None:
    """One class a sample."""
    codes = {label: i for i, label in enumerate(labels)}
    truth = np.array([codes[s.y] for s in told.train])
    found = judge(told.x, truth, len(labels), told.keys)
    if not found.believed:
        return None
    p = found.probabilities
    accused = [
        _Accused(p[i, found.said[i]] - p[i, truth[i]], told.home, int(i), labels[found.said[i]]) for i in found.rows
    ]
    n = len(truth)
    probe = _learnt(told.x, truth, len(labels), found) if told.others else None
    for name, (rows, x) in told.others.items():
        assert probe is not None
        known = [k for k, i in enumerate(rows) if told.samples[name][i].y in codes]
        own = np.array([codes[told.samples[name][rows[k]].y] for k in known], dtype=np.intp)
        q = torch.softmax(probe(x[torch.tensor(known, dtype=torch.long)]).double(), dim=1).numpy()
        n += len(known)
        for j in _over(q, own, found.usual):
            margin, other = q[j].max() - q[j, own[j]], labels[int(q[j].argmax())]
            accused.append(_Accused(margin, name, rows[known[j]], other))
    return _Probe(accused, n, f"agrees with {found.kept:.0%} of the training labels that it does not suspect")


def _learnt(x: torch.Tensor, truth: NDArray[np.intp], classes: int, found: Judged) -> linear.Linear:
    """The probe of all training labels that are not suspect."""
    y = torch.nn.functional.one_hot(torch.from_numpy(truth), classes).float()
    keep = np.ones(len(truth), dtype=bool)
    keep[found.rows] = False
    return linear.fit(x[keep], y[keep], l2=found.l2)


def _over(q: NDArray[np.float64], own: NDArray[np.intp], usual: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows off the diagonal of the confident joint, at thresholds that were found in training."""
    each, said = np.arange(len(q)), q.argmax(axis=1)
    rows: NDArray[np.intp] = np.flatnonzero((said != own) & (q[each, said] >= usual[said]))
    return rows


def _several(told: _Told, labels: Sequence[str]) -> _Probe | None:
    """Each label by itself, as a question of two answers; a sample's changes are put together."""
    flips: dict[tuple[str, int], dict[str, float]] = {}
    judged: list[str] = []
    for label in labels:
        truth = np.array([int(label in s.y) for s in told.train])
        if not FEW <= truth.sum() <= len(truth) - FEW:
            continue
        found = judge(told.x, truth, 2, told.keys)
        # Of a label that seldom holds, always "no" is nearly right: what counts is how many of its samples are known.
        known = np.mean([(found.said == truth)[found.keep & (truth == c)].mean() for c in (0, 1)])
        if not (found.accuracy > found.commonest and found.kept >= AGREES and known >= KNOWN):
            continue
        judged.append(label)
        for i in found.rows:
            margin = found.probabilities[i, found.said[i]] - found.probabilities[i, truth[i]]
            flips.setdefault((told.home, int(i)), {})[label] = float(margin)
        probe = _learnt(told.x, truth, 2, found) if told.others else None
        for name, (rows, x) in told.others.items():
            assert probe is not None
            own = np.array([int(label in told.samples[name][i].y) for i in rows])
            q = torch.softmax(probe(x).double(), dim=1).numpy()
            for j in _over(q, own, found.usual):
                flips.setdefault((name, rows[j]), {})[label] = float(q[j, 1 - own[j]] - q[j, own[j]])
    if not judged:
        return None
    accused = [
        _Accused(max(by.values()), part, row, ";".join(sorted(set(told.samples[part][row].y) ^ set(by))) or "none")
        for (part, row), by in flips.items()
    ]
    n = len(told.train) + sum(len(rows) for rows, _ in told.others.values())
    return _Probe(accused, n, f"knows {len(judged)} of {len(labels)} labels well enough to judge, each by itself")


def _outliers(told: _Told) -> list[Finding]:
    """Numbers far from what the features say: robust standard scores of residuals out of fold."""
    y = np.array([s.y for s in told.train], dtype=np.float64)
    middle, unit = float(np.median(y)), _robust(y) or float(y.std()) or 1.0
    z = torch.from_numpy((y - middle) / unit).float().unsqueeze(1)
    keep = np.ones(len(y), dtype=bool)
    for _ in range(2):  # what lies far off in the first round neither teaches nor sets the scale in the second
        said, l2 = held_out(told.x, z, keep, told.keys, "square")
        left = said[:, 0] - z[:, 0].numpy()
        scale = _robust(left[keep])
        if scale == 0 or 1 - np.square(left[keep]).mean() / max(float(z[:, 0].numpy()[keep].var()), 1e-12) < KNOWS:
            return []
        keep = np.abs(left - np.median(left[keep])) <= FAR * scale
    accused = [
        _Accused(abs(left[i]) / scale, told.home, int(i), f"{said[i, 0] * unit + middle:.6g}")
        for i in np.flatnonzero(~keep)
    ]
    n = len(y)
    if told.others:
        probe = linear.fit(told.x[keep], z[keep], l2=l2, loss="square")
    for name, (rows, x) in told.others.items():
        q = probe(x).double()[:, 0].numpy()
        own = (np.array([told.samples[name][i].y for i in rows]) - middle) / unit
        n += len(rows)
        for j in np.flatnonzero(np.abs(q - own) > FAR * scale):
            accused.append(_Accused(abs(q[j] - own[j]) / scale, name, rows[j], f"{q[j] * unit + middle:.6g}"))
    if not accused:
        return []
    accused.sort(key=lambda a: -a.margin)
    worst = accused[0]
    return [
        Finding(
            "label_outlier",
            "warning",
            f"{len(accused)} of {n} numbers lie over {FAR:g} robust standard deviations from what the features say"
            + f", out of fold; the furthest: {_name(told, worst)} is {told.samples[worst.part][worst.row].y:.6g}, "
            + f"looks like {worst.other}",
            _items(told, accused),
            "a wild number pulls the model towards itself, and in the test part it may outweigh all others",
            "look at each (a slipped decimal point, another unit?) and correct it; then run graft doctor DATA again",
        )
    ]


def _robust(values: NDArray[np.float64]) -> float:
    """The standard deviation of a normal distribution with this median absolute deviation."""
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def _name(told: _Told, a: _Accused) -> str:
    return told.samples[a.part][a.row].id


def _items(told: _Told, accused: Sequence[_Accused]) -> tuple[Item, ...]:
    return tuple(Item(_name(told, a), a.other, a.part) for a in accused)


def _finding(told: _Told, done: _Probe) -> Finding:
    accused = sorted(done.accused, key=lambda a: -a.margin)
    worst = accused[0]
    where = {name: sum(a.part == name for a in accused) for name in told.samples}
    by_part = ", ".join(f"{k} in {name}" for name, k in where.items() if k)
    given = told.samples[worst.part][worst.row].y
    return Finding(
        "label_error",
        "warning",
        f"{len(accused)} of {done.n} labels may be wrong ({by_part}): a probe on pretrained features contradicts "
        f"them out of fold, and it {done.said}; the widest margin: {_name(told, worst)} is "
        f"{';'.join(given) if isinstance(given, tuple) else given!r}, looks like {worst.other!r}",
        _items(told, accused),
        "wrong training labels teach the wrong answer; wrong test labels count right answers as mistakes, so that no "
        "model can reach 100 %",
        "look at the items (graft doctor DATA --json has all, the widest margin first) and correct those labels that "
        "are wrong; samples that are only unusual are among them, and where hardly any label is wrong they are most",
    )

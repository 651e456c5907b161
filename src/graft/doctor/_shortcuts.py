"""Shortcuts: trivial facts of samples, such as a picture's size, that tell the label suspiciously well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from graft.data import Sample, split_key, subset
from graft.doctor import _trivial
from graft.doctor._trivial import Facts
from graft.errors import some
from graft.findings import Finding, Item
from graft.seeds import rng

MOST = {"picture": 2_000, "text": 10_000}
"""Samples looked at, by class from a fixed seed; a picture costs a reduced decode."""
FEWEST = 50  # samples; below, a tree on five folds says nothing
FEW = 10  # samples of a class, of a label that holds, or of one that does not
FOLDS = 5
CHANCE = 1e-4  # how unlikely by chance the hits must be, before it is shared out to families and labels
TELLS_NOTHING = 0.5
"""Skill (the share of the mistakes of always giving the commonest class that the facts save) from which facts
that cannot carry meaning are called a shortcut: names, formats, sizes, EXIF, the place in a file."""
MAY_MEAN = 0.65
"""The same for facts that may well carry meaning: flowers have colours, and questions end in question marks."""
COLOUR = 0.9  # the same for colours, by which even two kinds of flowers are told
MEANINGFUL = ("file_size", "brightness", "colour", "border", "length", "markup")
UNSEEN = ("file_name", "file_number", "order", "exif")
"""Facts that no model is shown: they say how the data were gathered, and that other traces may be in the content."""
ONE_CLASS = 0.95
"""Precision and recall at which one class of several is told by facts that cannot carry meaning."""


@dataclass(frozen=True)
class _Target:
    """What is to be told: codes [n] of classes (or 0 and 1 of one label), or numbers [n]; names of the codes."""

    y: NDArray[np.generic]
    names: tuple[str, ...]
    label: str = ""
    numbers: bool = False


@dataclass(frozen=True)
class _Told:
    """How well facts told a target: skill, share of hits (R2 for numbers), that of the commonest, the rows told."""

    skill: float
    hits: float
    commonest: float
    rows: NDArray[np.intp]
    classes: tuple[str, ...] = ()


def found(parts: Mapping[str, Sequence[Sample]], modality: str, labels: Sequence[str]) -> list[Finding]:
    """A finding shortcut_FAMILY for each family of trivial facts that tells the training labels suspiciously well.

    A small decision tree (Breiman et al. 1984) on the facts of one family, cross-validated with groups and copies in
    one fold, must beat always giving the commonest class by a binomial test at CHANCE, shared out to all families
    and labels, and by a margin: a skill of TELLS_NOTHING, MAY_MEAN or COLOUR, as the facts may carry meaning; or tell
    one class of several almost without a mistake (ONE_CLASS). For several labels a sample each label is asked by
    itself; for numbers skill is R2. Facts that only number the classes through (each class in one run, as class folders
    and sorted files have it) do not count. The items are the samples that the tree tells rightly, among at most MOST.
    """
    home = "train" if parts.get("train") else "all"
    mine = list(parts.get(home, ()))
    if len(mine) < FEWEST:
        return []
    chosen = subset(mine, MOST[modality], 0, "shortcuts", _strata)
    targets = _targets(chosen, labels)
    families = _families(chosen, mine, modality, labels)
    if modality == "text":
        from graft.doctor import _giveaways

        tokens = _giveaways.found(chosen, home)
    else:
        tokens = []
    chance = CHANCE / max(1, len(families) * len(targets))
    groups = [split_key(s) for s in chosen]
    findings = []
    for facts in families:
        told = [(t, r) for t in targets if (r := _told(facts, t, groups, chance)) is not None]
        if told:
            findings.append(_finding(facts, told, chosen, home))
    return _one_of_each(findings) + tokens


def _strata(samples: Sequence[Sample]) -> list[str]:
    return ["" if isinstance(s.y, float) else str(s.y) for s in samples]


def _targets(samples: Sequence[Sample], labels: Sequence[str]) -> list[_Target]:
    if isinstance(samples[0].y, float):
        return [_Target(np.array([s.y for s in samples]), (), numbers=True)]
    if isinstance(samples[0].y, tuple):
        held = {label: np.array([label in s.y for s in samples]).astype(int) for label in labels}
        return [_Target(y, ("without", label), label) for label, y in held.items() if FEW <= y.sum() <= len(y) - FEW]
    names = tuple(sorted({s.y for s in samples}))
    codes = {name: i for i, name in enumerate(names)}
    return [_Target(np.array([codes[s.y] for s in samples]), names)] if len(names) > 1 else []


def _families(chosen: Sequence[Sample], mine: Sequence[Sample], modality: str, labels: Sequence[str]) -> list[Facts]:
    """All families that vary; the place in the file only where no class folders make it trivial."""
    families = _trivial.of_pictures(chosen) if modality == "picture" else _trivial.of_texts(chosen)
    families += _trivial.of_names(chosen, labels)
    if not _in_class_folders(chosen):
        families += _trivial.of_order([mine], chosen)
    return [f for f in families if _varies(f)]


def _in_class_folders(samples: Sequence[Sample]) -> bool:
    """Whether folders tell the label: at least two, and samples of one folder agree but for one in twenty."""
    folders: dict[str, Counter[str]] = {}
    for s in samples:
        folders.setdefault(s.id.rpartition("/")[0], Counter())[str(s.y)] += 1
    agree = sum(c.most_common(1)[0][1] for c in folders.values())
    return 2 <= len(folders) <= len(samples) / 2 and agree >= 0.95 * len(samples)


def _varies(facts: Facts) -> bool:
    v = facts.values
    return v.shape[1] > 0 and any(len(np.unique(v[~np.isnan(v[:, k]), k])) > 1 for k in range(v.shape[1]))


# ------------------------------------------------------------------------------------------ probing


def _told(facts: Facts, target: _Target, groups: Sequence[Hashable], chance: float) -> _Told | None:
    """How well a tree tells the target from the facts, None where that is nothing to speak of."""
    bar = COLOUR if facts.family == "colour" else MAY_MEAN if facts.family in MEANINGFUL else TELLS_NOTHING
    x = np.where(np.isnan(facts.values), -1e9, facts.values)
    if target.numbers:
        return _told_numbers(x, target.y.astype(np.float64), groups, bar)
    y = target.y.astype(np.int64)
    counts = np.bincount(y)
    rows = np.flatnonzero(counts[y] >= FEW)
    if len(rows) < FEWEST or len(np.unique(y[rows])) < 2 or _in_runs(x[rows], y[rows]):
        return None
    said = _held_out(x[rows], y[rows], [groups[i] for i in rows.tolist()])
    right = said == y[rows]
    commonest = float(counts[counts >= FEW].max() / len(rows))
    hits = float(right.mean())
    skill = (hits - commonest) / (1 - commonest)
    sure = binom.sf(int(right.sum()) - 1, len(rows), commonest) < chance
    classes = () if facts.family in MEANINGFUL or len(target.names) < 3 else _alone(said, y[rows], chance)
    if not (sure and skill >= bar) and not classes:
        return None
    if not (sure and skill >= bar):
        right &= np.isin(y[rows], classes)
    return _Told(skill, hits, commonest, rows[right], tuple(target.names[c] for c in classes))


def _alone(said: NDArray[np.int64], y: NDArray[np.int64], chance: float) -> tuple[int, ...]:
    """Classes that are told with a precision and a recall of ONE_CLASS, and by more than chance."""
    found = []
    for c in np.unique(y):
        own, named = y == c, said == c
        both = int((own & named).sum())
        if both < max(FEW, ONE_CLASS * own.sum(), ONE_CLASS * named.sum()):
            continue
        if binom.sf(both - 1, int(named.sum()), own.mean()) < chance / len(np.unique(y)):
            found.append(int(c))
    return tuple(found)


def _told_numbers(
    x: NDArray[np.float64], y: NDArray[np.float64], groups: Sequence[Hashable], bar: float
) -> _Told | None:
    if y.std() == 0 or (x.shape[1] == 1 and bool((np.diff(y[np.argsort(x[:, 0], kind="stable")]) >= 0).all())):
        return None  # rows sorted by the number
    said = np.empty(len(y))
    fold = _folds(np.argsort(np.argsort(y, kind="stable")) * FOLDS // len(y), groups)
    for k in range(FOLDS):
        out, kept = fold == k, fold != k
        if out.any() and kept.any():
            tree = DecisionTreeRegressor(max_leaf_nodes=16, min_samples_leaf=5, random_state=0)
            said[out] = tree.fit(x[kept], y[kept]).predict(x[out])
        else:  # one group holds everything
            said[out] = y.mean()
    left = np.abs(said - y)
    skill = float(1 - np.square(left).mean() / y.var())
    return _Told(skill, skill, 0.0, np.flatnonzero(left < y.std() / 2)) if skill >= bar else None


def _held_out(x: NDArray[np.float64], y: NDArray[np.int64], groups: Sequence[Hashable]) -> NDArray[np.int64]:
    """What a small tree says of each row [n], of a fit that saw neither it nor its group; the commonest if unseen."""
    said = np.full(len(y), np.bincount(y).argmax())
    leaves = max(16, 3 * len(np.unique(y)))
    fold = _folds(y, groups)
    for k in range(FOLDS):
        out, kept = fold == k, fold != k
        if out.any() and kept.any():
            tree = DecisionTreeClassifier(max_leaf_nodes=leaves, min_samples_leaf=3, random_state=0)
            said[out] = tree.fit(x[kept], y[kept]).predict(x[out])
    return said


def _folds(y: NDArray[np.int64], groups: Sequence[Hashable]) -> NDArray[np.int64]:
    """A fold for each row [n]: groups whole, dealt out in turn by the class of their first row."""
    known: dict[Hashable, int] = {}
    code = np.array([known.setdefault(g, len(known)) for g in groups], dtype=np.int64)
    _, first = np.unique(code, return_index=True)
    drawn = rng("shortcuts", "folds").permutation(len(first))
    of = np.empty(len(first), dtype=np.int64)
    of[drawn[np.argsort(y[first][drawn], kind="stable")]] = np.arange(len(first)) % FOLDS
    return of[code]


def _in_runs(x: NDArray[np.float64], y: NDArray[np.int64]) -> bool:
    """Whether one column of distinct values has every class in one run: the samples were numbered class by class."""
    if x.shape[1] != 1 or len(np.unique(x)) < len(x) / 2:
        return False
    order = np.argsort(x[:, 0], kind="stable")
    return int((np.diff(y[order]) != 0).sum()) < 1.5 * len(np.unique(y))


# ---------------------------------------------------------------------------------------- findings


def _one_of_each(findings: list[Finding]) -> list[Finding]:
    """Without the ratio of the sides where the size itself was found, which holds it."""
    kinds = {f.kind for f in findings}
    return [f for f in findings if not (f.kind == "shortcut_aspect" and "shortcut_size" in kinds)]


def _finding(facts: Facts, told: Sequence[tuple[_Target, _Told]], chosen: Sequence[Sample], home: str) -> Finding:
    target, best = max(told, key=lambda t: t[1].skill)
    rows = sorted({int(i) for _, r in told for i in r.rows})
    return Finding(
        f"shortcut_{facts.family}",
        "warning",
        _text(facts, told, len(chosen)) + _example(facts, target, best),
        tuple(Item(chosen[i].id, split=home) for i in rows),
        _effect(facts),
        _fix(facts),
    )


def _text(facts: Facts, told: Sequence[tuple[_Target, _Told]], n: int) -> str:
    target, best = max(told, key=lambda t: t[1].skill)
    if target.numbers:
        said = f"{facts.said} alone explains {best.hits:.0%} of the variance of the targets"
    elif target.label:
        names = some([t.label for t, _ in told])
        said = f"{facts.said} alone tells {len(told)} labels: {names} ({best.hits:.0%} right for the first)"
    elif best.skill < TELLS_NOTHING:
        said = f"{facts.said} alone tells {len(best.classes)} classes from all others: {some(best.classes)}"
    else:
        said = f"{facts.said} alone gives the right class in {best.hits:.0%} of {n} samples (always the commonest: "
        said += f"{best.commonest:.0%})"
    return said + ", out of fold"


def _example(facts: Facts, target: _Target, best: _Told) -> str:
    """The column that parts two classes best, with its median in each."""
    if target.numbers or not target.names:
        return ""
    v, y = facts.values, target.y.astype(np.int64)
    middle = np.array([[np.nanmean(v[y == c, k]) if np.isfinite(v[y == c, k]).any() else np.nan
                        for k in range(v.shape[1])] for c in range(len(target.names))])  # fmt: skip
    spread = np.nanstd(v, axis=0)
    apart = (np.nanmax(middle, axis=0) - np.nanmin(middle, axis=0)) / np.where(spread > 0, spread, np.inf)
    k = int(np.argmax(apart))
    low, high = int(np.nanargmin(middle[:, k])), int(np.nanargmax(middle[:, k]))
    said = "; on average {} is {:.3g} for {!r} and {:.3g} for {!r}"
    return said.format(facts.columns[k], middle[low, k], target.names[low], middle[high, k], target.names[high])


def _effect(facts: Facts) -> str:
    if facts.family in UNSEEN:
        return (
            "no model is shown this, but it says that the classes were gathered apart: traces of that in the content "
            "can stand in for what was meant, and the test score then flatters"
        )
    if facts.family in MEANINGFUL:
        return (
            "a model can answer by this alone; if it is not what tells the classes apart in the world, the test score "
            "flatters and falls where it does not hold (it may be legitimate: then nothing is wrong)"
        )
    return "a model can answer by this alone: the test score flatters, and falls on data where it does not hold"


_FIXES: dict[str, str] = {
    "size": "resize all to one size (or crop alike) before training, or gather each class at all sizes",
    "aspect": "crop all pictures to one ratio before training, or gather each class at all ratios",
    "file_size": "save all pictures again in one size, format and quality",
    "format": "save all pictures again in one format and quality",
    "exif": "ask why the cameras differ by class; mix sources within each class, or give them as --group",
    "border": "cut the borders off, or give every class the same",
    "brightness": "check whether light differs by class in the world; else gather each class in the same light",
    "colour": "check whether colour tells the classes in the world; else gather each class in the same light",
    "file_name": "ask where the names come from; mix sources within each class, or give them as --group",
    "file_number": "ask where the numbers come from; mix sources within each class, or give them as --group",
    "order": "ask why classes come in stretches; if time or place changed, give it as --group or --time",
    "length": "check whether length tells the classes in the world; else cut all texts alike",
    "markup": "check whether punctuation tells the classes in the world; else clean all texts alike",
}  # fmt: skip


def _fix(facts: Facts) -> str:
    return _FIXES[facts.family]

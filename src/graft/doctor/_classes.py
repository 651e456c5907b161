"""Classes that are too few, absent from a part, unknown to training, or of very different size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from graft.data import Sample
from graft.errors import some
from graft.findings import Finding, Item

FEWEST = 5  # training samples of a class; below, neither a split nor a cross-validation says anything about it
RATIO = 10  # largest class over smallest, from which measures that count samples alike hide the small ones


def sizes(parts: Mapping[str, Sequence[Sample]], labels: Sequence[str]) -> list[Finding]:
    """Findings class_small, class_imbalance and class_missing of settled samples (y a str, or a tuple of str).

    With several labels a sample, a label's size is the number of samples for which it holds. `labels` are the known
    ones; those of `parts` count besides. The items of class_small and class_imbalance are classes, by
    name, with the part they lack samples in; those of class_missing are the samples that have an unknown class.
    Numbers have no classes: none.
    """
    if any(isinstance(s.y, float) for part in parts.values() for s in part):
        return []
    home = "train" if parts.get("train") else "all"
    counts = {name: Counter(c for s in part for c in classes_of(s)) for name, part in parts.items()}
    own = counts.get(home, Counter())
    if not own:
        return []
    several = any(isinstance(s.y, tuple) for s in parts[home])
    known = sorted({*own, *(c for c in labels if c in own)})
    found = _few(own, known, home)
    for name in ("valid", "test"):
        if counts.get(name):
            found += _absent([c for c in known if not counts[name][c]], name)
    found += _imbalance(own, known, home, len(parts[home]), several)
    return found + _missing(parts, set(own), home)


def classes_of(sample: Sample) -> Iterable[str]:
    """The classes that hold for a sample."""
    return sample.y if isinstance(sample.y, tuple) else (sample.y,)


def _few(own: Counter[str], known: Sequence[str], home: str) -> list[Finding]:
    few = [c for c in known if own[c] < FEWEST]
    if not few:
        return []
    said = some([f"{c!r} ({own[c]})" for c in sorted(few, key=lambda c: own[c])])
    return [
        Finding(
            "class_small",
            "warning",
            f"{len(few)} of {len(known)} classes have fewer than {FEWEST} samples to train on: {said}",
            tuple(Item(c, split=home) for c in few),
            "a model hardly learns them, and a split leaves too few of them to measure how often it is right",
            f"gather at least {FEWEST} samples of each, better 20; or merge each with a class close to it in meaning",
        )
    ]


def _absent(gone: Sequence[str], name: str) -> list[Finding]:
    if not gone:
        return []
    effect = (
        "the score says nothing about them, and a mean over classes is one over the others"
        if name == "test"
        else "what is chosen on validation (the backbone, the rung, thresholds) is chosen without them"
    )
    return [
        Finding(
            "class_small",
            "warning",
            f"{len(gone)} classes have no sample in {name}: {some(gone)}",
            tuple(Item(c, split=name) for c in gone),
            effect,
            f"gather more of them; where the parts are your own, move some from train to {name}",
        )
    ]


def _imbalance(own: Counter[str], known: Sequence[str], home: str, n: int, several: bool) -> list[Finding]:
    most = max(known, key=lambda c: own[c])
    small = [c for c in known if own[c] * RATIO <= own[most]]
    if not small:
        return []
    least = min(small, key=lambda c: own[c])
    what = "labels" if several else "classes"
    alone = "" if several else f"; always answering {most!r} is right {own[most] / n:.1%} of the time"
    return [
        Finding(
            "class_imbalance",
            "warning",
            f"{what} are of very different size: {own[most]} of {most!r}, {own[least]} of {least!r}{alone}",
            tuple(Item(c, split=home) for c in sorted(small, key=lambda c: own[c])),
            f"a model that never gives the small {what} can still score well where every sample counts alike",
            f"graft fit DATA --measure {'macro_f1' if several else 'balanced_accuracy'}, which counts {what} alike; "
            f"or gather more of the small {what}",
        )
    ]


def _missing(parts: Mapping[str, Sequence[Sample]], own: set[str], home: str) -> list[Finding]:
    found = []
    for name, part in parts.items():
        strange = [(s, sorted(set(classes_of(s)) - own)) for s in part] if name != home else []
        items = tuple(Item(s.id, split=name) for s, classes in strange if classes)
        if not items:
            continue
        unknown = sorted({c for _, classes in strange for c in classes})
        found.append(
            Finding(
                "class_missing",
                "error",
                f"{len(items)} samples of {name} have classes that {home} has not: {some(unknown)}",
                items,
                "no model trained on these data can answer them: each counts as a mistake whatever was learnt",
                "add training samples of them, correct a misspelt label, or leave them out: "
                "graft fit DATA --unknown drop",
            )
        )
    return found

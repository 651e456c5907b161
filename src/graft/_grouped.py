"""Which whole groups are cut off, so that every stratum and the whole come near to a share."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from graft.seeds import rng


def filed_by(units: Sequence[list[int]], of: Sequence[str]) -> dict[str, list[int]]:
    """The units of each stratum, sorted by its name: one of several strata is offered under its commonest."""
    filed: dict[str, list[int]] = defaultdict(list)
    for k, unit in enumerate(units):
        filed[Counter(of[i] for i in unit).most_common(1)[0][0]].append(k)
    return {name: filed[name] for name in sorted(filed)}


class WholeGroups:
    """Chooses the groups (units of rows) to cut off: by stratum first, then towards the share of all rows.

    `units` are rows that must not be parted, `of` [n] their strata, `labels` [n] their classes (none for numbers,
    of which no stratum must be on both sides), `share` what is to go.
    """

    def __init__(self, units: list[list[int]], of: Sequence[str], labels: Sequence[str], share: float) -> None:
        self.units, self.filed = units, filed_by(units, of)
        self.held = [Counter(of[i] for i in unit) for unit in units]
        self.classes = [Counter(labels[i] for i in unit) if labels else Counter() for unit in units]
        self.totals = Counter(labels)
        self.n, self.goal = len(of), share * len(of)
        rounded = {s: max(round(n * share), 1 if n >= 3 else 0) for s, n in Counter(of).items()}
        self.want = rounded if labels else {s: n * share for s, n in Counter(of).items()}
        # Strata of which a group must go: those with enough groups for three parts.
        self.due = {s for s, filed in self.filed.items() if labels and len(filed) >= 3}
        self.gone: list[int] = []
        self.size = 0
        self.taken: Counter[str] = Counter()
        self.left = Counter(labels)  # rows of each class that stay

    def chosen(self, seed: int, stream: str) -> set[int]:
        """The rows that go."""
        for stratum, filed in self.filed.items():
            order = rng(seed, "cut", stream, stratum).permutation(len(filed))
            for k in order:
                if self._nearer(filed[k]):
                    self._take(filed[k])
            if stratum in self.due and not self.taken[stratum]:
                self._least([filed[k] for k in order])
        if not self.gone and len(self.units) >= 3:
            self._least([int(k) for k in rng(seed, "cut", stream, "least").permutation(len(self.units))])
        before = -1
        while self.size != before:  # every move brings the size nearer to the goal, so this ends
            before = self.size
            self._give_back()
            self._top_up(seed, stream)
        return {i for k in self.gone for i in self.units[k]}

    def _nearer(self, k: int) -> bool:
        """Whether the strata that a unit has rows of come nearer, together, to what they should give."""
        change = 0.0
        for s, n in self.held[k].items():
            missing = self.want[s] - self.taken[s]
            change += abs(missing - n) - abs(missing)
        return change < 0

    def _take(self, k: int) -> bool:
        """Move a unit, unless the training side would lose a class, or all it has."""
        if self.size + len(self.units[k]) >= self.n or any(n >= self.left[c] for c, n in self.classes[k].items()):
            return False
        self.gone.append(k)
        self.size += len(self.units[k])
        self.taken.update(self.held[k])
        self.left.subtract(self.classes[k])
        return True

    def _least(self, order: Sequence[int]) -> None:
        """Move the smallest unit that may go."""
        next((k for k in sorted(order, key=lambda k: len(self.units[k])) if self._take(k)), None)

    def _give_back(self) -> None:
        """Put the last units back while that brings the size nearer to the goal and every due stratum keeps one."""
        for k in reversed(self.gone[:]):
            smaller = self.size - len(self.units[k])
            bare = any(s in self.due and self.taken[s] == n for s, n in self.held[k].items())
            if smaller and not bare and abs(smaller - self.goal) < abs(self.size - self.goal):
                self.gone.remove(k)
                self.size = smaller
                self.taken.subtract(self.held[k])
                self.left.update(self.classes[k])

    def _top_up(self, seed: int, stream: str) -> None:
        """Move more units while that brings the size nearer to the goal, from the strata that gave least first."""
        gone = set(self.gone)
        # Of what its stratum should give, the share that it has given.
        gave = {k: self.taken[s] / self.want[s] if self.want[s] else 1.0 for s, f in self.filed.items() for k in f}
        order = rng(seed, "cut", stream, "top up").permutation(len(self.units))
        for k in sorted((int(k) for k in order if int(k) not in gone), key=lambda k: gave[k]):
            if abs(self.size + len(self.units[k]) - self.goal) < abs(self.size - self.goal):
                self._take(k)

"""Which samples a step sees, as a function of the seed and the place in training alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

from graft.data import Data, Sample
from graft.errors import DataError, UsageError
from graft.loading import length
from graft.methods import Method, owns
from graft.recipe import Stage
from graft.seeds import rng
from graft.train.step import world


@dataclass
class Streams:
    """The order of a stage's samples, and of the unlabelled ones beside them."""

    data: Data
    stage: Stage
    methods: Sequence[Method]
    key: tuple[object, ...]
    _epoch: tuple[int, list[list[int]]] = field(default=(-1, []))

    def __post_init__(self) -> None:
        if len(self.samples) < 2:
            raise DataError(f"{len(self.samples)} training samples: at least two are needed for a step")
        if self.supervised and self.viewers and not self.data.unlabeled:
            raise UsageError(f"{' and '.join(self.viewers)}: looks at unlabelled samples, and these data have none")

    @property
    def supervised(self) -> bool:
        return all(m.supervised for m in self.methods)

    @property
    def viewers(self) -> list[str]:
        """Methods that look at views of unlabelled samples."""
        return [m.name for m in self.methods if m.views]

    @property
    def samples(self) -> Sequence[Sample]:
        """What an epoch passes over: train, and without the task's loss the unlabelled part if any."""
        return self.data.train if self.supervised else self.data.unlabeled or self.data.train

    @property
    def size(self) -> int:
        return self.stage.batch or 32

    @cached_property
    def per_epoch(self) -> int:
        return len(self.order(0))

    def order(self, epoch: int) -> list[list[int]]:
        """The rows of each batch of one epoch."""
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._make(epoch))
        return self._epoch[1]

    def _make(self, epoch: int) -> list[list[int]]:
        owner = next((m for m in self.methods if owns(m, "sampler")), None)
        if owner is None:
            made = shuffled(self.samples, self.size, rng(*self.key, "order", epoch), max(2, world()[1]))
        else:
            made = owner.sampler(self.samples, self.size, rng(*self.key, "sampler", epoch))
        said = owner.name if owner else "the order"
        if not made or (epoch and len(made) != self.per_epoch):
            raise UsageError(f"{said}: {len(made)} batches in epoch {epoch}; equally many are needed in each")
        if min(len(rows) for rows in made) < world()[1]:
            raise UsageError(f"{said}: a batch has fewer samples than there are processes ({world()[1]})")
        return made

    def unlabelled(self, number: int) -> tuple[Sequence[Sample], list[int], list[int]]:
        """(samples, rows, positions) whose views a step sees.

        Beside labelled batches an endless stream of shuffled passes; without the task's loss the order
        of the epoch itself, so that a `sampler` holds there too.
        """
        if not self.supervised:
            epoch, place = divmod(number, self.per_epoch)
            rows = self.order(epoch)[place]
            return self.samples, rows, [number * 100_000 + j for j in range(len(rows))]
        pool = self.data.unlabeled
        positions = list(range(number * self.size, (number + 1) * self.size))
        places = [divmod(p, len(pool)) for p in positions]
        return pool, [int(_permutation(self.key, epoch, len(pool))[at]) for epoch, at in places], positions


@lru_cache(maxsize=4)
def _permutation(key: tuple[object, ...], epoch: int, n: int) -> Any:
    return rng(*key, "unlabelled", epoch).permutation(n)


def shuffled(samples: Sequence[Sample], size: int, draw: Any, least: int = 2) -> list[list[int]]:
    """Batches of a random order; like texts share one, and a last one below `least` joins another."""
    order = [int(i) for i in draw.permutation(len(samples))]
    if any(length(s) for s in samples[:1]):
        pool = size * 16
        order = [
            i for a in range(0, len(order), pool) for i in sorted(order[a : a + pool], key=lambda i: length(samples[i]))
        ]
    cut = [order[i : i + size] for i in range(0, len(order), size)]
    if size > 1 and len(cut) > 1 and len(cut[-1]) < least:
        cut[-2].extend(cut.pop())
    return [cut[int(i)] for i in draw.permutation(len(cut))]

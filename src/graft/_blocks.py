"""What a jackknife leaves out and a bootstrap draws: samples, or whole groups of samples that hang together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from graft.seeds import rng

MOST_BLOCKS = 200
"""Blocks of a jackknife: more samples than these are left out some at a time."""
MOST_COUNTS = 20_000_000  # numbers in a table of resamples: 80 MB


@dataclass(frozen=True)
class Units:
    """n samples as independent units: each its own, or by `cluster` [n], an index from 0 for each sample."""

    n: int
    cluster: np.ndarray | None = None

    @staticmethod
    def of(n: int, groups: Sequence[object] | np.ndarray | None) -> Units:
        """From the group of each sample; "" and None are samples on their own. Raises ValueError for another length."""
        if groups is None:
            return Units(n)
        if len(groups) != n:
            raise ValueError(f"{len(groups)} groups for {n} samples")
        known: dict[object, int] = {}
        keys = (_own(i) if g in ("", None) else g for i, g in enumerate(groups))
        cluster = np.array([known.setdefault(key, len(known)) for key in keys])
        return Units(n) if len(known) == n else Units(n, cluster)

    @property
    def count(self) -> int:
        """How many there are."""
        return self.n if self.cluster is None else int(self.cluster.max()) + 1

    @cached_property
    def index(self) -> np.ndarray:
        """The unit of each sample, [n]."""
        return np.arange(self.n) if self.cluster is None else self.cluster

    def freedom(self) -> float:
        """Degrees of freedom of a variance over clusters; infinite for single samples, whose shares are exact."""
        return math.inf if self.cluster is None else max(self.count - 1, 1)

    def left_out(self, seed: int) -> np.ndarray:
        """Counts [blocks, n] of 1 and 0, each without one block of units; at most MOST_BLOCKS, cut at random."""
        blocks = min(self.count, MOST_BLOCKS)
        block = np.arange(blocks)
        if self.count > blocks:
            block = rng(seed, "jackknife", self.n).permutation(self.count) % blocks
        out: np.ndarray = block[self.index] != np.arange(blocks)[:, None]
        return out.astype(np.float32)

    def rows(self, seed: int, resamples: int) -> Iterator[np.ndarray]:
        """Rows of each bootstrap resample of units, one at a time; the same for every model on these samples."""
        draw = rng(seed, "bootstrap", self.n)
        if self.cluster is None:
            yield from (draw.integers(0, self.n, size=self.n) for _ in range(resamples))
            return
        members = np.split(np.argsort(self.cluster, kind="stable"), np.bincount(self.cluster).cumsum()[:-1])
        for _ in range(resamples):
            yield np.concatenate([members[u] for u in draw.integers(0, len(members), size=len(members))])

    def counts(self, seed: int, resamples: int) -> Iterator[np.ndarray]:
        """How often each row stands in each resample, some resamples at a time: [r, n], floats for measures."""
        at_once = max(1, MOST_COUNTS // self.n)
        rows = self.rows(seed, resamples)
        for start in range(0, resamples, at_once):
            counts = np.zeros((min(at_once, resamples - start), self.n), dtype=np.float32)
            for line in counts:
                line += np.bincount(next(rows), minlength=self.n)
            yield counts


def _own(i: int) -> tuple[str, int]:
    """A key that no group of a person's data equals."""
    return ("sample", i)


def jackknife_error(without: np.ndarray) -> float:
    """The standard error from values [blocks], each without one block (Tukey 1958; Efron and Tibshirani 1993, 11.2).

    Blocks without which the measure is not defined are left out.
    """
    values = without[np.isfinite(without)]
    blocks = len(values)
    if blocks < 2:
        return 0.0
    return math.sqrt((blocks - 1) / blocks * float(((values - values.mean()) ** 2).sum()))

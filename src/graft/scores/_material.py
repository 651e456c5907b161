"""What all scores of one candidate share, made once and only when asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from graft.errors import DataError
from graft.measures import CLASSES, NUMBERS
from graft.scores import _given, _moments
from graft.scores._given import Array
from graft.scores._moments import Floats, Ints, Moments, Rows, Spectrum
from graft.seeds import rng

FEWEST_A_CLASS = 4  # rows a class has in a sample on average, at least: fewer tell nothing of a class


class NoScore(DataError):
    """A score that cannot be had of this material; the message is the reason."""


@dataclass(frozen=True, eq=False)
class Material:
    """Features [n, d] of one candidate with the target, and the source head's probabilities [n, s] where it has one.

    Make one with `Material.of`. Properties are computed at first use and kept, in float64, from passes over blocks:
    no table grows as n x n, and no second copy of all features is made unless n < d (then one of n x n). They raise
    NoScore where features cannot serve: NaN, infinity, no variation.
    """

    features: Array
    kind: str
    given: Array
    source: Array | None
    source_classes: int | None

    @staticmethod
    def of(
        features: Any, target: Any, kind: str, source: Any | None = None, source_classes: int | None = None
    ) -> Material:
        """Check and hold what is given, as numpy arrays or torch tensors.

        `target` is, by `kind`: class ids [n], any integers ("classes"); 0 or 1 [n, c] ("labels"); numbers [n] or
        [n, k] ("numbers"). `source` rows sum to 1; `source_classes` is how many the head's card speaks of. Raises
        UsageError for shapes, types or values that are not these, and DataError for numbers that are not finite.
        Features that are not finite, or source probabilities that are none, raise nothing here: the scores that
        need them say so.
        """
        x = _given.features(features)
        y = _given.target(target, kind, len(x))
        return Material(x, kind, y, None if source is None else _given.source(source), source_classes)

    @property
    def n(self) -> int:
        """Samples."""
        return len(self.features)

    @property
    def d(self) -> int:
        """Columns of the features."""
        return int(self.features.shape[1])

    # ------------------------------------------------------------------------------- the target

    @cached_property
    def _coded(self) -> tuple[Ints, Ints]:
        _, code, counts = np.unique(self.given, return_inverse=True, return_counts=True)
        return code.astype(np.int64), counts.astype(np.int64)

    @property
    def ids(self) -> Ints:
        """Class of each sample [n], numbered from 0 over the classes that occur."""
        return self._coded[0]

    @property
    def counts(self) -> Ints:
        """Samples of each class [c]."""
        return self._coded[1]

    @cached_property
    def columns(self) -> Array:
        """Target columns that vary [n, k]: labels as 0 and 1, numbers in standard units (mean 0, variance 1)."""
        kept = self.given[:, (self.given != self.given[0]).any(axis=0)]
        if not kept.shape[1]:
            raise NoScore("the target does not vary")
        if self.kind != NUMBERS:
            return kept
        shifted = kept - kept.mean(axis=0)
        return np.asarray(shifted / shifted.std(axis=0))

    @property
    def width(self) -> int:
        """Columns of the target: classes, labels that vary, or numbers that vary."""
        return len(self.counts) if self.kind == CLASSES else int(self.columns.shape[1])

    @cached_property
    def totals(self) -> Floats:
        """Sum of each target column [k]; for classes their counts."""
        return np.asarray(self.counts if self.kind == CLASSES else self.columns.sum(axis=0, dtype=np.float64), float)

    @cached_property
    def squares(self) -> Floats:
        """Sum of squares of each target column [k]; 0 and 1 are their own squares."""
        return np.square(self.columns).sum(axis=0) if self.kind == NUMBERS else self.totals

    @cached_property
    def order(self) -> Ints:
        """Samples sorted by class [n]; class k is at `starts[k]`, `counts[k]` of them."""
        return np.argsort(self.ids, kind="stable").astype(np.int64)

    @cached_property
    def starts(self) -> Ints:
        """Where each class begins in `order` [c]."""
        return np.concatenate([[0], np.cumsum(self.counts)[:-1]]).astype(np.int64)

    def require(self, *kinds: str) -> None:
        """Raise NoScore where the target is of no such kind, or tells nothing apart."""
        if self.kind not in kinds:
            raise NoScore(f"serves {' and '.join(kinds)}, and the target is {self.kind}")
        if self.kind != CLASSES:
            _ = self.columns
        elif len(self.counts) == 1:
            raise NoScore("one class alone: there is nothing to tell apart")
        elif len(self.counts) == self.n:
            raise NoScore("one sample a class")

    # ----------------------------------------------------------------------------- the features

    @cached_property
    def trouble(self) -> str:
        """Why the features serve no score; "" where they do."""
        return _moments.trouble(self.features)

    @cached_property
    def rows(self) -> Rows:
        """Samples as rows [n, min(n, d)]."""
        if self.trouble:
            raise NoScore(self.trouble)
        return _moments.rows(self.features)

    @cached_property
    def moments(self) -> Moments:
        """Scatter, squared norms and products with the target, of centred rows."""
        ids = self.ids if self.kind == CLASSES else None
        found = _moments.moments(self.rows, ids, self.given if ids is not None else self.columns, self.width)
        if not np.trace(found.scatter) > 0:
            raise NoScore("constant features")
        return found

    @cached_property
    def spectrum(self) -> Spectrum:
        """Of the centred scatter."""
        return _moments.spectrum(self.moments.scatter)

    @cached_property
    def raw_spectrum(self) -> Spectrum:
        """Of the Gram matrix of rows that are not centred, for evidence without an intercept."""
        mean = self.rows.mean
        return _moments.spectrum(self.moments.scatter + self.n * np.outer(mean, mean))

    @cached_property
    def means(self) -> Floats:
        """Class means of centred rows [c, r]."""
        return self.moments.cross / self.counts[:, None]

    @cached_property
    def between(self) -> Floats:
        """Scatter between classes [r, r]: sum over classes of n_c m_c m_c'."""
        weighted = self.moments.cross / np.sqrt(self.counts)[:, None]
        return weighted.T @ weighted

    @cached_property
    def between_along(self) -> Floats:
        """Scatter between classes along each direction of the spectrum [q]."""
        vectors = self.spectrum.vectors
        if len(self.counts) > len(vectors):
            return np.asarray(np.einsum("ij,ij->j", vectors, self.between @ vectors))
        return np.asarray(np.square(self.moments.cross / np.sqrt(self.counts)[:, None] @ vectors).sum(axis=0))

    def project(self, vectors: Floats, which: Ints | None = None) -> Floats:
        """Centred rows in the coordinates of `vectors` [r, q]: [n, q], or [m, q] of some rows."""
        if which is not None:
            return self.rows.centred(which) @ vectors
        out = np.empty((self.n, vectors.shape[1]))
        for block, x in self.rows.blocks():
            out[block] = x @ vectors
        return out

    def sample(self, most: int) -> Ints:
        """Rows, sorted, at most `most`: all, or a fixed draw that depends on the target alone.

        So two candidates are judged on the same rows. Where classes are too many for FEWEST_A_CLASS rows of each,
        some classes are drawn, then rows of them.
        """
        if self.n <= most:
            return np.arange(self.n)
        draw = rng("scores", "rows", self.n, most)
        rows = np.arange(self.n)
        if self.kind == CLASSES and len(self.counts) > most // FEWEST_A_CLASS:
            # Of the classes with two samples or more, where there are any: the others have no like.
            some = np.flatnonzero(self.counts > 1)
            some = draw.permutation(some)[: most // FEWEST_A_CLASS]
            rows = np.flatnonzero(np.isin(self.ids, some))
        return np.sort(draw.permutation(rows)[:most])

"""Small made worlds for the tests of scores: features of a few classes, labels, numbers, source probabilities."""

from __future__ import annotations

import numpy as np

from graft.scores import Material


def classes(n: int = 60, d: int = 6, c: int = 4, apart: float = 1.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(features [n, d] with means far from zero, class ids [n]); every class occurs, sizes differ."""
    draw = np.random.default_rng(seed)
    y = np.concatenate([np.arange(c), np.arange(c), draw.choice(c, size=n - 2 * c, p=_uneven(c))])
    y = draw.permutation(y)
    x = apart * draw.normal(size=(c, d))[y] + draw.normal(size=(n, d)) * np.linspace(0.5, 2, d) + 3
    return x, y


def _uneven(c: int) -> np.ndarray:
    share = np.arange(1, c + 1, dtype=float)
    return share / share.sum()


def probabilities(n: int = 60, s: int = 5, seed: int = 0) -> np.ndarray:
    """[n, s], rows sum to 1."""
    return np.random.default_rng(seed).dirichlet(np.full(s, 0.5), size=n)


def numbers(n: int = 60, d: int = 6, k: int = 1, noise: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(features [n, d], numbers [n, k] that follow from them but for noise)."""
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(n, d)) * np.linspace(0.5, 2, d) + 3
    return x, x @ draw.normal(size=(d, k)) + noise * draw.normal(size=(n, k)) + 40


def labels(n: int = 60, d: int = 6, c: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(features [n, d], labels [n, c] of 0 and 1)."""
    x, y = numbers(n, d, c, seed=seed)
    return x, (y > np.median(y, axis=0)).astype(int)


def material(kind: str = "classes", n: int = 60, d: int = 6, seed: int = 0) -> Material:
    """One of the above as Material; classes with source probabilities."""
    x, y = {"classes": classes, "labels": labels, "numbers": numbers}[kind](n, d, seed=seed)
    return Material.of(x, y, kind, probabilities(n, seed=seed) if kind == "classes" else None)


def rotation(d: int, seed: int = 1) -> np.ndarray:
    """An orthogonal matrix [d, d]."""
    return np.asarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0])

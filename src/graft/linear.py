"""Logistic regression on features: L-BFGS, with the penalty chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional as F

from graft.seeds import rng

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # strong to weak: each starts from the last
FOLDS = 5
ALONE = 500_000  # numbers in the features up to which one thread is quicker than several
MOST_ROWS = 3000  # the penalty is chosen on at most so many samples


@dataclass(frozen=True)
class Linear:
    """scores = x @ weight.T + bias, in the features' own units: weight [c, d], bias [c]."""

    weight: torch.Tensor
    bias: torch.Tensor
    l2: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight.T + self.bias


@dataclass(frozen=True)
class CrossValidated:
    """Out-of-fold class probabilities [n, c] at the best penalty; `rows` are the samples they are of."""

    probabilities: torch.Tensor
    rows: torch.Tensor
    l2: float


def fit(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None, l2: float | None = None) -> Linear:
    """Fit on features x [n, d] and class probabilities y [n, c], sample weights [n].

    Features are standardised inside, so one grid of penalties serves every backbone; without `l2` the
    penalty is the one with the least cross-validated log-loss.
    """
    weight = torch.ones(len(x)) if weight is None else weight
    if l2 is None:
        l2 = cross_validate(x, y, weight).l2
    return _path(x, y, weight, [p for p in PENALTIES if p > l2] + [l2])[-1]


def cross_validate(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None, penalties: Sequence[float] = PENALTIES
) -> CrossValidated:
    """Choose the penalty by stratified folds (fixed, not drawn from a run's seed)."""
    weight = torch.ones(len(x)) if weight is None else weight
    rows = _some_rows(y)
    x, y, weight = x[rows], y[rows], weight[rows]
    fold = _folds(y)
    held = torch.zeros(len(penalties), len(x), y.shape[1], dtype=torch.float64)
    for k in range(int(fold.max()) + 1):
        out, kept = fold == k, fold != k
        for i, fitted in enumerate(_path(x[kept], y[kept], weight[kept], penalties)):
            held[i, out] = F.softmax(fitted(x[out]).double(), dim=1)
    losses = -(y.double() * held.clamp_min(1e-12).log()).sum(dim=2)  # [penalties, n]
    best = int((losses * weight.double()).mean(dim=1).argmin())
    return CrossValidated(held[best], rows, float(penalties[best]))


def _some_rows(y: torch.Tensor) -> torch.Tensor:
    if len(y) <= MOST_ROWS:
        return torch.arange(len(y))
    order = rng("linear", "rows").permutation(len(y))[:MOST_ROWS]
    return torch.from_numpy(order).sort().values


def _folds(y: torch.Tensor) -> torch.Tensor:
    """A fold for each row [n]; every class is dealt out in turn, so folds hold equal shares of it."""
    n = len(y)
    fold = torch.empty(n, dtype=torch.long)
    order = torch.from_numpy(rng("linear", "folds").permutation(n))
    by_class = order[y[order].argmax(dim=1).argsort(stable=True)]
    fold[by_class] = torch.arange(n) % min(FOLDS, n)
    return fold


def _path(x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, penalties: Sequence[float]) -> list[Linear]:
    """Fits along falling penalties. Where n < d the fit is done in the n dimensions that the data span.

    The penalised optimum lies in the span of the rows (representer theorem), so nothing is lost.
    """
    mean = x.mean(dim=0)
    std = x.std(dim=0, unbiased=False)
    std = torch.where(std > 1e-6 * (1 + mean.abs()), std, torch.ones_like(std))
    z = ((x - mean) / std).double()
    basis = None
    if z.shape[0] < z.shape[1]:
        _, _, basis = torch.linalg.svd(z, full_matrices=False)  # [r, d]
        z = z @ basis.T
    scale = z.shape[1] ** 0.5 if basis is None else float(x.shape[1]) ** 0.5
    params = torch.zeros(y.shape[1], z.shape[1] + 1, dtype=torch.float64)
    found = []
    for l2 in penalties:
        params = _lbfgs(z / scale, y.double(), weight.double(), l2 / 10, params)
        w, b = params[:, :-1] / scale, params[:, -1]
        w = (w @ basis if basis is not None else w) / std
        found.append(Linear(w.to(x.dtype), (b - w @ mean.double()).to(x.dtype), float(l2)))
    return found


def _lbfgs(z: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, l2: float, start: torch.Tensor) -> torch.Tensor:
    """Minimise mean(weight x cross-entropy) + l2/2 |w|^2 from `start`; parameters [c, d + 1], bias last."""
    threads = torch.get_num_threads()
    if z.numel() < ALONE:  # threads with so little to do spend their time on waiting for each other
        torch.set_num_threads(1)
    params = start.clone().requires_grad_(True)
    optimizer = torch.optim.LBFGS(
        [params], max_iter=100, tolerance_grad=1e-6, history_size=10, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        w, b = params[:, :-1], params[:, -1]
        loss = (weight * F.cross_entropy(z @ w.T + b, y, reduction="none")).mean() + l2 / 2 * w.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    try:
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    finally:
        torch.set_num_threads(threads)
    return params.detach()

"""Linear models on features (logistic, one-vs-rest, ridge): L-BFGS, the penalty chosen by cross-validation."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from graft.seeds import rng

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # strong to weak: each starts from the last
FOLDS = 5
ALONE = 500_000  # numbers in the features up to which one thread is quicker than several
MOST_ROWS = 3000  # the penalty is chosen on at most so many samples
LOSSES = ("softmax", "sigmoid", "square")
"""softmax: one of several classes; sigmoid: labels that hold or not, each for itself; square: numbers (ridge)."""


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
    """Out-of-fold answers [n, c] (probabilities, or values) at the best penalty; `rows` are the samples they are of."""

    answers: torch.Tensor
    rows: torch.Tensor
    l2: float


def fit(
    x: torch.Tensor,
    y: torch.Tensor,
    weight: torch.Tensor | None = None,
    l2: float | None = None,
    loss: str = "softmax",
    *,
    groups: Sequence[Hashable] | None = None,
) -> Linear:
    """Fit on features x [n, d] and targets y [n, c] (probabilities, 0 and 1, or numbers), sample weights [n].

    Features are standardised inside, so one grid of penalties serves every backbone; without `l2` the
    penalty is the one with the least cross-validated loss, rows with equal `groups` [n] in one fold. `loss`
    is one of LOSSES.
    """
    weight = torch.ones(len(x)) if weight is None else weight
    if l2 is None:
        l2 = cross_validate(x, y, weight, loss=loss, groups=groups).l2
    return _path(x, y, weight, [p for p in PENALTIES if p > l2] + [l2], loss)[-1]


def cross_validate(
    x: torch.Tensor,
    y: torch.Tensor,
    weight: torch.Tensor | None = None,
    penalties: Sequence[float] = PENALTIES,
    loss: str = "softmax",
    *,
    groups: Sequence[Hashable] | None = None,
) -> CrossValidated:
    """Choose the penalty by stratified folds (fixed, not drawn from a run's seed).

    Rows with an equal key in `groups` [n] (one patient, exact copies) share a fold, so that none is judged by a
    fit that saw its like. Where all keys differ, or all are equal, the folds are those without groups.
    """
    weight = torch.ones(len(x)) if weight is None else weight
    rows = _some_rows(y)
    x, y, weight = x[rows], y[rows], weight[rows]
    fold = _folds(y, loss) if groups is None else _group_folds(y, loss, [groups[i] for i in rows.tolist()])
    held = torch.zeros(len(penalties), len(x), y.shape[1], dtype=torch.float64)
    for k in range(int(fold.max()) + 1):
        out, kept = fold == k, fold != k
        for i, fitted in enumerate(_path(x[kept], y[kept], weight[kept], penalties, loss)):
            held[i, out] = fitted(x[out]).double()
    losses = torch.stack([_loss(h, y.double(), loss) for h in held])  # [penalties, n]
    best = int((losses * weight.double()).mean(dim=1).argmin())
    return CrossValidated(_answers(held[best], loss), rows, float(penalties[best]))


def _loss(scores: torch.Tensor, y: torch.Tensor, loss: str) -> torch.Tensor:
    """[n] from scores and targets [n, c]."""
    if loss == "softmax":
        return F.cross_entropy(scores, y, reduction="none")
    if loss == "sigmoid":
        return F.binary_cross_entropy_with_logits(scores, y, reduction="none").sum(dim=1)
    return (scores - y).square().sum(dim=1) / 2


def _answers(scores: torch.Tensor, loss: str) -> torch.Tensor:
    if loss == "softmax":
        return F.softmax(scores, dim=1)
    return scores.sigmoid() if loss == "sigmoid" else scores


def _some_rows(y: torch.Tensor) -> torch.Tensor:
    if len(y) <= MOST_ROWS:
        return torch.arange(len(y))
    order = rng("linear", "rows").permutation(len(y))[:MOST_ROWS]
    return torch.from_numpy(order).sort().values


def _folds(y: torch.Tensor, loss: str) -> torch.Tensor:
    """A fold for each row [n]; every class is dealt out in turn, so folds hold equal shares of it.

    Of several labels the rarest stands for a row; numbers are dealt out by size.
    """
    n = len(y)
    fold = torch.empty(n, dtype=torch.long)
    order = torch.from_numpy(rng("linear", "folds").permutation(n))
    by_class = order[_class(y, loss)[order].argsort(stable=True)]
    fold[by_class] = torch.arange(n) % min(FOLDS, n)
    return fold


def _class(y: torch.Tensor, loss: str) -> torch.Tensor:
    """What folds are balanced by [n]: the class, the rarest label, or the number itself."""
    if loss == "softmax":
        return y.argmax(dim=1)
    return (y / y.sum(dim=0).clamp_min(1)).argmax(dim=1) if loss == "sigmoid" else y[:, 0]


def _group_folds(y: torch.Tensor, loss: str, groups: Sequence[Hashable]) -> torch.Tensor:
    """A fold for each row [n], equal keys in one: the largest group first, each to the fold that is emptiest for it.

    Emptiest counts rows, and rows of the group's own classes (fifths of the order for numbers), by their share.
    """
    numbered: dict[Hashable, int] = {}
    code = np.array([numbered.setdefault(g, len(numbered)) for g in groups])
    if len(numbered) in (1, len(groups)):  # nothing to keep together, or nothing to keep apart
        return _folds(y, loss)
    key = _class(y, loss)
    if loss == "square":
        key = key.argsort(stable=True).argsort() * FOLDS // len(y)
    _, kind = np.unique(key.numpy(), return_inverse=True)
    held = np.zeros((len(numbered), int(kind.max()) + 1))  # rows of each group and class
    np.add.at(held, (code, kind), 1)
    share = held / held.sum(axis=0)
    sizes = held.sum(axis=1)
    drawn = rng("linear", "group folds").permutation(len(numbered))
    full = np.zeros((min(FOLDS, len(numbered)), held.shape[1]))  # of each class, the share that a fold has
    rows = np.zeros(len(full))
    of = np.empty(len(numbered), dtype=np.int64)
    for g in drawn[np.argsort(-sizes[drawn], kind="stable")]:
        of[g] = np.argmin(full @ (held[g] / sizes[g]) + rows / len(y))
        full[of[g]] += share[g]
        rows[of[g]] += sizes[g]
    return torch.from_numpy(of[code])


def _path(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, penalties: Sequence[float], loss: str
) -> list[Linear]:
    """Fits along falling penalties. Where n < d the fit is done in the n dimensions that the data span.

    The penalised optimum lies in the span of the rows (representer theorem), so nothing is lost.
    """
    share = (weight / weight.sum()).unsqueeze(1)  # a weight counts as that many copies of its row
    mean = (share * x).sum(dim=0)
    std = (share * (x - mean).square()).sum(dim=0).sqrt()
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
        params = _lbfgs(z / scale, y.double(), weight.double(), l2 / 10, params, loss)
        w, b = params[:, :-1] / scale, params[:, -1]
        w = (w @ basis if basis is not None else w) / std
        found.append(Linear(w.to(x.dtype), (b - w @ mean.double()).to(x.dtype), float(l2)))
    return found


def _lbfgs(
    z: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, l2: float, start: torch.Tensor, kind: str
) -> torch.Tensor:
    """Minimise mean(weight x loss) + l2/2 |w|^2 from `start`; parameters [c, d + 1], bias last."""
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
        loss = (weight * _loss(z @ w.T + b, y, kind)).mean() + l2 / 2 * w.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    try:
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    finally:
        torch.set_num_threads(threads)
    return params.detach()

"""Temperature scaling: probabilities that mean what they say, by one number fitted on validation."""

from __future__ import annotations

from typing import Any

import numpy as np

from graft import measures
from graft.seeds import rng

FEWEST = 20  # validation samples
FOLDS = 5
MOST_ROWS = 3000  # one number is settled by so many
COOLEST, HOTTEST = 0.05, 100.0  # answers that are all but hard ones need the latter
_LEAST = 1e-12  # as measures have it: a probability below counts as it


def temperature(kind: str, p: Any, truth: Any) -> float:
    """The T with the least log-loss of p ** (1 / T), scaled to sum to 1 (Guo et al. 2017, section 4.2).

    p [n, c] are validation's probabilities, truth [n] class indices; for labels truth [n, c] of 0 and 1, and one T
    divides the log-odds of all of them. One answer more is counted, half of it wrong (for classes: half of it the
    runner-up), as Platt's targets do (1999, section 2.2): a part without a mistake would have no end to being surer.

    1.0, so nothing is changed, for numbers, for fewer than FEWEST samples, for a part that holds one class alone (of
    labels: all or none), and where T is no gain on samples that it was not fitted on (FOLDS folds; at most MOST_ROWS
    samples, drawn from their number).
    """
    if kind not in (measures.CLASSES, measures.LABELS) or len(p) < FEWEST:
        return 1.0
    answers, true = np.asarray(p, dtype=np.float64), np.asarray(truth)
    rows = rng("temperature", len(answers)).permutation(len(answers))[:MOST_ROWS]
    if (true[rows] == true[rows].flat[0]).all():
        return 1.0
    scores, own, middle = _scores(kind, answers[rows], true[rows])
    fold, gain = np.arange(len(rows)) % FOLDS, 0.0
    for f in range(FOLDS):
        here, rest = fold == f, fold != f
        t = _fit(kind, scores[rest], own[rest], middle[rest])
        gain += (_losses(kind, scores[here], own[here], 1.0) - _losses(kind, scores[here], own[here], t)).sum()
    return _fit(kind, scores, own, middle) if gain > 0 else 1.0


def apply(kind: str, p: Any, t: float) -> np.ndarray:
    """Probabilities [n, c] at temperature t, as float64; at 1 they are `p` itself, and 1 / t undoes it.

    No decision changes, not even by rounding: a class that was the likeliest stays it, a label above (at, below) one
    half stays there. Numbers stay as they are. Raises ValueError for a temperature that is no number above 0.
    """
    if not 0 < t < np.inf:
        raise ValueError(f"a temperature of {t}: a number above 0 is expected")
    found = np.asarray(p)
    if kind == measures.NUMBERS or t == 1.0 or not found.size:
        return found
    found = found.astype(np.float64)
    return _labels(found, t) if kind == measures.LABELS else _classes(found, t)


def checked(kind: str, p: Any, truth: Any, t: float) -> dict[str, float]:
    """What a report's calibration says of a temperature: {"temperature", "ece_before"}, the latter with t undone.

    p [n, c] are answers at temperature t, truth as measures take it; the error is the expected calibration error of
    the page: of the likeliest class, or of every label's yes or no. Empty for numbers.
    """
    if kind == measures.NUMBERS:
        return {}
    before, true = apply(kind, p, 1 / t), np.asarray(truth)
    if kind == measures.LABELS:
        before, true = np.stack([1 - before.ravel(), before.ravel()], axis=1), (true > 0.5).ravel().astype(int)
    return {"temperature": float(t), "ece_before": float(measures.expected_calibration_error(before, true)[0])}


def _classes(p: np.ndarray, t: float) -> np.ndarray:
    logs = np.log(np.clip(p, _LEAST, 1.0))
    found = np.exp((logs - logs.max(axis=1, keepdims=True)) / t)
    found /= found.sum(axis=1, keepdims=True)
    rows = np.arange(len(p))
    own = p.argmax(axis=1)
    # Two classes may come so near that rounding makes them one number, and the first of equals would win.
    off = found.argmax(axis=1) != own
    found[rows[off], own[off]] = np.nextafter(found[off].max(axis=1), 2.0)
    return np.asarray(found)


def _labels(p: np.ndarray, t: float) -> np.ndarray:
    from scipy.special import expit

    held = np.clip(p, _LEAST, 1 - _LEAST)
    found = expit(np.log(held / (1 - held)) / t)
    found = np.where((p > 0.5) & (found <= 0.5), np.nextafter(0.5, 1.0), found)
    return np.asarray(np.where((p < 0.5) & (found >= 0.5), np.nextafter(0.5, 0.0), np.where(p == 0.5, 0.5, found)))


def _scores(kind: str, p: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(scores [n, c] that T divides, the true answer's [n], those of one that is half wrong [n])."""
    if kind == measures.LABELS:
        held = np.clip(p, _LEAST, 1 - _LEAST)
        odds = np.log(held / (1 - held))
        return odds, (odds * (truth > 0.5)).sum(axis=1), odds.sum(axis=1) / 2
    logs = np.log(np.clip(p, _LEAST, 1.0))
    top = np.partition(logs, -2, axis=1)[:, -2:] if logs.shape[1] > 1 else logs
    return logs, logs[np.arange(len(p)), truth.astype(int)], top.mean(axis=1)


def _normaliser(kind: str, scores: np.ndarray, t: float) -> np.ndarray:
    """The log of what the exponentials sum to, [n]."""
    from scipy.special import logsumexp

    if kind == measures.LABELS:
        return np.asarray(np.logaddexp(0.0, scores / t).sum(axis=1))
    return np.asarray(logsumexp(scores / t, axis=1))


def _losses(kind: str, scores: np.ndarray, own: np.ndarray, t: float) -> np.ndarray:
    """The log-loss of each sample, [n]."""
    return np.asarray(_normaliser(kind, scores, t) - own / t)


def _fit(kind: str, scores: np.ndarray, own: np.ndarray, middle: np.ndarray) -> float:
    """The T of the least log-loss: it is convex in 1 / T, so it has one dip."""
    from scipy.optimize import minimize_scalar

    n = len(own)
    held = float(own.mean() + middle.mean() / n)

    def loss(log_t: float) -> float:
        t = float(np.exp(log_t))
        return float(_normaliser(kind, scores, t).mean()) * (1 + 1 / n) - held / t

    found = minimize_scalar(loss, bounds=(np.log(COOLEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))

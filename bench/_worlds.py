"""Made-up tables of answers with a known truth, for simulations: classes, labels, numbers, and two models at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from graft.tasks import Task, measures_of
from graft.tasks.text_classification import TextClassification
from graft.tasks.text_multilabel import TextMultilabel
from graft.tasks.text_regression import TextRegression

Table = tuple[np.ndarray, np.ndarray]
"""Answers and truth."""

_FALLING = 0.78 ** np.arange(10)
PRIORS = {  # share of each class
    "2 classes": np.ones(2) / 2,
    "4 classes": np.ones(4) / 4,
    "10 classes, imbalanced": _FALLING / _FALLING.sum(),  # 24 % to 2.6 %
}
ERRORS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {  # of variance about 1
    "normal errors": lambda r, n: r.standard_normal(n),
    "Laplace errors": lambda r, n: r.laplace(size=n) / np.sqrt(2),
    "t errors, 5 df": lambda r, n: r.standard_t(5, n) / np.sqrt(5 / 3),
    "log-normal errors": lambda r, n: (np.exp(0.7 * r.standard_normal(n)) - np.exp(0.245)) / 1.01,
}
_LABELS = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5])  # share of samples that hold each


def softmax(z: np.ndarray) -> np.ndarray:
    """Rows to probabilities."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class Classes:
    """Normal evidence of strength a for the true class; probabilities are Bayes', or those sharpened by `sharp`."""

    shape: str
    accuracy: float
    sharp: float = 1.0

    def __str__(self) -> str:
        how = "calibrated" if self.sharp == 1 else "overconfident"
        return f"{self.shape}, accuracy {self.accuracy:g}, {how}"

    def task(self) -> Task:
        return classes_task(len(PRIORS[self.shape]))

    def draw(self, r: np.random.Generator, n: int) -> Table:
        prior = PRIORS[self.shape]
        truth = r.choice(len(prior), n, p=prior)
        return self.answers(truth, r.standard_normal((n, len(prior)))), truth

    def answers(self, truth: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Probabilities [n, c] from true classes [n] and standard normal noise [n, c]."""
        a, evidence = strength(self.shape, self.accuracy), noise.copy()
        evidence[np.arange(len(truth)), truth] += a
        return softmax(self.sharp * (a * evidence + np.log(PRIORS[self.shape])))


@dataclass(frozen=True)
class Labels:
    """Eight labels that hold for 5 % to 50 % of samples, a little together; each found with evidence of strength a."""

    a: float

    def __str__(self) -> str:
        return f"8 labels, evidence {self.a:g}"

    def task(self) -> Task:
        return named(TextMultilabel(), "text_multilabel", tuple(f"l{i}" for i in range(len(_LABELS))))

    def draw(self, r: np.random.Generator, n: int) -> Table:
        from scipy.special import ndtri

        shared = r.standard_normal((n, 1))
        truth = (0.5 * shared + np.sqrt(0.75) * r.standard_normal((n, len(_LABELS))) < ndtri(_LABELS)).astype(float)
        evidence = self.a * (truth - 0.5) + r.standard_normal(truth.shape)
        return 1 / (1 + np.exp(-(self.a * evidence + np.log(_LABELS / (1 - _LABELS))))), truth


@dataclass(frozen=True)
class Numbers:
    """What is answered is right but for errors of one of four shapes; `signal` times as far apart as the errors."""

    errors: str
    signal: float = 2.0

    def __str__(self) -> str:
        return f"numbers, {self.errors}"

    def task(self) -> Task:
        return named(TextRegression(), "text_regression", ())

    def draw(self, r: np.random.Generator, n: int) -> Table:
        answers = self.signal * r.standard_normal(n)
        return answers, answers + ERRORS[self.errors](r, n)


World = Classes | Labels | Numbers


def named(task: Task, name: str, labels: tuple[str, ...], first: str = "") -> Task:
    """A task that has read data with these labels."""
    task.name, task.labels, task.schema = name, labels, {}
    task.measures = measures_of(task, first)
    return task


def classes_task(classes: int, first: str = "") -> Task:
    """Classification with `first` as the deciding measure."""
    return named(TextClassification(), "text_classification", tuple(f"c{i}" for i in range(classes)), first)


@cache
def strength(shape: str, accuracy: float) -> float:
    """The evidence at which Bayes' decision is right so often, to about 0.001."""
    low, high = 0.0, 10.0
    prior = PRIORS[shape]
    r = np.random.default_rng(1)
    truth, noise = r.choice(len(prior), 400_000, p=prior), r.standard_normal((400_000, len(prior)))
    for _ in range(20):
        a = (low + high) / 2
        evidence = noise.copy()
        evidence[np.arange(len(truth)), truth] += a
        right = float(((a * evidence + np.log(prior)).argmax(axis=1) == truth).mean())
        low, high = (a, high) if right < accuracy else (low, a)
    return (low + high) / 2

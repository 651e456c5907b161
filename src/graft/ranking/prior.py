"""The prior: how good a pretrained model is in general, from published figures, before any data is looked at."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from graft.errors import DataError
from graft.model import Card

MODELS, FIGURES = "published_models.csv", "published.csv"
# What is held of the regression's slopes before the table is seen, as (mean, standard deviation): of the logarithm of
# ImageNet's error, that an error doubled there is doubled elsewhere (Kornblith, Shlens and Le, "Do better ImageNet
# models transfer better?", CVPR 2019, found log odds that go together), and of log parameters, nothing. Eleven models
# whose top-1 lies within nine points cannot say much of one far below them.
SLOPES = {"top1": (1.0, 0.5), "parameters": (0.0, 0.3)}
NOTHING = re.compile(r"\s*(nothing|none\b|random|untrained|not (pre)?trained|no (pre)?training)", re.IGNORECASE)
"""How a card's `trained_on` begins where the weights are random."""


@dataclass(frozen=True)
class Prior:
    """How good a model is in general: `value` with its standard error, and where it comes from.

    `value` is log(error / error of the average published model) after fine-tuning, on the scale of the combination:
    0 is that average, -0.1 makes ten percent fewer mistakes.
    """

    value: float
    se: float
    source: str


@dataclass(frozen=True)
class Published:
    """The shipped table: names, source data, top-1 [m] in percent, parameters [m] in millions, errors [sets, m].

    Errors are in percent, NaN where a model was not tried on a set; `sets` has (table, data set) of each row. `timm`
    gives the model of a timm name.
    """

    models: tuple[str, ...]
    source_data: tuple[str, ...]
    top1: np.ndarray
    parameters: np.ndarray
    timm: dict[str, str]
    sets: tuple[tuple[str, str], ...]
    errors: np.ndarray


@lru_cache(maxsize=1)
def published() -> Published:
    """The shipped table, read once. Raises DataError where the installed files are damaged."""
    models, figures = _rows(MODELS), _rows(FIGURES)
    try:
        names = tuple(r["model"] for r in models)
        sets = tuple(dict.fromkeys((r["table"], r["dataset"]) for r in figures))
        errors = np.full((len(sets), len(names)), np.nan)
        for r in figures:
            errors[sets.index((r["table"], r["dataset"])), names.index(r["model"])] = 100 - float(r["accuracy"])
        return Published(
            models=names,
            source_data=tuple(r["source_data"] for r in models),
            top1=np.array([float(r["top1"]) for r in models]),
            parameters=np.array([float(r["parameters"]) for r in models]),
            timm={r["timm"]: r["model"] for r in models if r["timm"]},
            sets=sets,
            errors=errors,
        )
    except (KeyError, ValueError, TypeError) as e:
        raise DataError(f"{MODELS} or {FIGURES} of this installation is damaged ({e}); install graft again") from e


def _rows(file: str) -> list[dict[str, str]]:
    with Path(__file__).with_name(file).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def prior_of(card: Card, modality: str = "picture", without: Collection[str] = ()) -> Prior:
    """What is known of a model before the data is looked at, from its card.

    A checkpoint of the table has its published fine-tunes; another is placed by a regression on ImageNet top-1 and
    parameters, or on parameters alone, which is less sure; of random weights the prior says that they know nothing.
    `without` names data sets whose published figures are left out (the one that is ranked for, in a test of the
    ranking). No figures of text encoders are shipped, so that theirs is the average, and unsure.
    """
    rule = _rule(frozenset(without))
    if NOTHING.match(card.trained_on):
        return rule.untrained()
    if modality != "picture":
        return Prior(0.0, rule.unknown, f"no published figure: none are shipped for the modality {modality}")
    model = entry(card)
    if model is not None and model in rule.figures:
        return rule.figures[model]
    return rule.regressed(card.top1, card.parameters / 1e6)


def entry(card: Card) -> str | None:
    """The table's model that a card is of, or None.

    `torchvision:NAME.IMAGENET1K_V1`, `timm:NAME.tv_in1k`, or any other name whose card has the very top-1 (to 0.02
    points) and the size (to 3 %: a file counts buffers too) of one of them, trained on ImageNet-1k. Other weights of
    the same network, `timm:resnet50.a1_in1k` or torchvision's V2, are other checkpoints.
    """
    table = published()
    source, _, rest = card.name.partition(":")
    wanted = re.sub(r"@[0-9A-Za-z._/-]+$", "", rest)
    if source == "torchvision":
        base, _, version = wanted.partition(".")
        return base if base in table.models and version == "IMAGENET1K_V1" else None
    if source == "timm":
        return table.timm.get(wanted)
    if card.top1 is None or not card.trained_on.startswith("ImageNet-1k"):
        return None
    same = (np.abs(table.top1 - card.top1) <= 0.02) & (np.abs(card.parameters / 1e6 / table.parameters - 1) <= 0.03)
    found = [m for m, is_it in zip(table.models, same, strict=True) if is_it]
    return found[0] if len(found) == 1 else None


@dataclass(frozen=True)
class _Line:
    """A regression of log error on columns about their means: what it says of one more model."""

    centre: np.ndarray  # [k]
    slopes: np.ndarray  # [1 + k]
    covariance: np.ndarray  # [1 + k, 1 + k]
    spread: float  # standard deviation of a model about the line

    def at(self, x: np.ndarray) -> tuple[float, float]:
        """(value, standard error) of a model with columns x [k]."""
        row = np.r_[1.0, x - self.centre]
        return float(row @ self.slopes), float((self.spread**2 + row @ self.covariance @ row) ** 0.5)


@dataclass(frozen=True)
class _Rule:
    """Everything computed from the table: priors by model, two regressions, and the spreads that doubt is made of."""

    figures: dict[str, Prior]
    both: _Line
    size: _Line
    between: float  # standard deviation between the models
    nothing: float  # log of the constant answer's error over the average model's

    @property
    def unknown(self) -> float:
        """The standard error where nothing is known: two of them lead halfway to the constant answer."""
        return self.nothing / 4

    def untrained(self) -> Prior:
        """Random weights: between the average pretrained model and the constant answer, both two errors away."""
        return Prior(self.nothing / 2, self.nothing / 4, "random weights: nothing is carried over")

    def regressed(self, top1: float | None, millions: float) -> Prior:
        """A model without published fine-tunes, by its top-1 in percent and its parameters in millions (0: unknown)."""
        size = f"{millions:.3g} million parameters"
        if top1 is not None and 0 < top1 < 100:
            known = millions > 0
            x = np.log([100 - top1, millions if known else np.exp(self.both.centre[1])])
            value, se = self.both.at(x)
            return Prior(value, se, f"ImageNet top-1 {top1:.1f}" + (f" and {size}" if known else ""))
        if millions > 0:
            value, se = self.size.at(np.log([millions]))
            # what it was trained on, and how well, is not in its size: the models' own spread comes on top
            return Prior(value, float(np.hypot(se, self.between)), f"its size alone: {size} (no published figure)")
        return Prior(0.0, self.unknown, "nothing is known of it (no published figure, no size)")


@lru_cache(maxsize=64)
def _rule(without: frozenset[str]) -> _Rule:
    """What the table says without some of its data sets. Raises DataError where too few are left."""
    table = published()
    keep = [i for i, (_, dataset) in enumerate(table.sets) if dataset not in without]
    if len(keep) < 2:
        raise DataError("the prior needs two data sets of its table at least; `without` left fewer")
    errors, sets = table.errors[keep], [table.sets[i] for i in keep]
    # Errors in points add up as set + model; the mean in points, and its logarithm afterwards, since ordering by the
    # mean of points is what is known to rank well, and a mean of logarithms weighs sets without errors most.
    mean = _additive(errors)
    value = np.log(mean) - np.log(mean).mean()
    apart = np.log(errors) - value
    apart = apart - np.nanmean(apart, axis=1, keepdims=True)
    tried = np.isfinite(errors).sum(axis=0)
    spread = float(np.sqrt(np.nansum(apart**2) / max(tried.sum() - len(sets) - len(value) + 1, 1)))
    figures = {
        m: Prior(float(v), spread / float(n) ** 0.5, _tried(sets, errors[:, i]))
        for i, (m, v, n) in enumerate(zip(table.models, value, tried, strict=True))
        if n
    }
    top1, size = np.log(100 - table.top1), np.log(table.parameters)
    return _Rule(
        figures=figures,
        both=_line(np.stack([top1, size], axis=1), value, [SLOPES["top1"], SLOPES["parameters"]]),
        size=_line(size[:, None], value, [SLOPES["parameters"]]),
        between=float(value.std(ddof=1)),
        nothing=float(np.log(100 / np.exp(np.log(mean).mean()))),
    )


def _additive(errors: np.ndarray) -> np.ndarray:
    """Mean error [m] of each model over the sets, as if every model had been tried on all: least squares."""
    set_at, model_at = np.nonzero(np.isfinite(errors))
    sets, models = errors.shape
    design = np.hstack([np.eye(sets)[set_at], np.eye(models)[model_at]])
    found = np.linalg.lstsq(design, errors[set_at, model_at], rcond=None)[0]
    return np.asarray(found[:sets].mean() + found[sets:])


def _tried(sets: list[tuple[str, str]], errors: np.ndarray) -> str:
    told = [table for (table, _), e in zip(sets, errors, strict=True) if np.isfinite(e)]
    return f"published fine-tunes on {len(told)} sets ({', '.join(dict.fromkeys(told))})"


def _line(x: np.ndarray, y: np.ndarray, held: list[tuple[float, float]]) -> _Line:
    """Linear regression with normal beliefs about its slopes; the spread is that of ordinary least squares."""
    design = np.hstack([np.ones((len(x), 1)), x - x.mean(axis=0)])
    free = len(y) - design.shape[1]
    residual = y - design @ np.linalg.lstsq(design, y, rcond=None)[0]
    spread = float((residual @ residual / free) ** 0.5)
    before = np.r_[0.0, [m for m, _ in held]]
    precision = np.diag(np.r_[0.0, [1 / s**2 for _, s in held]])
    covariance = np.linalg.inv(design.T @ design / spread**2 + precision)
    slopes = covariance @ (design.T @ y / spread**2 + precision @ before)
    return _Line(x.mean(axis=0), slopes, covariance, spread)

"""The table of measures, and what a person writes to choose one: `macro_f1`, `sensitivity:specificity=0.9`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graft.errors import UsageError, did_you_mean
from graft.measures import _costs
from graft.tables import clean_label

CLASSES, LABELS, NUMBERS = "classes", "labels", "numbers"
SPECIFICITY = 0.95  # at which sensitivity is read where none is given


@dataclass(frozen=True)
class Measure:
    """A row of the table: `kinds` of answers it is for; `lower` is better; a `share` is read as percent."""

    name: str
    kinds: frozenset[str]
    lower: bool
    share: bool
    says: str


@dataclass(frozen=True)
class Chosen:
    """A measure and its options, checked against the labels; `str()` gives the text that `parse` reads.

    Options: `specificity` and `positive` of sensitivity; `fp` and `fn`, or `file`, of cost. `costs` [true, predicted]
    are the costs themselves, so that a run needs no file to be measured again.
    """

    name: str
    options: Mapping[str, str | float] = field(default_factory=dict)
    costs: _costs.Costs = ()

    def __str__(self) -> str:
        if "file" in self.options:
            return f"{self.name}:{self.options['file']}"
        given = ",".join(f"{k}={_written(v)}" for k, v in self.options.items())
        return f"{self.name}:{given}" if given else self.name

    def plain(self) -> dict[str, Any]:
        """As JSON has it; `Chosen.of` reads it back."""
        return {"name": self.name, "options": dict(self.options), "costs": [list(row) for row in self.costs]}

    @staticmethod
    def of(plain: Mapping[str, Any]) -> Chosen:
        """The inverse of `plain`."""
        return Chosen(plain["name"], dict(plain["options"]), tuple(tuple(map(float, row)) for row in plain["costs"]))


def _written(value: str | float) -> str:
    """A number without ".0"; a text as it is, for a label may be called "1.0"."""
    return value if isinstance(value, str) else str(value).removesuffix(".0")


def _measure(name: str, kinds: str, says: str, lower: bool = False, share: bool = True) -> Measure:
    return Measure(name, frozenset(kinds.split()), lower, share, says)


_ROWS = (
    _measure("accuracy", "classes", "share of samples whose class is answered rightly"),
    _measure("balanced_accuracy", "classes", "mean recall over the classes that occur in the truth"),
    _measure(
        "macro_f1",
        "classes labels",
        "mean F1 over the classes (or labels) that occur in the truth; scikit-learn's default also averages in those "
        "that are only predicted, as 0 (and labels without either)",
    ),
    _measure(
        "micro_f1",
        "labels",
        "F1 of all decisions together: 2 TP / (2 TP + FP + FN), each sample and label one decision",
    ),
    _measure(
        "auroc",
        "classes labels",
        "area under the ROC curve, ties half; two classes: the last is positive; more, or labels: mean of one against "
        "the rest over those with samples on both sides",
    ),
    _measure(
        "average_precision",
        "classes",
        "precision averaged over the steps of recall, not interpolated; two classes: the last is positive; more: mean "
        "of one against the rest over those with samples on both sides",
    ),
    _measure("map", "labels", "mean average precision, not interpolated, over the labels that occur in the truth"),
    _measure(
        "log_loss",
        "classes labels",
        "mean of -ln(probability of the true class), probabilities cut at 1e-12; labels: mean of the binary loss",
        lower=True,
        share=False,
    ),
    _measure(
        "calibration_error",
        "classes",
        "expected calibration error of the likeliest class over 10 equal bins of its probability (Guo et al. 2017)",
        lower=True,
    ),
    _measure(
        "sensitivity",
        "classes",
        f"highest sensitivity over thresholds whose specificity is at least the one given ({SPECIFICITY:g} unless "
        "said); two classes: the last is positive; more: the one said, against the rest",
    ),
    _measure(
        "cost",
        "classes",
        "mean cost of the decisions, each the class with the least expected cost under the probabilities",
        lower=True,
        share=False,
    ),
    _measure("exact_match", "labels", "share of samples whose labels are all answered rightly"),
    _measure("hamming_loss", "labels", "share of wrong decisions, each sample and label one decision", lower=True),
    _measure("mae", "numbers", "mean absolute error, in the unit of the numbers", lower=True, share=False),
    _measure("rmse", "numbers", "root of the mean squared error, in the unit of the numbers", lower=True, share=False),
    _measure("r2", "numbers", "1 - squared error / squared deviation of the truth from its mean", share=False),
    _measure("spearman", "numbers", "rank correlation of answers and truth, ties at their mean rank", share=False),
)
_BY_NAME = {row.name: row for row in _ROWS}
_ALWAYS = {  # the default first
    CLASSES: (
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "auroc",
        "average_precision",
        "log_loss",
        "calibration_error",
    ),
    LABELS: ("map", "micro_f1", "macro_f1", "exact_match", "auroc", "log_loss", "hamming_loss"),
    NUMBERS: ("mae", "rmse", "r2", "spearman"),
}
_SPOKEN = {
    "hamming_loss": "Hamming loss",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "auroc": "AUROC",
    "map": "mAP",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "spearman": "Spearman correlation",
}
_ELSEWHERE = {  # what others call ours
    "acc": "accuracy",
    "ap": "average_precision",
    "auc": "auroc",
    "balanced_acc": "balanced_accuracy",
    "cross_entropy": "log_loss",
    "ece": "calibration_error",
    "f1": "macro_f1",
    "f1_macro": "macro_f1",
    "f1_micro": "micro_f1",
    "l1": "mae",
    "logloss": "log_loss",
    "mean_absolute_error": "mae",
    "mean_average_precision": "map",
    "mse": "rmse",
    "nll": "log_loss",
    "recall": "balanced_accuracy",
    "roc_auc": "auroc",
    "root_mean_squared_error": "rmse",
    "subset_accuracy": "exact_match",
    "uar": "balanced_accuracy",
}
_OPTIONS = {"sensitivity": ("specificity", "positive"), "cost": ("fp", "fn")}
# A comma parts options only before a known name, so that a label may hold commas.
_PART = re.compile(r",(?=\s*\w+\s*=)")


def table() -> list[Measure]:
    """Every measure, by name."""
    return sorted(_ROWS, key=lambda row: row.name)


def names(kind: str, classes: int) -> tuple[str, ...]:
    """The measures always reported for a kind of answers, the default first; sensitivity only for two classes."""
    return (*_ALWAYS[kind], "sensitivity") if kind == CLASSES and classes == 2 else _ALWAYS[kind]


def is_lower(name: str) -> bool:
    """Whether less of a measure is better; raises UsageError for a name that is none."""
    return _row(name).lower


def is_share(name: str) -> bool:
    """Whether a measure is a share, to be read as percent; raises UsageError for a name that is none."""
    return _row(name).share


def spoken(name: str) -> str:
    """A measure in words, its options too: "sensitivity for bee at 90% specificity"."""
    row, (_, rest) = _row(name), _split(name)
    if row.name == "sensitivity":
        options = _pairs(name, rest, _OPTIONS["sensitivity"])
        of = f" for {options['positive']}" if "positive" in options else ""
        return f"sensitivity{of} at {100 * _specificity(name, options):.6g}% specificity"
    return _SPOKEN.get(row.name, row.name.replace("_", " ")) + (f" ({rest})" if rest else "")


def parse(text: str, kind: str, labels: Sequence[str]) -> Chosen:
    """Read what `--measure` says, for a kind of answers and its labels (classes in their order; else unused).

    Raises UsageError for unknown measures, those of another kind, options that are none or do not fit the labels,
    and DataError for a table of costs with cells that are no numbers.
    """
    row, (_, rest) = _row(text), _split(text)
    if kind not in row.kinds:
        raise UsageError(
            f"{text!r} is a measure of {' and '.join(sorted(row.kinds))}, and here the answers are {kind}. "
            f"Possible: {', '.join(r.name for r in table() if kind in r.kinds)}."
        )
    if row.name == "sensitivity":
        return _sensitivity(text, rest, labels)
    if row.name == "cost":
        return _cost(text, rest, labels)
    if rest:
        raise UsageError(f"{text!r}: {row.name} has no options; write {row.name} alone")
    return Chosen(row.name)


def _row(text: str) -> Measure:
    name, _ = _split(text)
    if name not in _BY_NAME:
        near = f" Did you mean {_ELSEWHERE[name]!r}?" if name in _ELSEWHERE else did_you_mean(name, _BY_NAME)
        raise UsageError(f"{text!r} is no measure of graft.{near}")
    return _BY_NAME[name]


def _split(text: str) -> tuple[str, str]:
    """(name, options as written); "Macro-F1" and "macro f1" are macro_f1."""
    name, _, rest = text.partition(":")
    return re.sub(r"[\s-]+", "_", name.strip().lower()), rest.strip()


def _pairs(text: str, rest: str, possible: Sequence[str]) -> dict[str, str]:
    """The options as written, key to value; raises UsageError for what is no option."""
    found: dict[str, str] = {}
    for part in _PART.split(rest) if rest else ():
        key, eq, value = (s.strip() for s in part.partition("="))
        if key not in possible:
            raise UsageError(f"{text!r}: {key!r} is no option of it.{did_you_mean(key, possible)}")
        if not eq or not value:
            raise UsageError(f"{text!r}: {key} has no value; write {key}=VALUE")
        if key in found:
            raise UsageError(f"{text!r}: {key} is given twice")
        found[key] = value
    return found


def _sensitivity(text: str, rest: str, labels: Sequence[str]) -> Chosen:
    given = _pairs(text, rest, _OPTIONS["sensitivity"])
    options: dict[str, str | float] = {}
    if "specificity" in given:
        options["specificity"] = _specificity(text, given)
    if "positive" in given:
        options["positive"] = clean_label(given["positive"])
        if options["positive"] not in labels:
            near = did_you_mean(given["positive"], labels)
            raise UsageError(f"{text!r}: no class is called {given['positive']!r}.{near}")
    elif len(labels) != 2:
        raise UsageError(
            f"{text!r}: there are {len(labels)} classes; say which one is to be found, as in "
            f"sensitivity:positive={next(iter(labels), 'LABEL')}"
        )
    return Chosen("sensitivity", options)


def _specificity(text: str, given: Mapping[str, str]) -> float:
    share = _number(text, "specificity", given.get("specificity", str(SPECIFICITY)))
    if not 0 < share <= 1:
        raise UsageError(f"{text!r}: specificity is a share above 0 and up to 1, such as {SPECIFICITY:g}")
    return share


def _cost(text: str, rest: str, labels: Sequence[str]) -> Chosen:
    form = "write cost:FILE.csv (header and first column: the labels; rows true, columns predicted)"
    if not rest:
        raise UsageError(f"{text!r}: costs are missing; {form}, or for two classes cost:fp=1,fn=5")
    if not re.match(r"(fp|fn)\s*=", rest):
        return Chosen("cost", {"file": rest}, _costs.read(rest, labels))
    given = _pairs(text, rest, _OPTIONS["cost"])
    if len(labels) != 2:
        raise UsageError(f"{text!r}: fp and fn are costs of two classes, and there are {len(labels)}; {form}")
    fp, fn = (_number(text, key, given.get(key, "1")) for key in _OPTIONS["cost"])
    if min(fp, fn) < 0 or max(fp, fn) == 0:
        raise UsageError(f"{text!r}: fp and fn are 0 or more, and not both 0")
    return Chosen("cost", {key: _number(text, key, value) for key, value in given.items()}, ((0.0, fp), (fn, 0.0)))


def _number(text: str, key: str, value: str) -> float:
    number = _costs.number(value)
    if number is None:
        raise UsageError(f"{text!r}: {key}={value} is no number; write {key}=0.95, for instance")
    return number

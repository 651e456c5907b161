"""Scikit-learn estimators over a frozen backbone: graft's cross-validated probe, a ridge, and features alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    ClassNamePrefixFeaturesOutMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from graft import linear
from graft.errors import UsageError
from graft.estimator import _items
from graft.heads import LinearHead

if TYPE_CHECKING:
    from graft.run import Run

Floats = NDArray[np.floating[Any]]
DTYPES = [np.float64, np.float32]


class GraftClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Logistic regression on features of a frozen backbone, its penalty chosen by cross-validation.

    X is a list, array, column or one-column frame of items (texts, or paths, Pillow pictures or uint8 arrays
    of pictures), which pass through the backbone, each once a process and from graft's cache where it has
    them; or a numeric matrix [n, d] of features, used as it is. y may hold any two or more classes.

    Parameters: `backbone`, a name as graft takes it (`run:DIR`, `local:FOLDER`, `bundled:all-MiniLM-L6-v2`,
    `timm:NAME`), or the folder of a run or model; None where X is always numeric. `l2`, the penalty, as
    `graft.linear` has it; None to choose it. `device`: auto, cpu, cuda, mps.

    After `fit`: `classes_`, `coef_` [classes, d] ([1, d] for two), `intercept_`, `l2_`, `n_features_in_`.
    """

    def __init__(self, backbone: str | None = None, l2: float | None = None, device: str = "auto") -> None:
        self.backbone = backbone
        self.l2 = l2
        self.device = device

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on items or features X and classes y; weights [n] count samples, and one of 0 is left out.

        Raises ValueError where scikit-learn's own estimators do (NaN, lengths, one class only), DataError for
        an item that cannot be read.
        """
        X, y = validate_data(self, _items.encoded(X, self.backbone, self.device), y, dtype=DTYPES, ensure_min_samples=2)
        check_classification_targets(y)
        X, y, weight = _weighted(X, y, sample_weight)
        self.classes_, index = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"at least two classes are needed to fit; the data has one class: {self.classes_[0]}")
        target = np.eye(len(self.classes_), dtype=X.dtype)[index]
        found = linear.fit(_tensor(X), _tensor(target), _tensor(weight), _penalty(self.l2))
        self._set(found.weight.numpy(), found.bias.numpy(), found.l2)
        return self

    def _set(self, weight: Floats, bias: Floats, l2: float | None) -> None:
        """Keep scores = x @ weight.T + bias, for two classes as the one difference that decides."""
        if len(weight) == 2:
            weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
        self.coef_, self.intercept_, self.l2_ = weight, bias, l2

    def decision_function(self, X: Any) -> Floats:
        """Scores [n, classes]; for two classes those of the second [n], above 0 where it is the likelier one."""
        check_is_fitted(self)
        X = validate_data(self, _items.encoded(X, self.backbone, self.device), dtype=DTYPES, reset=False)
        scores: Floats = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.coef_) == 1 else scores

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities [n, classes], in the order of `classes_`."""
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return np.stack([expit(-scores), expit(scores)], axis=1)
        found: Floats = softmax(scores, axis=1)
        return found

    def predict_log_proba(self, X: Any) -> Floats:
        """Logarithms of `predict_proba`."""
        with np.errstate(divide="ignore"):
            found: Floats = np.log(self.predict_proba(X))
            return found

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each item."""
        scores = self.decision_function(X)
        index = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        found: NDArray[Any] = self.classes_[index]
        return found

    def __sklearn_tags__(self) -> Tags:
        return _tags(super().__sklearn_tags__(), self.backbone)


class GraftRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge regression on standardised features of a frozen backbone, its penalty by leave-one-out (Golub et al. 1979).

    X and the parameters are those of `GraftClassifier`; the penalties tried are those of `graft.linear`.
    After `fit`: `coef_` [d], `intercept_`, `l2_`, `n_features_in_`.
    """

    def __init__(self, backbone: str | None = None, l2: float | None = None, device: str = "auto") -> None:
        self.backbone = backbone
        self.l2 = l2
        self.device = device

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Fit on items or features X and numbers y [n]; weights [n] count samples, and one of 0 is left out."""
        X = _items.encoded(X, self.backbone, self.device)
        X, y = validate_data(self, X, y, dtype=DTYPES, y_numeric=True, ensure_min_samples=2)
        X, y, weight = _weighted(X, y, sample_weight)
        share = weight.astype(np.float64) / weight.sum()
        mean = share @ X
        std = np.sqrt(share @ np.square(X - mean))
        std[std <= 1e-6 * (1 + np.abs(mean))] = 1.0  # what does not vary has nothing to be scaled to
        # graft.linear's penalty is of a mean over samples, and of weights of features scaled to length 1.
        unit = X.shape[1] * len(X) / 10
        given = _penalty(self.l2)
        ridge = RidgeCV([p * unit for p in linear.PENALTIES]) if given is None else Ridge(alpha=given * unit)
        ridge.fit((X - mean) / std, np.asarray(y, dtype=np.float64), sample_weight=weight)
        coef = ridge.coef_ / std
        self.coef_, self.intercept_ = coef.astype(X.dtype), float(ridge.intercept_ - coef @ mean)
        self.l2_ = float(ridge.alpha_ / unit) if given is None else given
        return self

    def predict(self, X: Any) -> Floats:
        """Numbers [n]."""
        check_is_fitted(self)
        X = validate_data(self, _items.encoded(X, self.backbone, self.device), dtype=DTYPES, reset=False)
        found: Floats = X @ self.coef_ + self.intercept_
        return found

    def __sklearn_tags__(self) -> Tags:
        return _tags(super().__sklearn_tags__(), self.backbone)


class GraftFeatures(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Pooled features [n, d] of items through a frozen backbone, for a Pipeline; a numeric matrix passes as it is.

    X and the parameters are those of `GraftClassifier`. Nothing is learned from data; `fit` notes the width.
    """

    def __init__(self, backbone: str | None = None, device: str = "auto") -> None:
        self.backbone = backbone
        self.device = device

    def fit(self, X: Any, y: ArrayLike | None = None) -> Self:
        """Note how many features there are; items are encoded, and remembered for `transform`."""
        X = validate_data(self, _items.encoded(X, self.backbone, self.device), dtype=DTYPES)
        self._n_features_out = X.shape[1]
        return self

    def transform(self, X: Any) -> Floats:
        """Features [n, d]."""
        check_is_fitted(self)
        X = validate_data(self, _items.encoded(X, self.backbone, self.device), dtype=DTYPES, reset=False)
        found: Floats = X
        return found

    def __sklearn_tags__(self) -> Tags:
        tags = _tags(super().__sklearn_tags__(), self.backbone)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def from_run(run: Run) -> GraftClassifier | GraftRegressor:
    """An estimator over the run's backbone, as the run left it.

    Of a run that sorts into classes with a linear head it comes fitted: it answers as the run does, the run's
    temperature in its weights. `fit` (whose probabilities no temperature is fitted for)
    and `clone`, so also cross-validation, put a fresh probe in that head's place; of every other run it comes
    fresh. On data that the run learned from, a cross-validated score of a fine-tuned backbone flatters.
    The estimator holds the folder's name, not the network: pickled, it needs the folder where it is opened.

    Raises UsageError for a run that is neither of classes nor of numbers.
    """
    from graft import registry

    name = f"run:{run.folder.expanduser().resolve()}"
    outputs = registry.load("tasks", run.meta["task"]["name"]).outputs
    if outputs == "numbers":
        return GraftRegressor(name, device=run.device)
    if outputs != "classes":
        raise UsageError(
            f"{run.folder}: a run that answers {outputs} is neither a classifier nor a regressor; put "
            f"graft.estimator.GraftFeatures({name!r}) before an estimator of scikit-learn's own"
        )
    made = GraftClassifier(name, device=run.device)
    head = run.model.head
    if isinstance(head, LinearHead):
        made.classes_ = np.array(run.labels)
        made.n_features_in_ = head.linear.in_features
        weight, bias = (p.detach().cpu().float().numpy().copy() for p in (head.linear.weight, head.linear.bias))
        made._set(weight / run.temperature, bias / run.temperature, None)
    return made


def _tags(tags: Tags, backbone: str | None) -> Tags:
    """With a backbone X may hold texts."""
    tags.input_tags.string = backbone is not None
    return tags


def _penalty(l2: float | None) -> float | None:
    if l2 is not None and not (np.isfinite(l2) and l2 > 0):
        raise ValueError(f"l2={l2!r}: a penalty above 0 is expected, or None to choose one")
    return None if l2 is None else float(l2)


def _weighted(X: Any, y: Any, given: ArrayLike | None) -> tuple[Floats, NDArray[Any], Floats]:
    """Rows of a weight above 0, and their weights, of mean 1: what `graft.linear` takes."""
    weight = _check_sample_weight(given, X, dtype=X.dtype, ensure_non_negative=True)
    kept = weight > 0
    if int(kept.sum()) < 2:
        raise ValueError(f"at least two samples of a weight above 0 are needed, in two classes; got {int(kept.sum())}")
    return X[kept], y[kept], weight[kept] / weight[kept].mean()


def _tensor(array: Floats) -> torch.Tensor:
    """The array as a tensor; copied where it cannot be written to, which torch wants."""
    return torch.from_numpy(np.require(array, requirements=("C", "W")))

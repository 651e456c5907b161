"""The estimators keep scikit-learn's contract, and answer on items as the run does."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import models
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import check_is_fitted

import graft
from graft.errors import DataError, UsageError
from graft.estimator import GraftClassifier, GraftFeatures, GraftRegressor, _items, from_run
from graft.run import Run
from graft.seeds import rng

CHOSEN = "the penalty is chosen by leaving samples out: one of weight 2 is left out at once, two copies are not"
UNWEIGHTED = "graft.linear standardises features without the weights, and iterates to 1e-6"


def expected(made: Any) -> dict[str, str]:
    """Checks that cannot hold, with the reason."""
    if isinstance(made, GraftFeatures) or (isinstance(made, GraftRegressor) and made.l2 is not None):
        return {}
    reason = CHOSEN if made.l2 is None else UNWEIGHTED
    return {"check_sample_weight_equivalence_on_dense_data": reason}


@parametrize_with_checks([GraftClassifier(l2=0.1), GraftRegressor(), GraftFeatures()], expected_failed_checks=expected)
def test_the_contract_of_scikit_learn(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([GraftClassifier(), GraftRegressor(l2=0.1)], expected_failed_checks=expected)
def test_the_contract_of_scikit_learn_otherwise(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [GraftClassifier, GraftRegressor, GraftFeatures])
def test_the_contract_holds_with_a_backbone_too(kind: type[Any], bert: Path) -> None:
    made = kind(f"local:{bert}") if kind is GraftFeatures else kind(f"local:{bert}", l2=0.1)
    check_estimator(made, expected_failed_checks=expected(made), on_skip=None)


def numbers(n: int = 60, d: int = 8, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Features [n, d] and classes [n] that they tell, most of the time."""
    draw = rng("tests", "estimator", n, d, classes)
    y = np.arange(n) % classes
    return draw.normal(size=(n, d)) + 1.5 * np.eye(classes, d)[y], y


def words(n: int = 80) -> tuple[list[str], list[str]]:
    texts, labels = zip(*models.texts(n, seed=5), strict=True)
    return list(texts), list(labels)


# -------------------------------------------------------------------------------------- on numbers


def test_the_classifier_is_grafts_own_probe() -> None:
    import torch

    from graft import linear

    x, y = numbers()
    made = GraftClassifier().fit(x, y)
    probe = linear.fit(torch.from_numpy(x), torch.eye(3, dtype=torch.float64)[y])
    np.testing.assert_allclose(made.decision_function(x), probe(torch.from_numpy(x)).numpy(), rtol=1e-6, atol=1e-8)
    assert made.l2_ == probe.l2
    assert GraftClassifier(l2=0.3).fit(x, y).l2_ == 0.3
    assert cross_val_score(GraftClassifier(l2=0.3), x, y).mean() > 0.6  # chance is 0.33


def test_two_classes_are_one_score() -> None:
    x, y = numbers(classes=2)
    made = GraftClassifier().fit(x, np.array(["no", "yes"])[y])
    assert made.coef_.shape == (1, 8)
    assert made.decision_function(x).shape == (60,)
    p = made.predict_proba(x)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert list(made.predict(x)) == ["yes" if q > 0.5 else "no" for q in p[:, 1]]
    np.testing.assert_allclose(np.exp(made.predict_log_proba(x)), p)


def test_weights_say_what_counts() -> None:
    x, y = numbers(classes=2)
    flipped = np.concatenate([y, 1 - y])
    weight = np.concatenate([np.full(60, 5.0), np.full(60, 1.0)])
    made = GraftClassifier(l2=0.1).fit(np.concatenate([x, x]), flipped, sample_weight=weight)
    assert made.score(x, y) > 0.8
    assert GraftClassifier(l2=0.1).fit(np.concatenate([x, x]), flipped, sample_weight=weight[::-1]).score(x, y) < 0.2
    only = GraftClassifier(l2=0.1).fit(x, y, sample_weight=(np.arange(60) < 40).astype(float))
    np.testing.assert_allclose(only.coef_, GraftClassifier(l2=0.1).fit(x[:40], y[:40]).coef_, rtol=1e-6)


def test_one_class_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="one class: a"):
        GraftClassifier().fit(numbers()[0], ["a"] * 60)


@pytest.mark.parametrize("l2", [0.0, -1.0, float("nan"), float("inf")])
def test_a_penalty_is_above_zero(l2: float) -> None:
    x, y = numbers()
    for kind in (GraftClassifier, GraftRegressor):
        with pytest.raises(ValueError, match="above 0"):
            kind(l2=l2).fit(x, y)


def test_the_regressor_is_a_ridge_on_standardised_features() -> None:
    x, _ = numbers()
    y = 3 * x[:, 0] - x[:, 1] + 20 + rng("tests", "noise").normal(size=60) * 0.1
    scaled = x * np.logspace(-3, 3, 8)  # units must not matter
    made = GraftRegressor(l2=0.1).fit(scaled, y)
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=0.1 / 10 * 60 * 8)).fit(x, y)
    np.testing.assert_allclose(made.predict(scaled), theirs.predict(x), rtol=1e-6)
    chosen = GraftRegressor().fit(scaled, y)
    assert chosen.l2_ == pytest.approx(0.001)  # next to no noise: the weakest penalty that is tried
    assert chosen.score(scaled, y) > 0.99


def test_the_regressor_takes_fewer_samples_than_features_and_what_does_not_vary() -> None:
    x, _ = numbers(n=20, d=64)
    x[:, 5] = 7.0
    made = GraftRegressor().fit(x, x[:, 0])
    assert np.isfinite(made.coef_).all() and made.score(x, x[:, 0]) > 0.5


def test_searches_set_the_penalty() -> None:
    x, y = numbers()
    search = GridSearchCV(GraftClassifier(), {"l2": [10.0, 0.1]}).fit(x, y)
    assert search.best_params_["l2"] in (10.0, 0.1)


# ---------------------------------------------------------------------------------------- on items


def test_a_runs_estimator_answers_as_the_run_does(text_run: Run) -> None:
    made = from_run(text_run)
    check_is_fitted(made)
    assert is_classifier(made) and not is_regressor(made)
    texts = words()[0]
    told = text_run.predict(texts)
    assert list(made.classes_) == list(text_run.labels)
    assert list(made.predict(texts)) == list(told["label"])
    scores = told[[f"score_{label}" for label in text_run.labels]].to_numpy()
    np.testing.assert_allclose(made.predict_proba(texts), scores, atol=1e-5)
    assert made.score(*words()) > 0.9


def test_a_clone_is_fresh_and_fits_anew(text_run: Run) -> None:
    fresh = clone(from_run(text_run))
    with pytest.raises(NotFittedError):
        fresh.predict(words()[0])
    scores = cross_val_score(fresh, *words(), cv=4)
    assert scores.shape == (4,) and scores.mean() > 0.9
    assert set(fresh.fit(words()[0], ["x", "y"] * 40).classes_) == {"x", "y"}


@pytest.mark.parametrize(
    "form",
    [
        list, tuple, np.array, lambda t: np.array(t, dtype=object), lambda t: np.array(t, dtype=object)[:, None],
        pd.Series, lambda t: pd.DataFrame({"text": t}),
    ],
)  # fmt: skip
def test_texts_come_in_many_forms(form: Callable[[list[str]], Any], text_run: Run) -> None:
    texts, labels = words()
    made = from_run(text_run)
    assert list(made.predict(form(texts))) == list(made.predict(texts))
    assert clone(made).set_params(l2=0.1).fit(form(texts), labels).score(form(texts), labels) > 0.9


def test_features_go_into_a_pipeline_and_a_matrix_is_used_as_it_is(text_run: Run) -> None:
    texts, labels = words()
    name = f"run:{text_run.folder}"
    pipe = make_pipeline(GraftFeatures(name), StandardScaler(), LogisticRegression())
    assert cross_val_score(pipe, texts, labels, cv=3).mean() > 0.9
    maker = GraftFeatures(name).fit(texts)
    x = maker.transform(texts)
    assert x.shape == (80, 32) and x.dtype == np.float32
    assert list(maker.get_feature_names_out())[:2] == ["graftfeatures0", "graftfeatures1"]
    made = GraftClassifier(name, l2=0.1).fit(texts, labels)
    np.testing.assert_allclose(made.predict_proba(x), made.predict_proba(texts))
    frame = GraftFeatures(name).set_output(transform="pandas").fit_transform(texts)
    assert isinstance(frame, pd.DataFrame) and frame.shape == (80, 32)


def test_the_regressor_reads_texts(bert: Path) -> None:
    texts, labels = words()
    y = np.array([1.0 if label == "good" else -1.0 for label in labels]) * 10 + 5
    made = GraftRegressor(f"local:{bert}").fit(texts, y)
    assert made.score(texts, y) > 0.8


def test_pictures_come_as_paths_pictures_and_arrays(zoo: Path, photos: Path) -> None:
    from PIL import Image

    paths = sorted(photos.rglob("*.png"))
    y = [p.parent.name for p in paths]
    made = GraftClassifier(f"local:{zoo / 'tiny'}", l2=0.01).fit(paths, y)
    opened = [Image.open(p).convert("RGB") for p in paths]
    expected = made.predict_proba([str(p) for p in paths])
    np.testing.assert_allclose(made.predict_proba(opened), expected, atol=1e-5)
    np.testing.assert_allclose(made.predict_proba(np.stack([np.asarray(p) for p in opened])), expected, atol=1e-5)
    assert made.score(paths, y) > 0.8


def test_an_estimator_is_pickled_without_its_network(text_run: Run, tmp_path: Path) -> None:
    texts, labels = words()
    made = clone(from_run(text_run)).fit(texts, labels)
    joblib.dump(made, tmp_path / "made.joblib")
    assert (tmp_path / "made.joblib").stat().st_size < 10_000
    again = joblib.load(tmp_path / "made.joblib")
    np.testing.assert_array_equal(again.predict_proba(texts), made.predict_proba(texts))
    assert copy.deepcopy(made).get_params() == made.get_params()


def test_each_item_passes_once(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[str] = []
    own = _items.features.extract

    def counted(backbone: Any, samples: Any) -> Any:
        passed.extend(s.x for s in samples)
        return own(backbone, samples)

    monkeypatch.setattr(_items.features, "extract", counted)
    monkeypatch.setattr(_items, "_memory", type(_items._memory)())
    texts, labels = words(40)
    cross_val_score(GraftClassifier(str(bert), l2=0.1), [*texts, *texts[:10]], [*labels, *labels[:10]], cv=5)
    assert sorted(passed) == sorted(texts)


def test_memory_is_bounded(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_items, "_memory", type(_items._memory)())
    monkeypatch.setattr(_items, "MOST_BYTES", 10 * 32 * 4)
    texts = words(40)[0]
    maker = GraftFeatures(f"local:{bert}").fit(texts)
    assert len(_items._memory) == 10
    np.testing.assert_allclose(maker.transform(texts[::-1]), maker.transform(texts)[::-1], atol=1e-5)
    assert len(_items._memory) == 10


def test_a_folder_written_anew_is_loaded_anew(tmp_path: Path) -> None:
    maker = GraftFeatures(str(models.bert_folder(tmp_path / "m", seed=1)))
    before = maker.fit_transform(["a lovely day"])
    for file in (tmp_path / "m").iterdir():
        file.unlink()
    models.bert_folder(tmp_path / "m", seed=2)
    assert np.abs(maker.transform(["a lovely day"]) - before).max() > 0.01


def test_a_run_without_a_linear_head_comes_fresh(zoo: Path, photos: Path, tmp_path: Path) -> None:
    run = graft.fit(
        photos, backbone=f"local:{zoo / 'tiny'}", recipe="nearest_neighbour", out=tmp_path / "run", quiet=True
    )
    with pytest.raises(NotFittedError):
        from_run(run).predict(sorted(photos.rglob("*.png")))
    paths = sorted(photos.rglob("*.png"))
    assert from_run(run).fit(paths, [p.parent.name for p in paths]).score(paths, [p.parent.name for p in paths]) > 0.8


# ---------------------------------------------------------------------------------------- refusals


def test_what_cannot_be_read_is_named(bert: Path, zoo: Path, photos: Path, tmp_path: Path) -> None:
    texts, labels = words(10)
    with pytest.raises(DataError, match=r"item 3 \(float\)"):
        GraftClassifier(f"local:{bert}").fit([*texts[:3], float("nan"), *texts[4:]], labels)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"1 of 3 items could not be read: .*broken\.png"):
        GraftFeatures(f"local:{zoo / 'tiny'}").fit([*sorted(photos.rglob("*.png"))[:2], broken])


def test_items_need_a_backbone_and_a_backbone_a_name(bert: Path) -> None:
    texts, labels = words(10)
    with pytest.raises(ValueError):  # scikit-learn's own words for what is no matrix
        GraftClassifier().fit(texts, labels)
    with pytest.raises(UsageError, match="a name is expected"):
        GraftClassifier(3).fit(texts, labels)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="SOURCE:NAME"):
        GraftClassifier("no-such-thing").fit(texts, labels)

"""Ground truth for ranking: every candidate fine-tuned by one fixed recipe on every set, and what came of it."""

from __future__ import annotations

import copy
import tempfile
import time
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import every_set
import numpy as np
import torch

from graft import backbones, constant, defaults, evaluate, features, recipe, train
from graft.data import Data, by_label, scale_weights, subset
from graft.methods import freeze
from graft.model import Backbone, Card, Model
from graft.ranking import LEVEL, Candidate, Limits, contender, forecast, read_for
from graft.ranking.prior import prior_of
from graft.recipe import Recipe
from graft.tasks import Task
from graft.voice import Voice

SHARED = Path(__file__).resolve().parents[2] / "shared"
VISION, TEXT, ZOO = SHARED / "data/vision", SHARED / "data/text", SHARED / "zoo"
MINILM = "bundled:all-MiniLM-L6-v2"
SEED = 0
MOST = {"picture": 200, "text": 500}  # training samples
MOST_TEST = 300
EPOCHS = 3.0
"""The fixed recipe: the head is a probe, then every weight is trained for so many epochs at graft's own rates."""

PICTURES = (
    "hymenoptera", "flowers17", "cats_dogs", "brain_tumor_mri", "magnetic_tile", "office_amazon", "office_webcam",
    "office_dslr", "office_caltech10", "cifar10", "pneumoniamnist", "mnist", "usps",
)  # fmt: skip
TEXTS = (
    "sst2", "trec", "subj", "cr", "tweeteval_emotion", "ag_news_7600", "banking77", "tweeteval_irony", "sst5",
    "imdb_subset",
)  # fmt: skip
NETWORKS = (
    "mobilenetv1_025_128", "mobilenetv1_050_160", "mobilenetv1_075_192", "mobilenetv2_035_96_trunk",
    "mobilenetv2_100_inat_bird", "mobilenetv2_100_tv", "squeezenet1_0_dc", "squeezenet1_1",
)  # fmt: skip
CUT = ("mobilenetv2_100_tv:stages=5", "mobilenetv1_075_192:stages=10")
DECOYS = ("mobilenetv1_050_160:weights=random", "squeezenet1_1:weights=random")
MODELS = {
    "picture": (*NETWORKS, *CUT, *DECOYS),
    "text": (*(f"{MINILM}:stages={k}" for k in range(1, 6)), MINILM, f"{MINILM}:weights=random"),
}


def name_of(model: str) -> str:
    """What graft is given for a model of the table."""
    return (
        model
        if ":" in model and not model.partition(":")[2].startswith(("stages", "weights"))
        else f"local:{ZOO}/{model}"
    )


def _source(name: str, room: Path) -> Path:
    if name in ("mnist", "usps"):
        return VISION / f"digits_da/{name}.npz"
    if name.startswith("office_"):
        return VISION / "office_caltech10" / name.removeprefix("office_")
    if name == "magnetic_tile":
        return every_set.tiles(room)
    return (VISION if name in PICTURES else TEXT) / name


@cache
def read(name: str) -> tuple[Task, Data]:
    """A set with at most MOST training samples and MOST_TEST of its test part, by label, from the seed."""
    with tempfile.TemporaryDirectory() as room:
        task, data = read_for(_source(name, Path(room)), Recipe(seed=SEED, max_bad=0.05))
    rows = scale_weights(subset(data.train, MOST[task.modality], SEED, "truth", by_label))
    test = subset(data.test, MOST_TEST, SEED, "truth test", by_label)
    return task, replace(data, train=rows, valid=data.valid[:2], test=test)


def loaded(model: str, data: Data) -> Backbone:
    """A candidate, frozen."""
    backbone = backbones.load(name_of(model), data.schema)
    freeze(backbone)
    return backbone.eval()


def measured(task: Task, answers: Any, data: Data) -> float:
    """The deciding measure on the test part."""
    truth = np.asarray(evaluate.truth_of(task, data.test))
    return float(next(iter(task.measure(np.asarray(answers), truth).values())))


def fine_tuned(name: str, model: str) -> dict[str, Any]:
    """One cell of the table: the score of the fixed recipe, of the probe it began with, and of the constant answer."""
    task, data = read(name)
    base = loaded(model, data)
    began = time.monotonic()
    torch.manual_seed(SEED)
    stages = tuple(
        defaults.resolve(replace(s, epochs=None if i == 0 else EPOCHS), task.modality, len(data.train))
        for i, s in enumerate(recipe.parse_stages("probe > finetune"))
    )
    model_ = Model(copy.deepcopy(base), task.head(base, data))
    with tempfile.TemporaryDirectory() as room:
        run = partial(
            train.Rung, folder=Path(room, "checkpoints"), log=Path(room, "log.jsonl"), seed=SEED,
            voice=Voice(quiet=True), origin=lambda: base, every=100,
        )  # fmt: skip
        train.fit(model_, task, data, run("probe", stages[:1]))
        frozen = features.answers(model_, task, features.extract(base, data.test))
        seconds = time.monotonic() - began
        train.fit(model_, task, data, run("finetune", stages[1:]))
    seconds_tuned = time.monotonic() - began
    answers = model_.predict(data.test, task)
    same = constant.always(task, data.train, len(data.test))[1]
    return {
        "modality": task.modality, "set": name, "model": model, "n_train": len(data.train), "n_test": len(data.test),
        "measure": task.measures[0], "score": measured(task, answers, data), "probe": measured(task, frozen, data),
        "constant": measured(task, same, data), "probe_seconds": round(seconds, 1), "seconds": round(seconds_tuned, 1),
    }  # fmt: skip


def hashed(name: str) -> dict[str, Any]:
    """Logistic regression on hashed words and pairs of words: the text candidate that knows no language."""
    from sklearn.linear_model import LogisticRegressionCV

    task, data = read(name)
    began = time.monotonic()
    x, y = hashing([str(s.x) for s in data.train]), [s.y for s in data.train]
    found = LogisticRegressionCV(
        Cs=5, cv=3, max_iter=300, scoring="accuracy", l1_ratios=(0,), use_legacy_attributes=False
    ).fit(x, y)
    proba = found.predict_proba(hashing([str(s.x) for s in data.test]))
    answers = np.zeros((len(data.test), len(data.labels)))
    for column, label in enumerate(found.classes_):
        answers[:, list(data.labels).index(label)] = proba[:, column]
    score, seconds = measured(task, answers, data), round(time.monotonic() - began, 1)
    same = constant.always(task, data.train, len(data.test))[1]
    return {
        "modality": "text", "set": name, "model": "hashing", "n_train": len(data.train), "n_test": len(data.test),
        "measure": task.measures[0], "score": score, "probe": score, "constant": measured(task, same, data),
        "probe_seconds": seconds, "seconds": seconds,
    }  # fmt: skip


def signals(name: str, model: str) -> dict[str, Any]:
    """What `graft rank` measures of a candidate on a set's training part, before anything is fine-tuned."""
    task, data = read(name)
    began = time.monotonic()
    row, found = contender.enter(name_of(model), task, data.train, Limits(), "cpu")
    if found is None:
        raise RuntimeError(f"{model} on {name}: {row.error}")
    contender.extend(found, task, data.train, len(data.train), "cpu", Voice(quiet=True))
    contender.measure(found, task, data.train, len(data.train), SEED)
    prior = prior_of(found_card(model, data), task.modality, (name,))
    truth = np.asarray(evaluate.truth_of(task, data.train))
    scale = forecast.scale_of(task, data.train, truth)
    assert found.probe is not None
    probe, noise = forecast.probed(found.probe, scale, LEVEL)
    return {
        "modality": task.modality, "set": name, "model": model, "prior": prior.value, "prior_se": prior.se,
        "probe": probe, "probe_value": found.probe.value, "probe_noise": noise, "scale": scale.plain(),
        "scores": row.scores, "top1": found_card(model, data).top1, "parameters": row.parameters,
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


@cache
def _card(model: str, channels: int) -> Card:
    return backbones.load(name_of(model), {"channels": channels}).card


def found_card(model: str, data: Data) -> Card:
    """The card of a candidate."""
    return _card(model, int((data.schema or {}).get("channels", 3)))


def hashed_signals(name: str) -> dict[str, Any]:
    """The same of hashed words: scores of their leading 256 directions, the prior of random weights."""
    from sklearn.decomposition import TruncatedSVD

    task, data = read(name)
    began = time.monotonic()
    words = hashing([str(s.x) for s in data.train])
    pooled = torch.from_numpy(
        TruncatedSVD(min(256, len(data.train) - 1), random_state=SEED).fit_transform(words)
    ).float()
    prior = prior_of(Card("hashing", trained_on="nothing"), "text")
    c = contender.Contender(Candidate("hashing"), prior, 0.0, pooled=pooled)
    contender.measure(c, task, data.train, len(data.train), SEED)
    scale = forecast.scale_of(task, data.train, np.asarray(evaluate.truth_of(task, data.train)))
    assert c.probe is not None
    probe, noise = forecast.probed(c.probe, scale, LEVEL)
    return {
        "modality": "text", "set": name, "model": "hashing", "prior": prior.value, "prior_se": prior.se,
        "probe": probe, "probe_value": c.probe.value, "probe_noise": noise, "scale": scale.plain(),
        "scores": c.row.scores, "top1": None, "parameters": words.shape[1],
        "seconds": round(time.monotonic() - began, 1),
    }  # fmt: skip


def hashing(texts: list[str]) -> Any:
    """Sparse counts [n, 4096] of words and pairs."""
    from sklearn.feature_extraction.text import HashingVectorizer

    return HashingVectorizer(n_features=4096, ngram_range=(1, 2), alternate_sign=False).transform(texts)

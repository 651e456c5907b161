"""A report of each kind of answer, with numbers as a real run has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from report_parts import bins, climbed, common, defined, notes, picture, score, tested

from graft import conformal

RANK: dict[str, Any] = {
    "measure": "accuracy",
    "candidates": [
        {
            "name": "local:/zoo/mobilenetv2_100_tv",
            **score(0.88, 0.84, 0.91),
            "predicted": 0.88,
            "probe": 0.88,
            "parameters": 3504872,
            "mb": 14.0,
            "ms": 11.3,
            "license": "BSD-3-Clause",
        },
        {"name": "timm:vit_tiny", "error": "the hub cannot be reached"},
    ],
    "choice": "local:/zoo/mobilenetv2_100_tv",
    "tied": [],
}


def sureness(kind: str, labels: list[str], n: int, valid: int = 200) -> dict[str, Any]:
    """What a report says of sets and of abstention, of answers that are as right as they say."""
    rng, both = np.random.default_rng(3), []
    for size in (valid, n):
        odds = 2.5 * rng.standard_normal((size, len(labels) or 1))
        if kind == "numbers":
            both.append((100 + odds[:, 0], 100 + odds[:, 0] + 9 * rng.standard_normal(size)))
        elif kind == "labels":
            p = 1 / (1 + np.exp(1 - odds))
            both.append((p, (rng.uniform(size=p.shape) < p).astype(float)))
        else:
            p = np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True)
            both.append((p, (p.cumsum(axis=1) < rng.uniform(size=(size, 1))).sum(axis=1)))
    sets = conformal.measured(kind, *both[0], *both[1], labels)
    return {"conformal": sets, "abstention": conformal.abstention(kind, *both[1])}


def of_classes() -> dict[str, Any]:
    """Two classes of pictures, a threshold moved, one measure without a value."""
    r = common("lesions", "image_classification", "classes", ["healthy", "sick"], "sensitivity:specificity=0.95")
    deciding, models = "sensitivity:specificity=0.95", ("finetune", "majority", "probe")
    tests = tested(
        models,
        {
            deciding: (0.831, 0.0, 0.688),
            "accuracy": (0.913, 0.744, 0.875),
            "balanced_accuracy": (0.902, 0.5, 0.85),
            "macro_f1": (0.887, 0.427, 0.83),
            "auroc": (0.961, 0.5, 0.918),
            "log_loss": (0.234, 0.569, 0.322),
            "cost": (None, None, None),
        },
        312,
    )
    return {
        **r,
        "chosen": "finetune",
        "headline": tests["finetune"][deciding],
        "verdict": "Fine-tuning reaches 83.1% sensitivity at specificity 0.95 [74.2%, 90.1%] on 312 test samples: "
        "better than always the commonest class (+83.1 points [+74.2, +90.1]); better than the frozen probe "
        "(+14.3 points [+4.1, +24.6]).",
        "measures": {
            deciding: defined("share of the sick that are found at that specificity"),
            "accuracy": defined("share of right answers"),
            "balanced_accuracy": defined("mean of the classes' recalls"),
            "macro_f1": defined("mean of the classes' F1, a class that is absent left out"),
            "auroc": defined("chance that a sick item is ranked above a healthy one"),
            "log_loss": defined("mean of minus the log of the probability of the truth", lower=True),
            "cost": defined("mean cost of an answer", lower=True, undefined="no cost matrix was given"),
        },
        "controls": {k: tests[k][deciding] for k in models[1:]},
        "against": {
            "majority": {"difference": 0.831, "low": 0.742, "high": 0.901, "p": 0.0},
            "probe": {"difference": 0.143, "low": 0.041, "high": 0.246, "p": 0.004},
        },
        "scores": {k: {"test": v} for k, v in tests.items()},
        "rungs": climbed(
            ("nearest_neighbour", 0.602, 0.44, 0.75, 9.8, 0, "first; replaced by probe"),
            ("probe", 0.711, 0.56, 0.84, 2.1, 2562, "better: +10.9 points [+2.0, +20.1], p 0.012"),
            ("finetune", 0.842, 0.71, 0.94, 121.0, 3226434, "better: +13.1 points [+3.0, +24.0], p 0.008"),
        ),
        **details_of_classes(),
        **sureness("classes", ["healthy", "sick"], 312),
    }


def details_of_classes() -> dict[str, Any]:
    return {
        "thresholds": {"finetune": [0.0, 1.2], "probe": [0.0, 0.9]},
        "confusion": [[220, 12], [15, 65]],
        "per_class": {
            "healthy": {"precision": 0.936, "recall": 0.948, "f1": 0.942, "n": 232},
            "sick": {"precision": 0.844, "recall": 0.813, "f1": 0.828, "n": 80},
        },
        "calibration": bins(
            [(0.55, 0.5, 14), (0.66, 0.6, 20), (0.75, 0.79, 28), (0.86, 0.83, 60), (0.98, 0.97, 190)], 0.021
        )
        | {"temperature": 1.31, "ece_before": 0.048},
        "mistakes": [
            {
                "id": f"val/scan_{i:03}.jpg",
                "truth": "sick",
                "predicted": "healthy",
                "probability": 0.97 - i / 40,
                "text": None,
                "picture": picture(),
            }
            for i in range(20)
        ],
        "rank": RANK,
        "data": {
            "source": "/data/lesions",
            "train": 812,
            "valid": 203,
            "test": 312,
            "fingerprint": "3c" * 32,
            "classes": {
                "healthy": {"train": 604, "valid": 151, "test": 232},
                "sick": {"train": 208, "valid": 52, "test": 80},
            },
            "notes": notes("a folder a class", "2 test pictures are near copies of training pictures"),
        },
    }


TOPICS = ["politics", "economy", "sport", "science", "health", "culture", "weather"]
TEXTS = [
    "The central bank left its rate unchanged, and the finance minister called that a mistake in parliament.",
    "After the storm the match was called off; the league now looks for a day in an overfull calendar.",
    "A vaccine against the new variant is ready, but who pays for it is open.",
    "The opera house opens its season with a piece about a glacier, made with those who measure it.",
]


def per_label() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    per: dict[str, Any] = {
        x: {"precision": p, "recall": q, "f1": 2 * p * q / (p + q), "n": int(rng.integers(40, 400))}
        for x, p, q in zip(TOPICS, rng.uniform(0.7, 0.95, 7), rng.uniform(0.6, 0.95, 7), strict=True)
    }
    per["weather"] = {"precision": None, "recall": None, "f1": None, "n": 0}
    return per


def of_labels() -> dict[str, Any]:
    """Texts with several labels at once, a threshold a label; no item of one label in the test part."""
    r = common("newsroom", "text_multilabel", "labels", TOPICS, "map")
    names = ("finetune", "base_rates", "nearest_neighbour", "probe")
    table = {
        "map": (0.812, 0.214, 0.661, 0.753),
        "micro_f1": (0.794, 0.0, 0.655, 0.738),
        "macro_f1": (0.741, 0.0, 0.58, 0.673),
        "exact_match": (0.582, 0.041, 0.433, 0.521),
        "hamming_loss": (0.061, 0.157, 0.097, 0.078),
        "auroc": (None,) * 4,
    }
    tests = tested(names, table, 1240)
    per = per_label()
    gaps = {"base_rates": 0.598, "nearest_neighbour": 0.151, "probe": 0.059}
    return {
        **r,
        "headline": tests["finetune"]["map"],
        "verdict": "Fine-tuning reaches 81.2% mean average precision [78.8%, 83.4%] on 1240 test samples: better "
        "than each label's share (+59.8 points [+57.5, +62.1]); better than the frozen probe (+5.9 points).",
        "measures": {
            "map": defined("mean over labels of the average precision"),
            "micro_f1": defined("F1 over all labels of all items together"),
            "macro_f1": defined("mean of the labels' F1"),
            "exact_match": defined("share of items whose labels are all right"),
            "hamming_loss": defined("share of single yes-or-no answers that are wrong", lower=True),
            "auroc": defined(
                "mean over labels of the area under the ROC curve", undefined="no test item holds the label weather"
            ),
        },
        "controls": {k: tests[k]["map"] for k in names[1:]},
        "against": {k: {"difference": v, "low": v - 0.023, "high": v + 0.023, "p": 0.0} for k, v in gaps.items()},
        "scores": {k: {"test": v} for k, v in tests.items()},
        "rungs": climbed(
            ("probe", 0.744, 0.70, 0.78, 41.2, 2695, "first; replaced by finetune"),
            (
                "finetune",
                0.809,
                0.77,
                0.84,
                312.0,
                22715911,
                "better: +6.5 points [+3.1, +9.9] against probe, p < 0.001",
            ),
        ),
        **details_of_labels(per),
        **sureness("labels", TOPICS, 1240),
    }


def details_of_labels(per: dict[str, Any]) -> dict[str, Any]:
    return {
        "thresholds": {"finetune": [0.4, -0.2, 0.0, 1.1, 0.6, 0.3, 2.0]},
        "per_class": per,
        "calibration": bins(
            [(0.56, 0.52, 300), (0.66, 0.65, 410), (0.76, 0.71, 640), (0.86, 0.85, 1100), (0.98, 0.985, 6230)], 0.012
        ),
        "mistakes": [
            {
                "id": f"news.csv:{17 * i + 3}",
                "truth": truth,
                "predicted": said,
                "probability": None,
                "text": TEXTS[i % 4],
                "picture": None,
            }
            for i, (truth, said) in enumerate(
                [
                    ("politics; economy", "economy"),
                    ("sport; weather", "sport"),
                    ("health; politics; science", "health"),
                    ("culture; science", "none"),
                ]
                * 5
            )
        ],
        "data": {
            "source": "news.csv",
            "train": 9100,
            "valid": 1150,
            "test": 1240,
            "fingerprint": "a1" * 32,
            "classes": {
                x: {"train": 900 - 90 * i, "valid": 110 - i, "test": per[x]["n"]} for i, x in enumerate(TOPICS)
            },
            "notes": notes("columns text and topics (labels separated by ;)", "3 texts stand in train and in test"),
        },
    }


def of_numbers() -> dict[str, Any]:
    """A number from a picture; less is better."""
    r = common("bone_age", "image_regression", "numbers", [], "mae")
    rng = np.random.default_rng(0)
    truth = np.round(rng.uniform(8, 216, 640))
    said = truth + rng.normal(0.9, 9.5, 640) - 0.06 * (truth - 112) + rng.standard_t(3, 640) * 2
    names = ("finetune", "constant", "nearest_neighbour", "probe")
    table = {"mae": (8.91, 51.8, 17.3, 13.6), "rmse": (11.6, 60.2, 22.9, 17.8), "r2": (0.963, -0.0004, 0.855, 0.912)}
    tests = tested(names, table, 640)
    worst = np.argsort(-np.abs(said - truth))[:20]
    gaps = {"constant": -42.9, "nearest_neighbour": -8.39, "probe": -4.69}
    return {
        **r,
        "headline": tests["finetune"]["mae"],
        "verdict": "Fine-tuning reaches a mean absolute error of 8.91 [8.38, 9.53] on 640 test samples: better than "
        "always the same number (-42.9 [-45.8, -40.1]); better than the frozen probe (-4.69 [-5.5, -3.9]).",
        "measures": {
            "mae": defined("mean distance between the predicted and the true number, in its unit", lower=True),
            "rmse": defined("root of the mean squared distance, in the number's unit", lower=True),
            "r2": defined("share of the variance that is explained; 0 is always the mean"),
        },
        "controls": {k: tests[k]["mae"] for k in names[1:]},
        "against": {k: {"difference": v, "low": v - 0.9, "high": v + 0.9, "p": 0.0} for k, v in gaps.items()},
        "scores": {k: {"test": v} for k, v in tests.items()},
        "rungs": climbed(
            ("nearest_neighbour", 17.0, 15.4, 18.7, 30.2, 0, "first; replaced by probe"),
            ("probe", 13.4, 12.1, 14.8, 2.4, 1281, "better: -3.6 [-4.9, -2.2] against nearest_neighbour, p < 0.001"),
            ("finetune", 8.8, 7.9, 9.7, 402.0, 3225153, "better: -4.6 [-5.6, -3.7] against probe, p < 0.001"),
        ),
        **details_of_numbers(truth, said, worst),
        **sureness("numbers", [], 640),
    }


def details_of_numbers(truth: Any, said: Any, worst: Any) -> dict[str, Any]:
    return {
        "residuals": {"truth": truth.tolist(), "predicted": said.tolist()},
        "mistakes": [
            {
                "id": f"scans/{i:04}.png",
                "truth": f"{truth[i]:.6g}",
                "predicted": f"{said[i]:.6g}",
                "probability": None,
                "text": None,
                "picture": picture(),
            }
            for i in worst
        ],
        "data": {
            "source": "ages.csv",
            "train": 4100,
            "valid": 512,
            "test": 640,
            "fingerprint": "77" * 32,
            "classes": {},
            "notes": notes("columns path and months (a number)", "4 ages lie beyond those of the training part"),
        },
    }


KINDS = {"classes": of_classes, "labels": of_labels, "numbers": of_numbers}

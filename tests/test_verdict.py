"""The one-word verdict: each word from a case made for it, never more than the interval says, and never from noise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_intervals import table, task

from graft import evaluate
from graft.evaluate import Paired, Score
from graft.verdict import FEWEST, WORDS, decide, margin_of

NAN = float("nan")


def reference(value: float = 0.7) -> Score:
    return Score(value, value, value, 100)


@pytest.mark.parametrize(
    ("pair", "n", "measure", "word", "said"),
    [
        (Paired(0.12, 0.08, 0.16, 1e-6), 200, "accuracy", "helped", "+12.0 points of accuracy [+8.0 to +16.0] on 200"),
        (Paired(-0.1, -0.15, -0.05, 0.999), 200, "macro_f1", "hurt", "macro F1"),
        (Paired(-0.004, -0.02, 0.012, 0.6), 800, "accuracy", "no_difference", "within ±3.0 points"),
        (Paired(0.02, -0.03, 0.07, 0.2), 60, "accuracy", "cannot_tell", "60 test samples cannot tell: about 380 would"),
        (Paired(0.0, -0.07, 0.07, 1.0), 50, "accuracy", "cannot_tell", "about 280 would"),  # ties on every sample
        (Paired(0.0, -0.002, 0.002, 1.0), 2000, "accuracy", "no_difference", "within ±3.0 points"),
        (Paired(0.6, 0.1, 0.9, 0.01), 5, "accuracy", "cannot_tell", "5 test samples can tell nothing: at least 10"),
        (Paired(0.6, 0.1, 0.9, 0.01), 1, "accuracy", "cannot_tell", "1 test sample can tell nothing"),
        (Paired(NAN, NAN, NAN, 1.0), 50, "auroc", "cannot_tell", "AUROC has no value"),
        (Paired(0.1, NAN, NAN, 1.0), 50, "r2", "cannot_tell", "R² has no value, or no interval"),
        (Paired(-0.1, -0.1, -0.1, 0.0), 50, "mae", "cannot_tell", "differ by the same on each of 50"),
        (Paired(-0.2, -0.3, -0.1, 0.001), 50, "mae", "helped", "−0.200 of MAE"),
        (Paired(0.2, 0.1, 0.3, 0.999), 50, "rmse", "hurt", "+0.200 of RMSE"),
        (Paired(0.01, -0.02, 0.03, 0.6), 50, "log_loss", "no_difference", "within ±0.0350"),
        (Paired(0.1, 0.01, 0.19, 0.2), 50, "accuracy", "cannot_tell", "50 test samples cannot tell"),  # p disagrees
    ],
)
def test_each_word(pair: Paired, n: int, measure: str, word: str, said: str) -> None:
    found = decide(pair, n, measure, measure in ("mae", "rmse", "log_loss"), reference())
    assert found.word == word and said in found.reason
    assert found.plain() == {"word": word, "margin": found.margin, "reason": found.reason, "needed": found.needed}


def test_margins_are_points_or_a_share_of_the_reference() -> None:
    for name in ("accuracy", "auroc", "sensitivity:specificity=0.9", "r2", "spearman"):
        assert margin_of(name, reference(0.4)) == 0.03
    assert margin_of("mae", reference(40.0)) == 2.0
    assert margin_of("cost:fp=1,fn=5", reference(-2.0)) == pytest.approx(0.1)
    assert margin_of("rmse", reference(NAN)) == 0
    wide = decide(Paired(0.1, -1.0, 1.2, 0.4), 50, "mae", True, reference(NAN))
    assert wide.word == "cannot_tell" and "about" in wide.reason  # what is needed follows from the difference alone


ends = st.floats(-0.5, 0.5)


@given(ends, ends, ends, st.floats(0, 1), st.integers(1, 3000), st.booleans())
def test_a_word_is_never_more_than_the_interval_says(
    a: float, b: float, c: float, p: float, n: int, lower: bool
) -> None:
    low, gap, high = sorted((a, b, c))
    found = decide(Paired(gap, low, high, p), n, "accuracy", lower, reference())
    good, bad = (high < 0, low > 0) if lower else (low > 0, high < 0)
    assert found.word in WORDS and found.reason
    assert (found.word == "helped") <= (good and p < 0.05 and n >= FEWEST)
    assert (found.word == "hurt") <= (bad and p > 0.95 and n >= FEWEST)
    assert (found.word == "no_difference") <= (max(-low, high) < 0.03)
    assert found.needed is None or (found.word == "cannot_tell" and found.needed >= min(n + 1, FEWEST))
    swapped = decide(Paired(-gap, -high, -low, p), n, "accuracy", not lower, reference())
    assert swapped.word == found.word and swapped.needed == found.needed


def test_what_is_needed_would_be_enough() -> None:
    """With so many samples, and an interval narrower by the root of their number, the same difference gives a word."""
    for gap in (0.0, 0.01, 0.016, 0.025, 0.08):
        found = decide(Paired(gap, gap - 0.1, gap + 0.1, 0.3), 50, "accuracy", False, reference())
        assert found.word == "cannot_tell" and found.needed is not None
        half = 0.1 * math.sqrt(50 / found.needed) - 1e-9
        then = decide(Paired(gap, gap - half, gap + half, 0.01), found.needed, "accuracy", False, reference())
        assert then.word == ("helped" if gap > 0.015 else "no_difference")


def test_answers_that_are_always_the_same_are_told_apart_from_none() -> None:
    """One arm always says the commonest class, so does the other: of 60 samples that says little, of 2,000 enough."""
    for n, word in ((60, "cannot_tell"), (2000, "no_difference")):
        truth = np.arange(n) % 3 == 0
        same = np.tile([0.7, 0.3], (n, 1))
        pair = evaluate.paired(task("classes"), same, same, truth.astype(int), 0)
        assert decide(pair, n, "accuracy", False, reference()).word == word


@pytest.mark.parametrize("measure", ["accuracy", "macro_f1", "log_loss"])
def test_noise_rarely_helps_or_hurts(measure: str) -> None:
    """120 pairs of arms of the same worth, 40 samples: either word in under 5 %, and the sure help is seen."""
    asked, words = task("classes", measure), []
    for seed in range(120):
        a, truth = table("classes", 40, seed, noise=1.5)
        b = np.exp(2 * np.eye(2)[truth] + 1.5 * np.random.default_rng(seed).standard_normal((40, 2)))
        b /= b.sum(axis=1, keepdims=True)
        pair = evaluate.paired(asked, a, b, truth, seed)
        words.append(decide(pair, 40, measure, asked.lower(), reference()).word)
    assert words.count("helped") < 6 and words.count("hurt") < 6 and words.count("cannot_tell") > 100
    a, truth = table("classes", 200, noise=0.5)
    guess = np.full((200, 2), 0.5)
    guess[:, 0] += 0.01
    pair = evaluate.paired(asked, a, guess, truth, 0)
    assert decide(pair, 200, measure, asked.lower(), reference(0.6)).word == "helped"

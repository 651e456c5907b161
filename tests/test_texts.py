"""Rows 45, 47 and 49: texts that are too long, odd, or of another alphabet."""

from __future__ import annotations

from pathlib import Path

import models
import pytest
import torch
from tokenizers import Tokenizer

import graft
from graft import backbones
from graft.backbones import _texts
from graft.data import Sample
from graft.readers.samples import MOST_CHARACTERS, clean_text


@pytest.fixture(scope="module")
def tokenizer(bert: Path) -> Tokenizer:
    return Tokenizer.from_file(str(bert / "tokenizer.json"))


def test_row_45_the_share_of_cut_texts_is_told_and_what_to_do(tokenizer: Tokenizer) -> None:
    texts = ["the film was lovely"] * 9 + ["lovely " * 100_000]
    said = _texts.notes(tokenizer, 32, texts, "head")
    assert len(said) == 1 and said[0].kind == "warning"
    assert (
        said[0].text.startswith("10% of the texts have more than 32 tokens")
        and "--long-texts head_tail" in said[0].text
    )
    assert "first and last" in _texts.notes(tokenizer, 32, texts, "head_tail")[0].text
    assert _texts.notes(tokenizer, 32, texts[:9], "head") == []


def test_row_45_both_ends_of_a_text_are_kept(bert: Path) -> None:
    head, both = backbones.load(f"local:{bert}"), backbones.load(f"local:{bert}", {"long_texts": "head_tail"})
    limit = both.card.size
    words = ["lovely"] * limit + ["awful"] * limit
    seen = both.encode(" ".join(words))
    first, last = head.encode("lovely").x, head.encode("awful").x
    assert len(seen.x) == limit == len(seen.where)
    assert int((seen.x == first[0]).sum()) == (limit + 1) // 2 and int((seen.x == last[0]).sum()) == limit // 2
    assert int((head.encode(" ".join(words)).x == first[0]).sum()) == limit
    again = backbones.build(both.describe(), bert)
    assert torch.equal(again.encode(" ".join(words)).x, seen.x)


def test_row_45_a_run_keeps_its_cut(home: Path, bert: Path) -> None:
    rows = [(("the room was quite " * 30) + text, label) for text, label in models.texts(60)]  # what tells comes last
    path = models.write_csv(home / "long.csv", rows)
    run = graft.fit(
        path, backbone=f"local:{bert}", long_texts="head_tail", recipe="probe:l2=0.1", out=home / "long", quiet=True
    )
    assert any("first and last tokens are kept" in n["text"] for n in run.report["data"]["notes"])
    assert run.report["headline"]["value"] > 0.8
    assert graft.load(run.folder).predict([rows[0][0]])["label"][0] == rows[0][1]


def test_row_47_odd_characters_are_replaced_and_said() -> None:
    assert clean_text("a\x00b\x07c\ud800d\te\n") == (
        "a b c?d\te",
        "control characters or halves of characters replaced",
    )
    assert clean_text("  plain \u200b👩‍👩‍👧 عربي ") == ("plain \u200b👩‍👩‍👧 عربي", "")
    long, said = clean_text("x" * (MOST_CHARACTERS + 5))
    assert len(long) == MOST_CHARACTERS and said == "cut to 1,000,000 characters"


def test_row_49_unknown_words_and_other_scripts_are_told(tokenizer: Tokenizer) -> None:
    said = [n.text for n in _texts.notes(tokenizer, 64, ["lovely film", "совсем другое", "مرحبا بالعالم"], "head")]
    assert any("of the tokens are unknown" in t for t in said)
    assert any("Cyrillic" in t and "Arabic" in t for t in said)
    assert _texts.notes(tokenizer, 64, ["lovely film", "awful room"], "head") == []


def test_row_45_memory_of_a_huge_text_is_bounded_by_the_limit(bert: Path) -> None:
    from graft import features

    net = backbones.load(f"local:{bert}")
    samples = [Sample("lovely " * 100_000, id="huge"), Sample("lovely film", id="short")]
    assert features.extract(net, samples, keep=False).pooled.shape == (2, net.dim)

"""How texts fit a tokenizer: how many are cut, how many words it does not know, which scripts they are in."""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from graft.data import Note

MOST_TEXTS = 1000  # looked at
MOST_LETTERS = 50_000  # of each
FEW = 0.01  # share of cut texts, or of unknown tokens, up to which nothing is said
OTHER = 0.2  # share of letters of another script than Latin from which the scripts are told


def ends(ids: Sequence[Any], limit: int) -> list[Any]:
    """The first and the last of too many tokens, `limit` in all; special tokens at both ends stay."""
    if len(ids) <= limit:
        return list(ids)
    first = (limit + 1) // 2
    return [*ids[:first], *ids[len(ids) - (limit - first) :]]


def notes(tokenizer: Tokenizer, limit: int, texts: Sequence[str], cut: str) -> list[Note]:
    """What a person should know of these texts under this tokenizer; nothing where all is well."""
    some = [t[:MOST_LETTERS] for t in texts[:: max(1, len(texts) // MOST_TEXTS)]][:MOST_TEXTS]
    if not some:
        return []
    whole = Tokenizer.from_str(tokenizer.to_str())
    whole.no_truncation()
    found = [e.tokens for e in whole.encode_batch(some, add_special_tokens=False)]
    lengths = [len(tokens) for tokens in found]
    clipped = any(len(t) > MOST_LETTERS for t in texts[:: max(1, len(texts) // MOST_TEXTS)][:MOST_TEXTS])
    return [*_cut(lengths, limit, cut, clipped), *_unknown(tokenizer, found), *_scripts(some)]


def _cut(lengths: list[int], limit: int, cut: str, clipped: bool) -> list[Note]:
    share = sum(n > limit for n in lengths) / len(lengths)
    if share <= FEW:
        return []
    most = f"{max(lengths):,}" + (" or more" if clipped else "")
    kept = "the first and last tokens are kept" if cut == "head_tail" else "the rest is cut off"
    advice = "" if cut == "head_tail" else " (--long-texts head_tail keeps both ends)"
    said = f"{share:.0%} of the texts have more than {limit} tokens (the longest seen {most}): {kept}{advice}"
    return [Note("warning", said)]


def _unknown(tokenizer: Tokenizer, found: list[list[str]]) -> list[Note]:
    unknown = json.loads(tokenizer.to_str()).get("model", {}).get("unk_token")
    total = sum(map(len, found))
    share = sum(tokens.count(unknown) for tokens in found) / total if unknown and total else 0.0
    if share <= FEW:
        return []
    said = f"{share:.1%} of the tokens are unknown to the model: are the texts of another language than its own?"
    return [Note("warning", said)]


def _scripts(texts: list[str]) -> list[Note]:
    """The scripts of the letters, by the first word of their Unicode names."""
    counts: Counter[str] = Counter()
    for text in texts:
        for c in text[:500]:
            if c.isalpha():
                counts["LATIN" if c.isascii() else unicodedata.name(c, "?").partition(" ")[0]] += 1
    total = sum(counts.values())
    if not total or counts["LATIN"] >= (1 - OTHER) * total:
        return []
    shares = ", ".join(f"{n / total:.0%} {name.capitalize()}" for name, n in counts.most_common(4))
    return [Note("warning", f"letters of the texts: {shares}; a model of one language may know little of the others")]

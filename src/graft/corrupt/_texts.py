"""What hurried typing does to a text, at five strengths.

Every function takes a text, the strength (1 to 5), a generator and a `unit` that texts have no use for, and returns a
text. A stronger corruption keeps what a weaker one of the same draw did and adds to it. A text that has something
visible in it keeps something.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

import numpy as np

Function = Callable[[str, int, np.random.Generator, float], str]

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_SHIFT = (0.0, 0.25, 0.75)  # of each row of keys against the first, in keys
_GAP = re.compile(r"\s+")
_WORD = re.compile(r"\S+")


def typos(text: str, strength: int, draw: np.random.Generator, unit: float) -> str:
    """Wrong keys: of 1, 2, 5, 10 or 20 % of the letters, each becomes its neighbour on the keyboard, is left out,
    changes places with the next, or comes twice.

    The four errors of Damerau (1964) as Belinkov and Bisk (2018, section 3) use them; neighbours are those of a QWERTY
    keyboard, and letters that are not on it come twice instead.
    """
    rate = (0.01, 0.02, 0.05, 0.1, 0.2)[strength - 1]
    chance, kind, which = draw.random(len(text)), draw.integers(0, 4, len(text)), draw.random(len(text))
    out, at = [], 0
    while at < len(text):
        letter = text[at]
        hit = chance[at] < rate and letter.isalpha()
        if hit and kind[at] == 2 and at + 1 < len(text) and text[at + 1].isalpha():
            out.append(text[at + 1] + letter)
            at += 2
            continue
        out.append(_mistyped(letter, int(kind[at]), float(which[at])) if hit else letter)
        at += 1
    return _or_else("".join(out), text)


def _mistyped(letter: str, kind: int, which: float) -> str:
    if kind == 0 and letter.lower() in NEIGHBOURS:
        near = NEIGHBOURS[letter.lower()]
        found = near[int(which * len(near))]
        return found.upper() if letter.isupper() else found
    return "" if kind == 1 else letter * 2


def case(text: str, strength: int, draw: np.random.Generator, unit: float) -> str:
    """Another case: of 10, 25, 50, 75 or 100 % of the words, each is written in capitals, in small letters, or in
    letters of random case."""
    share = (0.1, 0.25, 0.5, 0.75, 1.0)[strength - 1]
    words = _WORD.findall(text)
    chance, kind = draw.random(len(words)), draw.integers(0, 3, len(words))
    high = draw.random(len(text)) < 0.5
    place = iter(range(len(words)))

    def other(found: re.Match[str]) -> str:
        at, word = next(place), found.group()
        if chance[at] >= share:
            return word
        if kind[at] < 2:
            return word.upper() if kind[at] == 0 else word.lower()
        return "".join(c.upper() if high[found.start() + i] else c.lower() for i, c in enumerate(word))

    return _WORD.sub(other, text)


def spaces(text: str, strength: int, draw: np.random.Generator, unit: float) -> str:
    """Words run together: 5, 10, 20, 40 or 80 % of the gaps between them are lost."""
    lost = draw.random(len(_GAP.findall(text))) < (0.05, 0.1, 0.2, 0.4, 0.8)[strength - 1]
    place = iter(range(len(lost)))
    return _or_else(_GAP.sub(lambda found: "" if lost[next(place)] else found.group(), text), text)


def punctuation(text: str, strength: int, draw: np.random.Generator, unit: float) -> str:
    """20, 40, 60, 80 or 100 % of the punctuation marks (Unicode's categories P) are left out."""
    lost = draw.random(len(text)) < (0.2, 0.4, 0.6, 0.8, 1.0)[strength - 1]
    kept = (c for c, gone in zip(text, lost, strict=True) if not (gone and unicodedata.category(c)[0] == "P"))
    return _or_else("".join(kept), text)


def _or_else(changed: str, text: str) -> str:
    """The changed text, or the text itself where nothing visible would be left of it."""
    return changed if changed.strip() or not text.strip() else text


def _neighbours() -> dict[str, str]:
    """The keys that touch each: those in its row beside it, and in the next rows less than a key's width aside."""
    place = {c: (row, i + _SHIFT[row]) for row, keys in enumerate(_ROWS) for i, c in enumerate(keys)}
    near = {
        c: [o for o, (r, i) in place.items() if abs(r - row) <= 1 and 0 < abs(i - at) < (1.5 if r == row else 1)]
        for c, (row, at) in place.items()
    }
    return {c: "".join(others) for c, others in near.items()}


NEIGHBOURS = _neighbours()

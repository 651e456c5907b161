"""Give-away words: one token that stands in most texts of a class and in hardly any other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from graft.data import Sample
from graft.doctor._classes import classes_of
from graft.findings import Finding, Item

FEW = 10  # samples of a class
OFTEN, ALWAYS = 0.55, 0.95  # share of a class's texts that have the token: of a broad class, of a narrow one
NOWHERE = 0.005  # share of the other texts that have it
BROAD = 0.05  # share of all texts that a class must have: one of a hundred narrow ones may well have its word
_TOKEN = re.compile(r"\w+|[^\w\s]+")


def found(samples: Sequence[Sample], home: str) -> list[Finding]:
    """A finding shortcut_token for each class that one token gives away, in texts of one part; none for numbers.

    A token is a word or a run of other signs, in lower case. It must stand in OFTEN of the class's texts and NOWHERE
    else: in a class of a BROAD share of all texts no natural word does ("who" in questions about people comes
    nearest, with 48 %). A narrower class may have a word of its own ("401k" in questions on pensions): there
    a token counts only as the first or the last of ALWAYS of the texts. The items are the texts that have the token.
    """
    if isinstance(samples[0].y, float):
        return []
    sizes = Counter(c for s in samples for c in classes_of(s))
    listed = [_TOKEN.findall(str(s.x).lower()) for s in samples]
    tokens = [set(some) for some in listed]
    ends = [{some[0], some[-1]} if some else set() for some in listed]
    all_of = Counter(t for some in tokens for t in some)
    broad = {c for c, n in sizes.items() if n >= BROAD * len(samples)}
    within: dict[str, Counter[str]] = {c: Counter() for c, n in sizes.items() if FEW <= n <= len(samples) - FEW}
    for s, some, outer in zip(samples, tokens, ends):
        for c in classes_of(s):
            if c in within:
                within[c].update(some if c in broad else outer)
    findings = []
    for c, counts in sorted(within.items()):
        least, most = (OFTEN if c in broad else ALWAYS) * sizes[c], NOWHERE * (len(samples) - sizes[c])
        given = [t for t, n in counts.items() if n >= least and all_of[t] - n <= most]
        if given:
            t = max(given, key=lambda t: (counts[t] - all_of[t] / 2, t))
            items = tuple(Item(s.id, split=home) for s, some in zip(samples, tokens) if t in some)
            findings.append(_finding(c, t, counts[t], sizes[c], all_of[t] - counts[t], items))
    return findings


def _finding(c: str, token: str, held: int, size: int, elsewhere: int, items: tuple[Item, ...]) -> Finding:
    return Finding(
        "shortcut_token",
        "warning",
        f"the token {token!r} gives {c!r} away: it stands in {held} of its {size} texts and in {elsewhere} others",
        items,
        "a model need look at nothing else: the test score flatters, and falls on texts without it (it may be "
        "legitimate: then a search for the word does as well as a model)",
        f"take {token!r} out of the texts if it comes from how they were gathered (a template, a source, a signature)",
    )

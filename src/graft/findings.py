"""What is wrong with data, as values: a finding names its items, how it biases the result, and what mends it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

SEVERITIES = ("error", "warning")
"""error: `fit` refuses the data; warning: it goes on, and says so."""


@dataclass(frozen=True)
class Item:
    """One sample of a finding; `other` is the sample it is paired with, `split` where it stands (train, valid, ...).

    An id is the path relative to the data; in tables the file and the row.
    """

    id: str
    other: str = ""
    split: str = ""

    def plain(self) -> dict[str, str]:
        """As JSON has it."""
        return {"id": self.id, "with": self.other, "split": self.split}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with data.

    `kind` begins with what it is about: duplicate, leak, label, shortcut, unreadable, column, class, outlier.
    `count` is in pairs for duplicates, else in items; `items` are all of them. `text` is one line for people,
    `effect` how it biases the result, `fix` the command (or the deed) that mends it.
    """

    kind: str
    severity: str
    text: str
    items: tuple[Item, ...] = ()
    effect: str = ""
    fix: str = ""
    count: int = -1

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity {self.severity!r}: possible are {', '.join(SEVERITIES)}")
        if self.count < 0:
            object.__setattr__(self, "count", len(self.items))

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "kind": self.kind, "severity": self.severity, "count": self.count, "text": self.text,
            "items": [i.plain() for i in self.items], "effect": self.effect, "fix": self.fix,
        }  # fmt: skip


def ordered(found: Iterable[Finding]) -> list[Finding]:
    """The serious first, then by kind."""
    return sorted(found, key=lambda f: (SEVERITIES.index(f.severity), f.kind))

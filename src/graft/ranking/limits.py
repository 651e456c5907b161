"""What a candidate may weigh, take and be licensed as: `--max-mb`, `--max-ms`, `--license`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from graft.errors import UsageError
from graft.model import Card

ANY, PERMISSIVE = "any", "permissive"
# Names and SPDX ids of licences that ask for no more than a notice: no copyleft, no limits on use.
_PERMISSIVE = re.compile(
    r"\b(apache\b.{0,20}?\b2(\.0)?\b|mit\b|bsd\b|0bsd\b|isc\b|zlib\b|unlicense\b|cc0\b|cc[- ]by[- ][34]\.0\b|bsl-1\.0\b"
    r"|python-2|psf\b)",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"[- ](nc|sa|nd)\b|non-?commercial|\b[al]?gpl|\bbusl|\bbsl-1\.1|\bsspl|\bmpl\b|openrail|\bnot\b|unknown|proprietary"
    r"|commons clause|academic|evaluation|research (only|use|purposes)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Limits:
    """MB of the weights file, milliseconds a sample measured here, and which licences; None and "any" are no limit."""

    max_mb: float | None = None
    max_ms: float | None = None
    license: str = ANY

    def __post_init__(self) -> None:
        for option, value in (("--max-mb", self.max_mb), ("--max-ms", self.max_ms)):
            if value is not None and not value > 0:
                raise UsageError(f"{option} {value}: a number above 0 is expected")
        if self.license not in (ANY, PERMISSIVE):
            raise UsageError(f"--license {self.license}: possible are {ANY} and {PERMISSIVE}")

    def refuse(self, card: Card) -> str | None:
        """Why a model is left out before it runs (its card is known once it is loaded); None where it is not."""
        if self.max_mb is not None and card.mb > self.max_mb:
            return f"left out: {card.mb:.1f} MB is over --max-mb {self.max_mb:g}"
        if self.license == PERMISSIVE and not permissive(card.license):
            known = f"its licence is {card.license!r}" if card.license not in ("", "unknown") else "no licence is known"
            return f"left out: {known}, and --license permissive takes Apache-2.0, MIT, BSD and their like"
        return None

    def too_slow(self, ms: float) -> str | None:
        """Why a model is left out once its speed is known."""
        if self.max_ms is not None and ms > self.max_ms:
            return f"left out: {ms:.1f} ms a sample here is over --max-ms {self.max_ms:g}"
        return None


def permissive(license: str) -> bool:
    """Whether a licence, as a card writes it, asks for a notice at most; one that is not known is not."""
    return bool(_PERMISSIVE.search(license)) and not _NOT.search(license)

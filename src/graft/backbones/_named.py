"""What the name of a backbone says behind the network: how many parts of it, and whether its weights are random.

timm:mobilenetv2_100.ra_in1k:stages=4       the first four parts, the rest removed (`_cut`)
local:FOLDER:weights=random                 the same network without knowledge, as a decoy
local:FOLDER:stages=4:weights=random        both
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from graft.errors import UsageError

EVERY = "*"
"""`:stages=*`: every cut of a network, where a list of candidates is asked for (`graft.backbones.cuts`)."""
_LAST = re.compile(r":(stages|weights)=([^:/\\?]*)$")


@dataclass(frozen=True)
class Asked:
    """`stages` parts behind the input (None: all); `random` weights instead of the pretrained ones."""

    stages: int | None = None
    random: bool = False

    @property
    def suffix(self) -> str:
        """As names have it, always in the same order; "" where nothing is asked."""
        parts = f":stages={self.stages}" if self.stages is not None else ""
        return f"{parts}:weights=random" if self.random else parts


def read(name: str, every: bool = False) -> tuple[str, Asked]:
    """(the name of the whole network, what is asked of it); `every` lets `:stages=*` pass, as None.

    A file or folder that is really called so is no such suffix. Raises UsageError for a number of parts that is none,
    weights other than random, and what is said twice.
    """
    said: dict[str, str] = {}
    whole = name
    while (found := _LAST.search(whole)) and not _is_there(whole):
        if found[1] in said:
            raise UsageError(f"backbone {name!r}: {found[1]}= is said twice; once is expected")
        said[found[1]] = found[2]
        whole = whole[: found.start()]
    if said.get("weights", "random") != "random":
        raise UsageError(f"backbone {name!r}: weights={said['weights']}; possible is :weights=random, or nothing")
    return whole, Asked(_parts(name, said.get("stages"), every), "weights" in said)


def _is_there(name: str) -> bool:
    source, colon, rest = name.partition(":")
    return Path(name).exists() or (bool(colon) and source in ("local", "run") and Path(rest).expanduser().exists())


def _parts(name: str, said: str | None, every: bool) -> int | None:
    if said is None or (every and said == EVERY):
        return None
    if said == EVERY:
        raise UsageError(
            f"backbone {name!r}: the star is for lists, as `graft rank --candidates`; give one number here"
        )
    if not re.fullmatch(r"[0-9]{1,6}", said) or int(said) == 0:
        raise UsageError(
            f"backbone {name!r}: stages={said}: a whole number of at least 1 is expected, of parts behind the input "
            "that are kept (`graft features --stages` lists them)"
        )
    return int(said)

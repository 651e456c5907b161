"""Every random draw as a pure function of a key: the seed and the place in training."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def seed_of(*key: object) -> int:
    """Return a 63-bit seed that depends on the whole key and on nothing else."""
    text = "/".join(str(k) for k in key)
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "little") >> 1


def rng(*key: object) -> np.random.Generator:
    """Return a numpy generator for this key; two calls with one key draw the same numbers."""
    import numpy as np

    return np.random.Generator(np.random.PCG64(seed_of(*key)))

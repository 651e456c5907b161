"""Number format and memory layout of frozen passes, chosen by a short measurement of speed and agreement."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch.nn import functional as F

from graft.data import Sample
from graft.errors import DataError, UsageError
from graft.loading import batches
from graft.model import Backbone

GAIN = 1.15
"""How many times faster than fp32 a lower precision must be."""
AGREES = 0.999
"""Least cosine between the features of a lower precision and those of fp32, over the probe's samples."""
TIE = 1e-3
"""Two neighbours whose fp32 cosines differ by less may change places."""
LAYOUT_GAIN = 1.05
"""How many times faster another memory layout must be than the one the backbone came in."""
PROBE, FEWEST = 16, 4
"""Samples that are looked at: the most, and the fewest that a choice is made on."""
PASS_SECONDS = 0.3
"""What one fp32 pass over the probe may take; a slower backbone is measured on fewer samples."""
SECONDS = 3.0
"""What the measurement may take; what does not fit is not tried."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Precision:
    """How a frozen pass computes, and the measurement that it was chosen by.

    `dtype` is fp32 or bf16; `channels_last` the layout of a picture backbone's weights and maps; `rates` samples
    a second of what was tried ("bf16 channels_last"); `agreement` the least cosine of the choice's pooled
    features with those of fp32 (1 for fp32). All of it is JSON: `plain` and `from_plain`.
    """

    dtype: str = "fp32"
    channels_last: bool = True
    rates: dict[str, float] = field(default_factory=dict)
    agreement: float = 1.0

    @property
    def way(self) -> str:
        """What a cache's key needs of it: the clock's part is not in it."""
        return f"{self.dtype} {'channels_last' if self.channels_last else 'contiguous'}"

    def plain(self) -> dict[str, Any]:
        """As a run's decisions keep it."""
        return asdict(self)


def from_plain(value: dict[str, Any]) -> Precision:
    """What `plain` gave. Raises DataError for another format."""
    try:
        found = Precision(**value)
    except TypeError as e:
        raise DataError(f"a precision is expected, with dtype, channels_last, rates and agreement: {e}") from e
    if found.dtype not in _DTYPES:
        raise DataError(f"precision {found.dtype!r}: possible are {', '.join(_DTYPES)}")
    return found


def asked_for(way: str) -> Precision:
    """The precision that a `way` names: "fp32", "bf16", either with "contiguous" or "channels_last"; auto is fp32.

    Raises UsageError for anything else.
    """
    dtype, _, layout = ("fp32" if way == "auto" else way).partition(" ")
    if dtype not in _DTYPES or layout not in ("", "contiguous", "channels_last"):
        raise UsageError(f"--precision {way}: possible are auto, fp32, bf16, 'fp32 contiguous' and 'bf16 contiguous'")
    return Precision(dtype, layout != "contiguous")


def prepared(backbone: Backbone, precision: Precision | None) -> Backbone:
    """The backbone in evaluation mode, as the precision wants it: itself where nothing changes, else a copy."""
    if precision is None or (precision.dtype == "fp32" and precision.channels_last):
        return backbone.eval()  # as `backbones.load` gives it
    made = copy.deepcopy(backbone).eval().to(dtype=_DTYPES[precision.dtype])
    layout = torch.channels_last if precision.channels_last else torch.contiguous_format
    return made.to(memory_format=layout)


def cast(x: torch.Tensor, precision: Precision | None) -> torch.Tensor:
    """A batch's x in the precision's number format and layout; token ids stay."""
    if precision is None or not x.is_floating_point():
        return x
    x = x.to(_DTYPES[precision.dtype])
    return x.contiguous() if x.ndim == 4 and not precision.channels_last else x


@torch.inference_mode()
def choose(backbone: Backbone, samples: Sequence[Sample], device: torch.device | str = "cpu") -> Precision:
    """Measure, for at most three seconds, which precision and layout serve frozen passes of `backbone` on `device`.

    The reference is fp32 in the layout that `backbones.load` gives. Another layout is taken where it is at
    least 1.05 times as fast; bf16 where it is at least 1.15 times as fast as the fastest fp32, the least cosine of
    its pooled features with those of fp32 is at least 0.999, and every sample of the probe keeps its nearest
    neighbour (but for ties). What fails or is hopelessly slow is left out. The answer depends on a clock: keep it.
    """
    if not samples:
        return Precision()
    end = time.monotonic() + SECONDS
    backbone = backbone.to(device)
    best, rates = Precision(), {}
    x = _probe(backbone, samples).to(device)
    truth, rates[best.way] = _measured(backbone.eval(), x, SECONDS / 3)
    layouts = (True, False) if x.ndim == 4 else (True,)
    for tried in [Precision(d, c) for d in _DTYPES for c in layouts][1:] if len(x) >= FEWEST else []:
        with suppress(RuntimeError, NotImplementedError):  # an operation that this format does not have here
            net, given = prepared(backbone, tried), cast(x, tried)
            if not _is_promising(net, given, rates[best.way], end):
                continue
            pooled, rates[tried.way] = _measured(net, given, (end - time.monotonic()) / 2)
            gain = LAYOUT_GAIN if tried.dtype == best.dtype else GAIN
            if rates[tried.way] >= gain * rates[best.way] and (tried.dtype == "fp32" or agrees(truth, pooled)):
                best = Precision(tried.dtype, tried.channels_last, agreement=agreement(truth, pooled))
    return Precision(best.dtype, best.channels_last, {k: round(v, 2) for k, v in rates.items()}, best.agreement)


def _probe(backbone: Backbone, samples: Sequence[Sample]) -> torch.Tensor:
    """x of one batch of samples from all over the data, of as many as a pass of fp32 has the time for."""
    step = max(1, len(samples) // PROBE)
    some = list(samples[::step][:PROBE])
    x = next(batches(some, backbone, PROBE))[1].x.to(next(backbone.parameters()).device)
    _seconds(backbone.eval(), x[:2])  # a first pass builds its kernels
    each = _seconds(backbone, x[:2])[1] / len(x[:2])
    return x[: max(2, min(PROBE, int(PASS_SECONDS / each)))]


def _is_promising(backbone: Backbone, x: torch.Tensor, known: float, end: float) -> bool:
    """Whether there is time to measure this, and two samples do not take over four times what they may."""
    if time.monotonic() + 3 * len(x) / known > end:
        return False
    _seconds(backbone, x[:2])
    return _seconds(backbone, x[:2])[1] < 4 * len(x[:2]) / known


def _measured(backbone: Backbone, x: torch.Tensor, seconds: float) -> tuple[torch.Tensor, float]:
    """(pooled features [b, d], samples a second): the best of up to five passes after a warm-up."""
    end = time.monotonic() + seconds
    pooled, _ = _seconds(backbone, x)
    times = [_seconds(backbone, x)[1]]
    while len(times) < 5 and time.monotonic() + times[-1] < end:
        times.append(_seconds(backbone, x)[1])
    return pooled, len(x) / min(times)


def _seconds(backbone: Backbone, x: torch.Tensor) -> tuple[torch.Tensor, float]:
    start = time.perf_counter()
    pooled = backbone(x).pooled.float().cpu()  # to the processor: that waits for the device
    return pooled, time.perf_counter() - start


def agreement(truth: torch.Tensor, other: torch.Tensor) -> float:
    """The least cosine between rows of two tables of features [n, d]; 0 where a value is not finite."""
    if not bool(torch.isfinite(other).all()):
        return 0.0
    return round(float(F.cosine_similarity(truth.double(), other.double(), dim=1).min()), 6)


def agrees(truth: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether `other` [n, d] may stand for `truth`: cosines of at least AGREES, the same nearest neighbours.

    Of centred features, since those of a network mostly point one way. A neighbour may be another where the two
    are equally near in `truth`, to within TIE.
    """
    if agreement(truth, other) < AGREES:
        return False
    near, now = (_similar(t) for t in (truth, other))
    chosen = near.gather(1, now.argmax(dim=1, keepdim=True)).squeeze(1)
    return len(truth) < 3 or bool((near.max(dim=1).values - chosen <= TIE).all())


def _similar(pooled: torch.Tensor) -> torch.Tensor:
    """Cosines [n, n] between centred rows, each row's own left out."""
    rows = F.normalize(pooled.double() - pooled.double().mean(dim=0), dim=1)
    return (rows @ rows.T).fill_diagonal_(-torch.inf)

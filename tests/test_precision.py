"""The choice of number format and layout: what is taken, what is refused, and what stays of it."""

from __future__ import annotations

import json
from pathlib import Path

import models
import pytest
import torch
from toys import Toy

from graft import backbones, precision
from graft.data import Sample
from graft.errors import DataError
from graft.precision import Precision, agrees, choose, from_plain, prepared


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Rates by way instead of a clock; the features are real."""
    rates = {"fp32 channels_last": 100.0, "fp32 contiguous": 100.0, "bf16 channels_last": 100.0, "bf16 contiguous": 1.0}

    def measured(backbone: torch.nn.Module, x: torch.Tensor, seconds: float) -> tuple[torch.Tensor, float]:
        dtype = "bf16" if next(backbone.parameters()).dtype == torch.bfloat16 else "fp32"
        last = x.ndim != 4 or (x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous())
        return backbone(x).pooled.float(), rates[f"{dtype} {'channels_last' if last else 'contiguous'}"]

    monkeypatch.setattr(precision, "_measured", measured)
    monkeypatch.setattr(precision, "_is_promising", lambda *given: True)
    return rates


@pytest.fixture
def pictures(photos: Path) -> list[Sample]:
    return [Sample(p, id=p.name) for p in sorted(photos.rglob("*.png"))]


@pytest.fixture
def net(zoo: Path) -> object:
    return backbones.load(f"local:{zoo}/tiny")


@pytest.mark.parametrize(
    ("rates", "dtype", "last"),
    [
        ({}, "fp32", True),
        ({"fp32 contiguous": 104.0}, "fp32", True),
        ({"fp32 contiguous": 106.0}, "fp32", False),
        ({"bf16 channels_last": 114.0}, "fp32", True),
        ({"bf16 channels_last": 300.0}, "bf16", True),
        ({"bf16 channels_last": 300.0, "bf16 contiguous": 400.0}, "bf16", False),
        ({"fp32 contiguous": 280.0, "bf16 channels_last": 300.0}, "fp32", False),
    ],
)
def test_what_is_measurably_faster_is_taken(
    clock: dict[str, float], net: Toy, pictures: list[Sample], rates: dict[str, float], dtype: str, last: bool
) -> None:
    clock.update(rates)
    found = choose(net, pictures)
    assert (found.dtype, found.channels_last) == (dtype, last)
    assert found.rates == clock
    assert found.agreement > 0.999


def test_what_does_not_agree_is_refused_however_fast(
    clock: dict[str, float], net: Toy, pictures: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock["bf16 channels_last"] = 1000.0
    monkeypatch.setattr(precision, "AGREES", 1.1)
    assert choose(net, pictures).dtype == "fp32"


def test_a_format_that_fails_is_left_out(
    clock: dict[str, float], net: Toy, pictures: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock["bf16 channels_last"] = 1000.0
    usual = precision.prepared

    def failing(backbone: Toy, how: Precision) -> object:
        if how.dtype == "bf16":
            raise RuntimeError("not implemented for BFloat16")
        return usual(backbone, how)

    monkeypatch.setattr(precision, "prepared", failing)
    found = choose(net, pictures)
    assert found.dtype == "fp32" and set(found.rates) == {"fp32 channels_last", "fp32 contiguous"}


def test_a_real_measurement_says_its_rates(bert: Path) -> None:
    backbone = backbones.load(f"local:{bert}")
    before = {k: v.clone() for k, v in backbone.state_dict().items()}
    found = choose(backbone, [Sample(t, id=t) for t, _ in models.texts(40)])
    assert found.rates["fp32 channels_last"] > 0 and "fp32 contiguous" not in found.rates
    assert all(torch.equal(v, before[k]) for k, v in backbone.state_dict().items())


def test_nothing_to_measure_is_fp32() -> None:
    assert choose(Toy("row"), []) == Precision()


def test_it_goes_through_json() -> None:
    given = Precision("bf16", False, {"fp32 channels_last": 3.5, "bf16 contiguous": 9.0}, 0.9996)
    assert from_plain(json.loads(json.dumps(given.plain()))) == given
    assert given.way == "bf16 contiguous"


@pytest.mark.parametrize("value", [{"dtype": "fp8"}, {"speed": 3}])
def test_another_format_of_it_is_refused(value: dict[str, object]) -> None:
    with pytest.raises(DataError, match="precision"):
        from_plain(value)


@pytest.mark.parametrize("change", ["same", "rounding", "scaled", "swapped", "one row", "nan"])
def test_agreement_is_cosine_and_neighbours(change: str) -> None:
    draw = torch.Generator().manual_seed(0)
    truth = torch.randn(12, 64, generator=draw) + 8.0  # as features are: they mostly point one way
    other = truth.clone()
    if change == "rounding":
        other = truth.bfloat16().float()
    elif change == "scaled":
        other = truth * 3
    elif change == "swapped":  # the common part hides it from the plain cosine
        truth = truth + 1000.0
        other = truth.clone()
        other[[0, 1]] = truth[[1, 0]]
    elif change == "one row":
        other[5] = -other[5]
    elif change == "nan":
        other[0, 0] = torch.nan
    assert agrees(truth, other) is (change in ("same", "rounding", "scaled"))


def test_the_given_backbone_is_used_where_nothing_changes() -> None:
    toy = Toy("picture")
    assert prepared(toy, None) is toy and prepared(toy, Precision()) is toy
    low = prepared(toy, Precision("bf16", False))
    assert low is not toy and next(low.parameters()).dtype == torch.bfloat16
    assert next(toy.parameters()).dtype == torch.float32 and not low.training

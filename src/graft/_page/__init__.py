"""The sections of a report's page: what the template shows of each, or nothing where the data are missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from graft._page.about import curves, data, decided, machine, recipe, usage
from graft._page.answers import calibration, classes, confusion, mistakes, residuals, thresholds
from graft._page.forgetting import forgetting
from graft._page.layers import layers
from graft._page.ranking import rank
from graft._page.scores import PARTS, controls, headline, measures, rungs
from graft._page.sureness import abstention, conformal
from graft._wording import Report

__all__ = ["PARTS", "SECTIONS", "confusion", "usage"]

SECTIONS: Mapping[str, Callable[[Report], Any]] = {
    f.__name__: f
    for f in (
        headline, controls, measures, rungs, layers, forgetting, decided, residuals, mistakes, confusion, thresholds,
        classes, calibration, conformal, abstention, curves, rank, data, usage, recipe, machine,
    )
}  # fmt: skip
"""By the name that the template knows."""

"""Pull features towards zero length: a made-up penalty that shows the form of a method from outside.

graft fit photos/ --zoo models/ --plugin examples/shrink.py --recipe "finetune + shrink:weight=0.1"
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from graft.methods import Method
from graft.recipe import note
from graft.train.step import Step


@dataclass
class Shrink(Method):
    """A penalty on the mean square of pooled features."""

    weight: float = field(default=0.01, metadata=note("factor of the penalty"))

    def loss(self, step: Step) -> torch.Tensor:
        return self.weight * step.out.features.pooled.square().mean()

"""The same network without the knowledge: random weights, for the controls that start from nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from graft import backbones
from graft.data import Sample
from graft.loading import batches
from graft.methods import freeze
from graft.model import Backbone, batch_norms
from graft.recipe import Spec, Stage
from graft.seeds import rng, seed_of
from graft.train import methods_of, solves

SETTLED_ON = 128  # training samples that the statistics of a random network's BatchNorms are taken from
RATES = {"picture": 1e-3, "text": 5e-4}
"""Peak rates from random weights: those of fine-tuning are made to stay near what is known, and would learn little."""
TUNER = "finetune:depth=0,decay=1.0,head=1.0,norms_from=0"
"""Fine-tuning that treats all weights alike, for none of them is known to be good."""


def same_network(pretrained: Backbone, train: Sequence[Sample], seed: int) -> Backbone:
    """The network of `pretrained` with random weights, frozen, in evaluation mode.

    Its BatchNorms take their statistics from training samples: left as they come (mean 0, variance 1), signals of a
    deep network die out or explode, and the control would be weaker than random weights are (random features with
    statistics of the data: Frankle, Schwab and Morcos 2021, section 3).
    """
    torch.manual_seed(seed_of(seed, "scratch"))
    made = backbones.randomised(pretrained)
    _settle(made, train, seed)
    freeze(made)
    return made.eval()


@torch.no_grad()
def _settle(backbone: Backbone, train: Sequence[Sample], seed: int) -> None:
    norms = [m for m in batch_norms(backbone) if m.running_mean is not None]
    if not norms or len(train) < 2:
        return
    drawn = rng(seed, "scratch", "settle").permutation(len(train))[:SETTLED_ON]
    usual = [m.momentum for m in norms]
    backbone.train()
    for m in norms:
        m.reset_running_stats()
        m.momentum = None  # the mean over all batches
    device = next(backbone.parameters()).device
    for rows, batch in batches([train[i] for i in sorted(drawn)], backbone, 32):
        if len(rows) > 1:
            backbone(batch.x.to(device))
    for m, momentum in zip(norms, usual, strict=True):
        m.momentum = momentum


def stages_from(stages: Sequence[Stage], modality: str) -> tuple[Stage, ...]:
    """A recipe's stages as they train from random weights.

    Stages that solve on frozen features fall away (a stage behind them would start from a probe of nothing), the
    tuner moves all weights alike, and the rate is that of training from nothing; epochs, batch, views and the other
    methods stay.
    """
    trained = [stage for stage in stages if not solves(stage)]
    return tuple(_from_nothing(stage, modality) for stage in trained)


def _from_nothing(stage: Stage, modality: str) -> Stage:
    tuners = {m.name for m in methods_of(stage) if m.tunes}
    methods = tuple(TUNER if Spec.parse(m).name in tuners else m for m in stage.methods)
    batch = None if stage.batch is None else max(stage.batch, 2)  # a BatchNorm that learns has no variance of one
    return replace(stage, methods=methods, lr=max(stage.lr or 0.0, RATES.get(modality, 1e-3)), batch=batch)

"""A run's model as a plain object, or a folder, of the library that its backbone came from.

Nothing of graft is needed to open or use what is made here. A hook carries the trained head over where the
library has a place for it that gives the same numbers, which is measured before it is claimed; else the
network gives features alone. Scores come as the model gives them: `softmax(scores / run.temperature)` (of several
labels the sigmoid) are the run's probabilities.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from graft.run import Run


def to_timm(run: Run, folder: str | Path | None = None) -> nn.Module:
    """The run's network as a timm model in evaluation mode on the CPU, and in `folder` where one is given.

    `num_classes` is the run's with the trained classifier where the run's head is linear and timm's place for
    it gives the same scores (to 1e-5); else it is 0 and the model gives pooled features [b, d]. Its
    `pretrained_cfg` holds the run's preprocessing, so `timm.data.create_transform(
    **timm.data.resolve_model_data_config(model), is_training=False)` prepares pictures. That gives graft's own
    tensor wherever the picture is square and at most three times as large as the input is; elsewhere graft's
    scaled decoding and its rounding of the longer side differ a little. `timm.create_model(
    f"local-dir:{folder}", pretrained=True)` opens the folder, which also says the labels.

    Raises UsageError where the backbone is of another library or the folder exists, SetupError where it cannot
    be written, DataError where timm does not open what was written to the same numbers.
    """
    from graft.hooks import _timm

    return _timm.export(run, folder)


def to_transformers(run: Run, folder: str | Path | None = None) -> PreTrainedModel:
    """The run's network as a transformers model in evaluation mode on the CPU, and in `folder` where one is given.

    Pictures: the model of `AutoModelForImageClassification` with the trained classifier where that gives the
    same scores (to 1e-5), else that of `AutoModel`, whose features are read as graft reads them. The folder has
    an image processor beside it; it resizes with torch, graft with Pillow, so pixels may differ by a level or so
    where a picture is not of the input's size already.

    Texts: always the encoder, that of `AutoModel`: graft's head reads the mean over the tokens, which no
    `AutoModelForSequenceClassification` does. The folder is also one of sentence-transformers:
    `SentenceTransformer(folder).encode(texts)` gives the features that graft's head reads, and a linear head
    lies beside it, in `classifier`, as a Dense module that `append(Dense.load(folder, subfolder="classifier"))`
    turns into class scores. graft composes characters (NFC) and drops control characters of a text first.

    Raises UsageError where the backbone is of another library or the folder exists, SetupError where it cannot
    be written.
    """
    from graft.hooks import _transformers

    return _transformers.export(run, folder)


def to_torchvision(run: Run, folder: str | Path | None = None) -> nn.Module:
    """The run's network as a torchvision model in evaluation mode on the CPU, and in `folder` where one is given.

    With a linear head its last layer is the trained classifier; `state_dict()` then fits
    `torchvision.models.get_model(NAME, num_classes=n)`. A ReLU after the last layer (SqueezeNet has one) is
    replaced by Identity, as graft's scores may be negative. Another head leaves Identity in the last layer's
    place: features. The folder (linear heads alone) holds model.safetensors and a config.json that tells the
    architecture, preprocessing and labels; graft opens it as `local:FOLDER`.

    Raises UsageError where the backbone is of another library, the folder exists, or a folder is asked for
    without a linear head; SetupError where it cannot be written.
    """
    from graft.hooks import _torchvision

    return _torchvision.export(run, folder)

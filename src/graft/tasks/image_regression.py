"""Image regression: a number for each picture."""

from __future__ import annotations

from graft.tasks import Task
from graft.tasks._numbers import Numbers


class ImageRegression(Task):
    """Reads class folders, manifests, tables, npz arrays, frames and lists; see `graft.readers`."""

    modality = "picture"
    outputs = "numbers"
    answer = Numbers()

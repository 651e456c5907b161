"""Image multi-label classification: any number of labels for each picture."""

from __future__ import annotations

from graft.tasks import Task
from graft.tasks._labels import Labels


class ImageMultilabel(Task):
    """Reads class folders, manifests, tables, npz arrays, frames and lists; see `graft.readers`."""

    modality = "picture"
    outputs = "labels"
    answer = Labels()

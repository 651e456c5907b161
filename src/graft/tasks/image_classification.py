"""Image classification: one of several classes for each picture."""

from __future__ import annotations

from graft.tasks import Task
from graft.tasks._classes import Classes


class ImageClassification(Task):
    """Reads class folders, manifests, tables, npz arrays, frames and lists; see `graft.readers`."""

    modality = "picture"
    outputs = "classes"
    answer = Classes()

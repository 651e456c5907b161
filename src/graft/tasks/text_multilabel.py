"""Text multi-label classification: any number of labels for each text."""

from __future__ import annotations

from graft.tasks import Task
from graft.tasks._labels import Labels


class TextMultilabel(Task):
    """Reads csv, tsv, jsonl and parquet, also gz and in parts, frames, lists and data sets; see `graft.readers`."""

    modality = "text"
    outputs = "labels"
    answer = Labels()

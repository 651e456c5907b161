"""Text classification: one of several classes for each text."""

from __future__ import annotations

from graft.tasks import Task
from graft.tasks._classes import Classes


class TextClassification(Task):
    """Reads csv, tsv, jsonl and parquet, also gz and in parts, frames, lists and data sets; see `graft.readers`."""

    modality = "text"
    outputs = "classes"
    answer = Classes()

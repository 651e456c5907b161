"""Text regression: a number for each text."""

from __future__ import annotations

from graft.tasks import Task
from graft.tasks._numbers import Numbers


class TextRegression(Task):
    """Reads csv, tsv, jsonl and parquet, also gz and in parts, frames, lists and data sets; see `graft.readers`."""

    modality = "text"
    outputs = "numbers"
    answer = Numbers()

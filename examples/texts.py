"""From a data frame of texts to a proven model: fit, look at the verdict, predict, open the run again.

python examples/texts.py [SECONDS]
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import pandas as pd

import graft


def main(budget: float = 60.0) -> None:
    """Fit the messages that come along."""
    frame = pd.read_csv(Path(__file__).parent / "messages" / "messages.csv")
    with tempfile.TemporaryDirectory() as folder:
        run = graft.fit(frame, budget=budget, out=Path(folder) / "messages", quiet=True)
        print(run.report["verdict"])
        print(run.predict(["the parcel is two weeks late", "how do I change my password"])[["label", "probability"]])
        again = graft.load(run.folder)
        assert again.labels == tuple(sorted(frame["label"].unique()))


if __name__ == "__main__":
    main(*(float(a) for a in sys.argv[1:]))

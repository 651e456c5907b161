"""Pictures of your own and a folder of models: rank them, then fit with a recipe and no clock.

python examples/pictures.py PHOTOS MODELS
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import graft


def main(photos: str, models: str) -> None:
    """Rank the models below `models` for the class folders in `photos`, and probe with the best."""
    ranking = graft.rank(photos, candidates=models)
    print(ranking.sentence())
    with tempfile.TemporaryDirectory() as folder:
        run = graft.fit(photos, backbone=ranking.choice or "auto", recipe="probe", out=Path(folder) / "run", quiet=True)
        print(run.report["verdict"])


if __name__ == "__main__":
    main(*sys.argv[1:3])

"""Every test keeps to a cache of its own, one thread and no hub; what is marked slow runs with `-m slow` alone."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import models
import pytest

if TYPE_CHECKING:
    from graft.run import Run

# Set before anything imports these libraries, and inherited by child processes. Networks this small spend
# most of their time on waiting when they are shared out to several threads.
os.environ.update(HF_HUB_OFFLINE="1", HF_HOME=str(Path(tempfile.gettempdir()) / "graft-tests-without-hub"))
os.environ.update(OMP_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
os.environ.pop("GRAFT_ZOO", None)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import torch

    torch.set_num_threads(1)
    before = os.environ.get("GRAFT_CACHE")
    os.environ["GRAFT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    os.environ.pop("GRAFT_CACHE")
    if before is not None:
        os.environ["GRAFT_CACHE"] = before


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("-m"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="slow: run with -m slow"))


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the session's shared models, data and runs lie in."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="session")
def bert(home: Path) -> Path:
    """A tiny text encoder."""
    return models.bert_folder(home / "bert")


@pytest.fixture(scope="session")
def zoo(home: Path) -> Path:
    """A folder with one tiny picture backbone."""
    models.timm_folder(home / "zoo" / "tiny")
    return home / "zoo"


@pytest.fixture(scope="session")
def reviews(home: Path) -> Path:
    """A csv of 80 short texts of two classes."""
    return models.write_csv(home / "reviews.csv", models.texts(80))


@pytest.fixture(scope="session")
def photos(home: Path) -> Path:
    """Class folders with 48 pictures."""
    return models.picture_folder(home / "photos")


@pytest.fixture(scope="session")
def text_run(home: Path, bert: Path, reviews: Path) -> Run:
    """A finished run of two stages on the reviews."""
    import graft

    return graft.fit(
        reviews,
        backbone=f"local:{bert}",
        recipe="probe > finetune:depth=1",
        set=["stage.1.epochs=2"],
        out=home / "texts",
        quiet=True,
    )


@pytest.fixture(scope="session")
def picture_run(home: Path, zoo: Path, photos: Path) -> Run:
    """A finished run that climbed the ladder on the photos."""
    import graft

    return graft.fit(photos, zoo=zoo, budget="60s", out=home / "pictures", quiet=True)

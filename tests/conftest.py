"""Every test keeps to a cache of its own and to two threads; what is marked slow runs with `-m slow` alone."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import torch

    torch.set_num_threads(2)
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

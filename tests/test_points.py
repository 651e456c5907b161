"""A run that dies at any of its changes of the disk, and is resumed, equals one left alone, bit for bit."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import models
import pytest
from command import names
from lives import Lives
from test_kill import OFTEN, equal

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="lives are forked, and /proc is read")

AT_EVERY_STEP = OFTEN.replace("wait: float = 0.01", "wait: float = 0.0").replace(
    "graft.train.EVERY = 0.2",
    "graft.train.EVERY = -1.0\ngraft.evaluate.RESAMPLES = 20\ngraft.linear.FOLDS = 2  # quicker: there are many lives",
)


@pytest.fixture(scope="module")
def words(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """A run of two stages and three steps, with a checkpoint at each; `--out` is left open."""
    place = tmp_path_factory.mktemp("points")
    (place / "often.py").write_text(AT_EVERY_STEP)
    data = models.write_csv(place / "t.csv", models.texts(40))
    return [
        "fit", data, "--backbone", f"local:{bert}", "--recipe", "probe:l2=0.1 > finetune:depth=1 + often",
        "--set", "stage.1.epochs=1.5", "--set", "stage.1.batch=16", "--plugin", place / "often.py", "--resume",
        "--json", "--out",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lives]:
    with Lives(tmp_path_factory.mktemp("lives")) as server:
        yield server


@pytest.fixture(scope="module")
def points(words: list[object], lives: Lives, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """(the run left alone, its changes of the disk)."""
    root = tmp_path_factory.mktemp("straight")
    return root / "run", lives.points(*words, root / "run", root=root)


def test_the_points_are_those_that_matter(points: tuple[Path, list[str]]) -> None:
    """What a run writes, flushes, renames and removes is among them: the folder, its arms, the cache."""
    made = "\n".join(re.sub("[0-9a-f]{32,64}", "*", p) for p in points[1])
    for wanted in (
        "replace .tmp-*", "mkdir run.partial", "replace run.partial/.tmp-*", "rename cache/features/.",
        "mkdir run.partial/arms/recipe",
        "half of run.partial/arms/recipe/checkpoints/stage-1/.tmp-1-*/model.safetensors",
        "half of run.partial/arms/recipe/checkpoints/stage-1/.tmp-2-*/optimizer.safetensors",
        "rename run.partial/arms/recipe/checkpoints/stage-1/.tmp-2-*", "rmdir run.partial/arms/recipe/checkpoints",
        "replace run.partial/arms/probe/.tmp-*", "half of run.partial/predictions.parquet",
        "half of run.partial/log.jsonl", "rename run.partial", "unlink run/.finish.json",
    ):  # fmt: skip
        assert f"\n{wanted}" in f"\n{made}", f"{wanted} in\n{made}"
    assert len(points[1]) > 80


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_dead_at_every_point_and_resumed(words: list[object], points: tuple[Path, list[str]], tmp_path: Path) -> None:
    """Two servers share the points: one for each core."""
    straight, made = points

    def share(first: int) -> int:
        with Lives(tmp_path / f"lives-{first}") as own:
            for deadly in range(first, len(made) + 1, 2):
                dies_and_goes_on(own, words, straight, tmp_path / f"life-{first}", deadly, made[deadly - 1])
        return len(range(first, len(made) + 1, 2))

    with ThreadPoolExecutor(2) as pool:
        assert sum(pool.map(share, (1, 2))) == len(made)


def dies_and_goes_on(lives: Lives, words: list[object], straight: Path, root: Path, deadly: int, what: str) -> None:
    """One death and the life after it."""
    root.mkdir()
    died = lives.die(*words, root / "run", root=root, deadly=deadly)
    assert died.code == 9, (deadly, what, died)
    life = lives.live(*words, root / "run", cache=root / "cache")
    assert life.code == 0, (deadly, what, life)
    equal(straight, root / "run")
    assert names(root / "run") == names(straight), (deadly, what)
    rest = names(root) - {"run", "cache"}
    assert all(n.startswith((".graft-probe-", ".tmp-")) for n in rest), (deadly, what, rest)
    shutil.rmtree(root)

"""A fit that is killed, stopped or damaged at any moment and resumed equals one left alone, bit for bit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import models
import numpy as np
import pandas as pd
import pytest
from command import run, start
from lives import Lives

import graft

OFTEN = '''"""Save a checkpoint every few steps: a run of seconds must have some."""
from dataclasses import dataclass

import graft.evaluate
import graft.linear
import graft.train
from graft.methods import Method

graft.train.EVERY = 0.2


@dataclass
class Often(Method):
    """Counts its steps, and waits a little at each, so that a kill finds the run at work."""

    wait: float = 0.01
    count: int = 0

    def loss(self, step):
        return 1e-3 * (1 + self.count % 3) * step.out.pred.square().mean()

    def after_step(self, step):
        import time

        self.count += 1
        time.sleep(self.wait)

    def state(self):
        return {"count": self.count}

    def load_state(self, state):
        self.count = state["count"]
'''


@pytest.fixture(scope="module")
def words(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """A command of some ten seconds, its imports included; `--out` is left open."""
    place = tmp_path_factory.mktemp("kill")
    (place / "often.py").write_text(OFTEN)
    data = models.write_csv(place / "t.csv", models.texts(160))
    return [
        "fit", data, "--backbone", f"local:{bert}", "--recipe", "probe:l2=0.1 > finetune:depth=2 + often", "--set",
        "stage.1.epochs=32", "--set", "stage.1.patience=0", "--plugin", place / "often.py", "--json", "--out",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def straight(words: list[object], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run left alone."""
    out = tmp_path_factory.mktemp("straight") / "run"
    said = run(*words, out)
    assert said.code == 0, said.err
    return out


def equal(a: Path, b: Path) -> None:
    """Assert that two runs answer the same, bit for bit, and trained the same way."""
    left, right = (pd.read_parquet(p / "predictions.parquet") for p in (a, b))
    assert list(left["id"]) == list(right["id"])
    scores = [c for c in left.columns if c.startswith("score_")]
    assert np.array_equal(left[scores].to_numpy(), right[scores].to_numpy())
    assert (a / "weights.safetensors").read_bytes() == (b / "weights.safetensors").read_bytes()
    logs = [[json.loads(x) for x in (p / "log.jsonl").read_text().splitlines()] for p in (a, b)]
    steps = [[(x["stage"], x["step"], x["terms"]) for x in log if "terms" in x] for log in logs]
    assert steps[0] == steps[1]


def checkpoints(out: Path) -> list[Path]:
    """Whole checkpoints of the stage that trains, the newest last."""
    found = Path(f"{out}.partial").glob("arms/recipe/checkpoints/stage-1/step-*")
    return sorted(p for p in found if p.name.removeprefix("step-").isdigit())


def wait_for(process: subprocess.Popen[str], out: Path, least: int = 1, after: int = 0) -> None:
    """Wait until there is a checkpoint of a step beyond `after`."""
    end = time.monotonic() + 90
    while time.monotonic() < end:
        found = [p for p in checkpoints(out) if step_of(p) > after]
        if len(found) >= least:
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("no checkpoint came")


def kill_often(words: list[object], out: Path, times: int, seed: int, longest: float) -> int:
    """Start, kill after a random while, start again; (how often it was really killed)."""
    draw, killed = random.Random(seed), 0
    for _ in range(times):
        process = start(*words, out, "--resume")
        try:
            process.communicate(timeout=draw.uniform(0.5, longest))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
    return killed


def resumed(words: list[object], out: Path) -> str:
    said = run(*words, out, "--resume")
    assert said.code == 0, said.err
    assert said.out.count("\n") == 1
    assert not Path(f"{out}.partial").exists()
    return said.err


def step_of(path: Path) -> int:
    return int(path.name.rpartition("-")[2])


def killed(words: list[object], out: Path, least: int = 1, after: int = 0, wait: float = 0.0) -> str:
    """One life: go on from where the last one ended, make new checkpoints, be killed a while later; its words."""
    process = start(*words, out, "--resume")
    wait_for(process, out, least, after)
    time.sleep(wait)
    assert process.poll() is None, "the run was over before it could be killed"
    process.kill()
    return process.communicate()[1]


def flip(path: Path) -> None:
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(bytes(raw))


def test_killed_three_times_and_resumed(words: list[object], straight: Path, tmp_path: Path) -> None:
    """While its first checkpoint is written, in training, and after its newest checkpoint was damaged."""
    draw, out = random.Random(1), tmp_path / "run"
    killed(words, out)
    for path in checkpoints(out):  # the folder is there and holds nothing whole: the probe must be done again
        path.rename(path.with_name(f".tmp-{path.name}"))
    assert "goes on from" not in killed(words, out, least=2, wait=draw.uniform(0, 0.2))
    before, newest = checkpoints(out)[-2:]
    flip(newest / "model.safetensors")
    said = killed(words, out, after=step_of(newest), wait=draw.uniform(0, 0.2))
    damaged = [line for line in said.splitlines() if "is damaged" in line]
    assert len(damaged) == 1
    assert newest.name in damaged[0]
    assert f"goes on from step {step_of(before)}" in said
    assert not out.exists()
    assert "goes on from step" in resumed(words, out)
    equal(straight, out)


@pytest.mark.slow
def test_asked_to_stop_it_stops_and_goes_on(words: list[object], straight: Path, tmp_path: Path) -> None:
    out, reached = tmp_path / "run", 0
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(*words, out, "--resume")
        wait_for(process, out, after=reached)
        process.send_signal(number)
        said, err = process.communicate(timeout=60)
        assert (process.returncode, said) == (75, "")
        assert number.name in err
        assert "--resume" in err.splitlines()[-1]
        assert "Traceback" not in err
        assert json.loads((Path(f"{out}.partial") / "owner.json").read_text())["pid"] == 0, "it left in good order"
        reached = step_of(checkpoints(out)[-1])
    assert f"goes on from step {reached}" in resumed(words, out)
    equal(straight, out)


@pytest.mark.slow
def test_killed_ten_times_at_random_moments(words: list[object], tmp_path: Path) -> None:
    """Also while libraries load, data are read and files are written; a run of some twenty seconds."""
    longer = {"+ often": "+ often:wait=0.03", "epochs=32": "epochs=110"}
    at_length = list(words)
    for short, long in longer.items():
        at_length = [w.replace(short, long) if isinstance(w, str) else w for w in at_length]
    assert at_length != words
    assert kill_often(at_length, tmp_path / "run", 10, seed=2, longest=7.0) >= 8
    resumed(at_length, tmp_path / "run")
    said = run(*at_length, tmp_path / "straight")
    assert said.code == 0, said.err
    equal(tmp_path / "straight", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="lives are forked")
def test_killed_forty_times_at_random_moments_of_work(words: list[object], tmp_path: Path) -> None:
    """Lives are forked from a process that imported everything, so that each kill falls into work.

    A run that is finished between two kills is compared with the straight one, and the next is begun.
    """
    draw, kills, runs = random.Random(3), 0, 0
    short = [w.replace("epochs=32", "epochs=16") if isinstance(w, str) else w for w in words]
    with Lives(tmp_path / "lives") as lives:
        begun = time.monotonic()
        life = lives.live(*short, tmp_path / "straight", cache=tmp_path / "cache")
        assert life.code == 0, life
        whole = time.monotonic() - begun
        while kills < 40:
            out, life = tmp_path / f"run-{runs}", None
            cache = tmp_path / f"cache-{runs}"
            while life is None or life.code == -9:
                ends = draw.uniform(0.0, 0.7 * whole) if kills < 40 else None
                life = lives.live(*short, out, "--resume", cache=cache, killed_after=ends)
                kills += life.code == -9
            assert life.code == 0, life
            equal(tmp_path / "straight", out)
            assert not Path(f"{out}.partial").exists()
            runs += 1
    assert runs >= 2


@pytest.mark.slow
def test_the_second_signal_ends_at_once(words: list[object], tmp_path: Path) -> None:
    """Asked while the libraries load, it would stop at the first step; asked twice it does not wait for that."""
    process = start(*words, tmp_path / "run")
    assert process.stderr
    end = time.monotonic() + 60
    while not Path(f"{tmp_path / 'run'}.partial").exists() and time.monotonic() < end:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert "SIGINT" in process.stderr.readline() + process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (75, "")
    assert "Traceback" not in err
    assert not (tmp_path / "run").exists()


def test_a_resumed_run_is_a_run_like_any_other(straight: Path) -> None:
    found = graft.load(straight)
    assert found.report["rungs"][0]["kept"]
    assert found.predict(["a lovely day"])["label"][0] in found.labels

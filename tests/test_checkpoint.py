"""A checkpoint is the old one or the new one, whole, through kills, full disks and flipped bits."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from graft import checkpoint
from graft.checkpoint import Checkpoint, latest, save
from graft.errors import DataError, SetupError
from graft.files import read_json, write_json

pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the fault is made with Linux means")

DIED = 9


def content(n: int) -> tuple[dict[str, dict[str, torch.Tensor]], dict[str, Any]]:
    weights = torch.arange(40.0).reshape(5, 8) + n
    return {"model": {"w": weights, "b": torch.tensor(float(n))}, "optim": {"w.m": weights / 7}}, {"n": n}


def put(folder: Path, step: int, n: int | None = None, keep: int = 2) -> Path:
    tensors, state = content(step if n is None else n)
    return save(folder, step, tensors, state, keep)


def silent(line: str) -> None:
    raise AssertionError(line)


def check_whole(found: Checkpoint | None) -> Checkpoint:
    assert found is not None
    tensors, _ = content(found.state["n"])
    for group, expected in tensors.items():
        loaded = found.tensors(group)
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[k], t) and loaded[k].dtype == t.dtype for k, t in expected.items())
    return found


def steps(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def in_fork(act: Callable[[], None]) -> int:
    """Run something in a process of its own, which has torch already, and return its exit status."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# Saving and reading


def test_every_kind_of_tensor_and_state_comes_back(tmp_path: Path) -> None:
    base = torch.randn(6, 4)
    layer = torch.nn.Linear(3, 3)
    model = {
        "base": base,
        "same": base,
        "strided": base.t(),
        "part": base[2:4],
        "expanded": torch.ones(1).expand(5),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 3),
        "empty2": torch.empty(0),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "mask": torch.tensor([True, False]),
        "conj": torch.tensor([1 + 2j]).conj(),
        "parameter": layer.weight,
    }
    state = {"seed": 2**60, "lr": 0.1 + 0.2, "best": None, "names": ["猫", "a\n"], "deep": {"x": [1.5, True]}}
    path = save(tmp_path / "new" / "folder", 7, {"model": model, "nothing": {}, "lora:rank=8": {"w": base}}, state)
    assert path == tmp_path / "new" / "folder" / "step-000000007"
    found = latest(path.parent, silent)
    assert found is not None and found.path == path and found.step == 7 and found.state == state
    loaded = found.tensors("model")
    assert loaded.keys() == model.keys() and found.tensors("nothing") == {}
    for name, t in model.items():
        assert torch.equal(loaded[name], t) and loaded[name].dtype == t.dtype and not loaded[name].requires_grad
    assert torch.equal(found.tensors("lora:rank=8")["w"], base)
    with pytest.raises(DataError, match="holds no 'optim'; it holds: model, nothing"):
        found.tensors("optim")
    shutil.rmtree(path)
    assert loaded["base"].add_(1).shape == (6, 4)  # no map of the file


@pytest.mark.parametrize(
    ("state", "where"),
    [
        ({"a": float("nan")}, r"state\.a is nan"),
        ({"a": {"b": [1.0, float("inf")]}}, r"state\.a\.b\[1\] is inf"),
        ({"a": {1: 2}}, "key 1"),
        ({"a": {1, 2}}, "a set"),
        ({"a": torch.tensor(1.0)}, "a Tensor"),
    ],
)
def test_a_state_that_would_not_come_back_is_refused(tmp_path: Path, state: dict[str, Any], where: str) -> None:
    put(tmp_path, 1)
    with pytest.raises(ValueError, match=where):
        save(tmp_path, 2, {}, state)
    assert steps(tmp_path) == ["step-000000001"]
    for step, keep in ((-1, 2), (2, 0)):
        with pytest.raises(ValueError, match="must be"):
            put(tmp_path, step, keep=keep)
    with pytest.raises(ValueError, match="share a file"):
        save(tmp_path, 2, {"Model": {}, "model": {}}, {})


def test_nothing_there_is_none(tmp_path: Path) -> None:
    assert latest(tmp_path / "never", silent) is None
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "step-x").mkdir()
    assert latest(tmp_path, silent) is None


def test_the_newest_by_number_stay_whatever_the_clock_says(tmp_path: Path) -> None:
    for step in (9, 10, 200):
        put(tmp_path, step)
    assert steps(tmp_path) == ["step-000000010", "step-000000200"]
    for old, new in ((0, 4102444800), (4102444800, 0)):  # 1970 and 2100
        for name, when in (("step-000000010", old), ("step-000000200", new)):
            for path in (tmp_path / name, *(tmp_path / name).iterdir()):
                os.utime(path, (when, when))
        assert check_whole(latest(tmp_path, silent)).step == 200
    put(tmp_path, 300)
    assert steps(tmp_path) == ["step-000000200", "step-000000300"]
    put(tmp_path, 10**10)
    put(tmp_path, 5)  # after going back in training: what was just written is never pruned
    assert check_whole(latest(tmp_path, silent)).step == 10**10
    assert "step-000000005" in steps(tmp_path)


def test_a_step_saved_again_is_replaced(tmp_path: Path) -> None:
    put(tmp_path, 5, n=1)
    put(tmp_path, 5, n=2)
    assert check_whole(latest(tmp_path, silent)).state == {"n": 2} and steps(tmp_path) == ["step-000000005"]


# Kills


def make_mortal(deadly: int) -> None:
    """Let this process die at the n-th call that changes the disk, or with the weights half written."""
    count = 0

    def point() -> None:
        nonlocal count
        count += 1
        if count == deadly:
            os._exit(DIED)

    def mortal(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            point()
            return call(*args, **kwargs)

        return wrapped

    write = safetensors.torch.save_file

    def save_file(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        point()
        write(tensors, path, metadata)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        point()
        path.write_bytes(whole)
        point()

    for name in ("fsync", "replace", "rename", "unlink", "rmdir", "mkdir", "open"):
        setattr(os, name, mortal(getattr(os, name)))
    setattr(safetensors.torch, "save_file", save_file)  # noqa: B010


@linux
@pytest.mark.parametrize(("new", "keep"), [(3, 2), (2, 1), (1, 2)], ids=["next", "prunes", "same-step"])
@pytest.mark.slow
def test_a_death_at_any_point_leaves_the_old_or_the_new_one(tmp_path: Path, new: int, keep: int) -> None:
    before = tmp_path / "before"
    for step in range(1, max(new, 2)):
        put(before, step, keep=keep)
    old = check_whole(latest(before, silent)).state
    for deadly in range(1, 200):
        folder = tmp_path / str(deadly)
        shutil.copytree(before, folder)

        def die(folder: Path = folder, deadly: int = deadly) -> None:
            make_mortal(deadly)
            put(folder, new, n=77, keep=keep)

        status = in_fork(die)
        found = check_whole(latest(folder, silent))
        assert found.state in (old, {"n": 77}), deadly
        assert status in (0, DIED) and (status == DIED or found.state == {"n": 77})
        put(folder, new, n=78, keep=keep)
        assert check_whole(latest(folder, silent)).state == {"n": 78}, deadly
        assert len(steps(folder)) <= keep and all(s.startswith("step-") for s in steps(folder)), deadly
        shutil.rmtree(folder)
        if status == 0:
            break
    assert 25 < deadly < 199  # about so many points were tried


@linux
def test_kills_at_random_moments_lose_nothing_that_was_finished(tmp_path: Path) -> None:
    draw = random.Random(0)
    last = 0
    for _ in range(12):
        reader, writer = os.pipe()

        def train(writer: int = writer, first: int = last + 1) -> None:
            for step in range(first, 10**6):
                put(tmp_path, step)
                os.write(writer, step.to_bytes(4, "little"))

        pid = os.fork()
        if pid == 0:
            train()
        os.close(writer)
        time.sleep(draw.uniform(0.05, 0.3))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        with os.fdopen(reader, "rb") as f:
            told = f.read()
        finished = int.from_bytes(told[-4:], "little") if told else last
        found = latest(tmp_path, silent)
        last = check_whole(found).step if found or finished else 0
        assert finished <= last <= finished + 1
    assert last > 12


# Damage


def damages(whole: bytes) -> list[bytes]:
    """Flip a bit, and cut, at 20 places; not the last, since JSON without its line feed says the same."""
    places = sorted({round(i * (len(whole) - 2) / 19) for i in range(20)})
    flipped = [whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :] for i in [*places, len(whole) - 1]]
    return flipped + [whole[:i] for i in places]


@pytest.mark.parametrize("name", ["model.safetensors", "optim.safetensors", "state.json", "manifest.json"])
def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path, name: str) -> None:
    put(tmp_path, 1)
    path = put(tmp_path, 2)
    shutil.copytree(path, tmp_path / "spare")
    for damaged in damages((path / name).read_bytes()):
        (path / name).write_bytes(damaged)
        said: list[str] = []
        assert check_whole(latest(tmp_path, said.append)).step == 1
        assert len(said) == 1 and "\n" not in said[0] and str(path) in said[0] and name in said[0]
        assert not path.exists() and len(list((tmp_path / "corrupt").iterdir())) == 1
        shutil.rmtree(tmp_path / "corrupt")
        shutil.copytree(tmp_path / "spare", path)


@pytest.mark.parametrize("name", ["model.safetensors", "state.json", "manifest.json"])
def test_a_missing_file_is_found(tmp_path: Path, name: str) -> None:
    put(tmp_path, 1)
    (put(tmp_path, 2) / name).unlink()
    said: list[str] = []
    assert check_whole(latest(tmp_path, said.append)).step == 1
    assert "missing" in said[0] and "corrupt" in said[0]
    put(tmp_path, 2)
    assert check_whole(latest(tmp_path, silent)).step == 2


def test_each_bit_of_a_manifest_counts(tmp_path: Path) -> None:
    path = put(tmp_path, 1)
    whole = (path / "manifest.json").read_bytes()
    place = whole.index(b'"format": 1') + len(b'"format": ')
    for bit in range(8):  # among them "3", "5" and "9", which are no newer versions
        (path / "manifest.json").write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        assert isinstance(checkpoint._read(path), str)


def test_all_damaged_is_none_and_said(tmp_path: Path) -> None:
    for step in (1, 2):
        (put(tmp_path, step) / "state.json").write_text("{}")
    said: list[str] = []
    assert latest(tmp_path, said.append) is None and len(said) == 2
    assert latest(tmp_path, silent) is None


def test_a_renamed_checkpoint_is_not_newer(tmp_path: Path) -> None:
    put(tmp_path, 2)
    put(tmp_path, 1).rename(tmp_path / "step-000000009")
    said: list[str] = []
    assert check_whole(latest(tmp_path, said.append)).step == 2 and "of step 1" in said[0]


def test_a_newer_format_is_refused_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, 1)
    monkeypatch.setattr(checkpoint, "FORMAT", 12)
    put(tmp_path, 2)
    monkeypatch.undo()
    with pytest.raises(DataError, match=r"newer graft: its format is 12, this one reads up to 1"):
        latest(tmp_path, silent)
    assert steps(tmp_path) == ["step-000000001", "step-000000002"]


def test_a_sealed_manifest_of_a_stranger_leads_nowhere(tmp_path: Path) -> None:
    path = put(tmp_path / "run", 1)
    shutil.copy(path / "state.json", tmp_path / "secret")
    sealed = read_json(path / "manifest.json")
    changes: list[dict[str, Any]] = [
        {"files": {**sealed["files"], "../../secret": sealed["files"]["state.json"]}},
        {"groups": {"model": "../../secret"}},
        {"groups": []},
        {"files": None},
        {"format": "1"},
    ]
    for change in changes:
        forged = {**sealed, **change}
        forged.pop("seal")
        write_json(path / "manifest.json", {**forged, "seal": checkpoint._seal(forged)})
        assert isinstance(checkpoint._read(path), str)


# Disks


@linux
def test_a_full_disk_keeps_the_last_good_one(tmp_path: Path) -> None:
    put(tmp_path / "c", 1)

    def fill() -> None:
        import resource

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
        for big, state in ((torch.zeros(5000), {}), (torch.zeros(5), {"x": "y" * 9000})):
            try:
                save(tmp_path / "c", 2, {"model": {"w": big}}, state)
            except SetupError as e:
                with (tmp_path / "said").open("a") as f:
                    f.write(f"{e}\n")

    assert in_fork(fill) == 0
    said = (tmp_path / "said").read_text().splitlines()
    assert len(said) == 2 and all("File too large" in line and "could not write" in line for line in said)
    assert steps(tmp_path / "c") == ["step-000000001"]
    assert check_whole(latest(tmp_path / "c", silent)).step == 1


def test_room_is_made_before_writing_or_the_save_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for step in (1, 2, 3):
        put(tmp_path, step, keep=3)
    (tmp_path / "step-000000003" / "state.json").write_text("damaged")
    (tmp_path / ".tmp-4-dead").mkdir()
    monkeypatch.setattr(checkpoint, "free_space", lambda folder: 1000 if len(steps(folder)) > 1 else 10**9)
    put(tmp_path, 5)  # only 2, the last good one, was left meanwhile
    assert steps(tmp_path) == ["step-000000002", "step-000000005"]
    monkeypatch.setattr(checkpoint, "free_space", lambda folder: 1000)
    with pytest.raises(SetupError, match=r"MB are free .* untouched"):
        put(tmp_path, 6)
    assert check_whole(latest(tmp_path, silent)).step == 5 and steps(tmp_path) == ["step-000000005"]


def test_a_folder_that_cannot_be_is_a_setup_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SetupError, match="checkpoint of step 1"):
        put(tmp_path / "file" / "c", 1)

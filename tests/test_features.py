"""The cached pass: what is kept, what is found again, and what faults and other processes do to it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import models
import numpy as np
import pytest
import torch
from toys import Toy

from graft import backbones, features
from graft.data import Sample
from graft.errors import Stopped, UsageError
from graft.features import _cache, _stores
from graft.model import Backbone
from graft.precision import Precision

HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of this test's own."""
    monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "features"


@pytest.fixture
def toy() -> Toy:
    return Toy("row", norm=True)


def rows(n: int = 20, seed: int = 0) -> list[Sample]:
    draw = np.random.default_rng(seed)
    return [Sample(torch.from_numpy(draw.normal(size=16)).float(), id=f"{seed}/{i}") for i in range(n)]


def left(cache: Path) -> list[str]:
    """Whatever is in the cache and is no finished entry."""
    return sorted(p.name for p in cache.iterdir() if p.name.startswith(".")) if cache.exists() else []


def test_a_second_pass_finds_what_the_first_wrote(toy: Toy, cache: Path) -> None:
    assert not features.is_cached(toy, rows())
    first, second = (features.extract(toy, rows()) for _ in range(2))
    assert (first.cached, second.cached) == (False, True)
    assert features.is_cached(toy, rows())
    assert torch.equal(first.pooled, second.pooled)
    with torch.no_grad():
        assert torch.allclose(first.pooled, toy.eval()(torch.stack([s.x for s in rows()])).pooled, atol=1e-6)
    assert not left(cache)


def test_without_keep_nothing_is_written(toy: Toy, cache: Path) -> None:
    kept = features.extract(toy, rows())
    assert torch.equal(features.extract(toy, rows(), keep=False).pooled, kept.pooled)
    assert not features.extract(toy, rows(), keep=False).cached
    assert len(list(cache.iterdir())) == 1


@pytest.mark.parametrize("what", ["weights", "samples", "order", "precision", "size", "threads"])
def test_the_key_knows_what_features_depend_on(toy: Toy, what: str) -> None:
    samples, usual = rows(), features.key(toy, rows())
    threads = torch.get_num_threads()
    if what == "weights":
        toy.stem.weight.data[0, 0] += 1  # type: ignore[union-attr, operator]
    changed = {"samples": rows(seed=1), "order": samples[::-1]}.get(what, samples)
    precision = Precision("bf16") if what == "precision" else None
    try:
        torch.set_num_threads(threads + (what == "threads"))
        assert features.key(toy, changed, 3 if what == "size" else None, precision) != usual
    finally:
        torch.set_num_threads(threads)


def test_the_clocks_part_of_a_precision_is_not_in_the_key(toy: Toy) -> None:
    timed = Precision(rates={"fp32 channels_last": 12.5})
    assert features.key(toy, rows(), precision=timed) == features.key(toy, rows())


def test_writing_to_a_table_leaves_the_cache_as_it_is(toy: Toy) -> None:
    features.extract(toy, rows()).pooled.zero_()
    again = features.extract(toy, rows())
    assert again.cached and again.pooled.abs().sum() > 0


@pytest.mark.parametrize("size", [1, 3, 64])
def test_batches_change_no_more_than_rounding(bert: Path, size: int) -> None:
    backbone = backbones.load(f"local:{bert}")
    samples = [Sample(t, id=t) for t, _ in models.texts(40)]
    usual = features.extract(backbone, samples, keep=False).pooled
    assert torch.allclose(usual, features.extract(backbone, samples, size=size, keep=False).pooled, atol=1e-5)


def test_ticks_count_every_sample(toy: Toy) -> None:
    seen: list[int] = []
    features.extract(toy, rows(23), tick=seen.append)
    assert sum(seen) == 23 and len(seen) > 1


def test_no_samples_are_an_empty_table(toy: Toy) -> None:
    assert features.extract(toy, []).pooled.shape == (0, toy.dim)


# ------------------------------------------------------------------------------------------ faults


@pytest.mark.parametrize("how", ["flip", "cut", "manifest", "missing", "shape"])
def test_a_damaged_entry_is_made_again(toy: Toy, cache: Path, how: str) -> None:
    whole = features.extract(toy, rows()).pooled.clone()
    entry = next(cache.iterdir())
    file, listed = entry / "00.npy", entry / "manifest.json"
    content = bytearray(file.read_bytes())
    if how == "flip":
        content[-3] ^= 1
        file.write_bytes(content)
    elif how == "cut":
        file.write_bytes(content[:-10])
    elif how == "missing":
        file.unlink()
    elif how == "manifest":
        listed.write_text("{")
    else:
        listed.write_text(listed.read_text().replace(str(len(rows())), "7", 1))
    mended = features.extract(toy, rows())
    assert not mended.cached and torch.equal(mended.pooled, whole)
    assert features.extract(toy, rows()).cached
    assert not left(cache)


def test_each_file_is_hashed_once_a_process(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    features.extract(toy, rows())
    monkeypatch.setattr(_cache, "sha256", lambda path: pytest.fail(f"hashed {path} again"))
    assert features.extract(toy, rows()).cached


@pytest.mark.parametrize("error", [KeyboardInterrupt, Stopped("stopped")])
def test_an_interrupted_pass_leaves_nothing(toy: Toy, cache: Path, error: BaseException) -> None:
    def stop(done: int) -> None:
        raise error

    with pytest.raises((KeyboardInterrupt, Stopped)):
        features.extract(toy, rows(), size=4, tick=stop)
    assert list(cache.iterdir()) == []


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from test_features import rows
from toys import Toy
from graft import features
features.extract(Toy("row", norm=True), rows(), size=4, tick=lambda n: os._exit(9))
"""


@pytest.mark.slow
def test_what_a_killed_pass_left_goes_with_the_next(toy: Toy, cache: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, HERE])
    assert done.returncode == 9 and len(left(cache)) == 2  # a room and its lock
    features.extract(toy, rows())
    assert not left(cache)


def test_a_room_in_use_is_not_taken_for_a_dead_ones(cache: Path) -> None:
    with _cache.room(cache) as first, _cache.room(cache) as second:
        assert first.is_dir() and second.is_dir() and first != second
    assert not left(cache)


def full(*args: object) -> None:
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("at", ["allocate", "write", "rename", "folder"])
def test_a_full_disk_is_no_reason_to_stop(
    toy: Toy, cache: Path, at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if at == "allocate":
        monkeypatch.setattr(os, "posix_fallocate", full)
    elif at == "write":
        monkeypatch.setattr(_stores, "_write", full)
    elif at == "rename":
        monkeypatch.setattr(Path, "rename", full)
    else:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("GRAFT_CACHE", str(tmp_path / "file" / "below"))
    table = features.extract(toy, rows())
    assert not table.cached and table.pooled.abs().sum() > 0
    monkeypatch.undo()
    monkeypatch.setenv("GRAFT_CACHE", str(cache.parent))
    assert not features.is_cached(toy, rows())
    assert torch.equal(table.pooled, features.extract(toy, rows()).pooled)


@pytest.mark.slow
def test_a_real_limit_on_files_is_no_reason_to_stop(cache: Path) -> None:
    code = KILLED.replace("lambda n: os._exit(9)", "None") + "print('done')"
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n{code}"
    done = subprocess.run([sys.executable, "-B", "-c", code, HERE], capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr
    assert list(cache.iterdir()) == []


def test_large_features_without_a_cache_lie_in_a_file_without_a_name(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = features.extract(toy, rows(), keep=False).pooled
    monkeypatch.setattr(_stores, "SMALL", 10)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    table = features.extract(toy, rows(), keep=False)
    assert torch.equal(table.pooled, usual)
    assert not list(tmp_path.glob("graft-features-*"))


# ----------------------------------------------------------------------------- several processes

RACER = """
import hashlib, sys, time
sys.path.insert(0, sys.argv[1])
from test_features import rows
from toys import Toy
from graft import features
toy = Toy("row", norm=True)
print("ready", flush=True)
sys.stdin.readline()
for seed in range(4):
    table = features.extract(toy, rows(200, seed), size=8)
    print(hashlib.sha256(table.pooled.numpy().tobytes()).hexdigest(), flush=True)
"""


@pytest.mark.slow
def test_eight_processes_on_one_cold_cache(toy: Toy, cache: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, HERE],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(8)
    ]  # fmt: skip
    for p in started:
        assert p.stdout is not None and p.stdout.readline() == "ready\n"
    for p in started:
        assert p.stdin is not None
        p.stdin.write("\n")
        p.stdin.flush()
    said = [p.communicate() for p in started]
    assert all(p.returncode == 0 for p in started), said
    assert len({out for out, _ in said}) == 1 and len(said[0][0].split()) == 4
    assert len([e for e in cache.iterdir() if not e.name.startswith(".")]) == 4
    assert all(features.extract(toy, rows(200, seed), size=8).cached for seed in range(4))
    features.extract(toy, rows(3))  # cleans, where a cleaner and a writer met
    assert not left(cache)


def test_a_late_writer_takes_what_is_there(toy: Toy, cache: Path) -> None:
    """Another process finishes the same entry while this one computes."""
    other: list[torch.Tensor] = []

    def meanwhile(done: int) -> None:
        if not other:
            other.append(features.extract(Toy("row", norm=True), rows()).pooled)

    mine = features.extract(toy, rows(), tick=meanwhile)
    assert torch.equal(mine.pooled, other[0])
    assert len(list(cache.iterdir())) == 1


# --------------------------------------------------------------------------------- limit and order


def entry_bytes(cache: Path) -> int:
    return sum(f.stat().st_size for f in next(cache.iterdir()).iterdir())


@pytest.mark.parametrize("year", [1970, 2100])
def test_the_least_lately_used_goes_whatever_the_clock_says(
    toy: Toy, cache: Path, year: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        features.extract(toy, rows(seed=seed))
        newest = max(_cache.entries(cache), key=_cache._number)
        wrong = (year - 1970) * 365.25 * 86400
        for file in [newest, *newest.iterdir()]:
            os.utime(file, (wrong, wrong))
    assert features.extract(toy, rows(seed=0)).cached  # used again: now 1 is the oldest
    monkeypatch.setenv("GRAFT_CACHE_BYTES", str(3 * entry_bytes(cache) + 50))
    features.extract(toy, rows(seed=3))
    assert [features.is_cached(toy, rows(seed=s)) for s in range(4)] == [True, False, True, True]


def test_entries_of_older_versions_go_first(toy: Toy, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features.extract(toy, rows())
    monkeypatch.setenv("GRAFT_CACHE_BYTES", str(2 * entry_bytes(cache) + 50))
    (cache / "old").mkdir()
    (cache / "old" / "pooled.npy").write_bytes(bytes(100))
    features.extract(toy, rows(seed=1))
    assert not (cache / "old").exists() and features.is_cached(toy, rows())


def test_what_is_larger_than_the_limit_is_not_written(toy: Toy, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_CACHE_BYTES", "100")
    assert features.extract(toy, rows()).pooled.shape == (20, toy.dim)
    assert not cache.exists()


def test_a_limit_that_is_no_number_is_refused(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAFT_CACHE_BYTES", "4GB")
    with pytest.raises(UsageError, match=r"4GB.*number of bytes"):
        features.extract(toy, rows())


# ------------------------------------------------------------------------------------------ stages


def hidden(backbone: Backbone, texts: list[str]) -> list[torch.Tensor]:
    """transformers' own hidden states of a text encoder, averaged over the tokens."""
    found = []
    for text in texts:
        ids = backbone.encode(text).x[None]
        with torch.no_grad():
            out = backbone.net(input_ids=ids, output_hidden_states=True)  # type: ignore[operator, union-attr]
        found.append(torch.stack([h.mean(dim=1)[0] for h in out.hidden_states]))
    return list(torch.stack(found).unbind(dim=1))


def test_stages_of_a_text_encoder_are_its_hidden_states(bert: Path) -> None:
    backbone = backbones.load(f"local:{bert}").eval()
    texts = [t for t, _ in models.texts(30)]
    table = features.extract(backbone, [Sample(t, id=t) for t in texts], stages=True)
    for mine, theirs in zip(table.stages.values(), hidden(backbone, texts), strict=False):
        assert torch.allclose(mine, theirs, atol=1e-5)
    assert len(table.stages) >= 3 and torch.allclose(list(table.stages.values())[2], table.pooled, atol=1e-5)


def test_stages_of_a_picture_network_are_means_of_its_maps(zoo: Path, photos: Path) -> None:
    backbone = backbones.load(f"local:{zoo}/tiny").eval()
    samples = [Sample(p, id=p.name) for p in sorted(photos.rglob("*.png"))[:9]]
    table = features.extract(backbone, samples, stages=True)
    x = torch.stack([backbone.encode(_open(s.x)).x for s in samples])
    with torch.no_grad():
        last = backbone(x).maps[-1].mean(dim=(2, 3))
    names = [name for name, _ in backbone.stages()]
    assert list(table.stages) == [n for n in names if n in table.stages] and len(table.stages) >= 3
    assert torch.allclose(list(table.stages.values())[-1], last, atol=1e-5)


def _open(path: Path) -> object:
    from graft.pictures import open_picture

    return open_picture(path)


def test_stages_have_an_entry_that_serves_plain_calls_too(toy: Toy) -> None:
    made = features.extract(toy, rows(), stages=True)
    again, plain = features.extract(toy, rows(), stages=True), features.extract(toy, rows())
    assert (made.cached, again.cached, plain.cached) == (False, True, True)
    assert list(made.stages) == list(again.stages) and not plain.stages
    assert all(torch.equal(made.stages[n], again.stages[n]) for n in made.stages)
    assert torch.equal(made.pooled, plain.pooled)


def test_plain_features_do_not_serve_a_call_for_stages(toy: Toy) -> None:
    features.extract(toy, rows())
    assert features.extract(toy, rows(), stages=True).stages


def test_hooks_are_gone_after_a_pass(toy: Toy) -> None:
    features.extract(toy, rows(), stages=True, keep=False)
    assert not any(m._forward_hooks for m in toy.modules())


def test_maps_with_channels_last_are_averaged_over_their_places() -> None:
    from graft.pooling import over_places

    maps = torch.randn(2, 5, 7, 7)
    assert torch.allclose(over_places(maps), over_places(maps.permute(0, 2, 3, 1)), atol=1e-6)


# --------------------------------------------------------------------------------------- precision


def test_bf16_has_an_entry_of_its_own_and_leaves_the_backbone_alone(toy: Toy) -> None:
    full = features.extract(toy, rows())
    low = features.extract(toy, rows(), precision=Precision("bf16"))
    assert not low.cached and low.pooled.dtype == torch.float32
    assert 0 < (low.pooled - full.pooled).abs().max() < 0.1
    assert next(toy.parameters()).dtype == torch.float32
    assert features.extract(toy, rows(), precision=Precision("bf16")).cached

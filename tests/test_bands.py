"""Pictures of other than three channels, from a file to a trained model and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import graft


@pytest.mark.parametrize("channels", [5, 1])
@pytest.mark.slow
def test_pictures_of_other_channels_are_trained_on_kept_and_answered(channels: int, zoo: Path, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = draw.integers(0, 120, (60, 40, 48, channels), dtype=np.uint8)
    x[y == 1, :, :, channels - 1] += 100  # the last band alone tells
    np.savez(tmp_path / "bands.npz", x_train=x[:44], y_train=y[:44], x_test=x[44:], y_test=y[44:])
    run = graft.fit(
        tmp_path / "bands.npz", zoo=zoo, recipe="probe:l2=0.1 > finetune", set=["stage.1.epochs=1"],
        out=tmp_path / "run", quiet=True,
    )  # fmt: skip
    assert run.report["headline"]["value"] > 0.8
    again = graft.load(tmp_path / "run").predict(list(x[44:]))
    assert [int(v) for v in again["label"]] == y[44:].tolist()
    if channels == 5:
        with pytest.raises(graft.DataError, match=r"channels|bands"):
            graft.load(tmp_path / "run").predict([x[0, :, :, :3]])

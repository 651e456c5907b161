"""What TensorBoard reads back is what the log says."""

from __future__ import annotations

import builtins
import math
from pathlib import Path
from typing import Any

import pytest

from graft.board import Board, write
from graft.errors import SetupError, UsageError
from graft.run import Run
from graft.train import read_log

pytest.importorskip("tensorboard", reason="needs the extra tensorboard")


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """{tag: [(step, value)]} of one TensorBoard run, as TensorBoard itself reads it."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def words(folder: Path) -> list[tuple[int, bytes]]:
    """(step, text) of the notes of one TensorBoard run."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder)).Reload()
    return [(e.step, e.tensor_proto.string_val[0]) for e in found.Tensors("note/text_summary")]


def log(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def test_a_runs_log_becomes_curves(text_run: Run, tmp_path: Path) -> None:
    lines = read_log(text_run.folder / "log.jsonl")
    assert write(text_run.folder / "log.jsonl", tmp_path / "board", "accuracy") == len(lines) > 4
    rung = tmp_path / "board" / "recipe"
    assert {p.name for p in rung.parent.iterdir()} == {x["rung"] for x in lines}
    lines = [x for x in lines if x["rung"] == "recipe"]
    found = curves(rung / "stage-1")
    steps = [x for x in lines if "terms" in x]
    told = {
        "loss/cross_entropy": [x["terms"]["cross_entropy"] for x in steps],
        "rate": [x["lr"] for x in steps],
        "gradient_norm": [x["norm"] for x in steps],
    }
    for name, mine in told.items():
        assert [s for s, _ in found[name]] == [x["step"] for x in steps]
        assert [v for _, v in found[name]] == pytest.approx(mine, rel=1e-6)
    valid = [(x["step"], pytest.approx(x["valid"])) for x in lines if "valid" in x]
    assert found["validation/accuracy"] == valid != []
    assert set(found) == {"loss/cross_entropy", "rate", "gradient_norm", "validation/accuracy"}


def test_rungs_and_stages_stand_apart_and_terms_are_summed(tmp_path: Path) -> None:
    file = log(
        tmp_path / "log.jsonl",
        '{"rung": "a/b", "stage": 0, "step": 1, "terms": {"x": 1.0, "y": 0.5}, "lr": 0.1, "norm": null}',
        '{"rung": "c", "stage": 0, "step": 1, "terms": {"x": null}, "lr": 0.2, "norm": 3.0}',
        '{"rung": "c", "stage": 1, "step": 1, "note": "memory ran out"}',
        '{"rung": "c", "stage": 1, "step": 1, "other": 1}',
        '{"rung": "c", "stage": 1, "st',  # cut short by a kill
    )
    assert write(file, tmp_path / "board") == 2
    folders = sorted(p.relative_to(tmp_path / "board").as_posix() for p in (tmp_path / "board").glob("*/*"))
    first = next(f for f in folders if f.startswith("a_b-"))  # the slash led nowhere
    assert folders == [first, "c/stage-0"]
    found = curves(tmp_path / "board" / first)
    assert found["loss"] == [(1, 1.5)] and found["loss/x"] == [(1, 1.0)]
    assert math.isnan(found["gradient_norm"][0][1])
    assert math.isnan(curves(tmp_path / "board" / "c/stage-0")["loss/x"][0][1])


def test_a_live_board_can_be_read_while_it_is_open(tmp_path: Path) -> None:
    with Board(tmp_path) as board:
        for step in (1, 2, 3):
            board.step("full", 0, step, {"cross_entropy": 1 / step}, rate=0.1 * step)
        board.valid("full", 0, 3, 0.75, "accuracy")
        board.note("full", 0, 3, "memory ran out")
        board._curves["full", 0].writer.flush()
        seen = curves(tmp_path / "full" / "stage-0")
    assert [s for s, _ in seen["loss/cross_entropy"]] == [1, 2, 3]
    assert seen["rate"][-1] == (3, pytest.approx(0.3))
    assert seen["validation/accuracy"] == [(3, 0.75)]
    assert words(tmp_path / "full" / "stage-0") == [(3, b"memory ran out")]


@pytest.mark.parametrize("closed", [True, False], ids=["resumed", "begun again"])
def test_a_step_told_again_hides_what_came_after_it(closed: bool, tmp_path: Path) -> None:
    board = Board(tmp_path)
    for step in (1, 2, 3, 4):
        board.step("full", 0, step, {"x": 1.0})
    if closed:
        board.close()
        board = Board(tmp_path)
    for step in (3, 4, 5):
        board.step("full", 0, step, {"x": 2.0})
    board.close()
    assert curves(tmp_path / "full" / "stage-0")["loss/x"] == [(1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)]


def test_a_run_without_steps_gives_an_empty_folder(tmp_path: Path) -> None:
    assert write(log(tmp_path / "log.jsonl"), tmp_path / "board") == 0
    assert not list((tmp_path / "board").iterdir())


def test_nothing_is_written_over_and_a_log_must_be_there(tmp_path: Path) -> None:
    file = log(tmp_path / "log.jsonl")
    with pytest.raises(UsageError, match="no log there"):
        write(tmp_path / "none.jsonl", tmp_path / "board")
    (tmp_path / "board").mkdir()
    with pytest.raises(UsageError, match="exists"):
        write(file, tmp_path / "board")
    with pytest.raises(SetupError, match="could not write"):
        Board(file / "below").step("full", 0, 1, {"x": 1.0})


def test_a_missing_tensorboard_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    own = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("tensorboard"):
            raise ImportError("No module named 'tensorboard'")
        return own(name, *rest)

    for name in [n for n in sys.modules if n.startswith(("torch.utils.tensorboard", "tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SetupError, match=r"graft-learn\[tensorboard\]"):
        Board(tmp_path)

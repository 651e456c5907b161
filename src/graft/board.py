"""Training as TensorBoard shows it: losses, rates, gradients and validation, live or from a run's log."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from graft.errors import SetupError, UsageError, need
from graft.files import because, slug
from graft.hooks._folder import new_folder

FLUSH = 10.0  # seconds until what was said is on disk, where TensorBoard looks for it


@dataclass
class _Curve:
    """The open writer of one stage, and the last step it heard of."""

    writer: Any
    last: int


class Board:
    """Event files below a folder, one TensorBoard run a stage: RUNG/stage-N, so that rungs lie over each other.

    A step that was told before (a resumed run, a stage begun again) hides all that was told from it on.
    Values that are not finite are shown as such. Raises SetupError where tensorboard is missing or the folder
    cannot be written.
    """

    def __init__(self, to: str | Path) -> None:
        self.to = Path(to).expanduser()
        self._kind = need("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._curves: dict[tuple[str, int], _Curve] = {}
        self._own: set[Path] = set()

    def step(
        self,
        rung: str,
        stage: int,
        step: int,
        terms: Mapping[str, float | None],
        rate: float | None = None,
        norm: float | None = None,
    ) -> None:
        """Loss terms after `step` steps of a stage, its learning rate and the gradient's norm before clipping."""
        curve = self._curve(rung, stage, step, again=True)
        for name, value in terms.items():
            _add(curve, f"loss/{name}", value, step)
        if len(terms) > 1:
            _add(curve, "loss", math.fsum(_number(v) for v in terms.values()), step)
        if rate is not None:
            _add(curve, "rate", rate, step)
        if norm is not None:
            _add(curve, "gradient_norm", norm, step)

    def valid(self, rung: str, stage: int, step: int, value: float | None, measure: str = "measure") -> None:
        """The measure on the validation part after `step` steps of a stage."""
        _add(self._curve(rung, stage, step), f"validation/{measure}", value, step)

    def note(self, rung: str, stage: int, step: int, text: str) -> None:
        """Something out of the ordinary, in words."""
        self._curve(rung, stage, step).writer.add_text("note", text, step)

    def close(self) -> None:
        """Write what is pending and close the files; the board may go on afterwards."""
        for curve in self._curves.values():
            curve.writer.close()
        self._curves.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _curve(self, rung: str, stage: int, step: int, again: bool = False) -> _Curve:
        """The writer of a stage; with `again` a new file that hides the old ones where the step goes back."""
        found = self._curves.get((rung, stage))
        if found is not None and again and step <= found.last:
            found.writer.close()
            found = None
        if found is None:
            found = self._curves[rung, stage] = _Curve(self._open(rung, stage, step), step)
        found.last = max(found.last, step)
        return found

    def _open(self, rung: str, stage: int, step: int) -> Any:
        folder = self.to / slug(rung) / f"stage-{stage}"
        try:
            old = folder.is_dir() and any(folder.iterdir())
            return self._kind(str(folder), purge_step=step if old else None, flush_secs=FLUSH)
        except OSError as e:
            raise SetupError(f"could not write to {folder}: {because(e)}") from e


def write(log: str | Path, to: str | Path, measure: str = "measure") -> int:
    """Make a new folder `to` of event files from a run's log.jsonl; returns how many steps and validations were told.

    A run that was only solved on features has no step to tell, and gives an empty folder. Raises UsageError
    where there is no log or `to` exists, SetupError where tensorboard is missing or `to` cannot be written.
    """
    from graft.train import read_log

    file = Path(log).expanduser()
    if not file.is_file():
        raise UsageError(f"{log}: there is no log there; give the log.jsonl of a run that trained by steps")
    with new_folder(to) as work, Board(work) as board:
        return sum(_tell(board, line, measure) for line in read_log(file))


def _tell(board: Board, line: dict[str, Any], measure: str) -> bool:
    place = (str(line["rung"]), int(line["stage"]), int(line["step"]))
    if "terms" in line:
        board.step(*place, line["terms"], line.get("lr"), _number(line.get("norm")))
    elif "valid" in line:
        board.valid(*place, line["valid"], measure)
    else:
        return False
    return True


def _add(curve: _Curve, name: str, value: float | None, step: int) -> None:
    curve.writer.add_scalar(name, _number(value), step)


def _number(value: float | None) -> float:
    """The log writes null for what was not finite."""
    return math.nan if value is None else float(value)

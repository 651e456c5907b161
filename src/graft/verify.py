"""Is a report true? Every number of it that follows from the saved answers and the log, computed again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from graft import arms, constant, evaluate, evidence, ladder, outcome, proof, recipe, storage, train
from graft.arms import Arm
from graft.data import Sample
from graft.errors import DataError, GraftError
from graft.files import read_json, seal, verify
from graft.proof import Case
from graft.recipe import Rung
from graft.tasks import Task

CLOSE = 1e-9  # relative: the same sums in another order
RUNG = ("name", "value", "low", "high", "kept", "why")  # of a rung: what follows from its answers on validation
MISTAKE = ("id", "truth", "predicted", "probability")  # of a mistake, without the picture or text that shows it
FROM_LOG = ("curves", "training_notes")


@dataclass(frozen=True)
class Mismatch:
    """A value of the report that is not what the saved answers give; `where` is its path, as scores.probe.test.n."""

    where: str
    said: Any
    found: Any

    def sentence(self) -> str:
        """For people."""
        return f"{self.where}: the report says {_short(self.said)}, the saved answers give {_short(self.found)}"


@dataclass
class Verified:
    """What was computed again, what does not fit, which files changed, and what is held by a hash alone."""

    run: str
    matches: dict[str, int] = field(default_factory=dict)
    mismatches: list[Mismatch] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether every number was found again and no file changed."""
        return not self.mismatches and not self.changed

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**asdict(self), "whole": self.whole}


def check(folder: str | Path) -> Verified:
    """Compute the numbers of a finished run's report.json again from predictions.parquet, recipe.toml and log.jsonl.

    Scores and intervals, the controls, paired differences, which rung was kept and why, the verdict, thresholds,
    tables, calibration, curves. What does not follow from these files (times, layer figures, what the doctor and the
    ranking found) is listed in `held`: the SHA-256 in model.json holds it. Raises UsageError where no run is,
    DataError where model.json or report.json cannot be read at all.
    """
    place = Path(folder)
    meta = _meta(place)
    done = Verified(str(place.resolve()))
    done.changed = _changed(place, meta)
    said = _report(place)
    try:
        case, ids = _case(place, meta, said)
        again = _again(place, case, ids, said)
    except (GraftError, OSError, KeyError, ValueError, TypeError, IndexError, StopIteration, ArithmeticError) as e:
        done.mismatches.append(Mismatch("predictions.parquet", "answers of every model", f"not usable ({_why(e)})"))
        again = {}
    again |= _from_log(place, done, said)
    for key, value in again.items():
        if key in said:
            _compare(key, said[key], value, done)
        else:
            done.mismatches.append(Mismatch(key, None, value))
    done.held = [k for k in said if k not in again and k not in FROM_LOG]
    return done


def _why(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


# -------------------------------------------------------------------------------------------- files


def _meta(place: Path) -> dict[str, Any]:
    if not (place / storage.META).is_file():
        storage.read_meta(place)  # says what is missing
    found = read_json(place / storage.META)
    if not isinstance(found, dict) or not {"task", "files"} <= set(found):
        raise DataError(f"{place / storage.META}: damaged, nothing can be verified; fit again or restore the file")
    return found


def _changed(place: Path, meta: dict[str, Any]) -> list[str]:
    """Files that are not what they were, model.json by its own seal."""
    unsealed = {k: v for k, v in meta.items() if k != "seal"}
    own = [] if meta.get("seal") in (None, seal(unsealed)) else [f"{storage.META} (its seal differs)"]
    return own + verify(place, meta["files"])


def _report(place: Path) -> dict[str, Any]:
    try:
        found = read_json(place / "report.json")
    except (OSError, GraftError) as e:
        raise DataError(f"{place / 'report.json'}: cannot be read ({_why(e)}); restore it or fit again") from e
    if not isinstance(found, dict):
        raise DataError(f"{place / 'report.json'}: not written by graft")
    return found


# --------------------------------------------------------------------------------------- the case


@dataclass
class _Answers:
    """A model's answers on a part, with the ids, targets and groups ("" for none) beside them."""

    ids: list[str]
    truth: list[Any]
    answers: np.ndarray
    groups: list[str]


def _case(place: Path, meta: dict[str, Any], said: dict[str, Any]) -> tuple[Case, dict[str, list[Sample]]]:
    """What the run's claims rest on, from its files; and the samples by part, as far as they are saved."""
    import pyarrow.parquet as pq

    task = storage.task_of(meta)
    blocks = _blocks(pq.read_table(place / "predictions.parquet"), task)
    seed = int(said["environment"]["seed"])
    asked = recipe.load_toml(place / "recipe.toml")
    first = {part: next(b for (name, _), b in blocks.items() if name == part) for part in ("valid", "test")}
    samples = {
        p: [Sample(None, y, i, group=g) for i, y, g in zip(b.ids, b.truth, b.groups, strict=True)]
        for p, b in first.items()
    }
    truth = {part: [task.truth(s) for s in some] for part, some in samples.items()}
    groups = {part: evaluate.groups_of(some) for part, some in samples.items()}
    for (part, model), block in blocks.items():
        if block.ids != first[part].ids:
            raise DataError(f"{model} answered other {part} samples than the first model")
    baseline = next(model for part, model in blocks if part == "test" and model in constant.BASELINES)
    rungs, made = _arms(task, seed, said, asked, blocks, truth["valid"], baseline, groups["valid"])
    for arm in (*rungs, *made):  # answers are saved calibrated: by what, model.json says
        arm.temperature = float((meta.get("temperatures") or {}).get(arm.name, 1.0))
    best = None
    for arm in rungs:
        best = ladder.compare(task, truth["valid"], seed, best, arm, groups["valid"])
    assert best is not None
    best.kept = True
    same = blocks["valid", baseline].answers
    mode = str(said["evidence"]["mode"])
    winner = (
        ""
        if mode == "off"
        else evidence.beaten_by(task, truth["valid"], seed, best, made, (baseline, same), groups["valid"])
    )
    tests = {model: b.answers for (part, model), b in blocks.items() if part == "test"}
    case = Case(task, seed, truth, rungs, made, tests, baseline, same, best.name, winner or best.name, mode, groups)
    return case, samples


def _blocks(table: Any, task: Task) -> dict[tuple[str, str], _Answers]:
    """Answers by (part, model), in the order of the file."""
    columns = [f"score_{label}" for label in task.labels] or ["prediction"]
    values = np.stack([table[c].to_numpy() for c in columns], axis=1)
    values = values if task.labels else values[:, 0]
    parts, models = table["split"].to_pylist(), table["model"].to_pylist()
    ids, truth = table["id"].to_pylist(), table["truth"].to_pylist()
    groups = table["group"].to_pylist() if "group" in table.column_names else [""] * len(ids)
    rows: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(parts, models, strict=True)):
        rows.setdefault(key, []).append(row)
    return {
        key: _Answers(
            [ids[i] for i in some], [_target(truth[i]) for i in some], values[some], [groups[i] for i in some]
        )
        for key, some in rows.items()
    }


def _target(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _arms(
    task: Task,
    seed: int,
    said: dict[str, Any],
    asked: recipe.Recipe,
    blocks: dict[tuple[str, str], _Answers],
    truth: Sequence[Any],
    baseline: str,
    groups: Sequence[str] | None,
) -> tuple[list[Arm], list[Arm]]:
    """(the ladder's arms in order, the controls that ran beside them), judged anew."""
    known = {r.name: r for r in (*ladder.control_rungs(), *asked.controls, *asked.rungs)}
    told = {r["name"]: r for r in (*said["rungs"], *said["evidence"]["controls"])}
    ladder_names = [r.name for r in asked.rungs]
    found: dict[str, Arm] = {}
    for part, model in blocks:
        if part == "valid" and model != baseline:
            found[model] = _arm(task, seed, known[model], told[model], blocks[part, model].answers, truth, groups)
    return [found[n] for n in ladder_names], [a for n, a in found.items() if n not in ladder_names]


def _arm(
    task: Task,
    seed: int,
    rung: Rung,
    told: dict[str, Any],
    valid: np.ndarray,
    truth: Sequence[Any],
    groups: Sequence[str] | None,
) -> Arm:
    offsets, judged, score = arms.judge(task, valid, truth, seed, groups)
    return Arm(
        rung.name, rung.stages, Path(), float(told["seconds"]), all(train.solves(x) for x in rung.stages), {}, valid,
        score, trained=int(told.get("trained") or 0), offsets=offsets, judged=judged, saw=str(told.get("saw") or ""),
        start=rung.start,
    )  # fmt: skip


# ------------------------------------------------------------------------------------- again


def _again(place: Path, case: Case, samples: dict[str, list[Sample]], said: dict[str, Any]) -> dict[str, Any]:
    """Everything that follows from the answers, as the report has it."""
    found = {**proof.numbers(case), **proof.shown(case, samples["test"]), "chosen": case.chosen}
    found["rungs"] = [{k: r[k] for k in RUNG} for r in found["rungs"]]
    if "mistakes" in found:
        found["mistakes"] = [{k: m[k] for k in MISTAKE} for m in found["mistakes"]]
    plain: dict[str, Any] = json.loads(json.dumps(_finite(found)))
    return plain


def _from_log(place: Path, done: Verified, said: dict[str, Any]) -> dict[str, Any]:
    log = place / "log.jsonl"
    if not log.is_file():
        done.mismatches += [Mismatch(k, "what the log holds", "log.jsonl is missing") for k in FROM_LOG if k in said]
        return {}
    found: dict[str, Any] = json.loads(
        json.dumps(_finite({"curves": outcome.curves(log), "training_notes": train.notes(log)}))
    )
    return found


def _finite(value: Any) -> Any:
    """As a JSON file has it: what is no finite number is null."""
    from graft._wording import finite

    return finite(value)


# ----------------------------------------------------------------------------------- comparing


def _compare(where: str, said: Any, again: Any, done: Verified) -> None:
    """Count what is equal and note what is not, leaf by leaf; what only the report has is not its concern here."""
    section = where.partition(".")[0].partition("[")[0]
    for path, a, b in _leaves(where, said, again):
        if _equal(a, b):
            done.matches[section] = done.matches.get(section, 0) + 1
        else:
            done.mismatches.append(Mismatch(path, a, b))


def _leaves(where: str, said: Any, again: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(again, dict) and isinstance(said, dict):
        partial = where.startswith(("rungs[", "mistakes["))  # of these a part alone can be computed again
        for key in again if partial else {**again, **said}:
            yield from _leaves(f"{where}.{key}", said.get(key), again.get(key))
    elif isinstance(again, list) and isinstance(said, list):
        if len(again) != len(said):
            yield f"{where} (length)", len(said), len(again)
            return
        for i, (a, b) in enumerate(zip(said, again, strict=True)):
            yield from _leaves(f"{where}[{i}]", a, b)
    else:
        yield where, said, again


def _equal(a: Any, b: Any) -> bool:
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (a, b))
    if numbers:
        return math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE)
    return type(a) is type(b) and a == b


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
    return text if len(text) <= 120 else f"{text[:117]}..."

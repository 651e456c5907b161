"""Labels and time saved: a finished run's kept arm and training from scratch, on more and more of its labels.

Both arms see the same nested, stratified subsets of the training part and are measured on the test part; every
training is a file of its own, so that a study can be cut at any moment and goes on from there.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from graft import _lab, _savings, recipe, storage
from graft._lab import WITH, WITHOUT, Lab, Point
from graft._saved_page import draw, page
from graft._wording import finite, number
from graft.errors import DataError, SetupError, UsageError
from graft.files import probe, read_json, remove, write_json, write_whole
from graft.voice import Voice

FORMAT = 1
SIZES = 6
SMALLEST = 16  # labels, and at least two of each class
NEXT = 1.3  # times its neighbour that a size must be at least
SEEDS = 3
PASSES = 4.0
"""Times the recipe's epochs that training from scratch gets, without early stopping: from random weights networks need
longer schedules to come to their end (He, Girshick and Dollar 2019, "Rethinking ImageNet pre-training"), and a control
cut short would flatter the pretrained arm."""
EVIDENCE, STUDY, PAGE, PICTURE = "evidence.json", "study.json", "evidence.html", "curves.png"


def labels_saved(
    run: str | Path,
    *,
    sizes: Sequence[int] = (),
    seeds: int = SEEDS,
    budget: str | float | None = None,
    passes: float = PASSES,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    data: Any = None,
    quiet: bool = False,
    voice: Voice | None = None,
) -> dict[str, Any]:
    """Train both arms of a finished run on more and more labels and say how many were saved, and how much time.

    `sizes` are label counts (empty: six, evenly spread in log from 16 or two a class to all), each drawn `seeds`
    times. With a `budget` (seconds or "10m") the cheapest trainings come first, and what would not fit is left out
    and named. `passes` are scratch's epochs as a multiple of the recipe's. The study lies in `out`
    (RUN.evidence beside the run): with `resume` it goes on, also with more seeds or sizes; `overwrite` begins anew.
    `data` are the objects of a run that was made of objects.

    Returns what evidence.json holds. Raises UsageError, DataError (the data changed), SetupError, Stopped.
    """
    started = time.monotonic()
    voice = voice or Voice(quiet)
    seconds = recipe.parse_budget(budget)
    if seeds < 1 or not 0 < passes <= 1000:
        raise UsageError(f"--seeds {seeds}, --scratch-passes {passes:g}: at least one seed, and passes above 0")
    lab = _lab.reopen(run, passes, device, voice, data)
    folder = _folder(lab, out)
    asked = planned(len(lab.data.train), len(lab.task.labels) if lab.task.outputs == "classes" else 0, sizes)
    with _claimed(folder, lab, resume, overwrite):
        study = _Study(lab, folder, asked, [lab.recipe.seed + i for i in range(seeds)])
        study.run(started + seconds if seconds is not None else None)
        return study.conclude(budget=seconds)


def planned(most: int, classes: int, sizes: Sequence[int] = ()) -> list[int]:
    """The label counts of a study, in order: those given, else log-spaced up to `most`. Raises UsageError."""
    least = max(2, classes)
    if sizes:
        given = sorted(set(sizes))
        if given[0] < least or given[-1] > most or len(given) < 2:
            raise UsageError(
                f"--sizes {','.join(map(str, sizes))}: two or more from {least:,} to {most:,}, the size of the "
                "training part, are expected"
            )
        return given
    first = min(max(SMALLEST, 2 * classes), max(least, most // 2))
    found = [most]
    for n in sorted({round(v) for v in np.geomspace(first, most, SIZES)}, reverse=True):
        if n * NEXT <= found[-1] and n >= least:
            found.append(n)
    return found[::-1]


def _folder(lab: Lab, out: str | Path | None) -> Path:
    own = lab.run.folder.resolve()
    folder = Path(out).resolve() if out else own.with_name(f"{own.name}.evidence")
    if folder == own or own in folder.parents:
        raise UsageError(f"--out {out}: lies in the run, whose files are sealed; give a folder beside it")
    return folder


@contextlib.contextmanager
def _claimed(folder: Path, lab: Lab, resume: bool, overwrite: bool) -> Iterator[None]:
    """Hold the folder of a study, new or to be gone on with. Raises UsageError, SetupError, DataError."""
    from filelock import FileLock, Timeout

    if resume and overwrite:
        raise UsageError("--resume and --overwrite exclude each other: give one of them")
    probe(folder)
    lock = FileLock(str(folder / ".lock"), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise SetupError(f"another process works in {folder}: wait for it, or give another --out") from None
    try:
        _settle(folder, lab, resume, overwrite)
        yield
    finally:
        lock.release()


def _settle(folder: Path, lab: Lab, resume: bool, overwrite: bool) -> None:
    """Make the folder that of this very study."""
    file, now = folder / STUDY, json.loads(json.dumps({"format": FORMAT, **_lab.study_of(lab)}))
    strange = [p.name for p in folder.iterdir() if p.name != ".lock"]
    if strange and not file.exists():
        raise UsageError(f"{folder} holds something else ({strange[0]}): give another --out")
    if file.exists() and overwrite:
        for path in sorted(folder.iterdir()):
            if path.name not in (".lock", STUDY):
                remove(path)
    elif file.exists() and not resume:
        raise UsageError(f"{folder} exists: --resume goes on with it, --overwrite begins anew, or give another --out")
    elif file.exists():
        before = read_json(file)
        other = [k for k, v in now.items() if before.get(k) != v]
        if other:
            raise UsageError(f"{folder} was begun with another {', '.join(other)}; --overwrite begins anew")
    write_json(file, now)


@dataclass
class _Study:
    """A study at work: which points it wants, which it has."""

    lab: Lab
    folder: Path
    sizes: Sequence[int]
    seeds: Sequence[int]

    def __post_init__(self) -> None:
        self.points: dict[tuple[str, int, int], Point] = {}
        self.left_out: list[dict[str, Any]] = []
        for arm, n, seed in self.wanted():
            found = _lab.load_point(_lab.point_file(self.folder, arm, n, seed))
            if found is not None and (found.arm, found.n, found.seed) == (arm, n, seed):
                self.points[arm, n, seed] = found

    def wanted(self) -> list[tuple[str, int, int]]:
        """(arm, labels, seed) in the order of work: all sizes of the first seed, the small ones first, then the next.

        So what is done at any moment has both arms over the same sizes, the large ones last.
        """
        return [(arm, n, seed) for seed in self.seeds for n in self.sizes for arm in (WITH, WITHOUT)]

    def run(self, deadline: float | None) -> None:
        """Measure every point that is missing; with a deadline (monotonic) only those that should fit."""
        voice = self.lab.voice
        voice.say(f"  labels {', '.join(f'{n:,}' for n in self.sizes)}; {len(self.seeds)} seeds; into {self.folder}")
        with voice.bar("labels saved", len(self.wanted())) as tick:
            tick(len(self.points))
            for key in self.wanted():
                if key in self.points:
                    continue
                wait = self.estimate(key[0], key[1])
                if deadline is not None and time.monotonic() + wait > deadline:
                    arm, n, seed = key
                    why = f"would take about {wait:.0f} s, and {max(deadline - time.monotonic(), 0):.0f} s are left"
                    self.left_out.append({"arm": arm, "n": n, "seed": seed, "why": why})
                    continue
                self._measure(key)
                tick(1)
        with contextlib.suppress(OSError):  # where nothing unfinished lies in it
            (self.folder / "work").rmdir()

    def _measure(self, key: tuple[str, int, int]) -> None:
        arm, n, seed = key
        point = _lab.measure(self.lab, arm, n, seed, self.folder / "work" / f"{arm}-{n}-{seed}")
        _lab.save_point(self.folder, point)
        self.points[key] = point
        value = number(point.value, self.lab.task.measures[0])
        how = "pretrained" if arm == WITH else "scratch"
        self.lab.voice.say(f"  {n:>7,} labels, {how}, seed {seed}: {value} ({point.wall:.0f} s)")

    def estimate(self, arm: str, n: int) -> float:
        """Seconds that a point will take, from those of this arm whose size is nearest; 0 where there is none."""
        own = [p for (a, _, _), p in self.points.items() if a == arm]
        if not own:
            return 0.0
        near = min(own, key=lambda p: (abs(np.log(p.n / n)), p.seed))
        before, now = self.lab.steps(arm, near.n), self.lab.steps(arm, n)
        return near.wall * max(1.0, now / before if before else n / near.n)

    def conclude(self, budget: float | None) -> dict[str, Any]:
        """Draw the conclusion of the points that are there, and write it with its picture and page."""
        points = [self.points[k] for k in self.wanted() if k in self.points]
        seed = self.lab.recipe.seed
        case = _savings.case_of(self.lab, points, seed)
        labels, seconds = _savings.labels(case), _savings.seconds(case, points)
        said: dict[str, Any] = finite({
            "format": FORMAT,
            "run": str(self.lab.run.folder.resolve()),
            "evidence": str(self.folder),
            "title": self.lab.run.folder.resolve().name,
            "measure": case.measure,
            "lower": case.lower,
            "arm": self.lab.kept.name,
            "backbone": self.lab.recipe.backbone,
            "train": len(self.lab.data.train), "test": len(self.lab.data.test),
            "sizes": list(self.sizes), "seeds": list(self.seeds), "passes": self.lab.passes,
            "sentence": f"{labels['sentence']} {seconds['sentence']}",
            "labels_saved": labels,
            "time_saved": seconds,
            "points": [p.plain() for p in points],
            "left_out": self.left_out,
            "budget": budget,
            "environment": {**storage.versions(), "device": self.lab.run.device},
        })  # fmt: skip
        write_json(self.folder / EVIDENCE, said)
        write_whole(self.folder / PICTURE, draw(said, case.fits))
        write_whole(self.folder / PAGE, page(said, (self.folder / PICTURE).read_bytes()))
        return said


def read(folder: str | Path) -> dict[str, Any]:
    """evidence.json of a study's folder. Raises DataError where there is none."""
    found = read_json(Path(folder) / EVIDENCE)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise DataError(f"{folder}: {EVIDENCE} was not written by this graft")
    return found

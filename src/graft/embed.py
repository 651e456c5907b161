"""`graft features`: a pretrained model's features of a whole data set as one file, for those who only want these."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from graft import __version__, backbones, floors, hub, ranking, sources
from graft.data import Note, Sample
from graft.errors import DataError, SetupError, UsageError, did_you_mean
from graft.features import Table, extract
from graft.files import probe, whole_file
from graft.model import Backbone, fingerprint
from graft.precision import Precision, choose
from graft.readers import open_source, samples
from graft.recipe import Recipe
from graft.voice import Voice

FORMATS = (".npz", ".parquet")
PRECISIONS = ("auto", "fp32", "bf16")
ROWS = 4096
"""Rows a row group of parquet."""
BUNDLED = "bundled:all-MiniLM-L6-v2"


@dataclass(frozen=True)
class Embedded:
    """What was written: the file, its number of rows, the pooled dimension and those of the stages by name."""

    path: Path
    n: int
    dim: int
    backbone: str
    stages: dict[str, int] = field(default_factory=dict)
    precision: Precision = field(default_factory=Precision)
    cached: bool = False
    notes: list[Note] = field(default_factory=list)

    def sentence(self) -> str:
        """What was written, in words."""
        more = f" and those after {len(self.stages)} stages" if self.stages else ""
        return f"{self.n:,} x {self.dim} features of {self.backbone}{more} -> {self.path}"

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "file": str(self.path), "n": self.n, "dim": self.dim, "backbone": self.backbone, "stages": self.stages,
            "precision": self.precision.plain(), "cached": self.cached,
        }  # fmt: skip


def features(
    data: Any,
    *,
    out: str | Path,
    backbone: str = "auto",
    stages: bool = False,
    asked: Recipe | None = None,
    zoo: str | Path | None = None,
    quiet: bool = True,
    voice: Voice | None = None,
) -> Embedded:
    """Write features of all samples of `data` to `out` (.npz or .parquet), whole or not at all.

    Arrays, or columns, with one row a sample: `id` (text), `part` (train, valid, test or all, as the data have it),
    `label` where there are labels (text; numbers where all are; several as a JSON list; "" or NaN for none),
    `pooled` float32 [n, d], and with `stages` also `stage/NAME` [n, d of the stage], from input to output. `meta`
    (in npz an array of one text, in parquet metadata of the schema called `graft`) says as JSON how they were made.
    npz holds no pickles: `numpy.load` opens it as it is. In parquet a table of features is one column of
    fixed-size lists, not d columns: it reads back as one block of memory, and the schema stays readable for d of
    thousands.

    `backbone` "auto" is the bundled text encoder, or for pictures the candidate that `graft rank` chooses on
    these labels. `asked` says, as for a fit, which columns are which (`text`, `image`, `label`, ...), the
    `device`, `max_bad`, and the `precision`: fp32, bf16, or auto, which measures (`graft.precision.choose`).
    Raises UsageError, DataError, SetupError and SecurityError, as far as possible before anything is computed.
    """
    from graft.session import pick_device

    path, asked, voice = _target(out), asked or Recipe(), voice or Voice(quiet)
    floors.check()
    hub.say = voice.say
    if asked.precision not in PRECISIONS:
        near = did_you_mean(asked.precision, PRECISIONS)
        raise UsageError(f"precision {asked.precision!r}: possible are {', '.join(PRECISIONS)}.{near}")
    found = _read(data, asked)
    name = backbone if backbone != "auto" else _auto(data, found, asked, zoo, voice)
    net = backbones.load(name, found.schema).to(pick_device(asked.device))
    if net.modality != found.modality:
        raise UsageError(f"{name} takes a {net.modality}, and these data hold a {found.modality} a row")
    how = _precision(asked.precision, net, found.samples)
    with voice.bar(f"features of {name}", len(found.samples)) as tick:
        table = extract(net, found.samples, stages=stages, precision=how, tick=tick)
    write(path, table, found.samples, found.parts, _meta(name, net, how))
    dims = {stage: t.shape[1] for stage, t in table.stages.items()}
    return Embedded(path, len(found.samples), net.dim, name, dims, how, table.cached, found.notes)


def _target(out: str | Path) -> Path:
    """The file to write, in a folder that takes files. Raises UsageError, SetupError."""
    path = Path(out).expanduser().absolute()
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--out {out}: a file that ends in {' or '.join(FORMATS)} is expected")
    if path.is_dir():
        raise UsageError(f"--out {out}: this is a folder; name a file in it, as {path / 'features.npz'}")
    if not path.parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {path.parent}")
    probe(path.parent)
    return path


def _precision(wanted: str, net: Backbone, rows: Sequence[Sample]) -> Precision:
    if wanted == "auto":
        return choose(net, rows, next(net.parameters()).device)
    return Precision(wanted)


# ----------------------------------------------------------------------------------------- reading


@dataclass
class _Found:
    """Samples in order with the part of each, and what was read besides."""

    modality: str
    samples: list[Sample]
    parts: list[str]
    notes: list[Note]
    schema: dict[str, Any] = field(default_factory=dict)


def _read(data: Any, asked: Recipe) -> _Found:
    """All samples; data without labels are read as `graft predict` reads them. Raises as `features` does."""
    source, name = sources.resolve(data)
    asked = replace(asked, data=asked.data or name)
    try:
        opened = open_source(source, asked)
        found = samples.read(source, asked, opened.modality, None, opened)
    except DataError as why:
        return _unlabelled(source, asked, why)
    everything = [s for part in found.parts.values() for s in part]
    if not everything:
        raise DataError(f"{asked.data}: there is no sample in these data")
    parts = [part for part, rows in found.parts.items() for _ in rows]
    return _Found(opened.modality, everything, parts, found.notes, found.schema)


def _unlabelled(source: Any, asked: Recipe, why: DataError) -> _Found:
    """Samples without labels, where the data have none; else `why`, which told what is wrong with them."""
    modality = _modality(source)
    try:
        given = sources.inputs(source, modality) if isinstance(source, list) else [source]
        found, notes = samples.inputs(given, modality, {})
    except (DataError, UsageError):
        raise why from None
    bad = sum(len(n.items) for n in notes if n.kind == "skipped")
    if not found or bad > asked.max_bad * (bad + len(found)):
        raise why
    notes = [Note("assumed", f"read without labels: {why}"), *notes]
    return _Found(modality, found, ["all"] * len(found), notes)


def _modality(source: Any) -> str:
    """picture or text, by what a source without labels holds."""
    with contextlib.suppress(DataError, UsageError):
        return open_source(source, Recipe(), labels=False).modality
    first = source[0] if isinstance(source, list) and source else source
    if isinstance(first, Path) and first.suffix.lower() in sources.TEXT_FILES:
        return "text"
    with contextlib.suppress(OSError, ValueError):  # a text too long to be a name, or with a NUL
        if isinstance(first, str) and not Path(first).is_file():
            return "text"
    return "picture"


def _auto(data: Any, found: _Found, asked: Recipe, zoo: str | Path | None, voice: Voice) -> str:
    """The backbone that nobody named. Raises UsageError, SetupError where there is none to choose."""
    if found.modality == "text":
        return BUNDLED
    task = sources.make("image_classification")  # any of its modality: only that is asked of it
    names, skipped = ranking.candidates_for(task, ranking.zoo_folders(zoo), voice)
    if not names:
        raise ranking.no_candidate(task, skipped)
    if len(names) == 1:
        return names[0]
    if any(s.y is None for s in found.samples):
        raise UsageError(
            f"without labels the candidates cannot be ranked: name one with --backbone, as {names[0]}; "
            f"possible are {', '.join(names[:8])}"
        )
    ranked = ranking.rank_data(
        data, names, task=asked.task, text=asked.text, image=asked.image, label=asked.label, device=asked.device,
        max_bad=asked.max_bad, voice=voice,
    )  # fmt: skip
    if ranked.choice is None:
        raise SetupError(f"no candidate works: {ranked.candidates[0].error}; name one with --backbone")
    return ranked.choice


# ----------------------------------------------------------------------------------------- writing


def write(path: Path, table: Table, rows: Sequence[Sample], parts: Sequence[str], meta: dict[str, Any]) -> None:
    """Write a table of features with ids, labels and parts to .npz or .parquet. Raises SetupError; see `features`."""
    columns: dict[str, NDArray[Any]] = {
        "id": np.asarray([_plain(s.id) for s in rows], dtype=np.str_),
        "part": np.asarray(parts, dtype=np.str_),
    }
    if any(s.y is not None for s in rows):
        columns["label"] = _labels([s.y for s in rows])
    columns["pooled"] = table.pooled.numpy()
    columns |= {f"stage/{name}": t.numpy() for name, t in table.stages.items()}
    said = json.dumps(meta, sort_keys=True)
    with whole_file(path) as file:
        if path.suffix.lower() == ".npz":
            np.savez(file, allow_pickle=False, meta=np.asarray(said), **columns)
        else:
            _parquet(file, columns, said)


def _meta(name: str, net: Backbone, how: Precision) -> dict[str, Any]:
    return {
        "graft": __version__, "backbone": name, "weights": fingerprint(net), "preprocessing": net.describe(),
        "precision": how.plain(),
    }  # fmt: skip


def _labels(ys: list[Any]) -> NDArray[Any]:
    if all(y is None or (isinstance(y, int | float) and not isinstance(y, bool)) for y in ys):
        return np.asarray([np.nan if y is None else float(y) for y in ys], dtype=np.float64)
    return np.asarray([_label(y) for y in ys], dtype=np.str_)


def _label(y: Any) -> str:
    if y is None:
        return ""
    return json.dumps([str(v) for v in y], ensure_ascii=False) if isinstance(y, tuple | list) else _plain(str(y))


def _plain(text: str) -> str:
    """Without the half characters that file names of odd bytes give, which no UTF-8 has."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _parquet(file: BinaryIO, columns: dict[str, NDArray[Any]], meta: str) -> None:
    """Row group by row group, so that the features never stand in memory a second time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def column(values: NDArray[Any]) -> Any:
        if values.ndim == 1:
            return pa.array(values.tolist() if values.dtype.kind == "U" else values)
        return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])

    empty = {name: column(values[:0]) for name, values in columns.items()}
    fields = [pa.field(n, pa.string() if columns[n].dtype.kind == "U" else a.type) for n, a in empty.items()]
    schema = pa.schema(fields, metadata={"graft": meta})
    with pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=["part"]) as writer:
        for start in range(0, len(columns["id"]), ROWS):
            some = [column(values[start : start + ROWS]) for values in columns.values()]
            writer.write_table(pa.Table.from_arrays(some, schema=schema))

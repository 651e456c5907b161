"""Hugging Face datasets: objects in memory, and `hf:NAME` from the hub, without any code of theirs."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from graft.data import Note
from graft.errors import DataError, SecurityError, SetupError, UsageError, need, some
from graft.hub import endpoint, reachable
from graft.readers import PARTS, Opened
from graft.readers._manifests import Gathered
from graft.readers._rows import Placed
from graft.readers.tabled import open_parts
from graft.recipe import Recipe
from graft.tables import Table, from_arrow

PREFIX = "hf:"
_OLDEST = (5, 2)  # this release of datasets was looked through: it runs no scripts and reads no pickles
_NAME = re.compile(r"hf:(?P<name>\w[\w.-]*(?:/\w[\w.-]*)?)(?:@(?P<revision>[\w./-]+))?(?::(?P<config>[^:@]+))?")
_BATCH = 1000  # rows of Arrow at a time


def open_dataset(source: Any, asked: Recipe, known: Mapping[str, str], labels: bool = True) -> Opened | None:
    """Rows of a `datasets.Dataset` or `DatasetDict`, or of `hf:NAME[@REVISION][:CONFIG]`; None for others.

    Pictures stay encoded; the names of a ClassLabel replace its numbers, and -1, the hub's word for a hidden label,
    is none. Parts are told by their names (train, validation, test); others are left out and said.

    Raises as `graft.readers.tabled.open_tables` does, and for `hf:` as `load` does.
    """
    notes: list[Note] = []
    if isinstance(source, str):
        if not source.startswith(PREFIX):
            return None
        source = load(source, notes)
    kind = type(source)
    if kind.__module__.split(".")[0] != "datasets":
        return None
    if kind.__name__ == "Dataset":
        parts = {"all": source}
    elif kind.__name__ == "DatasetDict":
        parts = _parts(source, notes)
    else:
        raise DataError(f"a {kind.__name__} has no length and no second pass; load the data set without streaming")
    placed = {part: [Placed(_table(part, one), [Path().resolve()])] for part, one in parts.items()}
    return open_parts(Gathered(placed, notes), asked, known, labels)


def load(written: str, notes: list[Note]) -> Any:
    """The data set that `hf:NAME[@REVISION][:CONFIG]` means, from the hub or its cache on this machine.

    Raises UsageError for another form; SetupError where `datasets` is missing or too old, and without network;
    DataError where there is no such data set, revision or configuration, or it is private; SecurityError where it
    comes as a script.
    """
    match = _NAME.fullmatch(written)
    if match is None:
        raise UsageError(f"{written!r}: write hf:NAME, hf:OWNER/NAME@REVISION or hf:OWNER/NAME:CONFIG")
    library = need("datasets", "datasets")
    if tuple(int(n) for n in str(library.__version__).split(".")[:2]) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        raise SetupError(
            f"datasets {library.__version__} may run code of a data set; run: pip install 'datasets>={oldest}'"
        )
    name, revision, config = match["name"], match["revision"], match["config"]
    _refuse_local(written, name)
    why = reachable()
    if why and "HF_HUB_OFFLINE" not in why:
        raise SetupError(
            f"{written}: no network: {why}. With HF_HUB_OFFLINE=1 a copy on this machine is used; elsewhere run: "
            f"hf download {name} --repo-type dataset, then give its parquet or csv files"
        )
    try:
        # Held to one commit, so that nothing changes between two looks; a copy on this machine is what it is.
        commit = revision if why else _commit(name, revision)
        found = library.load_dataset(name, config, revision=commit)
    except (RuntimeError, ValueError, OSError, library.exceptions.DatasetsError) as e:
        raise _reason(e, library, written, name) from e
    where = "from the copy on this machine" if why else f"from {endpoint()}"
    notes.append(Note("found", f"{written} {where}" + (f", commit {commit}" if commit else "")))
    return found


def _refuse_local(written: str, name: str) -> None:
    """Names that `load_dataset` would look for on this machine: a path, or a reader of whatever lies here."""
    formats = need("datasets.packaged_modules", "datasets")._PACKAGED_DATASETS_MODULES
    if os.path.lexists(name):
        raise UsageError(f"{written}: a file or folder {name!r} is here; give it without hf:, or run in another folder")
    if name in formats:
        raise UsageError(f"{written}: {name!r} is a format, not a data set; give the files themselves")


def _commit(name: str, revision: str | None) -> str | None:
    from huggingface_hub import HfApi

    sha: str | None = HfApi(endpoint=endpoint()).dataset_info(name, revision=revision, timeout=10.0).sha
    return sha


def _reason(e: Exception, library: Any, written: str, name: str) -> Exception:
    """The error to raise for one of `datasets` or of the hub; unknown ones come back as they are."""
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(e, library.exceptions.DatasetNotFoundError | RepositoryNotFoundError | RevisionNotFoundError):
        return DataError(
            f"{written}: there is no such data set on {endpoint()}, or it is private or gated: run hf auth login ({e})"
        )
    if isinstance(e, library.exceptions.DatasetsError):
        return DataError(f"{written}: cannot be read: {e}")
    if isinstance(e, OSError | HfHubHTTPError):
        return SetupError(
            f"{written}: not on this machine, and not to be had from {endpoint()} ({e}). With a network run: "
            f"hf download {name} --repo-type dataset"
        )
    if isinstance(e, RuntimeError) and "script" in str(e).lower():
        return SecurityError(
            f"{written} comes as a script, which would run here; nothing of it was run. "
            f"Use its parquet copy: {PREFIX}{name}@refs/convert/parquet"
        )
    return DataError(f"{written}: {e}") if isinstance(e, ValueError) else e


def _parts(found: Mapping[str, Any], notes: list[Note]) -> dict[str, Any]:
    named = {key: PARTS.get(str(key).lower(), "") for key in found}
    parts: dict[str, Any] = {}
    for key, part in named.items():
        if part and part not in parts:
            parts[part] = found[key]
    if len(found) == 1:
        return {"all": next(iter(found.values()))}
    left = [str(key) for key, part in named.items() if not part]
    if "train" not in parts:
        raise DataError(f"the data set has the parts {some(found)}, and none is called train; give one of them")
    if left:
        notes.append(Note("skipped", f"{len(left)} parts with other names", tuple(left)))
    order = [p for p in ("train", "valid", "test") if p in parts]
    notes.append(Note("found", f"parts as given: {', '.join(order)}"))
    return {p: parts[p] for p in order}


def _table(part: str, one: Any) -> Table:
    """One part as a table, through Arrow, so that no picture is decoded."""
    table = from_arrow(_arrow(one), "<dataset>" if part == "all" else f"<{part}>", blobs=True)
    columns = dict(table.columns)
    for key, feature in one.features.items():
        names, inside = _class_names(feature)
        if names is not None and key in columns:
            columns[key] = [_named(cell, names, inside, table.row_id(i)) for i, cell in enumerate(columns[key])]
    return replace(table, columns=columns)


def _arrow(one: Any) -> Any:
    import pyarrow as pa  # type: ignore[import-untyped,unused-ignore]

    batches: Iterator[Any] = one.with_format("arrow").iter(batch_size=_BATCH)
    return pa.concat_tables(list(batches)) if len(one) else one.with_format("arrow")[:]


def _class_names(feature: Any) -> tuple[list[str] | None, bool]:
    """(the names of a ClassLabel, whether it is inside a list), or (None, False)."""
    inside = type(feature).__name__ in ("List", "LargeList", "Sequence")
    inner = feature.feature if inside else feature
    return (list(inner.names), inside) if type(inner).__name__ == "ClassLabel" else (None, False)


def _named(cell: str | None, names: list[str], inside: bool, where: str) -> str | None:
    """A class by its name. Raises DataError for a number that has none (row 28 of the faults)."""
    if cell is None:
        return None
    numbers = [int(n) for n in json.loads(cell)] if inside else [int(cell)]
    if not inside and numbers[0] < 0:
        return None
    strange = [n for n in numbers if not 0 <= n < len(names)]
    if strange:
        raise DataError(
            f"{where}: label {strange[0]} is out of range, for {len(names)} classes have names ({some(names)}); mend "
            "the labels or the features of the data set"
        )
    return json.dumps([names[n] for n in numbers], ensure_ascii=False) if inside else names[numbers[0]]

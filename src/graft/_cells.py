"""Values of frames, records and parquet as cells of a table: text, or what a picture may come as."""

from __future__ import annotations

import json
import math
import numbers
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from graft.errors import DataError

_STRUCT = {"bytes", "path"}  # how Hugging Face's datasets store pictures


def column(
    name: str, key: str, values: Sequence[object], blobs: bool
) -> tuple[list[str | None] | None, list[object] | None]:
    """Turn a column's Python values into (text cells, None), or (None, the values) where they hold pictures.

    Pictures (bytes, Pillow pictures, arrays, structs of bytes and a path) are let through with `blobs` alone.
    Floats that are integers with gaps become integers again. Raises DataError for bytes otherwise.
    """
    cells = [None if is_missing(v) else v for v in values]
    if blobs and any(is_blob(v) for v in cells):
        return None, cells
    filled = [v for v in cells if v is not None]
    if len(filled) < len(cells) and all(isinstance(v, float) and v.is_integer() for v in filled):
        cells = [int(v) if isinstance(v, float) else None for v in cells]
    try:
        return [text(value) for value in cells], None
    except TypeError as e:
        raise DataError(f"{name}: column {key!r} {e}; turn it into text first.") from e


def text(value: object) -> str | None:
    """Return one cell as text: nested values as JSON. Raises TypeError for bytes."""
    if value is None:
        return None
    if isinstance(value, str):
        return str.__str__(value)  # plain text of a subclass too, an enum's value and not its name
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError("holds bytes")
    plain = getattr(value, "tolist", None)  # numpy's scalars and arrays
    if plain is not None:
        return text(plain())
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (Mapping, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=text)
    return str(value)


def is_missing(value: object) -> bool:
    """Say whether a value is None, NaN, or pandas' NA or NaT (told by name: pandas may not be loaded)."""
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Rational):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")


def is_blob(value: object) -> bool:
    """Say whether a value is what a picture may come as: bytes, a Pillow picture, an array, a struct with bytes."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return True
    if isinstance(value, Mapping):
        return "bytes" in value and set(value) <= _STRUCT
    kind = type(value)
    return kind.__module__.startswith("PIL.") or (kind.__name__ == "ndarray" and getattr(value, "ndim", 0) > 1)


def picture(value: object) -> Any:
    """Return a picture's value as `Row.x` holds it: bytes, a Pillow picture, an array, or a path as a str.

    A struct gives its bytes, else its path; None where there is nothing.
    """
    if isinstance(value, Mapping):
        inner = value.get("bytes")
        return value.get("path") if inner is None else picture(inner)
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    return str(value) if isinstance(value, (str, PurePath)) else value


def arrow_holds(kind: Any) -> str:
    """Say what bytes an arrow type holds: "" none, "picture" as a column of its own or a struct's, else "bytes"."""
    import pyarrow.types as of  # type: ignore[import-untyped,unused-ignore]

    if _is_binary(kind) or (
        of.is_struct(kind) and {f.name for f in kind} <= _STRUCT and any(_is_binary(f.type) for f in kind)
    ):
        return "picture"
    inner = kind.value_type if of.is_dictionary(kind) else None
    held = [inner] if inner is not None else [kind.field(i).type for i in range(kind.num_fields)]
    return "bytes" if any(arrow_holds(h) for h in held) else ""


def _is_binary(kind: Any) -> bool:
    import pyarrow.types as of

    return bool(
        of.is_binary(kind) or of.is_large_binary(kind) or of.is_fixed_size_binary(kind) or of.is_binary_view(kind)
    )

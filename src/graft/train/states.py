"""A stage's state cut into tensors by group and plain JSON, and put together again exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

Tensors = dict[str, dict[str, torch.Tensor]]
GROUPS = ("model", "optimizer")  # name -> tensor; everything else is nested and may mix


def split(state: Mapping[str, Any]) -> tuple[Tensors, dict[str, Any]]:
    """(tensors by group, JSON) of what `Record.state()` gave; the tensors are the live ones.

    Methods may hold tensors, numbers, texts, None, and lists, tuples and dicts of them. Raises TypeError
    for anything else, which would not come back as it was.
    """
    tensors: Tensors = {group: dict(state[group]) for group in GROUPS}
    tensors["methods"] = {}
    plain = {k: _plain(v, k, tensors["methods"]) for k, v in state.items() if k not in GROUPS}
    return tensors, plain


def join(tensors: Mapping[str, Mapping[str, torch.Tensor]], plain: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `split`."""
    nested = {k: _whole(v, tensors.get("methods", {})) for k, v in plain.items()}
    return {**nested, **{group: dict(tensors.get(group, {})) for group in GROUPS}}


def _plain(value: Any, where: str, found: dict[str, torch.Tensor]) -> Any:
    if isinstance(value, torch.Tensor):
        found[where] = value.detach()
        return {"tensor": where}
    if isinstance(value, Mapping):
        strange = next((k for k in value if not isinstance(k, str)), None)
        if strange is not None:
            raise TypeError(f"state {where} has the key {strange!r}; keys are texts")
        return {"dict": {k: _plain(v, f"{where}/{k}", found) for k, v in value.items()}}
    if isinstance(value, list | tuple):
        items = [_plain(v, f"{where}/{i}", found) for i, v in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(float(value))}  # JSON has no infinity, yet a best value starts with one
    if value is None or type(value) in (bool, int, float, str):
        return value
    raise TypeError(f"state {where} is a {type(value).__name__}; give tensors, numbers, texts, lists and dicts")


def _whole(value: Any, tensors: Mapping[str, torch.Tensor]) -> Any:
    if isinstance(value, list):
        return [_whole(v, tensors) for v in value]
    if not isinstance(value, dict):
        return value
    ((tag, content),) = value.items()
    if tag == "tensor":
        return tensors[content]
    if tag == "tuple":
        return tuple(_whole(v, tensors) for v in content)
    if tag == "float":
        return float(content)
    return {k: _whole(v, tensors) for k, v in content.items()}

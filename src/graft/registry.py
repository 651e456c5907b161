"""Find methods, tasks and backbone sources by file name, entry point or `--plugin` file."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import sys
from dataclasses import dataclass, is_dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from graft.errors import SetupError, UsageError, did_you_mean

KINDS = ("methods", "tasks", "backbones")
_BASES = {"methods": "Method", "tasks": "Task"}
_plugins: dict[str, dict[str, Path]] = {kind: {} for kind in KINDS}
_loaded: dict[tuple[str, str], Any] = {}


def names(kind: str) -> list[str]:
    """Sorted names of one kind: `methods`, `tasks` or `backbones`."""
    return sorted({*_files(kind), *_plugins[kind], *_entries(kind)})


def sentence(kind: str, name: str) -> str:
    """The first docstring line of the file that brings `name`, read without importing it."""
    path = _plugins[kind].get(name) or _files(kind).get(name)
    if path is None:
        return inspect.getdoc(load(kind, name)) or ""
    tree = ast.parse(path.read_text("utf-8"))
    doc = ast.get_docstring(tree)
    if not doc:
        docs = (ast.get_docstring(n) for n in tree.body if isinstance(n, ast.ClassDef))
        doc = next((d for d in docs if d), "")
    return doc.strip().splitlines()[0] if doc else ""


def load(kind: str, name: str) -> Any:
    """The class of a method or task, or the module of a backbone source.

    Raises UsageError with the nearest names for one that is not there.
    """
    if (kind, name) in _loaded:
        return _loaded[kind, name]
    if name in _plugins[kind]:
        found = _pick(kind, name, _import_file(_plugins[kind][name]))
    elif name in _files(kind):
        found = _pick(kind, name, _import_own(kind, name))
    elif name in _entries(kind):
        found = _entries(kind)[name].load()
    else:
        word = {"methods": "method", "tasks": "task", "backbones": "backbone source"}[kind]
        raise UsageError(
            f"there is no {word} {name!r}.{did_you_mean(name, names(kind))} `graft list {kind}` shows all."
        )
    _loaded[kind, name] = found
    return found


def plugin(path: str | Path) -> str:
    """Make a Python file's Method, Task or backbone source available under the file's name.

    The file is run: only a path that the user named may be given. Raises UsageError.
    """
    file = Path(path).resolve()
    if file.suffix != ".py" or not file.is_file():
        raise UsageError(f"--plugin {path}: a Python file is expected, and none is there")
    module = _import_file(file)
    for kind in KINDS:
        if (kind == "backbones" and _is_source(module)) or (kind != "backbones" and _classes(kind, module)):
            if file.stem in _files(kind):
                raise UsageError(
                    f"--plugin {path}: {file.stem!r} is the name of one of graft's own {kind}; rename the file"
                )
            _plugins[kind][file.stem] = file
            _loaded[kind, file.stem] = _pick(kind, file.stem, module)
            return file.stem
    raise UsageError(f"--plugin {path}: no subclass of graft.methods.Method or graft.tasks.Task is in it")


def _files(kind: str) -> dict[str, Path]:
    folder = Path(__file__).parent / kind
    return {p.stem: p for p in folder.glob("*.py") if not p.stem.startswith("_")}


def _entries(kind: str) -> dict[str, EntryPoint]:
    return {e.name: e for e in entry_points(group=f"graft.{kind}")}


def _import_own(kind: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(f"graft.{kind}.{name}")
    except (ImportError, RuntimeError) as e:  # a torchvision of another torch fails with a RuntimeError
        raise SetupError(
            f"{kind} {name!r} does not import: {e}; torch and torchvision must be of one release: "
            "pip install --upgrade torch torchvision"
        ) from e


def _import_file(path: Path) -> ModuleType:
    name = f"graft_plugin_{path.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SetupError(f"{path}: cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as e:
        del sys.modules[name]
        raise UsageError(f"{path}: fails on import: {type(e).__name__}: {e}") from e
    return module


def _is_source(module: ModuleType) -> bool:
    return inspect.isfunction(module.__dict__.get("names")) and inspect.isfunction(module.__dict__.get("load"))


def _classes(kind: str, module: ModuleType) -> list[type]:
    base = importlib.import_module(f"graft.{kind}").__dict__[_BASES[kind]]
    own = (v for v in vars(module).values() if inspect.isclass(v) and v.__module__ == module.__name__)
    return [c for c in own if issubclass(c, base) and c is not base]


def _pick(kind: str, name: str, module: ModuleType) -> Any:
    if kind == "backbones":
        return module
    classes = _classes(kind, module)
    if len(classes) != 1:
        seen = ", ".join(c.__name__ for c in classes) or "none"
        raise UsageError(f"{module.__file__}: exactly one {_BASES[kind]} is expected in a file; found {seen}")
    found: Any = classes[0]
    if kind == "methods" and not is_dataclass(found) and "__init__" not in vars(found):
        found = dataclass(found)  # annotated attributes are options, decorator or not
    return found

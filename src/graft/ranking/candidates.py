"""Which pretrained models are compared: those that are named, or those at hand."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from graft import backbones, hub, registry
from graft.errors import DataError, GraftError, SetupError, UsageError
from graft.tasks import Task
from graft.voice import Voice

EVERY_CUT = ":stages=*"
"""What a name ends in that stands for every cut of a backbone."""
LISTS = (".txt", ".list", ".json")
"""Files that hold names of models: a name a line (`#` begins a remark), or a JSON list."""


def candidates_for(task: Task, zoos: Sequence[Path], voice: Voice) -> tuple[list[str], str]:
    """(names, why hub models were left out): bundled ones, every zoo folder, what is cached, and the hub's own four.

    The hub's are asked for where it answers; what an earlier download left here is a candidate without it.
    """
    found = [f"bundled:{n}" for n in registry.load("backbones", "bundled").names() if task.modality == "text"]
    for zoo in zoos:
        if not zoo.is_dir():
            raise UsageError(f"--zoo {zoo}: there is no such folder")
        below = registry.load("backbones", "local").names(str(zoo))
        found.extend(f"local:{n}" for n in below if _takes(Path(n), task.modality))
    found.extend(_cached(task.modality))
    skipped = ""
    if task.modality == "picture":
        names = [f"timm:{n}" for n in registry.load("backbones", "timm").names()]
        why = hub.reachable()
        skipped = f"no hub: {why}; {len(set(names) - set(found))} hub models are left out" if why else ""
        found.extend(n for n in names if not why and n not in found)
    if skipped:
        voice.say(f"  {skipped}")
    return found, skipped


def _cached(modality: str) -> list[str]:
    """Names of what earlier downloads left on this machine: timm's pictures, and text encoders of transformers."""
    repos = hub.cached_models()
    if modality == "picture":
        known = set(registry.load("backbones", "timm").names("."))
        names = (r.removeprefix("timm/") for r in repos if r.startswith("timm/"))
        return [f"timm:{n}" for n in names if n in known]
    if modality == "text":
        return [f"hf:{r}" for r in repos if hub.cached(r, "tokenizer.json") and hub.cached(r, "config.json")]
    return []


def _takes(folder: Path, modality: str) -> bool:
    """Whether a model folder can be of this modality, told without loading it: text encoders have a tokenizer."""
    return modality not in ("text", "picture") or (folder / "tokenizer.json").is_file() == (modality == "text")


def zoo_folders(zoo: str | Path | None) -> list[Path]:
    """The folders named by `--zoo` and by GRAFT_ZOO (separated as PATH is)."""
    given = [str(zoo)] if zoo else []
    given += [p for p in os.environ.get("GRAFT_ZOO", "").split(os.pathsep) if p]
    return [Path(p).expanduser().resolve() for p in dict.fromkeys(given)]


def named(candidates: str | Path | Sequence[str], inside: Sequence[Path] = ()) -> list[str]:
    """`--candidates`: a folder of models, a file of names, or names separated by commas; the whole list.

    `NAME:stages=*` stands for every cut of a backbone and the whole of it. What leads to no model stays in the list as
    it is written, and is a line of the ranking with its reason. `inside` are the files that led here. Raises
    UsageError where nothing is named, DataError for a file that is no list of names, or that names itself.
    """
    items = (
        candidates.split(",")
        if isinstance(candidates, str)
        else [str(c) for c in ([candidates] if isinstance(candidates, Path) else candidates)]
    )
    found: list[str] = []
    for item in (i.strip() for i in items if i.strip()):
        path = Path(item).expanduser()
        if path.suffix.lower() in LISTS and path.is_file():
            if path.resolve() in inside:
                raise DataError(f"--candidates {path}: the list leads back to itself; take its name out of it")
            found.extend(named(_listed(path), (*inside, path.resolve())))
        elif path.is_dir():
            found.extend(_below(path) or [item])
        elif item.endswith(EVERY_CUT):
            found.extend(_cuts(item))
        else:
            found.append(item)
    if not found:
        raise UsageError("--candidates: name at least one model, a folder of models, or a file with a name a line")
    return list(dict.fromkeys(found))


def _below(folder: Path) -> list[str]:
    """The models in a folder, or the one that it is."""
    return [f"local:{n}" for n in registry.load("backbones", "local").names(str(folder.resolve()))]


def _cuts(item: str) -> list[str]:
    """Every cut of a backbone and the whole of it; the whole alone where it cannot be loaded or cut."""
    whole = item.removesuffix(EVERY_CUT)
    try:
        return [*backbones.cuts(item), whole]
    except GraftError:
        return [whole]


def _listed(file: Path) -> list[str]:
    """Names in a file; folders in it are meant from where the file lies. Raises DataError."""
    try:
        text = file.read_text("utf-8-sig")
        raw = json.loads(text) if file.suffix.lower() == ".json" else [x.partition("#")[0] for x in text.splitlines()]
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as e:
        raise DataError(f"--candidates {file}: not readable as a list of names ({e})") from e
    if not isinstance(raw, list) or not all(isinstance(x, str) for x in raw):
        raise DataError(f"--candidates {file}: a JSON list of names is expected")
    names = [x.strip() for x in raw if x.strip()]
    return [str(file.parent / n) if (file.parent / n).is_dir() else n for n in names]


def no_candidate(task: Task, why: str) -> SetupError:
    """What to say where no pretrained model is at hand."""
    return SetupError(
        f"no pretrained {task.modality} backbone is at hand: --zoo names no folder with models, nothing is cached, "
        f"and {why or 'the hub was not asked'}. Give --zoo FOLDER (or set GRAFT_ZOO) with models in timm's or "
        "transformers' folder format, or run once with network"
    )

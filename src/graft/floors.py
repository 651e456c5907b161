"""Are the installed packages what graft was made for? Asked once, before any work begins."""

from __future__ import annotations

from functools import cache
from importlib import import_module, metadata

from graft.errors import SetupError, some

MEND = "pip install --upgrade"


@cache
def check() -> None:
    """Raise SetupError where a required package is missing, of another version, or torch and torchvision do not fit.

    The floors are those that the installation itself names; the message has the line that mends it.
    """
    wrong = [_wrong(text) for text in _required()]
    found = [w for w in wrong if w]
    if found:
        lines = " ".join(f"'{name}'" for name, _ in found)
        raise SetupError(f"{some((said for _, said in found), 3)}; run: {MEND} {lines}")
    _pair()


def _required() -> list[str]:
    try:
        return metadata.requires("graft-learn") or []
    except metadata.PackageNotFoundError:  # run from a folder that was never installed: pip checked nothing, nor do we
        return []


def _wrong(text: str) -> tuple[str, str] | None:
    """(requirement, what is wrong with it), or None where it is met or belongs to an extra."""
    from packaging.requirements import Requirement

    asked = Requirement(text)
    if asked.marker is not None and not asked.marker.evaluate({"extra": ""}):
        return None
    name = f"{asked.name}{asked.specifier}"
    try:
        there = metadata.version(asked.name)
    except metadata.PackageNotFoundError:
        return name, f"{asked.name} is not installed"
    if asked.specifier.contains(there, prereleases=True):
        return None
    return name, f"{asked.name} {there} is installed, and graft needs {asked.specifier}"


def _pair() -> None:
    """torchvision of another build than torch fails when it is first used, in words that say nothing."""
    try:
        import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as e:
        torch, vision = metadata.version("torch"), metadata.version("torchvision")
        raise SetupError(
            f"torchvision {vision} does not fit torch {torch} ({str(e).splitlines()[0]}); run: {MEND} torch torchvision"
        ) from e

"""graft: transfer learning with proof.

import graft
run = graft.fit("photos/")
run.predict(["new.jpg"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from graft.doctor import examine
    from graft.errors import DataError, GraftError, SecurityError, SetupError, Stopped, UsageError
    from graft.fitting import fit
    from graft.ranking import rank_data as rank
    from graft.run import Run, load
    from graft.versus import compare

__version__ = "0.1.0"
__all__ = [
    "DataError", "GraftError", "Run", "SecurityError", "SetupError", "Stopped", "UsageError",
    "compare", "examine", "fit", "load", "rank",
]  # fmt: skip

_HOMES = {
    "compare": ("graft.versus", "compare"), "examine": ("graft.doctor", "examine"),
    "fit": ("graft.fitting", "fit"), "load": ("graft.run", "load"), "Run": ("graft.run", "Run"),
    "rank": ("graft.ranking", "rank_data"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    """Public names are fetched on first use: `import graft` loads neither torch nor pandas."""
    import importlib

    if name not in __all__:
        raise AttributeError(f"module 'graft' has no attribute {name!r}")
    module, attribute = _HOMES.get(name, ("graft.errors", name))
    return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])

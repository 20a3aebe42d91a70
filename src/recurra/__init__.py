"""recurra: write a recurrent cell once; it then runs, learns, streams, and fits any topology and task."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from recurra.core import Batch, Cell, Shared, Wrapper, index_rows
from recurra.core.errors import RecurraError
from recurra.layers import GRU, LSTM, RNN, Recurrent, compile_report
from recurra.scan import scan

if TYPE_CHECKING:
    from recurra import learning
    from recurra.drawing import draw, equations
    from recurra.learning import diagnose
    from recurra.tasks import load

__version__ = "0.1.0"

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Batch",
    "Cell",
    "RecurraError",
    "Recurrent",
    "Shared",
    "Wrapper",
    "compile_report",
    "diagnose",
    "draw",
    "equations",
    "index_rows",
    "learning",
    "load",
    "scan",
]


def __getattr__(name: str) -> Any:
    """Import what only some programs need when it is first asked for, so that `import recurra` stays light."""
    if name == "load":
        from recurra.tasks import load

        return load
    if name in ("draw", "equations"):
        from recurra import drawing

        return getattr(drawing, name)
    if name == "diagnose":
        return importlib.import_module("recurra.learning").diagnose
    if name == "learning":
        return importlib.import_module("recurra.learning")
    raise AttributeError(f"module 'recurra' has no attribute {name!r}")

"""The cells: one file each, discovered by file name; `cells.get(name)` looks one up, `cells.names()` lists all."""

from __future__ import annotations

from recurra.core import Cell
from recurra.core.registry import discover, lookup

__all__ = ["get", "names"]

_CELLS: dict[str, type[Cell]] = discover(__name__, __path__, Cell)
globals().update({cell.__name__: cell for cell in _CELLS.values()})


def get(name: str) -> type[Cell]:
    """Return the cell class registered under a file's stem; an unknown name lists the known ones."""
    return lookup(_CELLS, name, "cell")


def names() -> list[str]:
    """Return the registered names in alphabetical order."""
    return sorted(_CELLS)

"""The cells: one file each, discovered by file name; `cells.get(name)` looks one up, `cells.names()` lists all.

Those over trees are apart: `cells.get_tree(name)`, `cells.tree_names()`.
"""

from __future__ import annotations

from recurra.core import Cell, TreeCell
from recurra.core.registry import discover, lookup

__all__ = ["get", "get_tree", "names", "tree_names"]

_CELLS: dict[str, type[Cell]] = discover(__name__, __path__, Cell, TreeCell)
_TREES: dict[str, type[TreeCell]] = discover(__name__, __path__, TreeCell, Cell)
globals().update({cell.__name__: cell for cell in (*_CELLS.values(), *_TREES.values())})


def get(name: str) -> type[Cell]:
    """Return the cell class registered under a file's stem; an unknown name lists the known ones."""
    return lookup(_CELLS, name, "cell")


def get_tree(name: str) -> type[TreeCell]:
    """Return the class of a cell over trees; an unknown name lists the known ones."""
    return lookup(_TREES, name, "tree cell")


def tree_names() -> list[str]:
    """Return the names of the cells over trees in alphabetical order."""
    return sorted(_TREES)


def names() -> list[str]:
    """Return the registered names in alphabetical order."""
    return sorted(_CELLS)

"""The forms in which a cell over trees comes in."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from recurra import cells
from recurra.core import Cell, TreeCell
from recurra.core.errors import ArgumentError, UnknownNameError

__all__ = ["TreeCellFactory", "tree_cell_factory"]

TreeCellFactory: TypeAlias = str | Callable[..., TreeCell | Cell]
"""A `TreeCell` or `Cell` class, the name of either, or any callable `(input_size, hidden_size) -> TreeCell or Cell`."""


def tree_cell_factory(cell: TreeCellFactory) -> Callable[..., TreeCell | Cell]:
    """Return what makes the cell: `build(input_size, hidden_size, **options)`, whatever form the choice had.

    Raises UnknownNameError for an unknown name, ArgumentError for what can be no cell.
    """
    if isinstance(cell, str):
        if cell in cells.tree_names():
            return cells.get_tree(cell)
        try:
            return cells.get(cell)
        except UnknownNameError as error:
            raise UnknownNameError(f"{error}; those over trees are {', '.join(cells.tree_names())}") from None
    if not callable(cell):
        raise ArgumentError(
            "cell must be a TreeCell or Cell class, the name of one, or a callable (input_size, hidden_size) -> "
            f"TreeCell; got {type(cell).__name__}"
        )
    return cell

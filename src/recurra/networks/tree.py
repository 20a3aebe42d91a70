"""Recursive networks: a cell over whole forests, from the leaves to the roots, level by level."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import Cell, State, TreeCell
from recurra.core.errors import ArgumentError, ShapeError
from recurra.layers import TreeCellFactory, tree_cell_factory
from recurra.networks.forest import Forest
from recurra.networks.sum_of_children import SumOfChildren

__all__ = ["Recursive"]


class Recursive(nn.Module):
    """One cell at every node of a tree: its children's states come in, its own goes to its parent.

        y_p, s_p = cell(x_p, (s_1, ..., s_N), which of them there are)

        forest = Forest.nested([("a", ("red", "bike")), ("red", "bike")])
        network = Recursive(MyTreeCell, 32, 64)
        y, state = network(forest.at_leaves(embedding(words)), forest)
        y[forest.roots]                                  # (trees, 64): a vector for each phrase

    All nodes of one depth, of all trees, are one call of the cell; the deepest come first. cell: a `TreeCell` or any
    `Cell` (then by `SumOfChildren`), as class, name or callable; further options go to it. x: `(nodes, input_size)`,
    zeros at nodes without inputs of their own; y: `(nodes, output_size)`, of all nodes, in their order; state: the
    tensors of all nodes, `(nodes, ...)`.

    Raises ShapeError where a node has more children than the cell has places.
    Papers: those of the cells; batching by depth: Looks, Herreshoff, Hutchins and Norvig, "Deep learning with dynamic
    computation graphs", ICLR (2017), who batch by height.
    """

    topology = "tree"

    def __init__(self, cell: TreeCellFactory, input_size: int, hidden_size: int, **cell_options: Any) -> None:
        super().__init__()
        made = tree_cell_factory(cell)(input_size, hidden_size, **cell_options)
        if isinstance(made, Cell):
            made = SumOfChildren(made)
        if not isinstance(made, TreeCell):
            raise ArgumentError(f"the cell factory must return a TreeCell or a Cell, got {type(made).__name__}")
        self.cell = made
        self.input_size = input_size
        self.output_size = made.output_shape[0]

    def forward(self, x: Tensor, forest: Forest) -> tuple[Tensor, State]:
        """Return y and the state of every node."""
        if tuple(x.shape) != (len(forest), *self.cell.input_shape):
            raise ShapeError(
                f"expected inputs of shape {(len(forest), *self.cell.input_shape)}, one for each node of the forest, "
                f"got {tuple(x.shape)}"
            )
        self._check_places(forest)
        outputs: list[Tensor] = []
        states: list[State] = []
        below = self.cell.no_children(0, 1, device=x.device, dtype=x.dtype)[0]
        below = tuple(s.flatten(0, 1) for s in below)
        for nodes, children in zip(reversed(forest.levels), reversed(forest.children), strict=True):
            y, below = self.cell(x[nodes], *self._gather(below, children, x))
            outputs.append(y)
            states.append(below)
        if not outputs:
            empty, _ = self.cell(x)
            return empty, below
        # From the order of levels to the order of nodes.
        order = torch.cat(forest.levels[::-1]).argsort()
        return torch.cat(outputs)[order], tuple(torch.cat(s)[order] for s in zip(*states, strict=True))

    def _gather(self, below: State, children: Tensor, x: Tensor) -> tuple[State, Tensor]:
        """Return the children's states, `(nodes, N, ...)`, and which of them there are."""
        many = children.shape[1]
        states, mask = self.cell.no_children(children.shape[0], many, device=x.device, dtype=x.dtype)
        if not many:
            return states, mask
        mask[:, :many] = children >= 0
        where = children.clamp(min=0)
        missing = mask.shape[1] - many
        gathered = (s[where] for s in below)
        if missing:
            gathered = (torch.cat([s, e[:, many:]], 1) for s, e in zip(gathered, states, strict=True))
        return tuple(gathered), mask

    def _check_places(self, forest: Forest) -> None:
        places = self.cell.arity
        if places is None:
            return
        for nodes, children in zip(forest.levels, forest.children, strict=True):
            if children.shape[1] > places:
                node = int(nodes[(children[:, -1] >= 0).nonzero()[0, 0]])
                raise ShapeError(
                    f"node {node} of tree {int(forest.tree[node])} has {children.shape[1]} children, but "
                    f"{type(self.cell).__name__} has places for {places}: make it with arity={children.shape[1]}"
                )

"""A direct path around a cell."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from recurra.core import Cell, State, Wrapper, call_step
from recurra.core.errors import ArgumentError

__all__ = ["Residual"]


class Residual(Wrapper):
    """Adds a cell's input to its output, so that deep stacks have a direct path.

        y_t = x_t + cell(x_t, s_{t-1})

    The cell's outputs must have the shape of its inputs; the state it carries is its own, without the sum.
    State: the cell's own.

    Source: He, Zhang, Ren and Sun, "Deep residual learning for image recognition", CVPR (2016); between recurrent
    layers: Wu et al., "Google's neural machine translation system" (2016), arXiv v2, section 3.1.
    Deviation: none.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        if cell.input_shape != cell.output_shape:
            raise ArgumentError(
                f"Residual adds inputs to outputs, but {type(cell).__name__} has inputs of shape {cell.input_shape} "
                f"and outputs of shape {cell.output_shape}: choose sizes that agree"
            )

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        y, new = call_step(self.cell, x, state, context)
        return x + y, new

"""Any cell over time as a cell over trees."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.core import Cell, State, StateShape, TreeCell
from recurra.networks.ragged import over_rows
from recurra.scan import step

__all__ = ["SumOfChildren"]


class SumOfChildren(TreeCell):
    """A cell whose state before is the sum of its children's states.

        y_p, s_p = cell(x_p, s_1 + ... + s_N),    at a leaf cell(x_p, s_0)

    s_0 is the cell's initial state; of whole numbers (a clock) the largest is taken in place of the sum. Over a chain,
    where every node has one child, it is the cell over time, whatever cell that is.

    Shapes: x, y and state as the cell's; children `(B, N, ...)`, N any.
    Source: the child-sum of Tai, Socher and Manning, ACL (2015), for any cell.
    Deviation: a gate sees the sum, and does not forget each child by itself: `child-sum` Tree-LSTMs do.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell.input_size, cell.hidden_size)
        self.cell = cell
        self.input_shape = cell.input_shape
        self.output_shape = cell.output_shape

    def state_shapes(self) -> tuple[StateShape, ...]:
        return self.cell.state_shapes()

    def step(self, x: Tensor, children: State, mask: Tensor) -> tuple[Tensor, State]:
        first = self.cell.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        if mask.shape[1]:
            inner = mask.any(1)
            joined = (self._joined(c, mask) for c in children)
            first = tuple(torch.where(over_rows(inner, s), s, s0) for s, s0 in zip(joined, first, strict=True))
        return step(self.cell, x, first, backend="reference")

    @staticmethod
    def _joined(states: Tensor, mask: Tensor) -> Tensor:
        kept = torch.where(over_rows(mask, states), states, 0)
        return kept.sum(1) if states.is_floating_point() else kept.amax(1)

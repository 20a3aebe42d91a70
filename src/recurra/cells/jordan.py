"""The sequential network of Jordan (1986): the output, not the hidden layer, is fed back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_

__all__ = ["JordanCell"]


class JordanCell(Cell):
    """Jordan's cell: the hidden layer sees the input and the previous output.

        h_t = tanh(U x_t + Z y_{t-1} + b),    y_t = V h_t + c

    Shapes: x `(B, input_size)`; state `(y,)`, y `(B, output_size)`; h `(B, hidden_size)` is not carried.
    Weights: `U (H, I)`, `Z (H, O)`, `V (O, H)`, `b (H,)`, `c (O,)`; no gates.
    `output_size` is `hidden_size` if not given.

    Paper: Jordan, "Serial order: a parallel distributed processing approach", ICS report 8604 (1986).
    Deviation: the plan and state units of the report, with their own decay, are left out; the state is y_{t-1} itself.
    """

    droppable = (0,)

    def __init__(self, input_size: int, hidden_size: int, output_size: int | None = None) -> None:
        super().__init__(input_size, hidden_size)
        outputs = hidden_size if output_size is None else output_size
        if outputs < 1:
            raise ArgumentError(f"output_size must be at least 1, got {outputs}")
        self.output_shape = (outputs,)
        self.U = nn.Parameter(torch.empty(hidden_size, input_size))
        self.Z = nn.Parameter(torch.empty(hidden_size, outputs))
        self.b = nn.Parameter(torch.empty(hidden_size))
        self.V = nn.Parameter(torch.empty(outputs, hidden_size))
        self.c = nn.Parameter(torch.empty(outputs))
        uniform_(self.parameters(), hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (self.output_shape,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (y,) = state
        h = torch.tanh(F.linear(x, self.U, self.b) + F.linear(y, self.Z))
        y = F.linear(h, self.V, self.c)
        return y, (y,)

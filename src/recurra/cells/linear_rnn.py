"""The simple recurrent network without its squashing function."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.initialisers import uniform_

__all__ = ["LinearRNNCell"]


class LinearRNNCell(Cell):
    """Elman's cell with f left out: the second rung of the ladder that leads to gates.

        h_t = U h_{t-1} + W x_t + b,    y_t = h_t

    The gradient dh_t/dh_k is U^(t-k) exactly, whatever the input: with eigenvalues of U off the unit circle it
    explodes or vanishes, and so does h.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (H, I)`, `weight_hh (H, H)`, `bias (H,)`; no gates.

    Paper: Qiu, "Neural networks and deep learning" (2020), chapter 6, section on long-range dependencies.
    Deviation: none.
    """

    droppable = (0,)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = F.linear(x, self.weight_ih, self.bias) + F.linear(h, self.weight_hh)
        return h, (h,)

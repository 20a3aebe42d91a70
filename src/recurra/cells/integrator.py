"""A sum over time: the linear recurrence whose recurrent weight is the identity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.initialisers import uniform_

__all__ = ["IntegratorCell"]


class IntegratorCell(Cell):
    """Adds up what comes in: the third rung of the ladder, U = I.

        h_t = h_{t-1} + W x_t + b,    y_t = h_t

    dh_t/dh_k is exactly the identity for any distance: nothing vanishes and nothing explodes. The price: h grows
    without bound, order is lost (a sum knows no order), and nothing is nonlinear.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (H, I)`, `bias (H,)`; no gates, no recurrent weight.

    Paper: Qiu, "Neural networks and deep learning" (2020), chapter 6, section on long-range dependencies.
    Deviation: none.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = h + F.linear(x, self.weight_ih, self.bias)
        return h, (h,)

"""The recurrence with a direct path: the old state plus a function of input and old state."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.activations import ACTIVATIONS, check_activation
from recurra.core.initialisers import uniform_

__all__ = ["ResidualRNNCell"]


class ResidualRNNCell(Cell):
    """What is added depends on what is there: the fifth rung of the ladder, linear and nonlinear at once.

        h_t = h_{t-1} + g(W x_t + U h_{t-1} + b),    y_t = h_t,    g = tanh, sigmoid, relu or identity

    dh_t/dh_{t-1} is the identity plus a term that may make it explode. Where h has grown, g(x, h) saturates: what
    comes later is no longer heard. Gates are the answer to both.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (H, I)`, `weight_hh (H, H)`, `bias (H,)`; no gates.

    Paper: Qiu, "Neural networks and deep learning" (2020), chapter 6, section on long-range dependencies.
    Deviation: none.
    """

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: str = "tanh") -> None:
        super().__init__(input_size, hidden_size)
        self.nonlinearity = check_activation(nonlinearity)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        z = F.linear(x, self.weight_ih, self.bias) + F.linear(h, self.weight_hh)
        h = h + ACTIVATIONS[self.nonlinearity](z)
        return h, (h,)

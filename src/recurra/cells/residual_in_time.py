"""A residual network whose layers are steps of time and share their weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.activations import ACTIVATIONS, check_activation
from recurra.core.initialisers import uniform_

__all__ = ["ResidualInTimeCell"]


class ResidualInTimeCell(Cell):
    """The fifth rung of the ladder without the input: a residual network laid out in time.

        h_t = h_{t-1} + g(U h_{t-1} + b),    y_t = h_t,    g = tanh, sigmoid, relu or identity

    All it knows is the state it began in: T steps are a residual network of T layers with shared weights. x says only
    how many steps there are; its values have no influence.

    Shapes: x `(B, input_size)`, not used; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_hh (H, H)`, `bias (H,)`; no gates, no input weight.

    Papers: Qiu, "Neural networks and deep learning" (2020), chapter 6; Liao and Poggio, "Bridging the gaps between
    residual learning, recurrent neural networks and visual cortex" (2016).
    Deviation: one layer inside g, where residual networks have two or three.
    """

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: str = "tanh") -> None:
        super().__init__(input_size, hidden_size)
        self.nonlinearity = check_activation(nonlinearity)
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = h + ACTIVATIONS[self.nonlinearity](F.linear(h, self.weight_hh, self.bias))
        return h, (h,)

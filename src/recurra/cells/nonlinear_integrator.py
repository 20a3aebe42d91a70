"""A sum over time of squashed inputs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.activations import ACTIVATIONS, check_activation
from recurra.core.initialisers import uniform_

__all__ = ["NonlinearIntegratorCell"]


class NonlinearIntegratorCell(Cell):
    """Adds up what comes in, squashed: the fourth rung of the ladder.

        h_t = h_{t-1} + g(W x_t + b),    y_t = h_t,    g = tanh, sigmoid, relu or identity

    dh_t/dh_k is still exactly the identity. With g = sigmoid every step adds something positive, so that h grows at
    every step.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (H, I)`, `bias (H,)`; no gates, no recurrent weight.

    Paper: Qiu, "Neural networks and deep learning" (2020), chapter 6, section on long-range dependencies.
    Deviation: none.
    """

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: str = "tanh") -> None:
        super().__init__(input_size, hidden_size)
        self.nonlinearity = check_activation(nonlinearity)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = h + ACTIVATIONS[self.nonlinearity](F.linear(x, self.weight_ih, self.bias))
        return h, (h,)

"""LSTM with coupled input and forget gates (CIFG)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.initialisers import uniform_

__all__ = ["CIFGLSTMCell"]


class CIFGLSTMCell(Cell):
    """The LSTM that forgets exactly as much as it writes: f = 1 - i.

        i, g, o = W_ih x_t + W_hh h_{t-1} + b
        c_t = (1 - sigmoid(i)) * c_{t-1} + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(c_t),    y_t = h_t

    c is a weighted mean of its past, so that it never leaves [-1, 1] once there.

    Shapes: x `(B, input_size)`; state `(h, c)`, each `(B, hidden_size)`; y = h.
    Weights: `weight_ih (3H, I)`, `weight_hh (3H, H)`, `bias (3H,)`; gate order i, g, o.

    Paper: Greff, Srivastava, Koutnik, Steunebrink and Schmidhuber, "LSTM: a search space odyssey" (2015), arXiv v2,
    variant CIFG.
    Deviation: no peepholes.
    """

    gates = ("replace", "new", "read")
    droppable = (0,)

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        uniform_(self.parameters(), hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (self.hidden_size,), (self.hidden_size,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        i, g, o = (F.linear(x, self.weight_ih, self.bias) + F.linear(h, self.weight_hh)).chunk(3, -1)
        i = torch.sigmoid(i)
        c = (1 - i) * c + i * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)

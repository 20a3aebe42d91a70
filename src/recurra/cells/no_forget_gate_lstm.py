"""Long short-term memory as first published: without forget gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.initialisers import uniform_

__all__ = ["NoForgetGateLSTMCell"]


class NoForgetGateLSTMCell(Cell):
    """The LSTM of 1997: the memory c only adds; nothing is ever forgotten.

        i, g, o = W_ih x_t + W_hh h_{t-1} + b
        c_t = c_{t-1} + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(c_t),    y_t = h_t

    On streams without an end c grows until tanh(c) is flat: what forget gates (`lstm`) were invented for.

    Shapes: x `(B, input_size)`; state `(h, c)`, each `(B, hidden_size)`; y = h.
    Weights: `weight_ih (3H, I)`, `weight_hh (3H, H)`, `bias (3H,)`; gate order i, g, o.

    Paper: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997).
    Deviation: tanh for both squashing functions, where the paper's have the ranges [-2, 2] and [-1, 1]; memory blocks
    of one cell; gradients go back through everything, where the paper cuts them at the gates.
    """

    gates = ("write", "new", "read")
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
        c = c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)

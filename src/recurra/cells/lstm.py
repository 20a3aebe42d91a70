"""Long short-term memory with forget gates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.initialisers import uniform_

__all__ = ["LSTMCell"]


class LSTMCell(Cell):
    """The LSTM cell: a linear memory c that gates write, keep and read.

        i, f, g, o = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(c_t),    y_t = h_t

    Shapes: x `(B, input_size)`; state `(h, c)`, each `(B, hidden_size)`; y = h.
    Weights: `weight_ih (4H, I)`, `weight_hh (4H, H)`, `bias_ih (4H,)`, `bias_hh (4H,)`; gate order i, f, g, o.

    Papers: Hochreiter and Schmidhuber, "Long short-term memory", Neural Computation 9 (1997); forget gates by
    Gers, Schmidhuber and Cummins, "Learning to forget", Neural Computation 12 (2000).
    Deviation: no peepholes, two bias vectors and tanh for both squashing functions, all as in `torch.nn.LSTM`.
    """

    gates = ("write", "keep", "new", "read")
    droppable = (0,)

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size)) if bias else None
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size)) if bias else None
        uniform_(self.parameters(), hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (self.hidden_size,), (self.hidden_size,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        gates = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        i, f, g, o = gates.chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)

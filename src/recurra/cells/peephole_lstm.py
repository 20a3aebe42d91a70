"""LSTM with peepholes: the gates see the memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.initialisers import uniform_

__all__ = ["PeepholeLSTMCell"]


class PeepholeLSTMCell(Cell):
    """The LSTM whose gates also see c: the input and forget gates the old one, the output gate the new one.

        i, f, g, o = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
        c_t = sigmoid(f + p_f * c_{t-1}) * c_{t-1} + sigmoid(i + p_i * c_{t-1}) * tanh(g)
        h_t = sigmoid(o + p_o * c_t) * tanh(c_t),    y_t = h_t

    Shapes: x `(B, input_size)`; state `(h, c)`, each `(B, hidden_size)`; y = h.
    Weights: `weight_ih (4H, I)`, `weight_hh (4H, H)`, `bias_ih (4H,)`, `bias_hh (4H,)`, gate order i, f, g, o;
    `peepholes (3H,)`, order i, f, o.

    Paper: Gers, Schraudolph and Schmidhuber, "Learning precise timing with LSTM recurrent networks", Journal of Machine
    Learning Research 3 (2002).
    Deviation: tanh for both squashing functions, where the paper uses the identity or [-2, 2]; two bias vectors, as in
    `lstm`; gradients go back through everything.
    """

    gates = ("write", "keep", "new", "read")
    droppable = (0,)

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size)) if bias else None
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size)) if bias else None
        self.peepholes = nn.Parameter(torch.empty(3 * hidden_size))
        uniform_(self.parameters(), hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (self.hidden_size,), (self.hidden_size,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        gates = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        i, f, g, o = gates.chunk(4, -1)
        p_i, p_f, p_o = self.peepholes.chunk(3)
        c = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
        h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
        return h, (h, c)

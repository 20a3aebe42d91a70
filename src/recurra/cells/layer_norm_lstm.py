"""LSTM with layer normalisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.initialisers import uniform_

__all__ = ["LayerNormLSTMCell"]


class LayerNormLSTMCell(Cell):
    """The LSTM in which both products and the memory that is read are normalised over the units.

        i, f, g, o = LN(W_ih x_t; a_ih) + LN(W_hh h_{t-1}; a_hh) + b
        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
        h_t = sigmoid(o) * tanh(LN(c_t; a_c) + b_c),    y_t = h_t
        LN(z; a) = a * (z - mean(z)) / sqrt(var(z) + eps)

    The mean and the variance are over all 4H entries of a product, not gate by gate, and over the H entries of c. c
    itself is carried as it is.

    Shapes: x `(B, input_size)`; state `(h, c)`, each `(B, hidden_size)`; y = h.
    Weights: `weight_ih (4H, I)`, `weight_hh (4H, H)`, `bias (4H,)`, gains `gain_ih (4H,)`, `gain_hh (4H,)`, for c
    `gain_c (H,)`, `bias_c (H,)`; gate order i, f, g, o.

    Paper: Ba, Kiros and Hinton, "Layer normalization" (2016), arXiv v1, equations 20 to 22.
    Deviation: the three shifts that the paper adds up (b and one for each normalised product) are the one vector
    `bias`.
    """

    gates = ("write", "keep", "new", "read")
    droppable = (0,)

    def __init__(self, input_size: int, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__(input_size, hidden_size)
        self.eps = eps
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        uniform_(self.parameters(), hidden_size)
        self.gain_ih = nn.Parameter(torch.ones(4 * hidden_size))
        self.gain_hh = nn.Parameter(torch.ones(4 * hidden_size))
        self.gain_c = nn.Parameter(torch.ones(hidden_size))
        self.bias_c = nn.Parameter(torch.zeros(hidden_size))

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (self.hidden_size,), (self.hidden_size,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        gates, units = (4 * self.hidden_size,), (self.hidden_size,)
        from_x = F.layer_norm(F.linear(x, self.weight_ih), gates, self.gain_ih, self.bias, self.eps)
        from_h = F.layer_norm(F.linear(h, self.weight_hh), gates, self.gain_hh, eps=self.eps)
        i, f, g, o = (from_x + from_h).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(F.layer_norm(c, units, self.gain_c, self.bias_c, self.eps))
        return h, (h, c)

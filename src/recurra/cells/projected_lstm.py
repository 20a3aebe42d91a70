"""LSTM with a recurrent projection."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_

__all__ = ["ProjectedLSTMCell"]


class ProjectedLSTMCell(Cell):
    """The LSTM whose output and recurrent state are a linear projection to `proj_size` units.

        i, f, g, o = W_ih x_t + b_ih + W_hh h_{t-1} + b_hh
        c_t = sigmoid(f) * c_{t-1} + sigmoid(i) * tanh(g)
        h_t = W_hr (sigmoid(o) * tanh(c_t)),    y_t = h_t

    Shapes: x `(B, input_size)`; state `(h, c)`, h `(B, proj_size)`, c `(B, hidden_size)`; y = h.
    Weights: `weight_ih (4H, I)`, `weight_hh (4H, P)`, `bias_ih (4H,)`, `bias_hh (4H,)`, `weight_hr (P, H)`; gate order
    i, f, g, o. `proj_size` is half of `hidden_size`, rounded up, if not given.

    Paper: Sak, Senior and Beaufays, "Long short-term memory recurrent neural network architectures for large scale
    acoustic modeling", Interspeech (2014).
    Deviation: no peepholes and no non-recurrent projection, as in `torch.nn.LSTM(proj_size=...)`.
    """

    gates = ("write", "keep", "new", "read")
    droppable = (0,)

    def __init__(self, input_size: int, hidden_size: int, proj_size: int | None = None, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size)
        projected = (hidden_size + 1) // 2 if proj_size is None else proj_size
        if projected < 1:
            raise ArgumentError(f"proj_size must be at least 1, got {projected}")
        self.output_shape = (projected,)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, projected))
        self.bias_ih = nn.Parameter(torch.empty(4 * hidden_size)) if bias else None
        self.bias_hh = nn.Parameter(torch.empty(4 * hidden_size)) if bias else None
        self.weight_hr = nn.Parameter(torch.empty(projected, hidden_size))
        uniform_(self.parameters(), hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return self.output_shape, (self.hidden_size,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        gates = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        i, f, g, o = gates.chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = F.linear(torch.sigmoid(o) * torch.tanh(c), self.weight_hr)
        return h, (h, c)

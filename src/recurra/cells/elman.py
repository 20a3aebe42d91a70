"""The simple recurrent network of Elman (1990)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_

__all__ = ["ElmanCell"]

_ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu}


class ElmanCell(Cell):
    """Elman's cell: the new state is one layer over the input and the old state.

        h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh),    y_t = h_t,    f = tanh or relu

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (H, I)`, `weight_hh (H, H)`, `bias_ih (H,)`, `bias_hh (H,)`; no gates.

    Paper: Elman, "Finding structure in time", Cognitive Science 14 (1990).
    Deviation: tanh or relu instead of the logistic function, and two bias vectors, both as in `torch.nn.RNN`.
    """

    droppable = (0,)

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: str = "tanh", bias: bool = True) -> None:
        super().__init__(input_size, hidden_size)
        if nonlinearity not in _ACTIVATIONS:
            raise ArgumentError(f"nonlinearity must be one of {', '.join(_ACTIVATIONS)}, got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(hidden_size)) if bias else None
        self.bias_hh = nn.Parameter(torch.empty(hidden_size)) if bias else None
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        z = F.linear(x, self.weight_ih, self.bias_ih) + F.linear(h, self.weight_hh, self.bias_hh)
        h = _ACTIVATIONS[self.nonlinearity](z)
        return h, (h,)

"""The quasi-recurrent network: convolutions over time, and a pooling that is all of its recurrence."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_

__all__ = ["QRNNCell"]

_GATES = {"f": 2, "fo": 3, "ifo": 4}


class QRNNCell(Cell):
    """Gates look at the last k inputs and never at the state: linear in c.

        z, f, o, i = tanh, sigmoid, sigmoid, sigmoid (W [x_{t-k+1}; ...; x_t] + b)
        c_t = f * c_{t-1} + (1 - f) * z,    y_t = c_t          f-pooling
        c_t = f * c_{t-1} + (1 - f) * z,    y_t = o * c_t      fo-pooling
        c_t = f * c_{t-1} + i * z,          y_t = o * c_t      ifo-pooling

    Shapes: x `(B, input_size)`; state `(c, x_{t-1}, ..., x_{t-k+1})`, c `(B, hidden_size)`, the others
    `(B, input_size)`; y `(B, hidden_size)`. Before the first step the inputs are zero: the convolution is masked.
    Weights: `weight.j (G, I)` for the input j steps ago, `bias (G,)`; G = 2H, 3H or 4H; gate order z, f, o, i.

    Paper: Bradbury, Merity, Xiong and Socher, "Quasi-recurrent neural networks", ICLR (2017), arXiv v2.
    Deviation: biases; zoneout on f is left to a wrapper.
    """

    def __init__(self, input_size: int, hidden_size: int, pooling: str = "fo", window: int = 2) -> None:
        super().__init__(input_size, hidden_size)
        if pooling not in _GATES:
            raise ArgumentError(f"pooling must be one of {', '.join(_GATES)}, got {pooling!r}")
        if window < 1:
            raise ArgumentError(f"window must be at least 1 step, got {window}")
        self.pooling = pooling
        self.window = window
        rows = _GATES[pooling] * hidden_size
        self.weight = nn.ParameterList(torch.empty(rows, input_size) for _ in range(window))
        self.bias = nn.Parameter(torch.empty(rows))
        uniform_(self.parameters(), hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (self.hidden_size,), *[(self.input_size,)] * (self.window - 1)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        c, *past = state
        inputs = (x, *past)
        gates = F.linear(x, self.weight[0], self.bias)
        for earlier, weight in zip(past, list(self.weight)[1:], strict=True):
            gates = gates + F.linear(earlier, weight)
        z, f, *rest = gates.chunk(_GATES[self.pooling], -1)
        f = torch.sigmoid(f)
        i = torch.sigmoid(rest[1]) if self.pooling == "ifo" else 1 - f
        c = f * c + i * torch.tanh(z)
        y = torch.sigmoid(rest[0]) * c if rest else c
        return y, (c, *inputs[: self.window - 1])

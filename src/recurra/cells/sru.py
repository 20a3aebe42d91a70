"""The simple recurrent unit: gates of the input alone, and a highway around it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.initialisers import uniform_

__all__ = ["SRUCell"]


class SRUCell(Cell):
    """A forget gate and a reset gate that never look at the state: linear in c.

        z, f, r = W x_t + b,    f, r = sigmoid(f), sigmoid(r)
        c_t = f * c_{t-1} + (1 - f) * z
        y_t = r * tanh(c_t) + (1 - r) * x_t

    Where `input_size` is not `hidden_size`, the highway carries V x_t instead of x_t.

    Shapes: x `(B, input_size)`; state `(c,)`, c `(B, hidden_size)`; y `(B, hidden_size)`.
    Weights: `weight (3H, I)`, `bias (2H,)` of f and r, `highway (H, I)` where sizes differ; gate order z, f, r.

    Paper: Lei and Zhang, "Training RNNs as fast as CNNs", arXiv v1 (2017).
    Deviation: none from v1; from v3 on (Lei et al., EMNLP 2018) the gates also see v * c_{t-1}, which makes the cell
    nonlinear in its state.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        same = input_size == hidden_size
        self.highway = None if same else nn.Parameter(torch.empty(hidden_size, input_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (c,) = state
        H = self.hidden_size
        z, gates = F.linear(x, self.weight).split([H, 2 * H], -1)
        f, r = torch.sigmoid(gates + self.bias).chunk(2, -1)
        c = f * c + (1 - f) * z
        past_it = x if self.highway is None else F.linear(x, self.highway)
        y = r * torch.tanh(c) + (1 - r) * past_it
        return y, (c,)

"""The minimal GRU: no gate and no candidate looks at the state."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.initialisers import uniform_

__all__ = ["MinGRUCell"]


class MinGRUCell(Cell):
    """The GRU without its reset gate, and with gates of the input alone: linear in h.

        z = sigmoid(W_z x_t + b_z)
        g = W_g x_t + b_g                                        or, in log space, g = p(W_g x_t + b_g)
        h_t = (1 - z) * h_{t-1} + z * g,    y_t = h_t
        p(a) = a + 1/2 where a >= 0, sigmoid(a) elsewhere

    `log_space=True` is the form that the paper trains by logarithms: p keeps h positive, so that log h exists. Here it
    needs none, since the scan multiplies and adds numbers between 0 and 1 and never divides.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight (2H, I)`, `bias (2H,)`; gate order z, g. z near 1 takes the new: the other side of `gru`'s z.

    Paper: Feng, Tung, Ahmed, Bengio and Hajimirsadeghi, "Were RNNs all we needed?", arXiv v3 (2024).
    Deviation: the state itself is carried, not its logarithm, so that it may be zero at first.
    """

    def __init__(self, input_size: int, hidden_size: int, log_space: bool = False) -> None:
        super().__init__(input_size, hidden_size)
        self.log_space = log_space
        self.weight = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        z, g = F.linear(x, self.weight, self.bias).chunk(2, -1)
        z = torch.sigmoid(z)
        if self.log_space:
            g = torch.where(g >= 0, g + 0.5, torch.sigmoid(g))
        h = (1 - z) * h + z * g
        return h, (h,)

"""The minimal LSTM: no gate and no candidate looks at the state."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.initialisers import uniform_

__all__ = ["MinLSTMCell"]


class MinLSTMCell(Cell):
    """The LSTM without its output gate, with gates of the input alone that share 1 between them: linear in h.

        f, i = sigmoid(W_f x_t + b_f), sigmoid(W_i x_t + b_i)
        g = W_g x_t + b_g                                        or, in log space, g = p(W_g x_t + b_g)
        h_t = f / (f + i) * h_{t-1} + i / (f + i) * g,    y_t = h_t
        p(a) = a + 1/2 where a >= 0, sigmoid(a) elsewhere

    The shares are computed as sigmoid(log f - log i) and its complement, which no gate can make 0 / 0.
    `log_space=True`: as in `min_gru`.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight (3H, I)`, `bias (3H,)`; gate order f, i, g.

    Paper: Feng, Tung, Ahmed, Bengio and Hajimirsadeghi, "Were RNNs all we needed?", arXiv v3 (2024).
    Deviation: the state itself is carried, not its logarithm, so that it may be zero at first.
    """

    def __init__(self, input_size: int, hidden_size: int, log_space: bool = False) -> None:
        super().__init__(input_size, hidden_size)
        self.log_space = log_space
        self.weight = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        f, i, g = F.linear(x, self.weight, self.bias).chunk(3, -1)
        keep = torch.sigmoid(F.logsigmoid(f) - F.logsigmoid(i))
        if self.log_space:
            g = torch.where(g >= 0, g + 0.5, torch.sigmoid(g))
        h = keep * h + (1 - keep) * g
        return h, (h,)

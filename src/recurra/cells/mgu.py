"""Minimal gated unit (MGU) of Zhou et al. (2016): one gate does the work of both of the GRU."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.initialisers import uniform_

__all__ = ["MGUCell"]


class MGUCell(Cell):
    """One gate f both selects what the new value sees of the old state and lets the new value in.

        f = sigmoid(W_if x_t + W_hf h_{t-1} + b_f)
        g = tanh(W_in x_t + W_hn (f * h_{t-1}) + b_n)
        h_t = (1 - f) * h_{t-1} + f * g,    y_t = h_t

    As in the paper, f near 1 lets the new value in: it is on the other side than z of `gru`.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (2H, I)`, `weight_hh (2H, H)`, `bias (2H,)`; gate order f, n.

    Paper: Zhou, Wu, Zhang and Zhou, "Minimal gated unit for recurrent neural networks", International Journal of
    Automation and Computing 13 (2016), arXiv v1.
    Deviation: none.
    """

    gates = ("replace", "new")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        x_f, x_n = F.linear(x, self.weight_ih, self.bias).chunk(2, -1)
        w_f, w_n = self.weight_hh.chunk(2, 0)
        f = torch.sigmoid(x_f + F.linear(h, w_f))
        g = torch.tanh(x_n + F.linear(f * h, w_n))
        h = (1 - f) * h + f * g
        return h, (h,)

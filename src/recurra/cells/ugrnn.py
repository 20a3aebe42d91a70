"""Update gate recurrent network (UGRNN): one gate between the old state and the new."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.initialisers import uniform_

__all__ = ["UGRNNCell"]


class UGRNNCell(Cell):
    """The GRU without its reset gate: one gate chooses between keeping and replacing.

        z = sigmoid(W_iz x_t + W_hz h_{t-1} + b_z)
        g = tanh(W_in x_t + W_hn h_{t-1} + b_n)
        h_t = z * h_{t-1} + (1 - z) * g,    y_t = h_t

    z near 1 keeps, as in `gru`.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (2H, I)`, `weight_hh (2H, H)`, `bias (2H,)`; gate order z, n.

    Paper: Collins, Sohl-Dickstein and Sussillo, "Capacity and trainability in recurrent neural networks", ICLR (2017),
    arXiv v3.
    Deviation: the paper's constant forget bias is part of `bias`; `recurra.core.initialisers.forget_bias_` sets it.
    """

    gates = ("keep", "new")

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(2 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(2 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(2 * hidden_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        z, n = (F.linear(x, self.weight_ih, self.bias) + F.linear(h, self.weight_hh)).chunk(2, -1)
        z = torch.sigmoid(z)
        h = z * h + (1 - z) * torch.tanh(n)
        return h, (h,)

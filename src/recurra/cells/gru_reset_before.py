"""Gated recurrent unit, reset gate applied before the matrix product: the form of the paper."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.initialisers import uniform_

__all__ = ["GRUResetBeforeCell"]


class GRUResetBeforeCell(Cell):
    """The GRU as first published: r acts on the state, before the product.

        r = sigmoid(W_ir x_t + W_hr h_{t-1} + b_r)
        z = sigmoid(W_iz x_t + W_hz h_{t-1} + b_z)
        g = tanh(W_in x_t + W_hn (r * h_{t-1}) + b_n)
        h_t = z * h_{t-1} + (1 - z) * g,    y_t = h_t

    z near 1 keeps the old state, as in the paper. Where a text measures the *new* information by z
    (Chung et al. 2014), its z is our 1 - z: `recurra.cells.gru.flip_update_gate` converts weights either way.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (3H, I)`, `weight_hh (3H, H)`, `bias (3H,)`; gate order r, z, n.

    Paper: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP (2014), arXiv v3.
    Deviation: biases, which the paper leaves out.
    """

    gates = ("reset", "keep", "new")

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size)) if bias else None
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.masked_step(x, state, None)

    def masked_step(self, x: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, State]:
        """Take a step whose matrix products see h_{t-1} times the mask `(B, hidden_size)`; z keeps h_{t-1} whole."""
        (h,) = state
        seen = h if mask is None else h * mask
        H = self.hidden_size
        x_rz, x_n = F.linear(x, self.weight_ih, self.bias).split([2 * H, H], -1)
        r, z = torch.sigmoid(x_rz + F.linear(seen, self.weight_hh[: 2 * H])).chunk(2, -1)
        g = torch.tanh(x_n + F.linear(r * seen, self.weight_hh[2 * H :]))
        h = z * h + (1 - z) * g
        return h, (h,)

"""Gated recurrent unit with layer normalisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.initialisers import uniform_

__all__ = ["LayerNormGRUCell"]


class LayerNormGRUCell(Cell):
    """The GRU, reset gate after the product, in which every product is normalised over the units.

        r, z = LN(W_irz x_t; a_ih, b_ih) + LN(W_hrz h_{t-1}; a_hh, b_hh)
        g = tanh(LN(W_in x_t; a_ih, b_ih) + sigmoid(r) * LN(W_hn h_{t-1}; a_hh, b_hh))
        h_t = sigmoid(z) * h_{t-1} + (1 - sigmoid(z)) * g,    y_t = h_t
        LN(v; a, b) = a * (v - mean(v)) / sqrt(var(v) + eps) + b

    The 2H entries of r and z are normalised together, the H entries of n by themselves.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (3H, I)`, `weight_hh (3H, H)`, gains `gain_ih (3H,)`, `gain_hh (3H,)`, `bias_ih (3H,)`,
    `bias_hh (3H,)`; gate order r, z, n.

    Paper: Ba, Kiros and Hinton, "Layer normalization" (2016), arXiv v1, supplementary material.
    Deviation: z near 1 keeps, as in `gru`; the paper's z is our 1 - z.
    """

    gates = ("reset", "keep", "new")

    def __init__(self, input_size: int, hidden_size: int, eps: float = 1e-5) -> None:
        super().__init__(input_size, hidden_size)
        self.eps = eps
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size))
        self.bias_hh = nn.Parameter(torch.empty(3 * hidden_size))
        uniform_(self.parameters(), hidden_size)
        self.gain_ih = nn.Parameter(torch.ones(3 * hidden_size))
        self.gain_hh = nn.Parameter(torch.ones(3 * hidden_size))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.masked_step(x, state, None)

    def masked_step(self, x: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, State]:
        """Take a step whose matrix products see h_{t-1} times the mask `(B, hidden_size)`; z keeps h_{t-1} whole."""
        (h,) = state
        seen = h if mask is None else h * mask
        x_rz, x_n = self._normalised(F.linear(x, self.weight_ih), self.gain_ih, self.bias_ih)
        h_rz, h_n = self._normalised(F.linear(seen, self.weight_hh), self.gain_hh, self.bias_hh)
        r, z = torch.sigmoid(x_rz + h_rz).chunk(2, -1)
        g = torch.tanh(x_n + r * h_n)
        h = z * h + (1 - z) * g
        return h, (h,)

    def _normalised(self, product: Tensor, gain: Tensor, bias: Tensor) -> list[Tensor]:
        sizes = [2 * self.hidden_size, self.hidden_size]
        parts = zip(sizes, product.split(sizes, -1), gain.split(sizes), bias.split(sizes), strict=True)
        return [F.layer_norm(v, (size,), a, b, self.eps) for size, v, a, b in parts]

"""Gated recurrent unit, reset gate applied after the matrix product."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.errors import ShapeError
from recurra.core.initialisers import uniform_

__all__ = ["GRUCell", "flip_update_gate"]


class GRUCell(Cell):
    """The GRU as torch and cuDNN compute it: r acts on the product W_hn h + b_hn.

        r = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)
        z = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)
        g = tanh(W_in x_t + b_in + r * (W_hn h_{t-1} + b_hn))
        h_t = z * h_{t-1} + (1 - z) * g,    y_t = h_t

    z near 1 keeps the old state, as in Cho et al. (2014, v3), torch, and the NNDL course. Where a text measures the
    *new* information by z (Chung et al. 2014: h_t = (1 - z) h_{t-1} + z g), its z is our 1 - z; since
    1 - sigmoid(a) = sigmoid(-a), `flip_update_gate` converts weights either way by negating the z rows.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (3H, I)`, `weight_hh (3H, H)`, `bias_ih (3H,)`, `bias_hh (3H,)`; gate order r, z, n.

    Paper: Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP (2014), arXiv v1 and v3.
    Deviation: the reset gate comes after the product, as in `torch.nn.GRU`; `gru_reset_before` is the paper's form.
    """

    gates = ("reset", "keep", "new")

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(3 * hidden_size)) if bias else None
        self.bias_hh = nn.Parameter(torch.empty(3 * hidden_size)) if bias else None
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        return self.masked_step(x, state, None)

    def masked_step(self, x: Tensor, state: State, mask: Tensor | None) -> tuple[Tensor, State]:
        """Take a step whose matrix products see h_{t-1} times the mask `(B, hidden_size)`; z keeps h_{t-1} whole."""
        (h,) = state
        seen = h if mask is None else h * mask
        xr, xz, xn = F.linear(x, self.weight_ih, self.bias_ih).chunk(3, -1)
        hr, hz, hn = F.linear(seen, self.weight_hh, self.bias_hh).chunk(3, -1)
        r = torch.sigmoid(xr + hr)
        z = torch.sigmoid(xz + hz)
        g = torch.tanh(xn + r * hn)
        h = z * h + (1 - z) * g
        return h, (h,)


def flip_update_gate(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Exchange z and 1 - z in GRU weights: the z rows of every weight and bias are negated.

    weights: a `state_dict` of either GRU cell, of `Recurrent` over one, or of `torch.nn.GRU`; gate order r, z, n.
    Its own inverse. Raises ShapeError where a weight's rows are not three equal gates.
    """
    return {name: _negate_z(name, w) if _GATED.search(name) else w for name, w in weights.items()}


_GATED = re.compile(r"(^|\.)(weight_ih|weight_hh|bias_ih|bias_hh|bias)(_l\d+(_reverse)?)?$")


def _negate_z(name: str, weight: Tensor) -> Tensor:
    if weight.shape[0] % 3:
        raise ShapeError(
            f"{name}: expected rows of three gates r, z, n, got {weight.shape[0]} rows, not a multiple of 3"
        )
    r, z, n = weight.chunk(3, 0)
    return torch.cat([r, -z, n], 0)

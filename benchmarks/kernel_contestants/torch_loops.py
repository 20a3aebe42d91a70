"""Plain eager loops over time of LSTM, GRU and Elman's network, as one writes them by hand in PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["LOOPS"]


def _lstm(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    h = c = x.new_zeros(x.shape[1], w_hh.shape[1])
    outputs: list[Tensor] = []
    for x_t in x:
        i, f, g, o = (F.linear(x_t, w_ih, b_ih) + F.linear(h, w_hh, b_hh)).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs)


def _gru(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    h = x.new_zeros(x.shape[1], w_hh.shape[1])
    outputs: list[Tensor] = []
    for x_t in x:
        xr, xz, xn = F.linear(x_t, w_ih, b_ih).chunk(3, 1)
        hr, hz, hn = F.linear(h, w_hh, b_hh).chunk(3, 1)
        z = torch.sigmoid(xz + hz)
        h = z * h + (1 - z) * torch.tanh(xn + torch.sigmoid(xr + hr) * hn)
        outputs.append(h)
    return torch.stack(outputs)


def _elman(x: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
    h = x.new_zeros(x.shape[1], w_hh.shape[1])
    outputs: list[Tensor] = []
    for x_t in x:
        h = torch.tanh(F.linear(x_t, w_ih, b_ih) + F.linear(h, w_hh, b_hh))
        outputs.append(h)
    return torch.stack(outputs)


LOOPS = {"LSTM": _lstm, "GRU": _gru, "RNN": _elman}
"""Each takes x `(T, B, I)` and torch.nn's four tensors, and returns all outputs `(T, B, H)`."""

"""The convolutional LSTM: states are grids of channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_

__all__ = ["ConvLSTMCell"]

_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class ConvLSTMCell(Cell):
    """The LSTM with peepholes, with convolutions (*) in place of matrix products.

        i, f, g, o = W_ih * x_t + b + W_hh * h_{t-1}
        i, f = sigmoid(i + P_i . c_{t-1}), sigmoid(f + P_f . c_{t-1})
        c_t = f . c_{t-1} + i . tanh(g)
        h_t = sigmoid(o + P_o . c_t) . tanh(c_t),    y_t = h_t

    `.` is the product entry by entry. Borders are padded with zeros, so that the grid keeps its size.

    Shapes: x `(B, input_size, *grid)`; state `(h, c)`, each `(B, hidden_size, *grid)`; y = h. Sizes count channels;
    `grid` has 1, 2 or 3 sizes; `kernel_size` is odd.
    Weights: `weight_ih (4H, I, k, ..., k)`, `weight_hh (4H, H, k, ..., k)`, `bias (4H,)`, `peephole (3, H, *grid)` in
    the order i, f, o; gate order i, f, g, o.

    Paper: Shi, Chen, Wang, Yeung, Wong and Woo, "Convolutional LSTM network: a machine learning approach for
    precipitation nowcasting", NIPS (2015), arXiv v2.
    Deviation: none; the 1-D and 3-D grids are ours.
    """

    def __init__(self, input_size: int, hidden_size: int, grid: Sequence[int] = (4, 4), kernel_size: int = 3) -> None:
        super().__init__(input_size, hidden_size)
        if len(grid) not in _CONVOLVE or min(grid) < 1:
            raise ArgumentError(f"grid must be 1, 2 or 3 sizes of at least 1, got {tuple(grid)}")
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ArgumentError(f"kernel_size must be odd, so that the grid keeps its size, got {kernel_size}")
        self.input_shape = (input_size, *grid)
        self.output_shape = (hidden_size, *grid)
        self.padding = kernel_size // 2
        kernel = (kernel_size,) * len(grid)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size, *kernel))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size, *kernel))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        self.peephole = nn.Parameter(torch.empty(3, hidden_size, *grid))
        uniform_(self.parameters(), hidden_size * kernel_size ** len(grid))

    def state_shapes(self) -> tuple[StateShape, ...]:
        return self.output_shape, self.output_shape

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        convolve = _CONVOLVE[x.dim() - 2]
        gates = convolve(x, self.weight_ih, self.bias, padding=self.padding)
        gates = gates + convolve(h, self.weight_hh, padding=self.padding)
        i, f, g, o = gates.chunk(4, 1)
        p_i, p_f, p_o = self.peephole
        c = torch.sigmoid(f + p_f * c) * c + torch.sigmoid(i + p_i * c) * torch.tanh(g)
        h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
        return h, (h, c)

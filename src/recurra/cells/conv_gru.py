"""The convolutional GRU: the state is a grid of channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_

__all__ = ["ConvGRUCell"]

_CONVOLVE = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


class ConvGRUCell(Cell):
    """The GRU, reset gate before the product, with convolutions (*) in place of matrix products.

        r = sigmoid(W_ir * x_t + W_hr * h_{t-1} + b_r)
        z = sigmoid(W_iz * x_t + W_hz * h_{t-1} + b_z)
        g = tanh(W_in * x_t + W_hn * (r . h_{t-1}) + b_n)
        h_t = z . h_{t-1} + (1 - z) . g,    y_t = h_t

    `.` is the product entry by entry. Borders are padded with zeros, so that the grid keeps its size.

    Shapes: x `(B, input_size, *grid)`; state `(h,)`, h `(B, hidden_size, *grid)`; y = h. Sizes count channels;
    `grid` has 1, 2 or 3 sizes; `kernel_size` is odd.
    Weights: `weight_ih (3H, I, k, ..., k)`, `weight_hh (3H, H, k, ..., k)`, `bias (3H,)`; gate order r, z, n.

    Paper: Ballas, Yao, Pal and Courville, "Delving deeper into convolutional networks for learning video
    representations", ICLR (2016), arXiv v4.
    Deviation: z near 1 keeps the old state, as in our other GRUs: the paper's z is our 1 - z.
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
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size, *kernel))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size, *kernel))
        self.bias = nn.Parameter(torch.empty(3 * hidden_size))
        uniform_(self.parameters(), hidden_size * kernel_size ** len(grid))

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (self.output_shape,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        H = self.hidden_size
        convolve = _CONVOLVE[x.dim() - 2]
        x_rz, x_n = convolve(x, self.weight_ih, self.bias, padding=self.padding).split([2 * H, H], 1)
        h_rz = convolve(h, self.weight_hh[: 2 * H], padding=self.padding)
        r, z = torch.sigmoid(x_rz + h_rz).chunk(2, 1)
        g = torch.tanh(x_n + convolve(r * h, self.weight_hh[2 * H :], padding=self.padding))
        h = z * h + (1 - z) * g
        return h, (h,)

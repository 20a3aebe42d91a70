"""The simple recurrent network that begins as an identity (IRNN) of Le, Jaitly and Hinton (2015)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State

__all__ = ["IRNNCell"]


class IRNNCell(Cell):
    """Elman's cell with relu, begun so that the state is copied: W is the identity, and b is zero.

        h_t = relu(U x_t + W h_{t-1} + b),    y_t = h_t,    at first W = scale * I, b = 0, U from N(0, 0.001)

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (H, I)`, `weight_hh (H, H)`, `bias (H,)`; no gates. `scale` below 1 forgets (the paper's iRNN
    for speech has 0.01).

    Paper: Le, Jaitly and Hinton, "A simple way to initialize recurrent networks of rectified linear units" (2015),
    arXiv v2.
    Deviation: none.
    """

    droppable = (0,)

    def __init__(self, input_size: int, hidden_size: int, scale: float = 1.0) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(0.001 * torch.randn(hidden_size, input_size))
        self.weight_hh = nn.Parameter(scale * torch.eye(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = torch.relu(F.linear(x, self.weight_ih, self.bias) + F.linear(h, self.weight_hh))
        return h, (h,)

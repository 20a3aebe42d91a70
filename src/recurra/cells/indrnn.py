"""Independently recurrent network (IndRNN) of Li et al. (2018): units connected to themselves only."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.activations import ACTIVATIONS, check_activation
from recurra.core.initialisers import uniform_

__all__ = ["IndRNNCell"]


class IndRNNCell(Cell):
    """Each unit hears its own past and nobody else's: a vector stands where Elman's network has a matrix.

        h_t = f(W x_t + u * h_{t-1} + b),    y_t = h_t,    f = relu, tanh, sigmoid or identity

    Units meet only in the next layer, so that this cell wants to be stacked.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (H, I)`, `weight_hh (H,)`, `bias (H,)`; no gates. u begins in U(0, 1), as the paper does where
    memories of all lengths are wanted.

    Paper: Li, Li, Cook, Zhu and Gao, "Independently recurrent neural network (IndRNN): building a longer and deeper
    RNN", CVPR (2018), arXiv v3.
    Deviation: u is not clipped to 2^(1/T) while training; batch normalisation is left to the network.
    """

    def __init__(self, input_size: int, hidden_size: int, nonlinearity: str = "relu") -> None:
        super().__init__(input_size, hidden_size)
        self.nonlinearity = check_activation(nonlinearity)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.rand(hidden_size))
        self.bias = nn.Parameter(torch.zeros(hidden_size))
        uniform_([self.weight_ih], hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        z = F.linear(x, self.weight_ih, self.bias) + self.weight_hh * h
        h = ACTIVATIONS[self.nonlinearity](z)
        return h, (h,)

"""Autoregressive model AR(k): the next value is a linear function of the last k."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.initialisers import uniform_

__all__ = ["ARCell"]


class ARCell(Cell):
    """A linear model of a series by its own past, one-step-ahead.

        y_t = w_0 + W_1 x_t + W_2 x_{t-1} + ... + W_k x_{t-k+1}

    x is the series as it was observed, and y_t the value that is expected next, x_{t+1}; in the usual letters
    x_{t+1} = w_0 + sum_k w_k x_{t+1-k}. To run freely, hand y_t over as the next x. `hidden_size` is the order k: the
    state are the last k values. Values before the first are zero.

    Shapes: x `(B, input_size)`, a series of `input_size` variables; state `(past,)`, past `(B, k, input_size)`, the
    newest first; y `(B, input_size)`, which is no state.
    Weights: `weight (I, k * I)`, the newest value's first, `bias (I,)`, which is w_0; no gates.

    Paper: Yule, "On a method of investigating periodicities in disturbed series", Philosophical Transactions of the
    Royal Society A 226 (1927).
    Deviation: several variables (a vector autoregression) where input_size is above 1.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.output_shape = (input_size,)
        self.weight = nn.Parameter(torch.empty(input_size, hidden_size * input_size))
        self.bias = nn.Parameter(torch.empty(input_size))
        uniform_(self.parameters(), hidden_size * input_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return ((self.hidden_size, self.input_size),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (past,) = state
        past = torch.cat([x.unsqueeze(1), past[:, :-1]], 1)
        return F.linear(past.flatten(1), self.weight, self.bias), (past,)

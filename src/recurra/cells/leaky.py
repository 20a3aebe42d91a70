"""Leaky integrator units: every unit follows its new value with a time constant of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.initialisers import uniform_

__all__ = ["LeakyCell"]


class LeakyCell(Cell):
    """A moving average of what Elman's cell would say: the gate is a constant of the unit.

        h_t = (1 - a) * h_{t-1} + a * tanh(W x_t + U h_{t-1} + b),    y_t = h_t,    a = sigmoid(leak)

    a near 0 moves slowly and remembers long; a = 1 is Elman's cell. `leak` is learned; it begins with a in U(0, 1).

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_ih (H, I)`, `weight_hh (H, H)`, `bias (H,)`, `leak (H,)`; no gates.

    Papers: Mozer, "Induction of multiscale temporal structure", NIPS 4 (1992); Jaeger, Lukosevicius, Popovici and
    Siewert, "Optimization and applications of echo state networks with leaky-integrator neurons", Neural Networks 20
    (2007).
    Deviation: the leak is a parameter and is learned with the rest.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        uniform_(self.parameters(), hidden_size)
        self.leak = nn.Parameter(torch.logit(torch.rand(hidden_size), eps=0.01))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        a = torch.sigmoid(self.leak)
        z = F.linear(x, self.weight_ih, self.bias) + F.linear(h, self.weight_hh)
        h = (1 - a) * h + a * torch.tanh(z)
        return h, (h,)

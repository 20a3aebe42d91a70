"""The clockwork RNN: modules of units that each run at their own pace."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_

__all__ = ["ClockworkCell"]

_MOST_MODULES = 9


class ClockworkCell(Cell):
    """Elman's cell in g equal modules; module i runs only at the steps t that its period T_i divides.

        h_t = tanh(W_ih x_t + W_hh h_{t-1} + b)   in the modules with t mod T_i = 0
        h_t = h_{t-1}                             in all others, bit for bit
        y_t = h_t

    Connections lead from slow to fast: module i hears the modules j with T_j >= T_i. Those that do not exist are not
    stored at all, so that no optimizer can wake them and none is counted. All modules run at t = 0.

    Shapes: x `(B, input_size)`; state `(h, t)`, h `(B, hidden_size)`, t `(B,)` int64, the steps so far; y = h.
    Weights: `weight_ih (H, I)`, `bias (H,)`, `weight_hh.i (H / g, units that module i hears)`; no gates. Modules are in
    order of rising period. `periods` is 1, 2, 4, ... if not given, as many, up to 9, as divide `hidden_size` equally.

    Paper: Koutnik, Greff, Gomez and Schmidhuber, "A clockwork RNN", ICML (2014), arXiv v1.
    Deviation: none; the paper's output layer is left to what follows.
    """

    def __init__(self, input_size: int, hidden_size: int, periods: Sequence[int] | None = None) -> None:
        super().__init__(input_size, hidden_size)
        if periods is None:
            modules = max(g for g in range(1, _MOST_MODULES + 1) if hidden_size % g == 0)
            periods = [2**k for k in range(modules)]
        self.periods = tuple(periods)
        if not self.periods or min(self.periods) < 1 or list(self.periods) != sorted(self.periods):
            raise ArgumentError(f"periods must be at least 1 and in rising order, got {list(self.periods)}")
        self.units, rest = divmod(hidden_size, len(self.periods))
        if rest:
            raise ArgumentError(
                f"hidden_size {hidden_size} cannot be shared equally by {len(self.periods)} modules, one for each "
                "period: make it a multiple of their number"
            )
        # Where the slowest modules that a module hears begin: those of its own period, and everything behind them.
        self.heard = tuple(self.periods.index(period) * self.units for period in self.periods)
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.ParameterList(torch.empty(self.units, hidden_size - first) for first in self.heard)
        self.bias = nn.Parameter(torch.empty(hidden_size))
        uniform_(self.parameters(), hidden_size)
        self.register_buffer("module_periods", torch.tensor(self.periods), persistent=False)

    module_periods: Tensor

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (self.hidden_size,), ((), torch.int64)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, t = state
        runs = (t.unsqueeze(-1) % self.module_periods == 0).split(1, -1)
        modules: list[Tensor] = []
        inputs = zip(self.weight_ih.chunk(len(self.periods)), self.bias.chunk(len(self.periods)), strict=True)
        for k, (w_ih, bias) in enumerate(inputs):
            new = torch.tanh(F.linear(x, w_ih, bias) + F.linear(h[:, self.heard[k] :], self.weight_hh[k]))
            modules.append(torch.where(runs[k], new, h[:, k * self.units : (k + 1) * self.units]))
        h = torch.cat(modules, -1)
        return h, (h, t + 1)

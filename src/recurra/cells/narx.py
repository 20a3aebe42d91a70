"""Nonlinear autoregressive model with exogenous inputs (NARX)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, Context, State, StateShape
from recurra.core.delays import check_delays
from recurra.core.errors import ArgumentError
from recurra.core.forcing import teacher_forcing
from recurra.core.initialisers import uniform_

__all__ = ["NARXCell"]


class NARXCell(Cell):
    """A network over the last inputs and the last outputs of its own.

        y_t = V tanh(sum over d in input_delays of W_d x_{t-d} + sum over d in output_delays of U_d y_{t-d} + b) + c

    input_delays: the taps into the inputs, 0 being the input of now; `()` leaves the inputs out (they then only say how
    many steps there are). output_delays: the taps into the outputs, at least 1 each. What lies before the first step
    is zero.

    Closed loop, the default: the outputs remembered are its own (parallel form). Open loop, for training: give the true
    outputs as context, `context=(targets,)`, targets `(T, B, output_size)`; step t then remembers targets[t] in place
    of its own y_t (series-parallel form). `context=(targets, forced)` with a boolean `forced (T, B)` chooses step by
    step.

    Shapes: x `(B, input_size)`; state `(inputs, outputs)`, `(B, max(input_delays), input_size)` (missing where that is
    0) and `(B, max(output_delays), output_size)`, the newest first; y `(B, output_size)`, by default `hidden_size`.
    Weights: `W (H, len(input_delays) * I)` (missing without input delays), `U (H, len(output_delays) * O)`, `b (H,)`,
    `V (O, H)`, `c (O,)`; no gates.

    Papers: Leontaritis and Billings, "Input-output parametric models for non-linear systems", International Journal of
    Control 41 (1985); Lin, Horne, Tino and Giles, "Learning long-term dependencies in NARX recurrent neural networks",
    IEEE Transactions on Neural Networks 7 (1996).
    Deviation: none.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int | None = None,
        input_delays: Sequence[int] = (0, 1),
        output_delays: Sequence[int] = (1, 2),
    ) -> None:
        super().__init__(input_size, hidden_size)
        outputs = hidden_size if output_size is None else output_size
        if outputs < 1:
            raise ArgumentError(f"output_size must be at least 1, got {outputs}")
        self.output_shape = (outputs,)
        self.input_delays = check_delays(input_delays, least=0, deepest=0) if input_delays else ()
        self.output_delays = check_delays(output_delays, least=1)
        taps = len(self.input_delays) * input_size
        self.W = nn.Parameter(torch.empty(hidden_size, taps)) if taps else None
        self.U = nn.Parameter(torch.empty(hidden_size, len(self.output_delays) * outputs))
        self.b = nn.Parameter(torch.empty(hidden_size))
        self.V = nn.Parameter(torch.empty(outputs, hidden_size))
        self.c = nn.Parameter(torch.empty(outputs))
        uniform_(self.parameters(), hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        deepest = max(self.input_delays, default=0)
        inputs = [(deepest, self.input_size)] if deepest else []
        return *inputs, (max(self.output_delays), *self.output_shape)

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        teacher, rest = teacher_forcing(given, (steps, batch, *self.output_shape))
        if rest:
            raise ArgumentError(f"NARXCell takes (targets,) or (targets, forced) as context, got {len(given)} entries")
        return (), teacher or ()

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        *inputs, outputs = state
        z = F.linear(torch.cat([outputs[:, d - 1] for d in self.output_delays], -1), self.U, self.b)
        line = torch.cat([x.unsqueeze(1), *inputs], 1)
        if self.W is not None:
            z = z + F.linear(torch.cat([line[:, d] for d in self.input_delays], -1), self.W)
        y = F.linear(torch.tanh(z), self.V, self.c)
        remembered = y
        if context:
            target, forced = context
            remembered = torch.where(forced, target, y)
        outputs = torch.cat([remembered.unsqueeze(1), outputs[:, :-1]], 1)
        return y, (*(line[:, :-1] for _ in inputs), outputs)

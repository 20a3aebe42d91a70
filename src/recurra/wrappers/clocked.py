"""A cell that runs at every p-th step only: layers with clocks of different rates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.core import Cell, State, StateShape, Wrapper, call_step
from recurra.core.errors import ArgumentError

__all__ = ["Clocked"]


class Clocked(Wrapper):
    """Runs the cell at the steps that the period p divides, and holds its state and output in between.

        y_t, s_t = cell(x_t, s_{t-1})    where t mod p = 0
        y_t, s_t = y_{t-1}, s_{t-1}      at all others, bit for bit

    The first step is t = 0. In a stack, layers of periods 1, 2, 4, ... have clocks of different rates.
    State: the cell's own, the last output `(B, *output_shape)`, and t `(B,)` int64.

    Source: El Hihi and Bengio, "Hierarchical recurrent neural networks for long-term dependencies", NIPS (1995).
    Deviation: the inputs that a slow layer sleeps through are not seen by it, as in the clockwork RNN.
    """

    def __init__(self, cell: Cell, period: int = 2) -> None:
        super().__init__(cell)
        if period < 1:
            raise ArgumentError(f"Clocked: the period must be at least 1 step, got {period}")
        self.period = period

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (*self.cell.state_shapes(), self.cell.output_shape, ((), torch.int64))

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        held = torch.zeros(batch, *self.cell.output_shape, device=device, dtype=dtype)
        clock = torch.zeros(batch, device=device, dtype=torch.int64)
        return (*self.cell.initial_state(batch, device=device, dtype=dtype), held, clock)

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        *inner, held, t = state
        y, new = call_step(self.cell, x, tuple(inner), context)
        runs = t % self.period == 0
        y = torch.where(runs.reshape(-1, *(1,) * (y.dim() - 1)), y, held)
        kept = (torch.where(runs.reshape(-1, *(1,) * (s.dim() - 1)), s, o) for s, o in zip(new, inner, strict=True))
        return y, (*kept, y, t + 1)

    def extra_repr(self) -> str:
        return f"period={self.period}"

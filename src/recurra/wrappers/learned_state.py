"""A first state that is learned."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import Cell, State, Wrapper, call_step

__all__ = ["LearnedState"]


class LearnedState(Wrapper):
    """Makes the state before the first step a parameter, the same for every row, learned with the rest.

        y_t, s_t = cell(x_t, s_{t-1}),    s_0 = p

    p begins as the cell's own initial state (zeros, mostly). Integer states (clocks) stay as they are.
    State: the cell's own. Weights: `initial.{k}` for floating state tensor k, beside the cell's.

    Source: Forcada and Carrasco, "Learning the initial state of a second-order recurrent neural network during
    regular-language inference", Neural Computation 7 (1995).
    Deviation: none.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        like = next((p for p in cell.parameters() if p.is_floating_point()), torch.zeros(()))
        first = cell.initial_state(1, device=like.device, dtype=like.dtype)
        learned = {str(k): nn.Parameter(s[0].detach().clone()) for k, s in enumerate(first) if s.is_floating_point()}
        self.initial = nn.ParameterDict(learned)

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        own = self.cell.initial_state(batch, device=device, dtype=dtype)
        return tuple(self._learned(k, s) for k, s in enumerate(own))

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        return call_step(self.cell, x, state, context)

    def _learned(self, k: int, own: Tensor) -> Tensor:
        return self.initial[str(k)].to(own).expand_as(own) if str(k) in self.initial else own

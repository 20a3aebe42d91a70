"""A cell that remembers the last k inputs, and nothing before them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.core import Cell, State, StateShape, Wrapper, call_step, split_shape
from recurra.core.errors import ArgumentError

__all__ = ["Windowed"]


class Windowed(Wrapper):
    """Gives at every step what the cell gives on the last k inputs alone, from its initial state.

        y_t = the last output of cell(x_{t-k+1}, ..., x_t),    fewer inputs where t < k

    What is "taken to depend on the last few inputs only" is then exact: older inputs have no influence and no gradient.
    A step costs k steps of the cell: it carries on the k windows that are under way, one begun at each of the last k
    inputs.

    State: for each of the cell's tensors `(B, k, ...)`, entry j being the state after the last j + 1 inputs, so that
    the last one is the state of the whole window.
    Source: the finite memory of delay-line models (Waibel et al., 1989), given to any cell.
    Deviation: before k inputs have come, the window is what there is, without zeros put before it.
    """

    def __init__(self, cell: Cell, k: int = 3) -> None:
        super().__init__(cell)
        if k < 1:
            raise ArgumentError(f"Windowed: k must be at least 1 input, got {k}")
        self.k = k

    def state_shapes(self) -> tuple[StateShape, ...]:
        declared = (split_shape(entry) for entry in self.cell.state_shapes())
        return tuple((self.k, *shape) if own is None else ((self.k, *shape), own) for shape, own in declared)

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        first = self.cell.initial_state(batch, device=device, dtype=dtype)
        return tuple(s.unsqueeze(1).expand(-1, self.k, *s.shape[1:]) for s in first)

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        first = self.cell.initial_state(x.shape[0], device=x.device, dtype=x.dtype)
        begun = [first, *(tuple(s[:, j] for s in state) for j in range(self.k - 1))]
        results = [call_step(self.cell, x, s, context) for s in begun]
        windows = zip(*(new for _, new in results), strict=True)
        return results[-1][0], tuple(torch.stack(entries, 1) for entries in windows)

    def extra_repr(self) -> str:
        return f"k={self.k}"

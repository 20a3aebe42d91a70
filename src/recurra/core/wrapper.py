"""The contract of a wrapper: a cell in, a cell out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from recurra.core.cell import Cell, Context, call_step
from recurra.core.state import State, StateShape

__all__ = ["Wrapper"]


class Wrapper(Cell):
    """A cell around a cell. By itself it changes nothing; a subclass overrides what it changes.

    Randomness belongs in `make_context`, never in `step`, so that a wrapper works under every backend.

    A wrapper puts its own `per_call` entries *before* those of the cell inside and its own `per_step`
    entries *after* them. The flat context of a step is then

        (own per_call ..., inner per_call ..., inner per_step ..., own per_step ...)

    and the wrapper takes its own off both ends without having to know how many the cell inside has.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell.input_size, cell.hidden_size)
        self.cell = cell
        self.input_shape = cell.input_shape
        self.output_shape = cell.output_shape

    @classmethod
    def of(cls, factory: Callable[[int, int], Cell], input_size: int, hidden_size: int, **options: Any) -> Self:
        """Build a cell and wrap it, so that the whole takes inputs of `input_size`; `options` go to the wrapper."""
        return cls(factory(input_size, hidden_size), **options)

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        return call_step(self.cell, x, state, context)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return self.cell.state_shapes()

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        return self.cell.initial_state(batch, device=device, dtype=dtype)

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        return self.cell.make_context(given, steps, batch, device, dtype)

    def extra_repr(self) -> str:
        return ""

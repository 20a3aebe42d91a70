"""Back projections: the previous output joins the input, while the cell keeps its own recurrence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from recurra.core import Cell, Context, State, StateShape, Wrapper, call_step
from recurra.core.errors import ArgumentError
from recurra.core.forcing import teacher_forcing

__all__ = ["BackProjection"]


class BackProjection(Wrapper):
    """Feeds a cell with its own last output beside the input.

        y_t, s_t = cell([x_t; y_{t-1}], s_{t-1}),    y_{-1} = 0

    cell: a cell whose `input_size` is that of x plus its own output's, or a factory
    `(input_size, hidden_size) -> Cell` given to `BackProjection.of`, which does the sum.
    State: the cell's own tensors, then the output that is fed back, `(B, output_size)`.

    Teacher forcing goes through the context: `context=(targets,)`, targets `(T, B, output_size)`, the outputs as they
    should be; step t then remembers targets[t] in place of its own y_t. `context=(targets, forced)` with a boolean
    `forced (T, B)` chooses step by step. What follows is handed to the cell inside; `None` in place of the targets
    forces nothing.

    Source: the "back projections" of recurrent networks in general (Jaeger, "The echo state approach", GMD report 148,
    2001, W_back); teacher forcing: Williams and Zipser (1989).
    Deviation: none in the equation; the forced value is stored in the state, so that a sequence may be cut anywhere.
    """

    def __init__(self, cell: Cell) -> None:
        super().__init__(cell)
        if len(cell.input_shape) != 1 or len(cell.output_shape) != 1:
            raise ArgumentError(
                f"BackProjection joins vectors, but {type(cell).__name__} has inputs of shape {cell.input_shape} "
                f"and outputs of shape {cell.output_shape}"
            )
        (joined,), (fed_back,) = cell.input_shape, cell.output_shape
        if joined <= fed_back:
            raise ArgumentError(
                f"BackProjection: the cell's input_size must be the input's size plus its own output size {fed_back}, "
                f"got {joined}: use BackProjection.of(factory, input_size, hidden_size)"
            )
        self.input_size = joined - fed_back
        self.input_shape = (self.input_size,)

    @classmethod
    def of(cls, factory: Callable[[int, int], Cell], input_size: int, hidden_size: int, **options: Any) -> Self:
        """Build the cell with the input size it needs, and wrap it: `lambda i, h: BackProjection.of(MyCell, i, h)`."""
        (fed_back,) = factory(input_size, hidden_size).output_shape
        return cls(factory(input_size + fed_back, hidden_size), **options)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (*self.cell.state_shapes(), self.output_shape)

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        inner = self.cell.initial_state(batch, device=device, dtype=dtype)
        return (*inner, torch.zeros(batch, *self.output_shape, device=device, dtype=dtype))

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        expected = (steps, batch, *self.output_shape)
        teacher, rest = teacher_forcing(given, expected)
        if teacher is None:
            targets = torch.zeros((), device=device, dtype=dtype).expand(expected)
            teacher = targets, torch.zeros((), device=device, dtype=torch.bool).expand(steps, batch, 1)
        per_call, per_step = self.cell.make_context(rest, steps, batch, device, dtype)
        return per_call, (*per_step, *teacher)

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        *inner_context, target, forced = context
        *inner, last = state
        y, new = call_step(self.cell, torch.cat([x, last], -1), tuple(inner), tuple(inner_context))
        return y, (*new, torch.where(forced, target, y))

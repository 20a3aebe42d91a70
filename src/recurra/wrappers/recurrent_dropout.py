"""Dropout on what a cell hears of its own past, with one mask for all of time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from recurra.core import Cell, Context, State, Wrapper, call_step, split_shape
from recurra.core.errors import ArgumentError

__all__ = ["RecurrentDropout"]


class RecurrentDropout(Wrapper):
    """Masks the old state where it goes into matrix products, and never a memory that is carried on.

        y_t, s_t = cell(x_t, m * s_{t-1}),    m ~ Bernoulli(1 - p) / (1 - p), drawn once a call for every row and unit

    The mask is constant over time, so that a unit is gone for a whole sequence. A cell says in `Cell.droppable` which
    states its step uses in products alone (an LSTM's h, never its c, whose loss would be a loss of memory); a cell
    whose state is both multiplied and carried on (the GRU) defines `masked_step(x, state, mask)` and takes the mask
    inside its products. Any other cell is refused by name, and so is a wrapper: this one goes innermost. In evaluation
    nothing changes.
    State: the cell's own.

    Source: Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", NIPS
    (2016), arXiv v5 (the mask constant over time); Semeniuta, Severyn and Barth, "Recurrent dropout without memory
    loss", COLING (2016), arXiv v2 (h, never c).
    Deviation: one mask for all gates ("tied weights" in the first paper); the second masks the new value of each step.
    """

    def __init__(self, cell: Cell, p: float = 0.25) -> None:
        super().__init__(cell)
        if not 0.0 <= p < 1.0:
            raise ArgumentError(f"RecurrentDropout: p must be a probability below 1, got {p}")
        self.p = p
        if self._inside() is None and not cell.droppable:
            raise ArgumentError(
                f"RecurrentDropout: {type(cell).__name__} does not say which of its states may be masked: set its "
                "`droppable`, give it a `masked_step`, or wrap another cell"
            )

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        per_call, per_step = self.cell.make_context(given, steps, batch, device, dtype)
        if not self.training:
            return per_call, per_step
        shapes = [split_shape(self.cell.state_shapes()[k])[0] for k in self._masked()]
        drawn = [torch.empty(batch, *shape, device=device, dtype=dtype).bernoulli_(1 - self.p) for shape in shapes]
        return (*(mask / (1 - self.p) for mask in drawn), *per_call), per_step

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        if not self.training:
            return call_step(self.cell, x, state, context)
        masked_step = self._inside()
        if masked_step is not None:
            return masked_step(x, state, context[0])
        masks = dict(zip(self._masked(), context, strict=False))
        seen = tuple(s * masks[k] if k in masks else s for k, s in enumerate(state))
        return call_step(self.cell, x, seen, context[len(masks) :])

    def _masked(self) -> tuple[int, ...]:
        return self.cell.droppable if self._inside() is None else (0,)

    def _inside(self) -> Callable[[Tensor, State, Tensor], tuple[Tensor, State]] | None:
        """Return the step of a cell that takes the mask inside its products."""
        return getattr(self.cell, "masked_step", None)

    def extra_repr(self) -> str:
        return f"p={self.p}"

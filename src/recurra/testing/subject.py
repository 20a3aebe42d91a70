"""The cell that is tried, and everything a law needs of it: fresh copies, inputs, states that it can reach."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recurra import cells
from recurra.core import Cell, State
from recurra.core.errors import ArgumentError
from recurra.layers import Recurrent
from recurra.scan import scan
from recurra.testing.case import Case

__all__ = ["GivenContext", "Subject"]

GivenContext = Callable[[int, int], tuple[Any, ...]]
"""`(steps, batch) -> context`, what a caller would hand over for a call of that size."""


class Subject:
    """A cell under test.

    cell: a `Cell` class, a registered name, a factory `(input_size, hidden_size) -> Cell`, or a built cell, of which
    only copies are used; options go to the class or factory. context: for a cell that must be given one,
    `(steps, batch) -> context`; its tensors `(T, B, ...)` are taken to be over time, those `(B, ...)` to be by rows.

    Everything is drawn from fixed seeds, so that a failure shows itself again.
    """

    def __init__(
        self,
        cell: str | Cell | Callable[..., Cell],
        input_size: int = 3,
        hidden_size: int = 4,
        *,
        context: GivenContext | None = None,
        **options: Any,
    ) -> None:
        self.is_built = isinstance(cell, Cell)
        self.input_size, self.hidden_size = input_size, hidden_size
        self._factory = _factory(cell, options)
        self._context = context
        torch.manual_seed(0)
        self._cell = self._factory(input_size, hidden_size)
        if not isinstance(self._cell, Cell):
            raise ArgumentError(f"expected a factory that returns a recurra.Cell, got {type(self._cell).__name__}")
        self.name = type(self._cell).__name__

    def cell(self, dtype: torch.dtype = torch.float64) -> Cell:
        """Return a fresh copy of the cell in eval mode and in `dtype`: always the same values."""
        return deepcopy(self._cell).to(dtype).eval()

    def another(self, dtype: torch.dtype = torch.float64) -> Cell:
        """Return a cell made in the same way from another seed, as it would be before its weights are loaded."""
        torch.manual_seed(1)
        return self._factory(self.input_size, self.hidden_size).to(dtype).eval()

    def recurrent(self, *, bidirectional: bool) -> Recurrent:
        """Return `Recurrent` over the cell in float64, of two layers; of one where the cell was handed over built."""
        torch.manual_seed(2)
        layers = 1 if self.is_built else 2
        made = Recurrent(self._factory, self.input_size, self.hidden_size, layers, bidirectional=bidirectional)
        return made.double().eval()

    def x(self, steps: int, batch: int, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return inputs `(T, B, *input_shape)`."""
        generator = torch.Generator().manual_seed(1000 * steps + batch)
        return torch.randn(steps, batch, *self._cell.input_shape, generator=generator, dtype=torch.float64).to(dtype)

    def given(self, steps: int, batch: int, dtype: torch.dtype = torch.float64) -> tuple[Any, ...]:
        """Return the context of a call, its floating tensors in `dtype`."""
        if self._context is None:
            return ()
        torch.manual_seed(3)
        entries = self._context(steps, batch)
        return tuple(v.to(dtype) if isinstance(v, Tensor) and v.is_floating_point() else v for v in entries)

    def case(self, steps: int, batch: int, dtype: torch.dtype = torch.float64) -> Case:
        """Return one call, ready to be made; `steps` must differ from `batch`."""
        cell = self.cell(dtype)
        state = self._reached_state(cell, batch, dtype)
        return Case.of(cell, self.x(steps, batch, dtype), state, self.given(steps, batch, dtype))

    def _reached_state(self, cell: Cell, batch: int, dtype: torch.dtype) -> State:
        """Return states that the cell itself reaches, row b after b + 1 steps: valid, and different in every row."""
        if batch == 0:
            return cell.initial_state(0, dtype=dtype)
        with torch.no_grad():
            context = self.given(batch, batch, dtype)
            states = scan(cell, self.x(batch, batch, dtype), context=context, keep_states=True).states
        rows = torch.arange(batch)
        return tuple(s[rows, rows] for s in states or ())


def _factory(cell: str | Cell | Callable[..., Cell], options: dict[str, Any]) -> Callable[..., Cell]:
    if isinstance(cell, Cell):
        if options:
            raise ArgumentError(f"a built cell takes no options, got {', '.join(options)}: give its class or a factory")
        return lambda _inputs, _hidden: deepcopy(cell)
    made = cells.get(cell) if isinstance(cell, str) else cell
    if not callable(made):
        raise ArgumentError(
            f"expected a Cell, a Cell class, a registered name or a factory (input_size, hidden_size) -> Cell, "
            f"got {type(made).__name__}"
        )
    return partial(made, **options)

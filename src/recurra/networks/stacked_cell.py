"""Several layers as one cell, for what takes a single cell, such as a decoder with attention."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import Cell, Context, State, StateShape, call_step
from recurra.core.errors import ArgumentError, ShapeError
from recurra.layers import CellFactory, cell_factory

__all__ = ["StackedCell", "stacked"]


class StackedCell(Cell):
    """y = cell_n(... cell_2(cell_1(x))): one step runs all layers, from the lowest to the highest.

    Each cell may be of another kind and size, but none may draw random numbers or need a context of its own.
    State: that of the first cell, then that of the second, and so on. Weights: `cells.{k}.*`.
    """

    def __init__(self, *cells: Cell) -> None:
        if not cells:
            raise ArgumentError("StackedCell: expected at least one cell")
        super().__init__(cells[0].input_size, cells[-1].hidden_size)
        for below, above in pairwise(cells):
            if below.output_shape != above.input_shape:
                raise ShapeError(
                    f"StackedCell: {type(below).__name__} gives {below.output_shape}, but {type(above).__name__} above "
                    f"it takes {above.input_shape}"
                )
        self.cells = nn.ModuleList(cells)
        self.input_shape, self.output_shape = cells[0].input_shape, cells[-1].output_shape

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        new: list[Tensor] = []
        for cell in self._layers():
            own = len(cell.state_shapes())
            x, made = call_step(cell, x, state[len(new) : len(new) + own], ())
            new += made
        return x, tuple(new)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return tuple(shape for cell in self._layers() for shape in cell.state_shapes())

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        return tuple(s for cell in self._layers() for s in cell.initial_state(batch, device=device, dtype=dtype))

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        for cell in self._layers():
            if cell.make_context((), steps, batch, device, dtype) != ((), ()):
                raise ArgumentError(
                    f"StackedCell: {type(cell).__name__} needs a context of its own: put it around the whole stack"
                )
        return given, ()

    def _layers(self) -> list[Cell]:
        return [cell for cell in self.cells if isinstance(cell, Cell)]


def stacked(cell: CellFactory, layers: int) -> Callable[[int, int], Cell]:
    """Return a factory of `layers` layers as one cell: `with_attention(stacked("lstm", 2), ...)`."""
    build = cell_factory(cell)

    def make(input_size: int, hidden_size: int) -> Cell:
        made = [build(input_size, hidden_size)]
        for _ in range(layers - 1):
            made.append(build(made[-1].output_shape[0], hidden_size))
        return StackedCell(*made)

    return make

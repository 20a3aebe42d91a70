"""Several recurrences side by side, which do not hear each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import torch
from torch import Tensor, nn

from recurra.core import Cell, Context, State, StateShape, Wrapper, call_step
from recurra.core.errors import ArgumentError

__all__ = ["ParallelSubnetworks"]


class ParallelSubnetworks(Wrapper):
    """Runs independent cells over the same input and joins their outputs.

        y_t = [cell_1(x_t, s^1_{t-1}); ...; cell_n(x_t, s^n_{t-1})]

    n cells of H / n units have an n-th of the recurrent weights of one cell of H units, and can run at the same time.
    `ParallelSubnetworks.of(factory, input_size, hidden_size, groups=n)` builds the cells; by hand, give cells that are
    alike in all but their weights. What merges them is whatever comes next: a layer above, a readout.
    State: the states of the first cell, then those of the second, and so on.

    Source: the quasi-parallel networks of introductory texts; for cells of one unit: Li et al., "Independently
    recurrent neural network (IndRNN)", CVPR (2018).
    Deviation: none.
    """

    def __init__(self, cell: Cell, *others: Cell) -> None:
        super().__init__(cell)
        self.others = nn.ModuleList(others)
        if any(other.input_shape != cell.input_shape or type(other) is not type(cell) for other in self._cells()):
            raise ArgumentError(
                f"ParallelSubnetworks: expected cells of one class with the same inputs, {type(cell).__name__} with "
                f"{cell.input_shape}, got {', '.join(type(c).__name__ for c in others)}"
            )
        self.hidden_size = sum(c.hidden_size for c in self._cells())
        self.output_shape = (sum(c.output_shape[0] for c in self._cells()), *cell.output_shape[1:])

    @classmethod
    def of(
        cls,
        factory: Callable[[int, int], Cell],
        input_size: int,
        hidden_size: int,
        groups: int = 2,
        **options: Any,
    ) -> Self:
        """Build `groups` cells of `hidden_size / groups` units each; groups must divide hidden_size."""
        if groups < 1 or hidden_size % groups:
            raise ArgumentError(f"groups must divide hidden_size {hidden_size}, got {groups}")
        return cls(*(factory(input_size, hidden_size // groups) for _ in range(groups)), **options)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return tuple(shape for c in self._cells() for shape in c.state_shapes())

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        return tuple(s for c in self._cells() for s in c.initial_state(batch, device=device, dtype=dtype))

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        made = [c.make_context(given, steps, batch, device, dtype) for c in self._cells()]
        # Entry by entry, then cell by cell: every n-th entry of the flat context then belongs to the same cell.
        per_call = (entry for entries in zip(*(c[0] for c in made), strict=True) for entry in entries)
        per_step = (entry for entries in zip(*(c[1] for c in made), strict=True) for entry in entries)
        return tuple(per_call), tuple(per_step)

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        cells = list(self._cells())
        size = len(state) // len(cells)
        results = [
            call_step(c, x, state[k * size : (k + 1) * size], context[k :: len(cells)]) for k, c in enumerate(cells)
        ]
        return torch.cat([y for y, _ in results], 1), tuple(s for _, new in results for s in new)

    def _cells(self) -> Iterator[Cell]:
        yield self.cell
        for other in self.others:
            assert isinstance(other, Cell)
            yield other

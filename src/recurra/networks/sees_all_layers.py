"""A deep network whose states see all layers of the step before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import Cell, Context, State, StateShape, call_step
from recurra.core.errors import ArgumentError
from recurra.layers import CellFactory, Recurrent, cell_factory
from recurra.networks.deep import cells_for
from recurra.networks.ragged import Lengths, check_sequences

__all__ = ["AllLayersCell", "SeesAllLayers"]


class AllLayersCell(Cell):
    """Layers as one cell; each sees what all of them gave at the step before. y^0_t = x_t.

        y^l_t, s^l_t = cell_l([y^{l-1}_t; g^1 y^1_{t-1}; ...; g^L y^L_{t-1}], s^l_{t-1}),    y_t = y^L_t
        g^j = 1, or with gates, one number for each pair of layers:
        g^j = sigmoid(w_lj y^{l-1}_t + u_lj [y^1_{t-1}; ...; y^L_{t-1}])

    Shapes: x as the first cell's; state: the tensors of each cell, layer by layer, then y^1, ..., y^L; y as the last
    cell's. Features, or channels of grids, are the first dimension.
    Weights: each cell's, as `layers.{k}`; `gates_x.{k} (L, inputs)`, `gates_h.{k} (L, sum of sizes)`.

    Source: the course of Qiu, "Neural networks and deep learning" (2020): "a state from all layers of the step before";
    gates: Chung, Gulcehre, Cho and Bengio, "Gated feedback recurrent neural networks", ICML (2015), arXiv v4.
    Deviation: what the layers gave enters by their inputs, so that any cell serves; a cell's own recurrence is left as
    it is, and not gated.
    """

    def __init__(
        self, cells: Sequence[Callable[..., Cell]], input_size: int, sizes: Sequence[int], gated: bool = False
    ):
        super().__init__(input_size, sum(sizes))
        every = sum(made(1, size).output_shape[0] for made, size in zip(cells, sizes, strict=True))
        self.layers = nn.ModuleList()
        self.gates_x = nn.ParameterList()
        self.gates_h = nn.ParameterList()
        below = input_size
        for made, size in zip(cells, sizes, strict=True):
            cell = made(below + every, size)
            if gated:
                if len(cell.input_shape) > 1:
                    raise ArgumentError(f"gates are for vectors, but {type(cell).__name__} takes {cell.input_shape}")
                bound = (below + every) ** -0.5
                self.gates_x.append(nn.Parameter(torch.empty(len(sizes), below).uniform_(-bound, bound)))
                self.gates_h.append(nn.Parameter(torch.empty(len(sizes), every).uniform_(-bound, bound)))
            self.layers.append(cell)
            below = cell.output_shape[0]
        self.gated = gated
        first, *_, last = (*self._cells(), self._cells()[-1])
        self.input_shape = (input_size, *first.input_shape[1:])
        self.output_shape = last.output_shape
        self._starts = [0]
        for cell in self._cells():
            self._starts.append(self._starts[-1] + len(cell.state_shapes()))

    def state_shapes(self) -> tuple[StateShape, ...]:
        own = (shape for cell in self._cells() for shape in cell.state_shapes())
        return (*own, *(cell.output_shape for cell in self._cells()))

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        cells = self._cells()
        own = (s for cell in cells for s in cell.initial_state(batch, device=device, dtype=dtype))
        return (*own, *(torch.zeros(batch, *cell.output_shape, device=device, dtype=dtype) for cell in cells))

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        made = [cell.make_context(given, steps, batch, device, dtype) for cell in self._cells()]
        if len({(len(per_call), len(per_step)) for per_call, per_step in made}) > 1:
            raise ArgumentError(
                "layers that see one another must have contexts of one form, all wrapped alike, got "
                + ", ".join(f"{len(a)} + {len(b)} entries" for a, b in made)
            )
        # Entry by entry, then cell by cell: every L-th entry of the flat context then belongs to the same cell.
        per_call = (entry for entries in zip(*(c[0] for c in made), strict=True) for entry in entries)
        per_step = (entry for entries in zip(*(c[1] for c in made), strict=True) for entry in entries)
        return tuple(per_call), tuple(per_step)

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        cells = self._cells()
        before = state[self._starts[-1] :]
        below, inner, outputs = x, list[Tensor](), list[Tensor]()
        for k, cell in enumerate(cells):
            seen = before
            if self.gated:
                gates = torch.sigmoid(below @ self.gates_x[k].T + torch.cat(before, 1) @ self.gates_h[k].T)
                seen = tuple(g * y for g, y in zip(gates.split(1, 1), before, strict=True))
            own = state[self._starts[k] : self._starts[k + 1]]
            below, new = call_step(cell, torch.cat([below, *seen], 1), own, context[k :: len(cells)])
            inner.extend(new)
            outputs.append(below)
        return below, (*inner, *outputs)

    def _cells(self) -> list[Cell]:
        return [cell for cell in self.layers if isinstance(cell, Cell)]


class SeesAllLayers(nn.Module):
    """Recurrent layers; each sees what all of them gave at the step before (`AllLayersCell` has the equations).

    It looks backwards only, so it streams; and since it is one cell, it is compiled as one. cells: one for all layers,
    or one for each; sizes: each layer's hidden size; gated: gates between layers. x: `(B, T, input_size)`; y:
    `(B, T, output_size)`. State: that of `Recurrent` over the cell.
    """

    topology = "sees-all-layers"

    def __init__(
        self,
        cells: CellFactory | Sequence[CellFactory],
        input_size: int,
        sizes: Sequence[int],
        gated: bool = False,
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        made = [cell_factory(cell) for cell in cells_for(cells, sizes)]
        self.input_size = input_size
        self.recurrent = Recurrent(
            lambda i, _: AllLayersCell(made, i, sizes, gated), input_size, sum(sizes), batch_first=True, backend=backend
        )
        self.output_size = self.recurrent.output_size

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, Any]:
        """Return y `(B, T, output_size)`, zero in the padding, and the state."""
        check_sequences("SeesAllLayers", x, self.input_size)
        return self.recurrent(x, state, lengths=lengths)

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, Any]:
        """Run one step `(B, input_size)`."""
        return self.recurrent.step(x, state, context)

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first step."""
        return self.recurrent.initial_state(batch)

"""Attention over places: sensors, or the cells of a grid, weighted anew at every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, Context, State, StateShape, call_step
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_
from recurra.layers import CellFactory, Recurrent, cell_factory
from recurra.networks.ragged import Lengths, check_sequences, valid, zeroed

__all__ = ["SpatialAttention", "SpatialAttentionCell"]


class SpatialAttentionCell(Cell):
    """A cell that weighs the places of its input, by what they hold and by its own last output.

        e_t(p) = v^T tanh(U x_t(p) + W y_{t-1} + b_p),    a_t = softmax over all places p
        y_t, s_t = cell(a_t(p) x_t(p) for all p, s_{t-1})

    For a cell over grids, W sees y_{t-1} at p; for one over vectors, to which the places come one after the other, all
    of it. b_p, one vector for each place, knows the places apart.

    Shapes: x `(B, features, *places)`, places being one number of sensors or the sizes of a grid; state: the cell's
    tensors, then y_{t-1}; y as the cell's.
    Weights: `cell`'s; `weight_x (A, features)`, `weight_y (A, outputs)`, `bias (A, places)`, `score (A,)`.

    Paper: Qin, Song, Chen, Cheng, Jiang and Cottrell, "A dual-stage attention-based recurrent neural network for time
    series prediction", IJCAI (2017), arXiv v4, equations 8 to 10; over places: Liang et al., "GeoMAN: multi-level
    attention networks for geo-sensory time series prediction", IJCAI (2018).
    Deviation: they score a series by its whole window, which looks ahead; here by the present, so that it streams.
    """

    def __init__(
        self,
        cell: Callable[..., Cell],
        features: int,
        places: Sequence[int],
        hidden_size: int,
        attention_size: int | None = None,
    ) -> None:
        super().__init__(features, hidden_size)
        if not places or min(places) < 1:
            raise ArgumentError(f"expected the number of sensors, or the sizes of a grid, got {list(places)}")
        self.places = tuple(places)
        of_grid = cell(features, hidden_size)
        self.over_grid = of_grid.input_shape == (features, *self.places)
        self.cell = of_grid if self.over_grid else cell(features * prod(places), hidden_size)
        wanted = (features * prod(places),)
        if not self.over_grid and self.cell.input_shape != wanted:
            raise ArgumentError(
                f"{type(self.cell).__name__} takes inputs of shape {of_grid.input_shape}, which are neither "
                f"{(features, *self.places)} nor vectors: make its grid the places"
            )
        self.input_shape = (features, *self.places)
        self.output_shape = self.cell.output_shape
        size = attention_size or hidden_size
        self.weight_x = nn.Parameter(torch.empty(size, features))
        self.weight_y = nn.Parameter(torch.empty(size, self.output_shape[0]))
        self.bias = nn.Parameter(torch.empty(size, prod(places)))
        self.score = nn.Parameter(torch.empty(size))
        uniform_([self.weight_x, self.weight_y, self.bias, self.score], size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (*self.cell.state_shapes(), self.output_shape)

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        y = torch.zeros(batch, *self.output_shape, device=device, dtype=dtype)
        return (*self.cell.initial_state(batch, device=device, dtype=dtype), y)

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        return self.cell.make_context(given, steps, batch, device, dtype)

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        *inner, before = state
        seen = self.weights(x, before).unsqueeze(1) * x.flatten(2)
        seen = seen.reshape(x.shape) if self.over_grid else seen.flatten(1)
        y, new = call_step(self.cell, seen, tuple(inner), context)
        return y, (*new, y)

    def weights(self, x: Tensor, before: Tensor) -> Tensor:
        """Return a `(N, places)` for inputs `(N, features, *places)` and the outputs of the step before."""
        e = F.linear(x.flatten(2).transpose(1, 2), self.weight_x)
        if self.over_grid:
            e = e + F.linear(before.flatten(2).transpose(1, 2), self.weight_y)
        else:
            e = e + F.linear(before, self.weight_y).unsqueeze(1)
        return torch.softmax((torch.tanh(e + self.bias.T) * self.score).sum(-1), 1)


class SpatialAttention(nn.Module):
    """A recurrent layer that weighs sensors or grid cells (`SpatialAttentionCell` has the equations).

        SpatialAttention(Leaky, 3, (30,), 64)        # 30 sensors with 3 features each: x (B, T, 3, 30)

    cell: in the forms that `Recurrent` takes; one over grids must have the places as its grid. It looks backwards only,
    so it streams. x: `(B, T, features, *places)`; y: `(B, T, output_size, ...)`. State: that of `Recurrent`.
    """

    topology = "spatial-attention"

    def __init__(
        self,
        cell: CellFactory,
        features: int,
        places: Sequence[int],
        hidden_size: int,
        attention_size: int | None = None,
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        made = cell_factory(cell)
        self.input_size = features
        self.recurrent = Recurrent(
            lambda i, h: SpatialAttentionCell(made, i, places, h, attention_size),
            features,
            hidden_size,
            batch_first=True,
            backend=backend,
        )
        self.output_size = self.recurrent.output_size

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, Any]:
        """Return y, zero in the padding, and the state."""
        check_sequences("SpatialAttention", x, self.input_size)
        return self.recurrent(x, state, lengths=lengths)

    def weights(self, x: Tensor, *, lengths: Lengths = None) -> Tensor:
        """Return the weights a_t(p), `(B, T, *places)`, zero in the padding."""
        mask = valid(lengths, x)
        x = zeroed(x, mask)
        y, _ = self.forward(x, lengths=lengths)
        cell = next(m for m in self.recurrent.modules() if isinstance(m, SpatialAttentionCell))
        before = torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], 1)
        a = cell.weights(x.flatten(0, 1), before.flatten(0, 1))
        return zeroed(a.reshape(*x.shape[:2], *cell.places), mask)

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, Any]:
        """Run one step `(B, features, *places)`."""
        return self.recurrent.step(x, state, context)

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first step."""
        return self.recurrent.initial_state(batch)

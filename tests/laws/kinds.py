"""Cells of every kind that the contract allows, beyond those that the library has."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra import Cell
from recurra.core import State


class ReadoutCell(Cell):
    """y is not a state, and has another size: `h_t = tanh(U x_t + W h_{t-1})`, `y_t = V h_t`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.output_shape = (2,)
        self.hidden = nn.Linear(input_size + hidden_size, hidden_size)
        self.readout = nn.Linear(hidden_size, 2)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = torch.tanh(self.hidden(torch.cat([x, h], -1)))
        return self.readout(h), (h,)


class ClockCell(Cell):
    """Carries an int64 clock, and listens to the input at every other step only."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)

    def state_shapes(self) -> Any:
        return (self.hidden_size,), ((), torch.int64)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, ticks = state
        listens = (ticks % 2 == 0).unsqueeze(-1)
        h = torch.where(listens, torch.tanh(self.inputs(x) + self.recurrent(h)), h)
        return h, (h, ticks + 1)


class MatrixCell(Cell):
    """A memory of outer products: `A_t = 0.9 A_{t-1} + tanh(v_t) k_t^T`, `y_t = A_t q_t`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.project = nn.Linear(input_size, 3 * hidden_size)

    def state_shapes(self) -> Any:
        return ((self.hidden_size, self.hidden_size),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (memory,) = state
        key, value, query = self.project(x).chunk(3, -1)
        memory = 0.9 * memory + torch.tanh(value).unsqueeze(-1) * key.unsqueeze(-2)
        return (memory @ query.unsqueeze(-1)).squeeze(-1), (memory,)


class PictureCell(Cell):
    """Pictures over time: a recurrent convolution on `(C, 3, 3)`; channels are the features."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.input_shape = (input_size, 3, 3)
        self.output_shape = (hidden_size, 3, 3)
        self.convolve = nn.Conv2d(input_size + hidden_size, hidden_size, 3, padding=1)

    def state_shapes(self) -> Any:
        return (self.output_shape,)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = torch.tanh(self.convolve(torch.cat([x, h], 1)))
        return h, (h,)


class LearnedStartCell(Cell):
    """Begins in a state that is itself a weight."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.start = nn.Parameter(torch.randn(hidden_size))
        self.mix = nn.Linear(input_size + hidden_size, hidden_size)

    def initial_state(self, batch: int, *, device: Any = None, dtype: Any = None) -> State:
        return (self.start.to(device=device, dtype=dtype).expand(batch, -1),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = torch.tanh(self.mix(torch.cat([x, h], -1)))
        return h, (h,)


class AttentiveCell(Cell):
    """Looks at encoder states `(B, S, 5)`, one to a row, and at a hint `(T, B, 1)`, one to a step."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.query = nn.Linear(hidden_size, 5, bias=False)
        self.mix = nn.Linear(input_size + hidden_size + 6, hidden_size)

    def make_context(self, given: tuple[Any, ...], steps: int, batch: int, device: Any, dtype: Any) -> Any:
        source, hint = given
        return (source,), (hint,)

    def step(self, x: Tensor, state: State, context: tuple[Any, ...]) -> tuple[Tensor, State]:
        (h,) = state
        source, hint = context
        weights = F.softmax((source * self.query(h).unsqueeze(1)).sum(-1), -1)
        seen = (weights.unsqueeze(-1) * source).sum(1)
        h = torch.tanh(self.mix(torch.cat([x, h, seen, hint], -1)))
        return h, (h,)


def attended(steps: int, batch: int) -> tuple[Tensor, Tensor]:
    """Return what `AttentiveCell` must be given."""
    return torch.randn(batch, 7, 5), torch.randn(steps, batch, 1)


KINDS: dict[str, tuple[type[Cell], dict[str, Any]]] = {
    cell.__name__: (cell, options)
    for cell, options in [
        (ReadoutCell, {}),
        (ClockCell, {}),
        (MatrixCell, {}),
        (PictureCell, {}),
        (LearnedStartCell, {}),
        (AttentiveCell, {"context": attended}),
    ]
}

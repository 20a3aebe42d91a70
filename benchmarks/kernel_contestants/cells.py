"""Five cells that no library has a kernel for, each as a `recurra.Cell` and as a plain eager loop by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import recurra as rc

__all__ = ["CELLS", "Clockwork", "DeltaRule", "LayerNormLSTM", "Leaky", "Peephole"]


class Peephole(rc.Cell):
    """LSTM whose gates also see the memory, through diagonal weights (Gers and Schmidhuber 2000)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, 4 * hidden_size)
        self.recurrent = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.peepholes = nn.Parameter(0.1 * torch.randn(3, hidden_size))

    def state_shapes(self) -> Any:
        return (self.hidden_size,), (self.hidden_size,)

    def step(self, x: Tensor, state: Any) -> Any:
        h, c = state
        i, f, g, o = (self.inputs(x) + self.recurrent(h)).chunk(4, -1)
        to_i, to_f, to_o = self.peepholes
        c_new = torch.sigmoid(f + to_f * c) * c + torch.sigmoid(i + to_i * c) * torch.tanh(g)
        h = torch.sigmoid(o + to_o * c_new) * torch.tanh(c_new)
        return h, (h, c_new)


def _peephole_loop(cell: Peephole, x: Tensor) -> Tensor:
    h = c = x.new_zeros(x.shape[1], cell.hidden_size)
    to_i, to_f, to_o = cell.peepholes
    outputs: list[Tensor] = []
    for x_t in x:
        i, f, g, o = (cell.inputs(x_t) + cell.recurrent(h)).chunk(4, 1)
        i, f = torch.sigmoid(i + to_i * c), torch.sigmoid(f + to_f * c)
        c = f * c + i * torch.tanh(g)
        h = torch.sigmoid(o + to_o * c) * torch.tanh(c)
        outputs.append(h)
    return torch.stack(outputs)


class LayerNormLSTM(rc.Cell):
    """LSTM with layer normalisation of both projections and of the memory (Ba, Kiros and Hinton 2016)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, 4 * hidden_size)
        self.recurrent = nn.Linear(hidden_size, 4 * hidden_size, bias=False)
        self.norm_inputs = nn.LayerNorm(4 * hidden_size)
        self.norm_recurrent = nn.LayerNorm(4 * hidden_size)
        self.norm_memory = nn.LayerNorm(hidden_size)

    def state_shapes(self) -> Any:
        return (self.hidden_size,), (self.hidden_size,)

    def step(self, x: Tensor, state: Any) -> Any:
        h, c = state
        i, f, g, o = (self.norm_inputs(self.inputs(x)) + self.norm_recurrent(self.recurrent(h))).chunk(4, -1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(self.norm_memory(c))
        return h, (h, c)


def _layer_norm_loop(cell: LayerNormLSTM, x: Tensor) -> Tensor:
    h = c = x.new_zeros(x.shape[1], cell.hidden_size)
    outputs: list[Tensor] = []
    for x_t in x:
        i, f, g, o = (cell.norm_inputs(cell.inputs(x_t)) + cell.norm_recurrent(cell.recurrent(h))).chunk(4, 1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(cell.norm_memory(c))
        outputs.append(h)
    return torch.stack(outputs)


class Clockwork(rc.Cell):
    """Four modules with the periods 1, 2, 4, 8; each sees only itself and slower ones (Koutnik et al. 2014)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Parameter(torch.randn(hidden_size, hidden_size) / hidden_size**0.5)
        module = torch.arange(hidden_size) * 4 // hidden_size
        self.register_buffer("periods", 2**module)
        self.register_buffer("mask", (module[:, None] <= module[None, :]).float())

    def state_shapes(self) -> Any:
        return (self.hidden_size,), ((1,), torch.int64)

    def step(self, x: Tensor, state: Any) -> Any:
        h, clock = state
        new = torch.tanh(self.inputs(x) + F.linear(h, self.recurrent * self.mask))
        h = torch.where(clock % self.periods == 0, new, h)
        return h, (h, clock + 1)


def _clockwork_loop(cell: Clockwork, x: Tensor) -> Tensor:
    h = x.new_zeros(x.shape[1], cell.hidden_size)
    weight = cell.recurrent * cell.mask
    outputs: list[Tensor] = []
    for t, x_t in enumerate(x):
        h = torch.where(t % cell.periods == 0, torch.tanh(cell.inputs(x_t) + F.linear(h, weight)), h)
        outputs.append(h)
    return torch.stack(outputs)


class Leaky(rc.Cell):
    """Leaky units with learned rates over W [x; h] and an output of their own."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.joint = nn.Linear(input_size + hidden_size, hidden_size)
        self.rate = nn.Parameter(torch.randn(hidden_size))
        self.readout = nn.Linear(hidden_size, hidden_size)

    def step(self, x: Tensor, state: Any) -> Any:
        (h,) = state
        rate = torch.sigmoid(self.rate)
        h = (1 - rate) * h + rate * torch.tanh(self.joint(torch.cat([x, h], -1)))
        return self.readout(h), (h,)


def _leaky_loop(cell: Leaky, x: Tensor) -> Tensor:
    h = x.new_zeros(x.shape[1], cell.hidden_size)
    rate = torch.sigmoid(cell.rate)
    outputs: list[Tensor] = []
    for x_t in x:
        h = (1 - rate) * h + rate * torch.tanh(cell.joint(torch.cat([x_t, h], 1)))
        outputs.append(cell.readout(h))
    return torch.stack(outputs)


class DeltaRule(rc.Cell):
    """A fast-weight matrix that the delta rule writes (Schlag, Irie and Schmidhuber 2021), read out to H units.

    Its sides are H / 8: the matrix then has H^2 / 64 entries.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.side = max(4, hidden_size // 8)
        self.inputs = nn.Linear(input_size, 3 * self.side + 1)
        self.readout = nn.Linear(self.side, hidden_size)

    def state_shapes(self) -> Any:
        return ((self.side, self.side),)

    def step(self, x: Tensor, state: Any) -> Any:
        (fast,) = state
        key, value, query, rate = self.inputs(x).split([self.side, self.side, self.side, 1], -1)
        key, query = torch.softmax(key, -1), torch.softmax(query, -1)
        error = value - torch.bmm(fast, key.unsqueeze(2)).squeeze(2)
        fast = fast + (torch.sigmoid(rate) * error).unsqueeze(2) * key.unsqueeze(1)
        read = torch.bmm(fast, query.unsqueeze(2)).squeeze(2)
        return torch.tanh(self.readout(read)), (fast,)


def _delta_loop(cell: DeltaRule, x: Tensor) -> Tensor:
    side = cell.side
    fast = x.new_zeros(x.shape[1], side, side)
    outputs: list[Tensor] = []
    for x_t in x:
        key, value, query, rate = cell.inputs(x_t).split([side, side, side, 1], 1)
        key, query = torch.softmax(key, 1), torch.softmax(query, 1)
        error = value - torch.bmm(fast, key.unsqueeze(2)).squeeze(2)
        fast = fast + (torch.sigmoid(rate) * error).unsqueeze(2) * key.unsqueeze(1)
        outputs.append(torch.tanh(cell.readout(torch.bmm(fast, query.unsqueeze(2)).squeeze(2))))
    return torch.stack(outputs)


CELLS: dict[str, tuple[type[rc.Cell], Callable[[Any, Tensor], Tensor]]] = {
    "Peephole": (Peephole, _peephole_loop),
    "LayerNormLSTM": (LayerNormLSTM, _layer_norm_loop),
    "Clockwork": (Clockwork, _clockwork_loop),
    "Leaky": (Leaky, _leaky_loop),
    "DeltaRule": (DeltaRule, _delta_loop),
}
"""The cell's class, and its loop: `loop(cell, x) -> y`, x `(T, B, I)`, y `(T, B, H)`."""

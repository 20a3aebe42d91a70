"""The steps that the passes are shown on: each small, each for what one pass does with it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.core import Cell, State

__all__ = ["Delta", "Gates", "Leaky", "Parts", "Squashed"]


class Leaky(Cell):
    """One weight over [x; h]: its product is split, and half of it runs before the loop."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.joint = nn.Linear(5, 2)
        self.leak = nn.Parameter(torch.zeros(2))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        a = torch.sigmoid(self.leak)
        h = (1 - a) * h + a * torch.tanh(self.joint(torch.cat([x, h], 1)))
        return h, (h,)


class Gates(Cell):
    """One product whose result is used in slices only, and so becomes one product for each."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.weight = nn.Parameter(torch.zeros(4, 2))

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        gate, new = (h @ self.weight.t()).chunk(2, 1)
        h = torch.sigmoid(gate + x[:, :1]) * torch.tanh(new)
        return h, (h,)


class Parts(Cell):
    """Slices and joins, whose gradients are joins and slices."""

    def __init__(self) -> None:
        super().__init__(2, 4)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        h = torch.cat([h[:, ::2] * x, h[:, 1:3].exp()], 1)
        return h, (h,)


class Delta(Cell):
    """A matrix as the state: reductions, several levels of loops."""

    def __init__(self) -> None:
        super().__init__(3, 3)

    def state_shapes(self) -> tuple[tuple[int, ...], ...]:
        return ((3, 3),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (s,) = state
        k = torch.softmax(x, 1)
        old = torch.bmm(s, k[:, :, None])[:, :, 0]
        s = s + (x - old)[:, :, None] * k[:, None, :]
        return old, (s,)


class Squashed(Cell):
    """A reduction over the step's input, and a product behind the state: both stay in the loop."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self.inputs = nn.Linear(3, 2)
        self.scale = nn.Parameter(torch.ones(2))
        self.readout = nn.Linear(2, 4, bias=False)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        a = self.inputs(x)
        h = torch.tanh(h + self.scale * (a - a.mean(1, keepdim=True)))
        return self.readout(h), (h,)

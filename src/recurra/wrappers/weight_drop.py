"""Weight drop: dropout on a cell's weights, the same ones at every step of a call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from recurra.core import Cell, Context, Shared, State, Wrapper
from recurra.core.errors import ArgumentError

__all__ = ["WeightDrop"]


class WeightDrop(Wrapper):
    """Leaves out single weights while training (DropConnect), drawn once a call for the whole batch.

        y_t, s_t = cell(x_t, s_{t-1}; M * w / (1 - p)),    M ~ Bernoulli(1 - p) for every entry of the weights w

    names: the parameters to drop from, by the cell's own names (an LSTM's recurrent ones: `["weight_hh"]`); all of its
    weight matrices, if None. p: the probability of leaving one out. In evaluation nothing changes.
    State: the cell's own.

    Source: Merity, Keskar and Socher, "Regularizing and optimizing LSTM language models" (2017), arXiv v1; Wan et al.,
    "Regularization of neural networks using DropConnect", ICML (2013).
    Deviation: none.
    """

    def __init__(self, cell: Cell, names: Sequence[str] | None = None, p: float = 0.5) -> None:
        super().__init__(cell)
        own = dict(cell.named_parameters())
        self.names = tuple(k for k, v in own.items() if v.dim() > 1) if names is None else tuple(names)
        unknown = [name for name in self.names if name not in own]
        if unknown or isinstance(names, str):
            raise ArgumentError(
                f"WeightDrop: names must be a list of parameters of {type(cell).__name__}, which are {', '.join(own)}, "
                f"got {names!r}"
            )
        if not 0.0 <= p < 1.0:
            raise ArgumentError(f"WeightDrop: p must be a probability below 1, got {p}")
        self.p = p

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        per_call, per_step = self.cell.make_context(given, steps, batch, device, dtype)
        if not self.training:
            return per_call, per_step
        # The weights themselves go through the context, multiplied once a call; gradients come back the same way.
        own = dict(self.cell.named_parameters())
        dropped = [Shared(F.dropout(own[name], self.p)) for name in self.names]
        return (*dropped, *per_call), per_step

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        count = len(self.names) if self.training else 0
        weights = dict(zip(self.names, context[:count], strict=False))
        return torch.func.functional_call(self.cell, weights, (x, state, context[count:]))

    def extra_repr(self) -> str:
        return f"names={list(self.names)}, p={self.p}"

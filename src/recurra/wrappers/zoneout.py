"""Zoneout: while training, each unit keeps its old value now and then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.core import Cell, Context, State, Wrapper, call_step, split_shape
from recurra.core.errors import ArgumentError

__all__ = ["Zoneout"]


class Zoneout(Wrapper):
    """Keeps each unit of the state as it was with a probability: dropout that repeats instead of forgetting.

        s_t = d_t * s_{t-1} + (1 - d_t) * new_t,    d_t ~ Bernoulli(rate) for every unit, row and step (training)
        s_t = rate * s_{t-1} + (1 - rate) * new_t   (evaluation: the expectation)

    rates: one for all state tensors, or one for each of them in order (an LSTM's h, then its c; the paper has 0.05 for
    h and 0.5 for c). Where y is the same tensor as a new state, y is the state that was zoned out. Integer states pass.
    State: the cell's own.

    Source: Krueger et al., "Zoneout: regularizing RNNs by randomly preserving hidden activations", ICLR (2017), arXiv
    v4.
    Deviation: none.
    """

    def __init__(self, cell: Cell, rates: float | Sequence[float] = 0.1) -> None:
        super().__init__(cell)
        count = len(cell.state_shapes())
        each = (float(rates),) * count if isinstance(rates, int | float) else tuple(map(float, rates))
        if len(each) != count or not all(0.0 <= rate <= 1.0 for rate in each):
            raise ArgumentError(
                f"Zoneout: expected a rate between 0 and 1, or {count} of them, one for each state tensor of "
                f"{type(cell).__name__}, got {rates!r}"
            )
        self.rates = each

    def make_context(
        self, given: tuple[Any, ...], steps: int, batch: int, device: torch.device, dtype: torch.dtype
    ) -> Context:
        per_call, per_step = self.cell.make_context(given, steps, batch, device, dtype)
        if not self.training:
            return per_call, per_step
        shapes = [split_shape(declared)[0] for declared in self.cell.state_shapes()]
        kept = [
            torch.rand(steps, batch, *shapes[k], device=device) < rate
            for k, rate in enumerate(self.rates)
            if self._zones(k)
        ]
        return per_call, (*per_step, *kept)

    def step(self, x: Tensor, state: State, context: tuple[Any, ...] = ()) -> tuple[Tensor, State]:
        zoned = [k for k in range(len(state)) if self._zones(k)]
        inner = context[: len(context) - len(zoned)] if self.training else context
        kept = dict(zip(zoned, context[len(inner) :], strict=False))
        y, new = call_step(self.cell, x, state, inner)
        mixed = list(new)
        for k in zoned:
            rate = self.rates[k]
            mixed[k] = (
                torch.where(kept[k], state[k], new[k]) if self.training else rate * state[k] + (1 - rate) * new[k]
            )
            if y is new[k]:
                y = mixed[k]
        return y, tuple(mixed)

    def _zones(self, k: int) -> bool:
        """Tell whether state k is zoned out: it has a rate, and holds real numbers."""
        own = split_shape(self.cell.state_shapes()[k])[1]
        return self.rates[k] > 0 and (own is None or own.is_floating_point)

    def extra_repr(self) -> str:
        return f"rates={self.rates}"

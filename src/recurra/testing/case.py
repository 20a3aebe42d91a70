"""One call of `scan`, ready to be made, cut by rows or in time, and differentiated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.scan import Result, scan

__all__ = ["Case", "Gradients", "floats", "score"]

Index: TypeAlias = slice | Sequence[int]


class Gradients(NamedTuple):
    """A call's result, and the gradient of its `score` by name: `x`, `state.0`, `context.0`, `cell.weight_ih`, ..."""

    result: Result
    by_name: dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A cell, inputs `(T, B, ...)`, the state before the first step, and the context that the caller gives.

    over_time, by_row: for each entry of `given`, whether it is `(T, B, ...)`, and whether it is `(B, ...)`.
    """

    cell: Cell
    x: Tensor
    state: State
    given: tuple[Any, ...]
    over_time: tuple[bool, ...]
    by_row: tuple[bool, ...]

    @classmethod
    def of(cls, cell: Cell, x: Tensor, state: State, given: tuple[Any, ...]) -> Case:
        """Tell by the shapes what in the context is over time; T and B must differ."""
        steps, batch = x.shape[:2]
        over_time = tuple(isinstance(v, Tensor) and v.shape[:2] == (steps, batch) for v in given)
        by_row = tuple(isinstance(v, Tensor) and v.shape[:1] == (batch,) for v in given)
        return cls(cell, x, state, given, over_time, by_row)

    @property
    def steps(self) -> int:
        """T."""
        return self.x.shape[0]

    @property
    def batch(self) -> int:
        """B."""
        return self.x.shape[1]

    def run(self, **options: Any) -> Result:
        """Call `scan`; options are its own."""
        return scan(self.cell, self.x, self.state, context=self.given, **options)

    def rows(self, rows: Index) -> Case:
        """Keep these rows of the batch."""
        given = tuple(
            v[:, rows] if timed else v[rows] if rowed else v
            for v, timed, rowed in zip(self.given, self.over_time, self.by_row, strict=True)
        )
        return replace(self, x=self.x[:, rows], state=tuple(s[rows] for s in self.state), given=given)

    def times(self, times: Index) -> Case:
        """Keep these steps, in this order."""
        given = tuple(v[times] if timed else v for v, timed in zip(self.given, self.over_time, strict=True))
        return replace(self, x=self.x[times], given=given)

    def row(self, row: int, steps: int) -> Case:
        """Keep the first `steps` steps of one row."""
        return self.rows([row]).times(slice(0, steps))

    def after(self, state: State) -> Case:
        """Start from another state."""
        return replace(self, state=state)

    def padded(self, lengths: Sequence[int], value: float) -> Case:
        """Write `value` behind the end of each row, into the inputs and into every floating context over time."""
        given = tuple(
            _pad(v, lengths, value) if timed else v for v, timed in zip(self.given, self.over_time, strict=True)
        )
        return replace(self, x=_pad(self.x, lengths, value), given=given)

    def exact(self) -> Case:
        """Return the same call in float64, its values exactly these."""
        given = tuple(v.double() if isinstance(v, Tensor) and v.is_floating_point() else v for v in self.given)
        state = tuple(s.double() if s.is_floating_point() else s for s in self.state)
        return replace(self, cell=deepcopy(self.cell).double(), x=self.x.double(), state=state, given=given)

    def tensors(self) -> dict[str, Tensor]:
        """Return every floating tensor that the call's results depend on, by name."""
        named = {"x": self.x}
        named |= {f"state.{k}": s for k, s in enumerate(self.state) if s.is_floating_point()}
        named |= {
            f"context.{k}": v for k, v in enumerate(self.given) if isinstance(v, Tensor) and v.is_floating_point()
        }
        named |= {f"cell.{name}": p.detach() for name, p in self.cell.named_parameters()}
        return named

    def function(self, **options: Any) -> Callable[[Mapping[str, Tensor]], Result]:
        """Return the call as a pure function of `tensors()`, or of some of them."""
        call = _Call(self, options)

        def run(tensors: Mapping[str, Tensor]) -> Result:
            weights = {name: v for name, v in tensors.items() if name.startswith("cell.")}
            return torch.func.functional_call(call, weights, (tensors,))

        return run

    def gradients(self, **options: Any) -> Gradients:
        """Call `scan`, and differentiate its score by all floating tensors; one without influence has zeros."""
        leaves = {name: v.detach().clone().requires_grad_() for name, v in self.tensors().items()}
        result = self.function(**options)(leaves)
        total = score(result)
        if not total.requires_grad:
            return Gradients(result, {name: torch.zeros_like(v) for name, v in leaves.items()})
        found = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, materialize_grads=True)
        return Gradients(result, dict(zip(leaves, found, strict=True)))


def floats(result: Result) -> tuple[Tensor, ...]:
    """Return a result's floating tensors: y, the final states, and all states if they were kept."""
    return tuple(v for v in (result.y, *result.state, *(result.states or ())) if v.is_floating_point())


def score(result: Result) -> Tensor:
    """Return one number that weighs every feature of y and of the states differently, and sums over all else."""
    total = _weigh(result.y, 2)
    for s in result.state:
        if s.is_floating_point():
            total = total + _weigh(s, 1)
    for kept in result.states or ():
        if kept.is_floating_point():
            total = total + _weigh(kept, 2)
    return total


def _weigh(v: Tensor, leading: int) -> Tensor:
    summed = v.sum(tuple(range(leading)))
    weights = torch.linspace(0.5, 1.5, summed.numel(), dtype=v.dtype).view(summed.shape)
    return (summed * weights).sum()


def _pad(v: Tensor, lengths: Sequence[int], value: float) -> Tensor:
    if not v.is_floating_point():
        return v
    v = v.clone()
    for row, n in enumerate(lengths):
        v[n:, row] = value
    return v


class _Call(nn.Module):
    """The call as a module, whose weights `functional_call` can exchange."""

    def __init__(self, case: Case, options: Mapping[str, Any]) -> None:
        super().__init__()
        self.cell = case.cell
        self.case = case
        self.options = options

    def forward(self, tensors: Mapping[str, Tensor]) -> Result:
        state = tuple(tensors.get(f"state.{k}", s) for k, s in enumerate(self.case.state))
        given = tuple(tensors.get(f"context.{k}", v) for k, v in enumerate(self.case.given))
        return scan(self.cell, tensors.get("x", self.case.x), state, context=given, **self.options)

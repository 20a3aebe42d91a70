"""The contract of a cell over trees: one pure step from children to parent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError, ShapeError
from recurra.core.state import Shape, State, StateShape, split_shape

__all__ = ["TreeCell"]


def _step_undefined(self: TreeCell, *args: Any) -> tuple[Tensor, State]:
    raise NotImplementedError(f"{type(self).__name__} must define step(x, children, mask) -> (y, state)")


class TreeCell(nn.Module):
    """A cell over trees: `(y, state) = step(x, children, mask)`, from the leaves to the root.

    Where a `Cell` has one state before it, a node has those of its children. The step must be pure, as a `Cell`'s must.

    x: `(B, *input_shape)`, the nodes' own inputs; children: for every state tensor `(B, N, ...)`, the states of up to N
    children; mask: `(B, N)` bool, True where there is a child. What lies where there is none has no influence, NaN
    included. A leaf has no child; N may be 0. y: `(B, *output_shape)`; state: tensors `(B, ...)` as declared.

    Attributes:
        input_size, hidden_size: as given.
        input_shape, output_shape: as for `Cell`.
        arity: how many places for children there are, where each place has weights of its own; None where the children
            are a set of any number.
    """

    arity: int | None = None

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ArgumentError(f"{type(self).__name__}: {name} must be an integer of at least 1, got {size!r}")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.input_shape: Shape = (input_size,)
        self.output_shape: Shape = (hidden_size,)

    step: Callable[..., tuple[Tensor, State]] = _step_undefined
    """Return `(y, state)` of one level of nodes: `step(x, children, mask)`."""

    def state_shapes(self) -> tuple[StateShape, ...]:
        """Return each state tensor's shape without the batch, or `(shape, dtype)`; one vector by default."""
        return ((self.hidden_size,),)

    def no_children(
        self, batch: int, places: int = 0, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> tuple[State, Tensor]:
        """Return `(children, mask)` of leaves: zeros in so many places (`arity`, if the cell has one), none of them
        taken."""
        places = places if self.arity is None else self.arity
        shapes = (split_shape(declared) for declared in self.state_shapes())
        children = tuple(torch.zeros(batch, places, *shape, device=device, dtype=own or dtype) for shape, own in shapes)
        return children, torch.zeros(batch, places, device=device, dtype=torch.bool)

    def forward(self, x: Tensor, children: State | None = None, mask: Tensor | None = None) -> tuple[Tensor, State]:
        """Run one step; without children: a leaf; without a mask: every place is taken.

        Raises ShapeError where sizes do not fit.
        """
        if children is None:
            children, mask = self.no_children(x.shape[0], device=x.device, dtype=x.dtype)
        if mask is None:
            mask = torch.ones(children[0].shape[:2], device=x.device, dtype=torch.bool)
        self._check(x, children, mask)
        return self.step(x, children, mask)

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}"

    def _check(self, x: Tensor, children: State, mask: Tensor) -> None:
        name, batch = type(self).__name__, x.shape[0]
        if tuple(x.shape) != (batch, *self.input_shape):
            sizes = ", ".join(map(str, ("B", *self.input_shape)))
            raise ShapeError(f"{name}: expected inputs of shape ({sizes}), got {tuple(x.shape)}")
        places = mask.shape[1] if mask.dim() == 2 and self.arity is None else self.arity
        if mask.dtype != torch.bool or tuple(mask.shape) != (batch, places):
            expected = f"({batch}, {'N' if places is None else places})"
            raise ShapeError(f"{name}: expected a bool mask of shape {expected}, got {mask.dtype} {tuple(mask.shape)}")
        declared = [split_shape(entry)[0] for entry in self.state_shapes()]
        found = [tuple(c.shape) for c in children]
        wanted = [(batch, places, *shape) for shape in declared]
        if found != wanted:
            raise ShapeError(f"{name}: expected children of shapes {wanted}, got {found}")

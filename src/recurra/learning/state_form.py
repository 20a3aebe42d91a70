"""The form of a network's state: taken apart into one vector of numbers a row, and put together again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError
from recurra.core.state import PerLayer

__all__ = ["StateForm", "map_state", "state_leaves"]


def map_state(state: Any, function: Callable[[Tensor], Tensor]) -> Any:
    """Return the same nesting of tuples with `function` of every tensor in it."""
    if isinstance(state, Tensor):
        return function(state)
    mapped = [map_state(entry, function) for entry in state]
    return PerLayer(mapped) if isinstance(state, PerLayer) else tuple(mapped)


def state_leaves(state: Any) -> list[Tensor]:
    """Return the tensors of a state, in order."""
    if isinstance(state, Tensor):
        return [state]
    return [leaf for entry in state for leaf in state_leaves(entry)]


class StateForm:
    """Where the numbers of a state lie.

    A state is any nesting of tuples of tensors; in which dimension a tensor has its rows is found by asking the
    network for initial states of two sizes. `pack` gives the floating tensors as one matrix `(B, n)` and the others
    (clocks) as a list, rows first; `unpack` undoes it for any number of rows.
    """

    def __init__(self, initial_state: Callable[[int], Any]) -> None:
        two, three = initial_state(2), initial_state(3)
        self._nesting: Any = map_state(two, Tensor.detach)
        self._dims: list[int] = []
        self._shapes: list[torch.Size] = []
        self._dtypes: list[torch.dtype] = []
        for a, b in zip(state_leaves(two), state_leaves(three), strict=True):
            dims = [d for d in range(a.dim()) if a.shape[d] != b.shape[d]]
            if len(dims) != 1:
                raise ArgumentError(
                    f"expected initial_state(batch) to give tensors with one dimension of that size, got shapes "
                    f"{tuple(a.shape)} for 2 rows and {tuple(b.shape)} for 3"
                )
            self._dims.append(dims[0])
            self._shapes.append(a.movedim(dims[0], 0).shape[1:])
            self._dtypes.append(a.dtype)
        self._floats = [d.is_floating_point for d in self._dtypes]
        self._sizes = [s.numel() for s, f in zip(self._shapes, self._floats, strict=True) if f]
        self.size = sum(self._sizes)
        """Floating numbers in the state of one row."""

    @property
    def layers(self) -> Tensor:
        """`(n,)`: the layer that each floating number belongs to, by its place in a stacked or `PerLayer` tensor."""
        numbers: list[Tensor] = []
        places = _places(self._nesting)
        for place, dim, shape, floating in zip(places, self._dims, self._shapes, self._floats, strict=True):
            if not floating:
                continue
            layer = torch.full(shape, place)
            if dim == 1 and len(shape):  # stacked: layers come before rows
                layer = layer + torch.arange(shape[0]).view(-1, *[1] * (len(shape) - 1))
            numbers.append(layer.flatten())
        return torch.cat(numbers)

    def pack(self, state: Any) -> tuple[Tensor, list[Tensor]]:
        """Return `(numbers (B, n), others)`."""
        rows = [leaf.movedim(dim, 0) for leaf, dim in zip(state_leaves(state), self._dims, strict=True)]
        numbers = [r.flatten(1) for r, f in zip(rows, self._floats, strict=True) if f]
        others = [r for r, f in zip(rows, self._floats, strict=True) if not f]
        if not numbers:
            raise ArgumentError("expected a state with floating numbers in it, got whole numbers only")
        return torch.cat(numbers, 1), others

    def unpack(self, numbers: Tensor, others: Sequence[Tensor]) -> Any:
        """Return the state that `pack` took apart."""
        parts, rest = iter(numbers.split(self._sizes, 1)), iter(others)
        leaves: list[Tensor] = []
        for dim, shape, dtype, floating in zip(self._dims, self._shapes, self._dtypes, self._floats, strict=True):
            part = next(parts).reshape(-1, *shape).to(dtype) if floating else next(rest)
            leaves.append(part.movedim(0, dim))
        given = iter(leaves)
        return map_state(self._nesting, lambda _: next(given))

    def joined(self, states: Sequence[Any]) -> Any:
        """Return one state that has the rows of several, one state's after the other's."""
        columns = zip(*map(state_leaves, states), strict=True)
        leaves = iter([torch.cat(column, dim) for column, dim in zip(columns, self._dims, strict=True)])
        return map_state(self._nesting, lambda _: next(leaves))

    def take(self, state: Any, rows: Tensor) -> Any:
        """Return the state of some rows, given by their numbers."""
        dims = iter(self._dims)
        return map_state(state, lambda leaf: leaf.index_select(next(dims), rows))

    def put(self, state: Any, rows: Tensor, new: Any) -> Any:
        """Return the state with some rows replaced."""
        dims, fresh = iter(self._dims), iter(state_leaves(new))
        return map_state(state, lambda leaf: leaf.index_copy(next(dims), rows, next(fresh)))

    def rows(self, state: Any) -> int:
        """Return the number of rows of a state."""
        return state_leaves(state)[0].shape[self._dims[0]]


def _places(state: Any) -> list[int]:
    """Return for each tensor its place in the `PerLayer` that it stands in, 0 where it stands in none."""
    if isinstance(state, Tensor):
        return [0]
    if isinstance(state, PerLayer):
        return list(range(len(state)))
    return [place for entry in state for place in _places(entry)]

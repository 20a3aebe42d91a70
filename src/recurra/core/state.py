"""The state of a recurrence: its types, and picking rows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

__all__ = ["PerLayer", "Shape", "State", "StateShape", "index_rows", "split_shape"]

State: TypeAlias = tuple[Tensor, ...]
"""A cell's state: tensors of shape `(B, ...)`."""

Shape: TypeAlias = tuple[int, ...]

StateShape: TypeAlias = Shape | tuple[Shape, torch.dtype]
"""A state tensor's shape without the batch, alone or with its dtype."""


class PerLayer(tuple[Tensor, ...]):
    """One state tensor `(B, ...)` for each layer and direction, where their shapes differ and cannot be stacked."""

    __slots__ = ()


def split_shape(declared: StateShape) -> tuple[Shape, torch.dtype | None]:
    """Take a declared state shape apart: `(shape, dtype)`, dtype None where it follows the input's."""
    if len(declared) == 2 and isinstance(declared[1], torch.dtype):
        shape: Any = declared[0]
        return tuple(shape), declared[1]
    plain: Any = declared
    return tuple(plain), None


def index_rows(state: Any, rows: Tensor | Sequence[int], *, dim: int = 1) -> Any:
    """Select and reorder the rows (sequences) of a state: beams that survive, sessions that go on.

    state: what `Recurrent` returned, in any nesting; rows: `(R,)` int64 indices, repeats allowed.
    Returns the same structure with R rows. Tensors have their rows in dimension `dim`
    (1: `(layers * directions, B, ...)`, as `Recurrent` stacks them; give 0 for a bare cell's state);
    a `PerLayer` entry has them in dimension 0.
    """
    if isinstance(state, Tensor):
        index = torch.as_tensor(rows, dtype=torch.int64, device=state.device)
        return state.index_select(dim, index)
    if isinstance(state, PerLayer):
        return PerLayer(index_rows(s, rows, dim=0) for s in state)
    return tuple(index_rows(s, rows, dim=dim) for s in state)

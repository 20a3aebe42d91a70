"""The public form of a stack's state: stacked as in torch where shapes agree, one tensor a layer where they do not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.core import Cell, PerLayer, State, split_shape
from recurra.core.errors import ShapeError

__all__ = ["join_states", "split_state"]


def join_states(cells: Sequence[Cell], states: Sequence[State]) -> Any:
    """Put the states of all layers and directions together.

    cells: the cells in the order layer 0 forward, layer 0 reverse, layer 1 forward, ...; states: one state each.
    The k-th tensors of all of them become one tensor `(layers * directions, B, ...)` if they share their shape, else a
    `PerLayer` tuple. Cells with one state tensor give that entry itself, others a tuple of entries.
    """
    if len(states) == 1:
        alone = tuple(s.unsqueeze(0) for s in states[0])
        return alone[0] if len(alone) == 1 else alone
    entries = tuple(
        torch.stack(tensors) if stacked else PerLayer(tensors)
        for stacked, tensors in zip(_stacks(cells), zip(*states, strict=True), strict=True)
    )
    return entries[0] if len(entries) == 1 else entries


def split_state(cells: Sequence[Cell], state: Any, batch: int) -> list[State]:
    """Undo `join_states`, checking every shape. Raises ShapeError with the dimension, what was expected, what came."""
    count = len(cells[0].state_shapes())
    alone = count == 1 and (isinstance(state, Tensor | PerLayer) or len(state) != 1)
    entries = (state,) if alone else state
    if isinstance(entries, Tensor) or len(entries) != count:
        got = "a tensor" if isinstance(entries, Tensor) else f"{len(entries)} entries"
        raise ShapeError(f"expected a state of {count} entries, got {got}")
    columns = [
        _split_entry(cells, entry, k, batch, stacked)
        for k, (entry, stacked) in enumerate(zip(entries, _stacks(cells), strict=True))
    ]
    return list(zip(*columns, strict=True))


def _stacks(cells: Sequence[Cell]) -> list[bool]:
    """Tell for each state tensor whether all layers and directions share its shape and dtype."""
    if len(cells) == 1:
        return [True] * len(cells[0].state_shapes())
    declared = [[split_shape(entry) for entry in cell.state_shapes()] for cell in cells]
    return [all(entry == column[0] for entry in column) for column in zip(*declared, strict=True)]


def _split_entry(cells: Sequence[Cell], entry: Any, k: int, batch: int, stacked: bool) -> list[Tensor]:
    shapes = [split_shape(cell.state_shapes()[k])[0] for cell in cells]
    if stacked:
        if not isinstance(entry, Tensor):
            raise ShapeError(
                f"state {k}: expected one tensor for all layers and directions, got {type(entry).__name__}"
            )
        _check(f"state {k}", entry, (len(cells), batch, *shapes[0]))
        return list(entry.unbind(0))
    if isinstance(entry, Tensor) or len(entry) != len(cells):
        raise ShapeError(f"state {k}: expected a tuple of {len(cells)} tensors, one for each layer and direction")
    tensors: list[Tensor] = list(entry)
    for layer, (tensor, shape) in enumerate(zip(tensors, shapes, strict=True)):
        _check(f"state {k}, tensor {layer}", tensor, (batch, *shape))
    return tensors


def _check(what: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    got = tuple(tensor.shape)
    if got == expected:
        return
    if len(got) != len(expected):
        raise ShapeError(f"{what}: expected {len(expected)} dimensions {expected}, got {len(got)} dimensions {got}")
    dim = next(d for d, (a, b) in enumerate(zip(expected, got, strict=True)) if a != b)
    raise ShapeError(
        f"{what}: expected shape {expected}, got {got}: dimension {dim} must be {expected[dim]}, not {got[dim]}"
    )

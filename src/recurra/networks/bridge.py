"""From an encoder's end to a decoder's first state: copied where shapes agree, learned where they do not."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recurra.core import Cell, State, split_shape
from recurra.core.errors import ArgumentError, ShapeError
from recurra.layers import Recurrent
from recurra.layers.states import join_states, split_state
from recurra.networks.attention_cell import AttentionCell
from recurra.networks.pointer_cell import PointerCell
from recurra.networks.pooling import Pooling

__all__ = ["Bridge", "CopyBridge", "LearnedBridge", "layer_cells"]


class Bridge(nn.Module):
    """Gives the decoder's state before its first step. A subclass writes `forward`."""

    def forward(self, states: Tensor, mask: Tensor, final: object) -> object:
        """Return the decoder's state, as its `Recurrent` takes it.

        states: of the encoder's top layer `(B, S, features)`; mask: `(B, S)`; final: as the encoder's `Recurrent` gave.
        """
        raise NotImplementedError


class CopyBridge(Bridge):
    """The decoder begins where the encoder ended: c is the last state itself, of every layer.

    Raises ShapeError where the decoder's cells have other states than the encoder's.
    """

    def __init__(self, encoder: Recurrent, decoder: Recurrent) -> None:
        super().__init__()
        # In a tuple, so that neither is registered, and saved, a second time.
        self._layers = encoder, decoder
        source = [shape for cell in layer_cells(encoder) for shape in cell.state_shapes()]
        target = [shape for cell in layer_cells(decoder) for shape in _innermost(cell).state_shapes()]
        if list(map(split_shape, source)) != list(map(split_shape, target)):
            raise ShapeError(
                f"CopyBridge: the encoder ends with states of shapes {source}, but the decoder begins with {target}: "
                "use LearnedBridge, or cells, sizes and layers that agree"
            )

    def forward(self, states: Tensor, mask: Tensor, final: object) -> object:
        """Return the encoder's last state as the decoder's first."""
        encoder, decoder = self._layers
        flat = [s for state in split_state(layer_cells(encoder), final, states.shape[0]) for s in state]
        return _begin(decoder, flat)


class LearnedBridge(Bridge):
    """s_0 = tanh(W c + b) for each state tensor of the decoder, c = pooled over the encoder's states.

    pooling: `LastStep.of(encoder)` for a transform of the last state, mean, max, attention or joined pooling for a
    transform of all states. Any encoder then fits any decoder: other cells, depths, sizes, both directions.
    only: the numbers of the state tensors that are made so, counted from the lowest layer on; the others begin as the
    cell's own, as integer states (clocks) always do. Give it for cells whose states must keep a form of their own, such
    as the weightings of a memory.
    """

    def __init__(self, pooling: Pooling, decoder: Recurrent, only: Sequence[int] | None = None) -> None:
        super().__init__()
        self.pooling = pooling
        self._layers = (decoder,)
        shapes = [split_shape(shape) for cell in layer_cells(decoder) for shape in _innermost(cell).state_shapes()]
        chosen = range(len(shapes)) if only is None else only
        if not set(chosen) <= set(range(len(shapes))):
            raise ArgumentError(f"LearnedBridge: only must be numbers from 0 to {len(shapes) - 1}, got {tuple(chosen)}")
        self._made = [k in chosen and (d is None or d.is_floating_point) for k, (_, d) in enumerate(shapes)]
        self.maps = nn.ModuleList(
            nn.Linear(pooling.output_size, math.prod(shape))
            for (shape, _), made in zip(shapes, self._made, strict=True)
            if made
        )

    def forward(self, states: Tensor, mask: Tensor, final: object) -> object:
        """Return the decoder's first state, made from the pooled states."""
        (decoder,) = self._layers
        c = self.pooling(states, mask)
        maps = iter(self.maps)
        first = [
            s
            for cell in layer_cells(decoder)
            for s in _innermost(cell).initial_state(len(c), device=c.device, dtype=c.dtype)
        ]
        flat = [
            torch.tanh(next(maps)(c)).view(s.shape) if made else s for s, made in zip(first, self._made, strict=True)
        ]
        return _begin(decoder, flat)


def layer_cells(recurrent: Recurrent) -> list[Cell]:
    """Return all cells of a layer stack: layer 0 forward, layer 0 reverse, layer 1 forward, ..."""
    return [cell for layer in recurrent.layers for cell in layer.children() if isinstance(cell, Cell)]


def _innermost(cell: Cell) -> Cell:
    """Return the cell whose state the encoder's end becomes: that within an attention, else the cell itself."""
    if isinstance(cell, PointerCell):
        cell = cell.cell
    return cell.cell if isinstance(cell, AttentionCell) else cell


def _begin(decoder: Recurrent, flat: list[Tensor]) -> object:
    """Return the decoder's state that has the given tensors, cell after cell."""
    cells, states = layer_cells(decoder), list[State]()
    for cell in cells:
        count = len(_innermost(cell).state_shapes())
        own, flat = tuple(flat[:count]), flat[count:]
        states.append(cell.begin(own) if isinstance(cell, AttentionCell | PointerCell) else own)
    return join_states(cells, states)

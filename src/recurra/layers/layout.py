"""How sequences and states come in and go out: batch first or time first, unbatched, packed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from recurra.core import PerLayer
from recurra.core.errors import ArgumentError, ShapeError

__all__ = ["Layout"]


class Layout:
    """One input in the form that `scan` takes, and the way back for what comes out.

    x: `(T, B, ...)`; lengths: as given, or those of a packed input, in the order in which the user packed the rows.

    source: `(T, B, ...)`, or `(B, T, ...)` with batch_first, or `(T, ...)` for one sequence alone, or a
    `PackedSequence`; event_dims: how many dimensions one input has. Raises ShapeError for another number of dimensions.
    """

    def __init__(
        self,
        source: Tensor | PackedSequence,
        lengths: Tensor | Sequence[int] | None,
        batch_first: bool,
        event_dims: int,
    ) -> None:
        self._packed: PackedSequence | None = None
        self._batch_first = batch_first
        self._unbatched = False
        if isinstance(source, PackedSequence):
            if lengths is not None:
                raise ArgumentError(
                    "a packed sequence has its own lengths: give either lengths or a packed input, not both"
                )
            self._packed = source
            self.x, self.lengths = pad_packed_sequence(source)
            return
        if source.dim() == 1 + event_dims:
            self._unbatched = True
            self.x = source.unsqueeze(1)
            self.lengths = lengths
            return
        if source.dim() != 2 + event_dims:
            raise ShapeError(
                f"expected an input of {2 + event_dims} dimensions (or {1 + event_dims} for one sequence alone), "
                f"got {source.dim()}"
            )
        self.x = source.transpose(0, 1) if batch_first else source
        self.lengths = lengths

    def output(self, y: Tensor) -> Any:
        """Bring `(T, B, ...)` back to the layout of the input."""
        if self._packed is not None:
            return self._pack(y, self._packed)
        if self._unbatched:
            return y.squeeze(1)
        return y.transpose(0, 1) if self._batch_first else y

    def state_in(self, state: Any) -> Any:
        """Give the state of one sequence alone its dimension of rows."""
        return _map_rows(state, lambda s, dim: s.unsqueeze(dim), 1) if self._unbatched and state is not None else state

    def state_out(self, state: Any, dim: int = 1) -> Any:
        """Take the dimension of rows away again; `dim` is where stacked tensors have it."""
        return _map_rows(state, lambda s, dim: s.squeeze(dim), dim) if self._unbatched else state

    def _pack(self, y: Tensor, like: PackedSequence) -> PackedSequence:
        # Packed in the very order of the input, which a second sort by length need not find again among ties.
        lengths: Any = self.lengths
        if like.sorted_indices is not None:
            y = y.index_select(1, like.sorted_indices)
            lengths = lengths[like.sorted_indices.cpu()]
        data = pack_padded_sequence(y, lengths.cpu()).data
        return PackedSequence(data, like.batch_sizes, like.sorted_indices, like.unsorted_indices)


def _map_rows(state: Any, change: Callable[[Tensor, int], Tensor], dim: int) -> Any:
    """Apply `change(tensor, dimension of its rows)` to a whole state; in `PerLayer` rows come one earlier."""
    if isinstance(state, Tensor):
        return change(state, dim)
    if isinstance(state, PerLayer):
        return PerLayer(change(s, dim - 1) for s in state)
    return tuple(_map_rows(s, change, dim) for s in state)

"""What takes the place of a recurrent layer: the interface that all stacks and layers of this room share."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from recurra.networks.ragged import Lengths

__all__ = ["SequenceLayer", "StreamingLayer"]


@runtime_checkable
class SequenceLayer(Protocol):
    """Maps sequences to sequences, batch first: `Recurrent(..., batch_first=True)`, and all that is made of it.

    output_size: the features of y.
    """

    output_size: int

    def __call__(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, Any]:
        """Return y `(B, T, output_size)`, zero in the padding, and the state after each row's last valid step."""
        ...


@runtime_checkable
class StreamingLayer(SequenceLayer, Protocol):
    """A layer that looks only backwards, and so can be run one step at a time."""

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first step, for `batch` rows."""
        ...

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, Any]:
        """Return y `(B, output_size)` of one step and the new state; equals the whole call, step by step."""
        ...

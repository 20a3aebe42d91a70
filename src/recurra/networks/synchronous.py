"""N to N: an output for every input, at the same time (synchronous sequence to sequence, 同步的序列到序列)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from recurra.core import Batch
from recurra.layers import Recurrent
from recurra.networks.sequence_layer import StreamingLayer

__all__ = ["Synchronous"]


class Synchronous(nn.Module):
    """o_t = readout(y_t),  y_t, s_t = cell(embed(x_t), s_{t-1}): synchronous sequence to sequence (同步的序列到序列).

    embed: `(B, T, ...)` -> `(B, T, features)`; recurrent: `Recurrent(..., batch_first=True)`, or what else maps
    sequences to sequences (`Deep`, `Chain`, `TwoWay`, ...); readout: `(B, T, features)` -> `(B, T, outputs)`.
    """

    topology = "n-to-n"

    def __init__(self, embed: nn.Module, recurrent: Recurrent | StreamingLayer, readout: nn.Module) -> None:
        super().__init__()
        self.embed = embed
        self.recurrent = recurrent
        self.readout = readout

    def forward(self, batch: Batch) -> tuple[Tensor, Any]:
        """Return the outputs `(B, T, outputs)` and the state after each row's last valid step."""
        y, state = self.recurrent(self.embed(batch.inputs), batch.state, lengths=batch.lengths)
        return self.readout(y), state

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs `(B, outputs)` of one step and the new state."""
        y, state = self.recurrent.step(self.embed(x), state, context)
        return self.readout(y), state

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first step."""
        return self.recurrent.initial_state(batch)

"""N to 1: one output for a whole sequence (sequence to class, 序列到类别)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import Batch
from recurra.core.errors import ArgumentError, ShapeError
from recurra.layers import Recurrent
from recurra.networks.pooling import Pooling
from recurra.networks.ragged import valid_steps

__all__ = ["ManyToOne"]


class ManyToOne(nn.Module):
    """o = readout(pool over valid t of y_t),  y_t, s_t = cell(embed(x_t), s_{t-1}): sequence to class (序列到类别).

    embed: `(B, T, ...)` -> `(B, T, features)`; recurrent: any `Recurrent` with `batch_first=True`, in one direction or
    two; pooling: one of `recurra.networks.pooling` (`LastStep.of(recurrent)` is what the tutorials draw);
    readout: `(B, pooling.output_size)` -> `(B, outputs)`. Uses: the class of a text, sentiment, the class of a video.
    """

    topology = "n-to-one"

    def __init__(self, embed: nn.Module, recurrent: Recurrent, pooling: Pooling, readout: nn.Module) -> None:
        super().__init__()
        if not recurrent.batch_first:
            raise ArgumentError("ManyToOne expects a Recurrent with batch_first=True, got one with batch_first=False")
        if pooling.features != recurrent.output_size:
            raise ShapeError(
                f"ManyToOne: the pooling expects {pooling.features} features, but the layer gives "
                f"{recurrent.output_size}"
            )
        self.embed = embed
        self.recurrent = recurrent
        self.pooling = pooling
        self.readout = readout

    def forward(self, batch: Batch) -> tuple[Tensor, Any]:
        """Return the outputs `(B, outputs)`, and the layer's state after each row's last valid step."""
        y, state = self.recurrent(self.embed(batch.inputs), batch.state, lengths=batch.lengths)
        mask = valid_steps(batch.lengths, y.shape[0], y.shape[1], y.device)
        return self.readout(self.pooling(y, mask)), state

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs `(B, outputs)` as if the sequence ended with this step, and the new state."""
        inner, carried = state
        y, inner = self.recurrent.step(self.embed(x), inner, context)
        pooled, carried = self.pooling.step(y, carried)
        return self.readout(pooled), (inner, carried)

    def initial_state(self, batch: int) -> Any:
        """Return the state before the first step: the layer's, and what pooling carries."""
        like = next(self.parameters(), torch.zeros(()))
        return self.recurrent.initial_state(batch), self.pooling.initial(batch, like.detach())

    def draw_on(self, diagram: Any, steps: int) -> None:
        """Draw the network over some steps."""
        h = [diagram.vector(t, 1, f"h_{t}") for t in range(steps + 1)]
        x = [diagram.vector(t, 0, f"x_{t}", "input") for t in range(1, steps + 1)]
        for t in range(steps):
            diagram.arrow(h[t], h[t + 1], "W")
            diagram.arrow(x[t], h[t + 1], "U")
        last = type(self.pooling).__name__ == "LastStep"
        y = diagram.vector(steps, 2, "y", "output")
        for state in h[-1:] if last else h[1:]:
            diagram.arrow(state, y, "V")

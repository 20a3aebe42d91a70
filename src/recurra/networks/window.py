"""A fixed window: a multilayer perceptron on the last few inputs, which remembers nothing older."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core import Batch
from recurra.core.errors import ArgumentError, ShapeError

__all__ = ["WindowMLP"]


class WindowMLP(nn.Module):
    """o_t = V relu(... relu(W [x_t; x_{t-1}; ...; x_{t-window+1}] + b) ...) + c,  with zeros before the first input.

    hidden_sizes: of the layers between, none for a linear model (an autoregression). A baseline without recurrence: an
    input older than the window has no influence at all. It streams: the state `(1, B, window - 1, input_size)` holds
    the last inputs, the newest first.
    """

    topology = "window"

    def __init__(self, input_size: int, window: int, hidden_sizes: Sequence[int], output_size: int) -> None:
        super().__init__()
        if window < 1:
            raise ArgumentError(f"WindowMLP: window must be at least 1, got {window}")
        self.input_size = input_size
        self.window = window
        sizes = [window * input_size, *hidden_sizes, output_size]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))

    def forward(self, batch: Batch) -> tuple[Tensor, Any]:
        """Return the outputs `(B, T, output_size)` for inputs `(B, T, input_size)`, and the inputs to be remembered.

        The lengths play no part but for the state, which is that after each row's last valid step.
        """
        x = batch.inputs
        if x.dim() != 3 or x.shape[2] != self.input_size:
            raise ShapeError(f"WindowMLP: expected (B, T, {self.input_size}), got {tuple(x.shape)}")
        past = self.initial_state(x.shape[0]) if batch.state is None else batch.state
        line = torch.cat([past[0].flip(1), x], 1)
        steps = x.shape[1]
        windows = [line[:, self.window - 1 - d : self.window - 1 - d + steps] for d in range(self.window)]
        ends = torch.full((len(x),), steps) if batch.lengths is None else torch.as_tensor(batch.lengths)
        back = ends.to(x.device).unsqueeze(1) + self.window - 2 - torch.arange(self.window - 1, device=x.device)
        last = line[torch.arange(len(x), device=x.device).unsqueeze(1), back]
        return self._layers(torch.cat(windows, 2)), last.unsqueeze(0)

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs `(B, output_size)` of one step and the new state."""
        line = torch.cat([x.unsqueeze(1), state[0]], 1)
        return self._layers(line.flatten(1)), line[:, : self.window - 1].unsqueeze(0)

    def initial_state(self, batch: int) -> Any:
        """Return the inputs before the first: zeros."""
        return next(self.parameters()).detach().new_zeros(1, batch, self.window - 1, self.input_size)

    def draw_on(self, diagram: Any, steps: int) -> None:
        """Draw the network over some steps."""
        x = [diagram.vector(t, 0, f"x_{t}", "input") for t in range(1, steps + 1)]
        for t in range(1, steps + 1):
            y = diagram.vector(t, 1, f"y_{t}", "output")
            for d in range(min(t, self.window)):
                diagram.arrow(x[t - 1 - d], y, f"W_{d}")

    def _layers(self, values: Tensor) -> Tensor:
        for k, layer in enumerate(self.layers):
            values = layer(torch.relu(values) if k else values)
        return values

"""1 to 1: the single layer y = f(W x + b), without time (单层网络)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from recurra.core import Batch
from recurra.core.activations import ACTIVATIONS, check_activation
from recurra.core.errors import ShapeError

__all__ = ["SingleLayer"]


class SingleLayer(nn.Module):
    """y = f(W x + b), for each row, and for each step if there are any: it remembers nothing.

    nonlinearity: the name of f. In the tutorials' pictures every circle is such a vector, every arrow such a layer.
    """

    topology = "one-to-one"

    def __init__(self, input_size: int, output_size: int, nonlinearity: str = "tanh") -> None:
        super().__init__()
        self.linear = nn.Linear(input_size, output_size)
        self.nonlinearity = check_activation(nonlinearity)

    def forward(self, batch: Batch) -> tuple[Tensor, Any]:
        """Return the outputs `(B, ..., output_size)` for `batch.inputs` `(B, ..., input_size)`, and an empty state."""
        return self.step(batch.inputs, ())

    def step(self, x: Tensor, state: Any, context: Any = None) -> tuple[Tensor, Any]:
        """Return the outputs of one step, and the empty state."""
        if x.shape[-1] != self.linear.in_features:
            raise ShapeError(f"SingleLayer: expected (..., {self.linear.in_features}), got {tuple(x.shape)}")
        return ACTIVATIONS[self.nonlinearity](self.linear(x)), ()

    def initial_state(self, batch: int) -> Any:
        """Return the empty state: nothing is carried."""
        return ()

    def draw_on(self, diagram: Any, steps: int) -> None:
        """Draw the layer: one vector becomes another."""
        diagram.arrow(diagram.vector(0, 0, "x", "input"), diagram.vector(0, 1, "y", "output"), "W")

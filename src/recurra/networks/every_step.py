"""A network without memory at every step of a sequence: a video's frames through a picture network."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from recurra.core.errors import ShapeError
from recurra.networks.ragged import Lengths, valid, zeroed

__all__ = ["EveryStep"]


class EveryStep(nn.Module):
    """y_t = f(x_t) for every t by itself, f any module `(N, ...)` -> `(N, output_size, ...)`.

        Chain(EveryStep(PictureFront([3, 16, 32], 64), 64), recurra.Recurrent(Leaky, 64, 128, batch_first=True))

    x: `(B, T, ...)`; the state is empty. It streams.
    """

    def __init__(self, module: nn.Module, output_size: int) -> None:
        super().__init__()
        self.module = module
        self.output_size = output_size

    def forward(self, x: Tensor, state: Any = None, *, lengths: Lengths = None) -> tuple[Tensor, tuple[()]]:
        """Return y `(B, T, output_size, ...)`, zero in the padding. Raises ShapeError where the module gives another
        size."""
        mask = valid(lengths, x)
        y = self._checked(self.module(zeroed(x, mask).flatten(0, 1)))
        return zeroed(y.unflatten(0, x.shape[:2]), mask), ()

    def step(self, x: Tensor, state: Any = None, context: Any = None) -> tuple[Tensor, tuple[()]]:
        """Run one step `(B, ...)`."""
        return self._checked(self.module(x)), ()

    def initial_state(self, batch: int) -> tuple[()]:
        """Return the state before the first step: nothing."""
        return ()

    def draw_on(self, diagram: Any, steps: int) -> None:
        """Draw the steps, each by itself."""
        for t in range(1, steps + 1):
            diagram.arrow(diagram.vector(t, 0, f"x_{t}", "input"), diagram.vector(t, 1, f"y_{t}", "output"), "F")

    def _checked(self, y: Tensor) -> Tensor:
        if y.dim() < 2 or y.shape[1] != self.output_size:
            raise ShapeError(
                f"expected {type(self.module).__name__} to give (N, {self.output_size}, ...), got {tuple(y.shape)}: "
                "make output_size agree"
            )
        return y

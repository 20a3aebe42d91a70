"""The echo state network's reservoir: random, sparse, and never trained."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recurra.core import Cell, State
from recurra.core.errors import ArgumentError

__all__ = ["EchoStateCell"]


class EchoStateCell(Cell):
    """A reservoir of leaky units with fixed random weights; what is learned is a linear readout of its states.

        h_t = (1 - a) * h_{t-1} + a * tanh(W_in x_t + W h_{t-1} + b),    y_t = h_t,    a = leak

    W is sparse: every unit hears `ceil(density * H)` others, with weights from U(-1, 1), scaled so that the largest
    absolute eigenvalue is `spectral_radius`. W_in and b come from U(-input_scaling, input_scaling). A spectral radius
    below 1 makes the echo of a start fade in practice; inputs that saturate the units let it be larger.

    Shapes: x `(B, input_size)`; state `(h,)`, h `(B, hidden_size)`; y = h.
    Weights: `weight_in (H, I)`, `weight_hh (H, H)`, `bias (H,)`: buffers, saved with the network, no parameters, so
    that no optimizer sees them. `recurra.learning` has the readouts, `Ridge` and `RecursiveLeastSquares`.

    Paper: Jaeger, "The echo state approach to analysing and training recurrent neural networks", GMD report 148 (2001);
    the leak by Jaeger, Lukosevicius, Popovici and Siewert, Neural Networks 20 (2007).
    Deviation: no feedback of outputs (`BackProjection` does that), no noise; an equal number of inputs for every unit
    instead of a random one, so that a small reservoir is never without a loop.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        spectral_radius: float = 0.9,
        density: float = 0.1,
        leak: float = 1.0,
        input_scaling: float = 1.0,
    ) -> None:
        super().__init__(input_size, hidden_size)
        for name, share in (("density", density), ("leak", leak)):
            if not 0.0 < share <= 1.0:
                raise ArgumentError(f"{name} must be above 0 and at most 1, got {share}")
        if spectral_radius < 0.0:
            raise ArgumentError(f"spectral_radius must not be negative, got {spectral_radius}")
        self.leak = leak
        weight = _sparse(hidden_size, density)
        weight *= spectral_radius / torch.linalg.eigvals(weight).abs().max()
        self.register_buffer("weight_in", input_scaling * _uniform(hidden_size, input_size))
        self.register_buffer("weight_hh", weight.to(torch.get_default_dtype()))
        self.register_buffer("bias", input_scaling * _uniform(hidden_size))

    weight_in: Tensor
    weight_hh: Tensor
    bias: Tensor

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (h,) = state
        new = torch.tanh(F.linear(x, self.weight_in, self.bias) + F.linear(h, self.weight_hh))
        h = (1 - self.leak) * h + self.leak * new
        return h, (h,)


def _uniform(*shape: int) -> Tensor:
    return torch.rand(shape) * 2 - 1


def _sparse(size: int, density: float) -> Tensor:
    """Return float64 weights from U(-1, 1) with equally many entries, at least one, in every row."""
    each = max(1, -int(-density * size // 1))
    chosen = torch.rand(size, size).argsort(1) < each
    return torch.where(chosen, _uniform(size, size), 0.0).double()

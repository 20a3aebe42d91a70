"""Time-delay neural network (TDNN): one layer over the last few inputs."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.activations import ACTIVATIONS, check_activation
from recurra.core.delays import check_delays
from recurra.core.initialisers import uniform_

__all__ = ["TDNNCell"]


class TDNNCell(Cell):
    """A layer that looks at chosen inputs of the past, and at nothing else.

        y_t = f(sum over d in delays of W_d x_{t-d} + b),    f = tanh, sigmoid, relu or identity

    delays: the taps, steps back in time, 0 being the input of now; inputs before the first are zero. `(1, 2, 3)` looks
    at the last three inputs but not at the present one. The memory is exactly its taps: an input older than the largest
    delay has no influence at all. Stacked, the memories of the layers add up.

    Shapes: x `(B, input_size)`; state `(past,)`, past `(B, max(delays), input_size)`, the newest first; y `(B,
    hidden_size)`, which is no state.
    Weights: `weight (H, len(delays) * I)`, in the order of the delays, `bias (H,)`; no gates.

    Paper: Waibel, Hanazawa, Hinton, Shikano and Lang, "Phoneme recognition using time-delay neural networks", IEEE
    Transactions on Acoustics, Speech and Signal Processing 37 (1989).
    Deviation: causal, one output a step (the paper's layers see whole windows).
    """

    def __init__(
        self, input_size: int, hidden_size: int, delays: Sequence[int] = (0, 1, 2), nonlinearity: str = "tanh"
    ) -> None:
        super().__init__(input_size, hidden_size)
        self.nonlinearity = check_activation(nonlinearity)
        self.delays = check_delays(delays, least=0)
        self.weight = nn.Parameter(torch.empty(hidden_size, len(self.delays) * input_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        uniform_(self.parameters(), len(self.delays) * input_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return ((max(self.delays), self.input_size),)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (past,) = state
        line = torch.cat([x.unsqueeze(1), past], 1)
        taps = torch.cat([line[:, d] for d in self.delays], -1)
        y = ACTIVATIONS[self.nonlinearity](F.linear(taps, self.weight, self.bias))
        return y, (line[:, :-1],)

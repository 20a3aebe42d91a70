"""The bare unit of the tutorials: a weighted sum of input and old state, read out by a weight."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_

__all__ = ["BareUnitCell"]


class BareUnitCell(Cell):
    """The recurrence with everything else left out: no bias, no squashing function.

        s_t = U x_t + W s_{t-1},    o_t = V s_t

    With one unit and U = W = 1, V = 2 this is arithmetic that can be done by hand: from s_0 = 1 the inputs 1, 2, 3 give
    s = 2, 4, 7 and o = 4, 8, 14.

    Shapes: x `(B, input_size)`; state `(s,)`, s `(B, hidden_size)`; y is o, `(B, output_size)`.
    Weights: `U (H, I)`, `W (H, H)`, `V (O, H)`; no gates, no biases. `output_size` is `hidden_size` if not given.

    Paper: Elman, "Finding structure in time", Cognitive Science 14 (1990), whose network this is the skeleton of.
    Deviation: the squashing functions and the biases are left out, as in introductory texts.
    """

    droppable = (0,)

    def __init__(self, input_size: int, hidden_size: int, output_size: int | None = None) -> None:
        super().__init__(input_size, hidden_size)
        outputs = hidden_size if output_size is None else output_size
        if outputs < 1:
            raise ArgumentError(f"output_size must be at least 1, got {outputs}")
        self.output_shape = (outputs,)
        self.U = nn.Parameter(torch.empty(hidden_size, input_size))
        self.W = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.V = nn.Parameter(torch.empty(outputs, hidden_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        (s,) = state
        s = F.linear(x, self.U) + F.linear(s, self.W)
        return F.linear(s, self.V), (s,)

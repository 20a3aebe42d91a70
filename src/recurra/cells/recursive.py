"""The recursive network: one layer from the children to their parent, from the leaves to the root."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import State, TreeCell
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_

__all__ = ["RecursiveCell"]


class RecursiveCell(TreeCell):
    """A parent is one layer over its children, each place having weights of its own.

        h_p = tanh(U_1 h_1 + ... + U_N h_N + W x_p + b),    y_p = h_p

    A child that is not there adds nothing; a leaf is tanh(W x + b).

    Shapes: x `(B, input_size)`; children `(h,)`, h `(B, arity, hidden_size)`; state `(h,)`, h `(B, hidden_size)`;
    y = h.
    Weights: `weight_ih (H, I)`, `weight_hh (H, arity * H)`, U_1 first, `bias (H,)`.

    Papers: Goller and Kuechler, "Learning task-dependent distributed representations by backpropagation through
    structure", ICNN (1996); Socher, Lin, Ng and Manning, "Parsing natural scenes and natural language with recursive
    neural networks", ICML (2011).
    Deviation: inner nodes have inputs of their own too (give zeros to have them of their children alone).
    """

    def __init__(self, input_size: int, hidden_size: int, arity: int = 2) -> None:
        super().__init__(input_size, hidden_size)
        if arity < 1:
            raise ArgumentError(f"arity must be at least 1, got {arity}")
        self.arity = arity
        self.weight_ih = nn.Parameter(torch.empty(hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(hidden_size, arity * hidden_size))
        self.bias = nn.Parameter(torch.empty(hidden_size))
        uniform_(self.parameters(), hidden_size)

    def step(self, x: Tensor, children: State, mask: Tensor) -> tuple[Tensor, State]:
        (h,) = children
        h = torch.where(mask.unsqueeze(-1), h, 0.0)
        h = torch.tanh(F.linear(x, self.weight_ih, self.bias) + F.linear(h.flatten(1), self.weight_hh))
        return h, (h,)

"""The Tree-LSTM over children in places, each place with weights of its own."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import State, StateShape, TreeCell
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_

__all__ = ["NaryTreeLSTMCell"]


class NaryTreeLSTMCell(TreeCell):
    """The LSTM over N children in order; the forget gate of each looks at all of them.

        i, g, o = sigmoid, tanh, sigmoid (W_iuo x_p + U_1 h_1 + ... + U_N h_N + b_iuo)
        f_k = sigmoid(W_f x_p + U_k1 h_1 + ... + U_kN h_N + b_f)
        c_p = i * g + f_1 * c_1 + ... + f_N * c_N
        h_p = o * tanh(c_p),    y_p = h_p

    A child that is not there counts as zeros. With one place it is the LSTM, over a chain.

    Shapes: x `(B, input_size)`; children `(h, c)`, each `(B, arity, hidden_size)`; state `(h, c)`, each
    `(B, hidden_size)`; y = h.
    Weights: `weight_ih (4H, I)`, `bias (4H,)`, gate order i, f, g, o; `weight_hh ((3 + arity) H, arity * H)`, rows in
    the order i, f_1, ..., f_N, g, o, columns in the order of the children.

    Paper: Tai, Socher and Manning, "Improved semantic representations from tree-structured long short-term memory
    networks", ACL (2015), arXiv v3, equations 9 to 14.
    Deviation: none.
    """

    def __init__(self, input_size: int, hidden_size: int, arity: int = 2) -> None:
        super().__init__(input_size, hidden_size)
        if arity < 1:
            raise ArgumentError(f"arity must be at least 1, got {arity}")
        self.arity = arity
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty((3 + arity) * hidden_size, arity * hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        uniform_(self.parameters(), hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (self.hidden_size,), (self.hidden_size,)

    def step(self, x: Tensor, children: State, mask: Tensor) -> tuple[Tensor, State]:
        h, c = (torch.where(mask.unsqueeze(-1), s, 0.0) for s in children)
        H = self.hidden_size
        h_i, h_f, h_g, h_o = F.linear(h.flatten(1), self.weight_hh).split([H, c.shape[1] * H, H, H], -1)
        i, f, g, o = F.linear(x, self.weight_ih, self.bias).chunk(4, -1)
        f = torch.sigmoid(f.unsqueeze(1) + h_f.unflatten(-1, (-1, H)))
        c = torch.sigmoid(i + h_i) * torch.tanh(g + h_g) + (f * c).sum(1)
        h = torch.sigmoid(o + h_o) * torch.tanh(c)
        return h, (h, c)

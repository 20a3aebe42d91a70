"""The Tree-LSTM over children without order, of any number."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import State, StateShape, TreeCell
from recurra.core.initialisers import uniform_

__all__ = ["ChildSumTreeLSTMCell"]


class ChildSumTreeLSTMCell(TreeCell):
    """The LSTM over the sum of the children's h, with a forget gate for each child.

        h~ = h_1 + ... + h_N
        i, g, o = sigmoid, tanh, sigmoid (W_iuo x_p + U_iuo h~ + b_iuo)
        f_k = sigmoid(W_f x_p + U_f h_k + b_f)
        c_p = i * g + f_1 * c_1 + ... + f_N * c_N
        h_p = o * tanh(c_p),    y_p = h_p

    Over a chain, where every node has one child, it is the LSTM.

    Shapes: x `(B, input_size)`; children `(h, c)`, each `(B, N, hidden_size)`, N any; state `(h, c)`, each
    `(B, hidden_size)`; y = h.
    Weights: `weight_ih (4H, I)`, `weight_hh (4H, H)`, `bias (4H,)`; gate order i, f, g, o, as in `lstm`.

    Paper: Tai, Socher and Manning, "Improved semantic representations from tree-structured long short-term memory
    networks", ACL (2015), arXiv v3, equations 2 to 8.
    Deviation: none.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden_size, hidden_size))
        self.bias = nn.Parameter(torch.empty(4 * hidden_size))
        uniform_(self.parameters(), hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (self.hidden_size,), (self.hidden_size,)

    def step(self, x: Tensor, children: State, mask: Tensor) -> tuple[Tensor, State]:
        h, c = (torch.where(mask.unsqueeze(-1), s, 0.0) for s in children)
        w_i, w_f, w_g, w_o = self.weight_hh.chunk(4, 0)
        x_i, x_f, x_g, x_o = F.linear(x, self.weight_ih, self.bias).chunk(4, -1)
        i, g, o = (v + F.linear(h.sum(1), w) for v, w in ((x_i, w_i), (x_g, w_g), (x_o, w_o)))
        f = torch.sigmoid(x_f.unsqueeze(1) + F.linear(h, w_f))
        c = torch.sigmoid(i) * torch.tanh(g) + (f * c).sum(1)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, (h, c)

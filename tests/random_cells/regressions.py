"""Cells that a backend once got wrong, each made as small as it would go and named after what was wrong."""

from __future__ import annotations

__all__ = ["REGRESSIONS"]

_HEAD = """
import torch
import torch.nn.functional as F
from torch import nn
import recurra as rc
CONTEXT = []
class RandomCell(rc.Cell):
"""

REGRESSIONS: dict[str, str] = {
    "operations_of_constants_alone_keep_their_shape": _HEAD
    + """
    def __init__(self):
        super().__init__(2, 3)
        self.weight = nn.Parameter(torch.rand(3, 1))
    def step(self, x, state):
        (s0,) = state
        zero = F.pad(s0, (1, 0))[:, 0]
        s1 = torch.tanh(s0 + F.linear(F.softplus(zero).unsqueeze(-1), self.weight))
        return s1, (s1,)
""",
    "zeros_joined_to_a_slice": _HEAD
    + """
    def __init__(self):
        super().__init__(2, 5)
    def step(self, x, state):
        (s0,) = state
        s1 = torch.tanh(F.pad(s0[:, 1:4], (2, 0)))
        return s1, (s1,)
""",
    "a_matrix_with_rows_times_a_weight_from_the_left": _HEAD
    + """
    def __init__(self):
        super().__init__(2, 3)
        self.output_shape = (5, 3)
        self.weight = nn.Parameter(torch.rand(5, 4) - 0.5)
    def state_shapes(self):
        return ((4, 3),)
    def step(self, x, state):
        (s0,) = state
        y = torch.matmul(self.weight, s0)
        return y, (torch.tanh(s0 + y.sum(1, keepdim=True)),)
""",
    "a_join_in_a_join_in_another_order_of_making": _HEAD
    + """
    def __init__(self):
        super().__init__(2, 1)
        self.output_shape = (5,)
    def step(self, x, state):
        (s0,) = state
        v0 = torch.exp(s0 * x[:, :1])
        return torch.cat([v0, F.pad(v0, (2, 1))], 1), (torch.tanh(v0),)
""",
    "a_join_along_one_dimension_in_a_join_along_another": _HEAD
    + """
    def __init__(self):
        super().__init__(2, 3)
        self.output_shape = (4, 6)
    def step(self, x, state):
        (s0,) = state
        v0 = torch.tanh(s0 + x.sum(1, keepdim=True))
        rows = torch.stack([v0, s0], 1)
        return torch.cat([torch.cat([rows, v0.exp()[:, None]], 1), rows.flip(1)[:, :1]], 1).repeat(1, 1, 2), (v0,)
""",
    "a_join_made_before_the_loop_and_cut_in_it": _HEAD
    + """
    def __init__(self):
        super().__init__(20, 6)
        self.a, self.b, self.c = nn.Linear(20, 3), nn.Linear(20, 3), nn.Linear(6, 6)
    def step(self, x, state):
        (s0,) = state
        gates = torch.cat([torch.tanh(self.a(x)), torch.sigmoid(self.b(x))], 1)
        s1 = torch.cat([s0[:, 2:], s0[:, :2]], 1) * gates
        return s1, (torch.tanh(s1 + self.c(s0)),)
""",
}
"""Sources by name; see `strategy.random_cells` for what a source defines."""

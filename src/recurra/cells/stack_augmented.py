"""A recurrent network with stacks that it learns to push and pop."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Cell, State, StateShape
from recurra.core.errors import ArgumentError
from recurra.core.initialisers import uniform_

__all__ = ["StackAugmentedCell"]

_EMPTY = -1.0


class StackAugmentedCell(Cell):
    """A simple recurrent network beside stacks of numbers, moved by a soft choice among push, pop and keep.

        h_t = sigmoid(U x_t + R h_{t-1} + P [the top k of every s_{t-1}])
        a, b, c = softmax(A h_t)     push, pop, keep; one choice for each stack
        d = sigmoid(D h_t)           what is pushed
        s_t[0] = a d + b s_{t-1}[1] + c s_{t-1}[0]
        s_t[i] = a s_{t-1}[i-1] + b s_{t-1}[i+1] + c s_{t-1}[i]
        y_t = h_t

    A stack is empty where it holds -1. It has `depth` places: what is pushed beyond them is lost.

    Shapes: x `(B, input_size)`; state `(h, s)`, h `(B, hidden_size)`, s `(B, stacks, depth)`; y = h.
    Weights: `U (H, I)`, `R (H, H)`, `P (H, stacks * k)`, `A (3 * stacks, H)`, `D (stacks, H)`; actions in the order
    push, pop, keep, all of the first stack before those of the next.

    Paper: Joulin and Mikolov, "Inferring algorithmic patterns with stack-augmented recurrent nets", NIPS (2015),
    arXiv v4.
    Deviation: a stack's depth is fixed; k = 2 as in the paper's experiments, and the action keep is always there.
    """

    def __init__(self, input_size: int, hidden_size: int, stacks: int = 1, depth: int = 32, looked_at: int = 2) -> None:
        super().__init__(input_size, hidden_size)
        if stacks < 1 or depth < 2 or not 0 <= looked_at <= depth:
            raise ArgumentError(
                f"expected at least 1 stack, a depth of at least 2 and looked_at from 0 to the depth, "
                f"got stacks={stacks}, depth={depth}, looked_at={looked_at}"
            )
        self.stacks, self.depth, self.looked_at = stacks, depth, looked_at
        self.U = nn.Parameter(torch.empty(hidden_size, input_size))
        self.R = nn.Parameter(torch.empty(hidden_size, hidden_size))
        self.P = nn.Parameter(torch.empty(hidden_size, stacks * looked_at))
        self.A = nn.Parameter(torch.empty(3 * stacks, hidden_size))
        self.D = nn.Parameter(torch.empty(stacks, hidden_size))
        uniform_(self.parameters(), hidden_size)

    def state_shapes(self) -> tuple[StateShape, ...]:
        return (self.hidden_size,), (self.stacks, self.depth)

    def initial_state(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> State:
        h = torch.zeros(batch, self.hidden_size, device=device, dtype=dtype)
        return h, torch.full((batch, self.stacks, self.depth), _EMPTY, device=device, dtype=dtype)

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, s = state
        top = s[:, :, : self.looked_at].flatten(1)
        h = torch.sigmoid(F.linear(x, self.U) + F.linear(h, self.R) + F.linear(top, self.P))
        push, pop, keep = F.linear(h, self.A).unflatten(-1, (self.stacks, 3)).softmax(-1).split(1, -1)
        pushed = torch.cat([torch.sigmoid(F.linear(h, self.D)).unsqueeze(-1), s[:, :, :-1]], -1)
        popped = torch.cat([s[:, :, 1:], torch.full_like(s[:, :, :1], _EMPTY)], -1)
        return h, (h, push * pushed + pop * popped + keep * s)

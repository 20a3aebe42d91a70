"""A cell of one's own: a leaky integrator, checked by every law of behaviour and ready for training.

python examples/own_cell.py
recurra train language-model --cell examples/own_cell.py:Leaky --data FILE --out DIR
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import recurra as rc

__all__ = ["Leaky", "main"]


class Leaky(rc.Cell):
    """h_t = (1 - a) * h_{t-1} + a * tanh(U x_t + b + W h_{t-1}), each unit with its own leak a = sigmoid(leak)."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.inputs = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)
        self.leak = nn.Parameter(torch.zeros(hidden_size))

    def step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return y `(B, hidden_size)` and the new state `(h,)`, from x `(B, input_size)` and the old one."""
        (h,) = state
        a = torch.sigmoid(self.leak)
        h = (1 - a) * h + a * torch.tanh(self.inputs(x) + self.recurrent(h))
        return h, (h,)


def main() -> None:
    """Check the cell, run it in a two-way stack, and stream it."""
    from recurra.testing import check_cell

    check_cell(Leaky, 3, 5)
    print("Leaky keeps every law of behaviour")

    x = torch.randn(4, 7, 3)
    y, _ = rc.Recurrent(Leaky, 3, 5, num_layers=2, bidirectional=True, batch_first=True)(x, lengths=[7, 2, 0, 5])
    print(f"two layers, both ways, ragged lengths: {tuple(x.shape)} -> {tuple(y.shape)}")

    one_way = rc.Recurrent(Leaky, 3, 5, batch_first=True)
    whole, _ = one_way(x)
    state, steps = None, []
    for x_t in x.unbind(1):
        y_t, state = one_way.step(x_t, state)
        steps.append(y_t)
    gap = float((torch.stack(steps, 1) - whole).abs().max().detach())
    print(f"streaming differs from the whole call by at most {gap:.1e}")


if __name__ == "__main__":
    main()

"""The clockwork RNN beside the paper's block matrices, and what must hold of its connections and its clock."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from recurra import Recurrent, cells, scan
from recurra.core import Cell
from recurra.core.errors import ArgumentError

T, B, I = 20, 3, 2  # noqa: E741
PERIODS = [1, 2, 4, 4, 16]
UNITS = 3
H = UNITS * len(PERIODS)


def clockwork() -> Cell:
    return cells.get("clockwork")(I, H, periods=PERIODS).double()


def dense(cell: Cell) -> Tensor:
    """Return the paper's W_H, zero where no connection is."""
    weight = torch.zeros(H, H, dtype=torch.float64)
    for i, block in enumerate(cell.weight_hh):
        weight[i * UNITS : (i + 1) * UNITS, H - block.shape[1] :] = block.detach()
    return weight


def test_equals_the_papers_equation_with_the_dense_masked_matrix() -> None:
    cell = clockwork()
    x = torch.randn(T, B, I, dtype=torch.float64)
    h0 = torch.randn(B, H, dtype=torch.float64)
    result = scan(cell, x, (h0, torch.zeros(B, dtype=torch.int64)))
    w_in, w_h, b = (v.detach().numpy() for v in (cell.weight_ih, dense(cell), cell.bias))
    h = h0.numpy()
    for t in range(T):
        rows = np.repeat([t % period == 0 for period in PERIODS], UNITS)
        h = np.where(rows, np.tanh(x[t].numpy() @ w_in.T + h @ w_h.T + b), h)
        np.testing.assert_allclose(result.y[t].detach().numpy(), h, rtol=1e-12, atol=1e-14)
    assert result.state[1].tolist() == [T] * B


def test_a_module_hears_those_of_equal_or_longer_periods_only() -> None:
    blocks = dense(clockwork()).reshape(5, UNITS, 5, UNITS).abs().amax((1, 3)) > 0
    expected = [[PERIODS[j] >= PERIODS[i] for j in range(5)] for i in range(5)]
    assert blocks.tolist() == expected


@pytest.mark.parametrize("backend", ["reference", "auto"])
def test_sleeping_modules_are_copied_bit_for_bit_and_all_run_first(backend: str) -> None:
    cell = clockwork()
    x = torch.randn(T, 64, I, dtype=torch.float64)
    start = torch.randn(64, H, dtype=torch.float64)
    y = scan(cell, x, (start, torch.zeros(64, dtype=torch.int64)), backend=backend).y
    before = torch.cat([start[None], y[:-1]])
    for t in range(T):
        for i, period in enumerate(PERIODS):
            part = slice(i * UNITS, (i + 1) * UNITS)
            same = torch.equal(y[t, :, part], before[t, :, part])
            assert same == (t % period != 0)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_connections_that_do_not_exist_stay_zero_under_any_optimizer(optimizer: type[torch.optim.Optimizer]) -> None:
    cell = clockwork()
    missing = dense(cell) == 0
    steps = optimizer(cell.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(3):
        steps.zero_grad()
        scan(cell, torch.randn(T, B, I, dtype=torch.float64)).y.square().sum().backward()
        steps.step()
    assert torch.equal(dense(cell) == 0, missing)


def test_only_connections_that_exist_are_counted() -> None:
    """Issue's example: 45 units in 9 modules of 5; 5 * 5 weights for each of the 45 pairs that are connected."""
    rnn = Recurrent("clockwork", 1, 45, periods=[2**k for k in range(9)])
    assert sum(p.numel() for p in rnn.parameters()) == 45 * 25 + 45 + 45


def test_periods_that_cannot_be_are_refused() -> None:
    for periods in ([], [0, 1], [2, 1]):
        with pytest.raises(ArgumentError, match="periods must be at least 1 and in rising order"):
            cells.get("clockwork")(1, 4, periods=periods)
    with pytest.raises(ArgumentError, match="hidden_size 5 cannot be shared equally by 2 modules"):
        cells.get("clockwork")(1, 5, periods=[1, 2])

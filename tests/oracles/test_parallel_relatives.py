"""QRNN, SRU, minGRU and minLSTM beside whole-sequence computations of another kind than a step in time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recurra import cells, scan
from recurra.core import Cell
from recurra.core.errors import ArgumentError

T, B, I, H = 9, 3, 4, 5  # noqa: E741


def make(name: str, inputs: int = I, **options: object) -> Cell:
    return cells.get(name)(inputs, H, **options).double()


def data(inputs: int = I) -> Tensor:
    return torch.randn(T, B, inputs, dtype=torch.float64)


def weighted_sums(keep: Tensor, new: Tensor, start: Tensor) -> Tensor:
    """Return c_t = sum over s <= t of new_s times all keep after s, written out: no recurrence."""
    rows = [
        start * keep[: t + 1].prod(0) + sum(new[s] * keep[s + 1 : t + 1].prod(0) for s in range(t + 1))
        for t in range(T)
    ]
    return torch.stack(rows)


@pytest.mark.parametrize("window", [1, 2, 4])
@pytest.mark.parametrize("pooling", ["f", "fo", "ifo"])
def test_qrnn_is_a_masked_convolution_and_a_pooling(pooling: str, window: int) -> None:
    cell = make("qrnn", pooling=pooling, window=window)
    x, start = data(), torch.randn(B, H, dtype=torch.float64)
    past = [torch.zeros(B, I, dtype=torch.float64)] * (window - 1)
    # The kernel's last tap is the present; zeros on the left mask the future.
    kernel = torch.stack(list(cell.weight)[::-1], -1)
    gates = F.conv1d(F.pad(x.permute(1, 2, 0), (window - 1, 0)), kernel, cell.bias).permute(2, 0, 1)
    z, f, *rest = gates.chunk(len(pooling) + 1, -1)
    f = f.sigmoid()
    c = weighted_sums(f, (rest[1].sigmoid() if pooling == "ifo" else 1 - f) * z.tanh(), start)
    y = c if pooling == "f" else rest[0].sigmoid() * c
    result = scan(cell, x, (start, *past))
    torch.testing.assert_close(result.y, y)
    torch.testing.assert_close(result.state[0], c[-1])
    for back, kept in enumerate(result.state[1:]):
        assert torch.equal(kept, x[T - 1 - back])


@pytest.mark.parametrize("inputs", [I, H])
def test_sru(inputs: int) -> None:
    cell = make("sru", inputs)
    x, start = data(inputs), torch.randn(B, H, dtype=torch.float64)
    w_z, w_f, w_r = cell.weight.chunk(3)
    b_f, b_r = cell.bias.chunk(2)
    f, r = torch.sigmoid(x @ w_f.T + b_f), torch.sigmoid(x @ w_r.T + b_r)
    c = weighted_sums(f, (1 - f) * (x @ w_z.T), start)
    around = x if inputs == H else x @ cell.highway.T
    torch.testing.assert_close(scan(cell, x, (start,)).y, r * c.tanh() + (1 - r) * around)


def positive(a: Tensor) -> Tensor:
    """The paper's g: a + 1/2, or a sigmoid below zero."""
    return torch.where(a >= 0, a + 0.5, a.sigmoid())


def scanned_in_logs(log_keep: Tensor, log_new: Tensor, start: Tensor) -> Tensor:
    """The paper's listing: Heinsen's parallel scan, on logarithms, by cumulative sums."""
    total = F.pad(log_keep.cumsum(0), (0, 0, 0, 0, 1, 0))
    values = torch.cat([start.log()[None], log_new])
    return (total + torch.logcumsumexp(values - total, 0))[1:].exp()


@pytest.mark.parametrize("log_space", [False, True])
def test_min_gru(log_space: bool) -> None:
    cell = make("min_gru", log_space=log_space)
    x, start = data(), torch.rand(B, H, dtype=torch.float64)
    k, g = F.linear(x, cell.weight, cell.bias).chunk(2, -1)
    if log_space:
        h = scanned_in_logs(-F.softplus(k), -F.softplus(-k) + positive(g).log(), start)
    else:
        h = weighted_sums(1 - k.sigmoid(), k.sigmoid() * g, start)
    torch.testing.assert_close(scan(cell, x, (start,)).y, h)


@pytest.mark.parametrize("log_space", [False, True])
def test_min_lstm(log_space: bool) -> None:
    cell = make("min_lstm", log_space=log_space)
    x, start = data(), torch.rand(B, H, dtype=torch.float64)
    f, i, g = F.linear(x, cell.weight, cell.bias).chunk(3, -1)
    if log_space:
        difference = F.softplus(-f) - F.softplus(-i)
        h = scanned_in_logs(-F.softplus(difference), -F.softplus(-difference) + positive(g).log(), start)
    else:
        both = f.sigmoid() + i.sigmoid()
        h = weighted_sums(f.sigmoid() / both, i.sigmoid() / both * g, start)
    torch.testing.assert_close(scan(cell, x, (start,)).y, h)


def test_min_lstm_shares_survive_gates_that_are_both_shut() -> None:
    cell = make("min_lstm").float()
    with torch.no_grad():
        cell.bias[: 2 * H] = -200.0
    assert scan(cell, data().float()).y.isfinite().all()


def test_qrnn_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ArgumentError, match="pooling must be one of f, fo, ifo, got 'max'"):
        make("qrnn", pooling="max")
    with pytest.raises(ArgumentError, match="window must be at least 1 step, got 0"):
        make("qrnn", window=0)

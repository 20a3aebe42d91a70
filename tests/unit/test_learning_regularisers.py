"""Clipping, penalties, averaging, curricula and the memory report, each against its definition."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recurra as rc
from recurra.core.errors import ArgumentError
from recurra.learning import (
    BPTT,
    NonMonotonicAverage,
    activation_penalty,
    bucket_batches,
    clip_adaptively,
    clip_by_layer,
    gradient_flow_penalty,
    growing_window,
    memory_report,
    temporal_activation_penalty,
    weight_noise,
    weight_penalty,
)


def squares(y: Tensor, target: Tensor) -> Tensor:
    return (y - target).square().sum()


def layer(cell: str = "elman", **options: Any) -> rc.Recurrent:
    torch.manual_seed(0)
    return rc.Recurrent(cell, 2, 4, **options).double()


def data(steps: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(steps, 3, n, generator=generator, dtype=torch.float64) for n in (2, 4))  # type: ignore[return-value]


def test_each_layer_is_clipped_by_itself() -> None:
    network = layer(num_layers=2)
    x, targets = data()
    BPTT().accumulate(network, x, targets, squares)
    before = {n: p.grad.clone() for n, p in network.named_parameters()}
    norms = clip_by_layer(network, 0.5)
    assert set(norms) == {"layers.0.forward", "layers.1.forward"}
    for name, norm in norms.items():
        own = {n: p for n, p in network.named_parameters() if n.startswith(name)}
        assert float(norm) == pytest.approx(float(torch.cat([before[n].flatten() for n in own]).norm()))
        for n, p in own.items():
            torch.testing.assert_close(p.grad, before[n] * 0.5 / (norm + 1e-6))


def test_adaptive_clipping_goes_by_the_size_of_each_units_weights() -> None:
    p = nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 0.0], [3.0, 4.0]]))
    p.grad = torch.tensor([[6.0, 8.0], [1.0, 0.0], [0.03, 0.04]])
    clip_adaptively([p], 0.1)
    torch.testing.assert_close(p.grad, torch.tensor([[0.3, 0.4], [1e-4, 0.0], [0.03, 0.04]]))


def test_clipping_in_the_recurrence_bounds_what_goes_back() -> None:
    network = layer()
    x, targets = data(5)
    cell: Any = network.layers[0].forward
    expected = torch.zeros_like(cell.weight_hh)
    states = [torch.zeros(3, 4, dtype=torch.float64), *network(x)[0].detach()]
    pull = torch.zeros(3, 4, dtype=torch.float64)
    for t in reversed(range(5)):
        z = (2 * (states[t + 1] - targets[t]) + pull.clamp(-0.1, 0.1)) * (1 - states[t + 1].square())
        expected += z.T @ states[t]
        pull = z @ cell.weight_hh.detach()
    for rule in (BPTT(clip=0.1), BPTT(2, clip=0.1)):
        network.zero_grad()
        rule.accumulate(network, x, targets, squares)
        torch.testing.assert_close(cell.weight_hh.grad, expected)


def test_penalties_are_their_formulas() -> None:
    y = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    assert activation_penalty(y, 2.0) == 2 * 18 / 4
    assert temporal_activation_penalty(y, 3.0) == 3 * 4 / 2
    assert temporal_activation_penalty(y, 3.0, dim=1) == 3 * (1 + 1) / 2
    assert temporal_activation_penalty(y[:1]) == 0
    assert weight_penalty([y, -y], l1=0.5, l2=0.1) == pytest.approx(0.5 * 16 + 0.1 * 36)


def test_weight_noise_is_gone_afterwards() -> None:
    network = layer()
    before = [p.detach().clone() for p in network.parameters()]
    with weight_noise(network.parameters(), 0.1, torch.Generator().manual_seed(0)):
        off = torch.cat([(p.detach() - b).flatten() for p, b in zip(network.parameters(), before, strict=True)])
        network(data()[0])[0].sum().backward()
    assert 0.05 < float(off.std()) < 0.15
    assert all(torch.equal(p, b) for p, b in zip(network.parameters(), before, strict=True))
    assert all(p.grad is not None for p in network.parameters())


def test_pascanus_penalty_is_its_formula_and_learns_to_keep_the_gradient() -> None:
    network = layer()
    x, targets = data()
    cell: Any = network.layers[0].forward
    u = cell.weight_hh.detach()
    states = network(x)[0].detach()
    pull, parts = torch.zeros(3, 4, dtype=torch.float64), []
    for t in reversed(range(6)):
        z = (2 * (states[t] - targets[t]) + pull) * (1 - states[t].square())
        if t < 5:  # by what comes later alone, from h_t to h_{t-1}
            moved = (pull * (1 - states[t].square())) @ u
            parts.append((moved.norm(dim=1) / pull.norm(dim=1) - 1).square().mean())
        pull = z @ u
    value = gradient_flow_penalty(network, x, targets, squares)
    torch.testing.assert_close(value.detach(), torch.stack(parts).mean())
    optimizer = torch.optim.Adam(network.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        gradient_flow_penalty(network, x, targets, squares).backward()
        optimizer.step()
    assert gradient_flow_penalty(network, x, targets, squares) < value / 3


def test_averaging_begins_when_gains_end() -> None:
    p = nn.Parameter(torch.zeros(1))
    average = NonMonotonicAverage([p], patience=2)
    for k, loss in enumerate((5.0, 4.0, 3.0, 2.0, 4.5, 4.6)):
        with torch.no_grad():
            p.fill_(float(k))
        average.updated()
        average.validated(loss)
        assert average.begun == (k >= 4), k
    other = NonMonotonicAverage([p], patience=2)
    other.restore(average.tensors())
    with torch.no_grad():
        p.fill_(9.0)
    for one in (average, other):
        one.updated()
        torch.testing.assert_close(one.averaged()[0], torch.tensor([(4.0 + 5.0 + 9.0) / 3]))


def test_windows_grow_by_equal_factors() -> None:
    assert [growing_window(step, 4, 64, 4) for step in range(6)] == [4, 8, 16, 32, 64, 64]
    with pytest.raises(ArgumentError):
        growing_window(0, 5, 4, 1)


def test_buckets_hold_every_row_once_and_like_with_like() -> None:
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(1, 50, (103,), generator=generator)
    batches = bucket_batches(lengths, 10, generator)
    assert torch.equal(torch.cat(batches).sort().values, torch.arange(103))
    assert sorted(len(b) for b in batches) == [3] + [10] * 10
    padding = sum(int(lengths[b].max() * len(b) - lengths[b].sum()) for b in batches)
    plain = sum(int(part.max() * len(part) - part.sum()) for part in lengths.split(10))
    assert padding < plain / 5
    assert [b.tolist() for b in bucket_batches(lengths, 10, generator)] != [b.tolist() for b in batches]


def test_buckets_have_the_gradient_of_all_rows() -> None:
    network = layer()
    lengths = torch.tensor([3, 1, 5, 2, 6, 4, 1])
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(6, 7, 2, generator=generator, dtype=torch.float64)
    targets = torch.randn(6, 7, 4, generator=generator, dtype=torch.float64)
    BPTT().accumulate(network, x, targets, squares, None, lengths)
    truth = [p.grad for p in network.parameters()]
    network.zero_grad()
    for rows in bucket_batches(lengths, 2, generator):
        BPTT().accumulate(network, x[:, rows], targets[:, rows], squares, None, lengths[rows])
    for p, g in zip(network.parameters(), truth, strict=True):
        torch.testing.assert_close(p.grad, g)


def test_the_memory_report_counts_what_is_kept() -> None:
    network = rc.Recurrent("lstm", 8, 16)
    x = torch.randn(100, 2, 8)
    found = memory_report(network, x)
    parameters = sum(p.numel() for p in network.parameters())
    assert found["rtrl"] == 32 * parameters * 2 * 4
    snap = found["snap1"]
    assert snap is not None
    assert snap < 2 * parameters * 2 * 4 + 1
    assert found["bptt"] == 100 * (memory_report(network, x[:1].clone(), 1)["bptt"] or 0)  # the inputs do not count
    assert (found["recomputed"] or 0) < (found["bptt"] or 0) / 4
    assert memory_report(rc.Recurrent("elman", 8, 8, 2, dropout=0.5), x)["rtrl"] is None

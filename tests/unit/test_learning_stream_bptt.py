"""Truncated BPTT against loops written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from recurra.core import Batch, PerLayer
from recurra.core.errors import ArgumentError, ShapeError
from recurra.learning import StreamBPTT

ROWS, WINDOW, COUNT, SIZE = 3, 4, 6, 5


class Network(nn.Module):
    """A GRU with a learned first state; `nested` gives its state in the shape of a stack of unlike layers."""

    def __init__(self, nested: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn = nn.GRU(2, SIZE, batch_first=True)
        self.first = nn.Parameter(0.1 * torch.randn(SIZE))
        self.nested = nested
        self.double()

    def initial_state(self, batch: int):  # type: ignore[no-untyped-def]
        return self.wrap(self.first.expand(1, batch, SIZE), torch.zeros(batch, dtype=torch.int64))

    def wrap(self, h: Tensor, clock: Tensor):  # type: ignore[no-untyped-def]
        return ((h,), PerLayer((clock, h[0]))) if self.nested else h

    def forward(self, batch: Batch):  # type: ignore[no-untyped-def]
        h = batch.state[0][0] if self.nested else batch.state
        clock = batch.state[1][0] if self.nested else torch.zeros(1, dtype=torch.int64)
        if batch.lengths is None:
            y, h = self.rnn(batch.inputs, h.contiguous())
        else:
            ends = [
                self.rnn(batch.inputs[i : i + 1, :n], h[:, i : i + 1].contiguous()) for i, n in enumerate(batch.lengths)
            ]
            y = torch.zeros(len(ends), batch.inputs.shape[1], SIZE, dtype=torch.float64)
            for i, n in enumerate(batch.lengths):
                y[i, :n] = ends[i][0][0]
            h = torch.cat([end[1] for end in ends], 1)
        return y, self.wrap(h, clock + batch.inputs.shape[1])


def stream(resets: dict[tuple[int, int], bool] | None = None) -> list[Batch]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(ROWS, WINDOW * COUNT, 2, generator=generator, dtype=torch.float64)
    batches = []
    for i in range(COUNT):
        rows = torch.tensor([i == 0 or (resets or {}).get((i, row), False) for row in range(ROWS)])
        batches.append(Batch(x[:, i * WINDOW : (i + 1) * WINDOW], resets=rows))
    return batches


def gradients(network: Network, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(network.parameters()), allow_unused=True, materialize_grads=True))


def close(one: list[Tensor], other: list[Tensor]) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("nested", [False, True])
def test_equals_full_bptt_where_the_whole_stream_fits(nested: bool) -> None:
    network = Network(nested)
    batches = stream()
    bptt = StreamBPTT(network, COUNT)
    for batch in batches:
        outputs = bptt.forward(batch)
    whole = torch.cat([b.inputs for b in batches], 1)
    expected, _ = network.rnn(whole, network.first.expand(1, ROWS, SIZE).contiguous())
    close([outputs], [expected[:, -WINDOW:]])
    close(gradients(network, outputs.square().sum()), gradients(network, expected[:, -WINDOW:].square().sum()))


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("windows", [1, 2, 3])
def test_equals_a_loop_by_hand_with_rows_that_are_reset(windows: int, nested: bool) -> None:
    """Row by row: from the first window within reach, or from the row's last reset, if that is later."""
    resets = {(2, 0): True, (3, 1): True, (4, 0): True, (4, 1): True, (4, 2): True}
    network, batches = Network(nested), stream(resets)
    bptt = StreamBPTT(network, windows)
    detached = [[network.first.detach()] * ROWS]  # The state of each row before each window, as a constant.
    for number, batch in enumerate(batches):
        outputs = bptt.forward(batch)
        rows, after = [], []
        for row in range(ROWS):
            last_reset = max(i for i in range(number + 1) if batches[i].resets[row])  # type: ignore[index]
            begin = max(last_reset, number - windows + 1)
            h = network.first if begin == last_reset else detached[begin][row]
            x = torch.cat([b.inputs[row : row + 1] for b in batches[begin : number + 1]], 1)
            y, h = network.rnn(x, h.view(1, 1, SIZE))
            rows.append(y[0, -WINDOW:])
            after.append(h.detach()[0, 0])
        detached.append(after)
        expected = torch.stack(rows)
        close([outputs], [expected])
        close(gradients(network, outputs.square().sum()), gradients(network, expected.square().sum()))


def test_no_gradient_crosses_a_reset_and_none_is_left_in_what_is_carried() -> None:
    network, batches = Network(), stream({(1, 0): True})
    batches = [replace(b, inputs=b.inputs.clone().requires_grad_()) for b in batches]
    bptt = StreamBPTT(network, 3)
    for batch in batches[:2]:
        outputs = bptt.forward(batch)
    (into_the_past,) = torch.autograd.grad(outputs.sum(), batches[0].inputs)
    assert bool((into_the_past[0] == 0).all())
    assert bool((into_the_past[1:] != 0).any())
    assert all(t.grad_fn is None for name, t in bptt.carried().items() if "state" in name)


def test_rows_that_are_shorter_freeze_at_their_end() -> None:
    network = Network()
    first, second = stream()[:2]
    bptt = StreamBPTT(network, 2)
    bptt.forward(replace(first, lengths=torch.tensor([4, 2, 1])))
    outputs = bptt.forward(second)
    x = torch.cat([first.inputs[1:2, :2], second.inputs[1:2]], 1)
    expected, _ = network.rnn(x, network.first.view(1, 1, SIZE))
    close([outputs[1]], [expected[0, 2:]])


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("windows", [1, 3])
@pytest.mark.parametrize("at", [1, 2, 4])
def test_goes_on_exactly_from_what_was_carried(windows: int, at: int, nested: bool) -> None:
    network, batches = Network(nested), stream({(2, 1): True, (3, 0): True})
    one, other = StreamBPTT(network, windows), StreamBPTT(network, windows)
    for batch in batches[:at]:
        one.forward(batch)
    saved = {name: t.clone() for name, t in one.carried().items()}
    other.forward(batches[0])
    other.restore(saved)
    for batch in batches[at:]:
        a, b = one.forward(batch), other.forward(batch)
        assert torch.equal(a, b)
        for x, y in zip(gradients(network, a.sum()), gradients(network, b.sum()), strict=True):
            assert torch.equal(x, y)
    other.restore({})
    assert other.carried() == {}


def test_batches_that_do_not_line_up_are_refused() -> None:
    bptt = StreamBPTT(Network())
    first, second = stream({(1, 0): True})[:2]
    with pytest.raises(ArgumentError, match="first batch of an epoch must reset every row"):
        bptt.forward(second)
    with pytest.raises(ArgumentError, match="first batch of an epoch must reset every row"):
        bptt.forward(replace(first, resets=None))
    bptt.forward(first)
    with pytest.raises(ShapeError, match="the state carried has 3 rows, this batch 2"):
        bptt.forward(Batch(second.inputs[:2]))
    with pytest.raises(ShapeError, match=r"resets of shape \(3,\)"):
        bptt.forward(replace(second, resets=torch.tensor([True])))
    assert bptt.forward(Batch(second.inputs[:2], resets=torch.tensor([True, True]))).shape[0] == 2
    bptt.reset()
    with pytest.raises(ArgumentError, match="first batch"):
        bptt.forward(second)
    with pytest.raises(ArgumentError, match="windows must be at least 1, got 0"):
        StreamBPTT(Network(), 0)

"""One to one, N to one, one to N, and the memoryless baselines, beside plain loops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import recurra as rc
from recurra import Batch
from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks import (
    CNN,
    AttentionPooling,
    Joined,
    LastStep,
    ManyToOne,
    MaxPooling,
    MeanPooling,
    OneToMany,
    Pooling,
    SingleLayer,
    WindowMLP,
)

SAMPLE = ["elman", "lstm", "gru", "clockwork", "neural_turing_machine"]
LENGTHS = torch.tensor([3, 5, 0, 1])

POOLINGS: dict[str, Callable[[int], Pooling]] = {
    "last": LastStep,
    "mean": MeanPooling,
    "max": MaxPooling,
    "attention": lambda features: AttentionPooling(features, 3),
    "joined": lambda features: Joined(features, 6),
}


def by_hand(pooling: Pooling, y: Tensor) -> Tensor:
    """Pool the valid steps (n, features) of one row, n at least 1."""
    match pooling:
        case LastStep():
            return y[-1]
        case MeanPooling():
            return sum(y) / len(y)
        case MaxPooling():
            return torch.stack([max(column) for column in y.T])
        case AttentionPooling():
            e = [pooling.score(torch.tanh(pooling.hidden(step))).exp() for step in y]
            return sum(a * step for a, step in zip(e, y, strict=True)) / sum(e)
        case _:
            return torch.cat([y.flatten(), y.new_zeros((6 - len(y)) * y.shape[1])])


def many_to_one(cell: str, pooling: str) -> ManyToOne:
    rnn = rc.Recurrent(cell, 3, 4, batch_first=True)
    pooled = POOLINGS[pooling](rnn.output_size)
    return ManyToOne(nn.Identity(), rnn, pooled, nn.Linear(pooled.output_size, 2)).double().eval()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("cell", SAMPLE)
def test_many_to_one_equals_a_plain_loop_and_streams(cell: str, pooling: str) -> None:
    network, x = many_to_one(cell, pooling), torch.randn(4, 5, 3, dtype=torch.float64)
    outputs, _ = network(Batch(x, lengths=LENGTHS))
    one = network.recurrent.layers[0].forward
    for row, n in enumerate(LENGTHS.tolist()):
        state, ys = one.initial_state(1, dtype=torch.float64), list[Tensor]()
        streamed, carried = None, network.initial_state(1)
        for t in range(n):
            y, state = one.step(x[row : row + 1, t], state)
            ys.append(y[0])
            streamed, carried = network.step(x[row : row + 1, t], carried)
        size = network.pooling.output_size
        pooled = by_hand(network.pooling, torch.stack(ys)) if n else torch.zeros(size, dtype=torch.float64)
        torch.testing.assert_close(outputs[row], network.readout(pooled))
        if streamed is not None:
            torch.testing.assert_close(streamed[0], outputs[row])


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_reaches_nothing(pooling: str) -> None:
    network = many_to_one("gru", pooling)
    x = torch.randn(4, 5, 3, dtype=torch.float64)
    hostile = x.clone()
    for row, n in enumerate(LENGTHS.tolist()):
        hostile[row, n:] = torch.nan
    results = []
    for inputs in (x, hostile.requires_grad_()):
        network.zero_grad()
        outputs, _ = network(Batch(inputs, lengths=LENGTHS))
        outputs.sum().backward()
        results.append([outputs, *(p.grad for p in network.parameters())])
    assert hostile.grad is not None
    assert bool(hostile.grad.isfinite().all())
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def test_state_of_a_stream_is_reordered_by_index_rows() -> None:
    network, x = many_to_one("lstm", "attention"), torch.randn(2, 2, 3, dtype=torch.float64)
    _, state = network.step(x[0], network.initial_state(2))
    rows = [1, 0, 1]
    picked, _ = network.step(x[1, rows], rc.index_rows(state, rows))
    torch.testing.assert_close(picked, network.step(x[1], state)[0][rows])


def test_both_directions_have_their_own_ends() -> None:
    rnn = rc.Recurrent("gru", 3, 4, 2, bidirectional=True, batch_first=True).double()
    network = ManyToOne(nn.Identity(), rnn, LastStep.of(rnn), nn.Identity())
    outputs, state = network(Batch(torch.randn(4, 5, 3, dtype=torch.float64), lengths=LENGTHS))
    filled = LENGTHS > 0
    torch.testing.assert_close(outputs[filled], torch.cat([state[2], state[3]], 1)[filled])
    assert not bool(outputs[~filled].any())
    with pytest.raises(ArgumentError, match="step by step"):
        network.step(torch.zeros(1, 3, dtype=torch.float64), network.initial_state(1))


def test_joined_states_have_a_longest_length() -> None:
    network = many_to_one("elman", "joined")
    x = torch.zeros(1, 7, 3, dtype=torch.float64)
    with pytest.raises(ShapeError, match="at most max_length=6 steps, got 7"):
        network(Batch(x))
    network(Batch(x, lengths=torch.tensor([6])))
    state = network.initial_state(1)
    for t in range(6):
        _, state = network.step(x[:, t], state)
    with pytest.raises(ShapeError, match="got 7"):
        network.step(x[:, 6], state)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_empty_sequences_give_the_readout_of_zero(pooling: str) -> None:
    network = many_to_one("gru", pooling)
    outputs, _ = network(Batch(torch.zeros(2, 0, 3, dtype=torch.float64)))
    torch.testing.assert_close(outputs, network.readout(outputs.new_zeros(2, network.pooling.output_size)))


@pytest.mark.parametrize("when", ["first", "every"])
@pytest.mark.parametrize("cell", SAMPLE)
def test_one_to_many_equals_a_plain_loop_and_streams(cell: str, when: str) -> None:
    rnn = rc.Recurrent(cell, 3, 4, batch_first=True)
    network = OneToMany(nn.Linear(2, 3), rnn, nn.Linear(rnn.output_size, 2), 5, when).double()
    x = torch.randn(2, 2, dtype=torch.float64)
    outputs, _ = network(Batch(x))
    one = rnn.layers[0].forward
    state, expected = one.initial_state(2, dtype=torch.float64), list[Tensor]()
    streamed, carried = list[Tensor](), network.initial_state(2)
    for t in range(5):
        heard = network.embed(x) if when == "every" or t == 0 else torch.zeros(2, 3, dtype=torch.float64)
        y, state = one.step(heard, state)
        expected.append(network.readout(y))
        o, carried = network.step(x, carried)
        streamed.append(o)
    torch.testing.assert_close(outputs, torch.stack(expected, 1))
    torch.testing.assert_close(outputs, torch.stack(streamed, 1))
    shorter, _ = network(Batch(x, targets=torch.zeros(2, 3), lengths=torch.tensor([3, 1])))
    torch.testing.assert_close(shorter[0], outputs[0, :3])
    torch.testing.assert_close(shorter[1, :1], outputs[1, :1])


def test_the_single_layer_is_f_of_wx_plus_b() -> None:
    layer, x = SingleLayer(3, 2, "relu"), torch.randn(4, 5, 3)
    y, state = layer(Batch(x))
    torch.testing.assert_close(y, torch.clamp(x @ layer.linear.weight.T + layer.linear.bias, min=0))
    assert layer.step(x[:, 0], state)[0].equal(y[:, 0])
    with pytest.raises(ShapeError, match=r"\(\.\.\., 3\), got \(4, 2\)"):
        layer(Batch(torch.zeros(4, 2)))


def test_a_window_sees_what_is_in_it_and_streams() -> None:
    network = WindowMLP(2, 3, [4], 1).double()
    x = torch.randn(3, 6, 2, dtype=torch.float64)
    outputs, final = network(Batch(x, lengths=torch.tensor([6, 4, 0])))
    first, second = network.layers
    past = [torch.zeros(3, 2, dtype=torch.float64)] * 2 + list(x.unbind(1))
    by_loop = [second(torch.relu(first(torch.cat([past[t + 2], past[t + 1], past[t]], 1)))) for t in range(6)]
    torch.testing.assert_close(outputs, torch.stack(by_loop, 1))
    state, streamed = network.initial_state(3), list[Tensor]()
    for t in range(6):
        y, state = network.step(x[:, t], state)
        streamed.append(y)
        for row, n in enumerate((6, 4, 0)):
            if t == n - 1:
                torch.testing.assert_close(final[:, row], state[:, row])
    torch.testing.assert_close(outputs, torch.stack(streamed, 1))
    assert not bool(final[:, 2].any())
    half, state = network(Batch(x[:, :4]))
    rest, _ = network(Batch(x[:, 4:], state=state))
    torch.testing.assert_close(torch.cat([half, rest], 1), outputs)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_a_ring_may_be_turned(dimensions: int) -> None:
    network = CNN([2, 4, 3], 5, dimensions=dimensions, pool="none", circular=True).double()
    x = torch.randn(2, 7, 2, dtype=torch.float64) if dimensions == 1 else torch.randn(2, 2, 5, 7, dtype=torch.float64)
    outputs, _ = network(Batch(x))
    for shift in range(1, 7):
        torch.testing.assert_close(network(Batch(x.roll(shift, 1 if dimensions == 1 else -1)))[0], outputs)
    straight = CNN([2, 4, 3], 5, dimensions=dimensions, pool="none").double()
    straight.load_state_dict(network.state_dict())
    assert not torch.allclose(straight(Batch(x))[0], outputs)


@pytest.mark.parametrize("last", ["max", "average"])
@pytest.mark.parametrize("pool", ["max", "average", "none"])
def test_a_padded_row_is_convolved_as_if_it_were_alone(pool: str, last: str) -> None:
    network = CNN([2, 4, 3], 5, dimensions=1, pool=pool, last=last).double()
    x = torch.randn(4, 7, 2, dtype=torch.float64)
    lengths = torch.tensor([7, 4, 1, 5])
    x[1, 4:] = torch.nan
    outputs, _ = network(Batch(x, lengths=lengths))
    for row, n in enumerate(lengths.tolist()):
        torch.testing.assert_close(outputs[row], network(Batch(x[row : row + 1, :n]))[0][0])


def test_the_picture_network_is_torchs_layers_in_turn() -> None:
    network = CNN([1, 4, 6], 3).double()
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    first, second = network.convolutions
    h = nn.functional.max_pool2d(torch.relu(first(x)), 2)
    h = nn.functional.max_pool2d(torch.relu(second(h)), 2)
    torch.testing.assert_close(network(Batch(x))[0], network.linear(h.amax((2, 3))))
    with pytest.raises(ShapeError, match=r"\(B, 1, height, width\).*got \(2, 3, 8, 8\)"):
        network(Batch(torch.zeros(2, 3, 8, 8)))
    with pytest.raises(ArgumentError, match="lengths are for sequences"):
        network(Batch(x, lengths=torch.tensor([1, 1])))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_are_right(pooling: str) -> None:
    network = many_to_one("gru", pooling)
    x = torch.randn(4, 5, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: network(Batch(x, lengths=LENGTHS))[0], x, fast_mode=True)


@pytest.mark.parametrize("when", ["first", "every"])
def test_gradients_of_one_to_many_are_right(when: str) -> None:
    rnn = rc.Recurrent("lstm", 3, 4, batch_first=True)
    network = OneToMany(nn.Identity(), rnn, nn.Linear(4, 2), 4, when).double()
    x = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: network(Batch(x))[0], x, fast_mode=True)


@pytest.mark.parametrize(
    "network",
    [
        SingleLayer(2, 3),
        WindowMLP(2, 3, [4], 1),
        CNN([2, 4, 3], 2, dimensions=1, pool="average", last="average"),
        CNN([2, 4, 3], 2, dimensions=1),
    ],
    ids=["layer", "window", "average", "max"],
)
def test_gradients_of_the_memoryless_are_right(network: nn.Module) -> None:
    network = network.double()
    x = torch.randn(2, 6, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: network(Batch(x, lengths=torch.tensor([6, 3])))[0], x, fast_mode=True)


def test_sizes_that_do_not_fit_are_named() -> None:
    rnn = rc.Recurrent("gru", 3, 4, batch_first=True)
    with pytest.raises(ShapeError, match="expects 5 features, but the layer gives 4"):
        ManyToOne(nn.Identity(), rnn, LastStep(5), nn.Identity())
    with pytest.raises(ArgumentError, match="batch_first"):
        ManyToOne(nn.Identity(), rc.Recurrent("gru", 3, 4), LastStep(4), nn.Identity())
    with pytest.raises(ShapeError, match=r"\(B, 3\), got \(2, 5\)"):
        OneToMany(nn.Identity(), rnn, nn.Identity(), 4)(Batch(torch.zeros(2, 5)))
    with pytest.raises(ShapeError, match=r"\(B, T, 4\)"):
        MeanPooling(4)(torch.zeros(2, 3, 5), torch.ones(2, 3, dtype=torch.bool))


@pytest.mark.parametrize(
    "network",
    [
        SingleLayer(2, 2),
        WindowMLP(2, 2, [3], 1),
        CNN([2, 3, 3], 2, dimensions=1),
        OneToMany(nn.Identity(), rc.Recurrent("elman", 2, 3, batch_first=True), nn.Identity(), 4),
        many_to_one("elman", "last"),
        many_to_one("elman", "mean"),
    ],
    ids=lambda n: type(n).__name__,
)
def test_each_draws_itself(network: nn.Module) -> None:
    assert "<svg" in rc.draw(network, steps=3).svg

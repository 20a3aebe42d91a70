"""Both directions and their merges, the separable network, the sliced network."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from topology_laws import KINDS, gradients_are_right, rows_stand_alone, streamed
from torch import Tensor

import recurra as rc
from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks import MERGES, Chain, Separable, Sliced, TwoWay

X = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def two_way(cell: str = "gru", merge: str = "concat", **options: Any) -> TwoWay:
    return TwoWay(cell, 4, 6, merge, backend="reference", **options).double()


def separable(cell: str = "gru", look_ahead: int | None = None, **options: Any) -> Separable:
    return Separable(cell, 4, 6, look_ahead=look_ahead, backend="reference", **options).double()


def sliced(cell: Any = "gru", sizes: tuple[int, ...] = (6, 6, 6), slices: tuple[int, ...] = (3, 2)) -> Sliced:
    return Sliced(cell, 4, sizes, slices, backend="reference").double()


def outputs_of(layer: Any, x: Tensor, state: Any = None) -> list[Tensor]:
    return list(layer(x, state)[0].unbind(1))


@pytest.mark.parametrize("merge", MERGES)
@pytest.mark.parametrize("cell", KINDS)
def test_both_directions_are_brought_together(cell: str, merge: str) -> None:
    network = two_way(cell, merge)
    f, r = network.forwards(X)[0], network.backwards(X.flip(1))[0].flip(1)
    if merge == "gated":
        assert network.gate is not None
        both = torch.cat([f, r], 2)
        g = torch.sigmoid(both @ network.gate.weight.T + network.gate.get_parameter("bias"))
        expected = g * f + (1 - g) * r
    else:
        expected = {"concat": torch.cat([f, r], 2), "sum": f + r, "mean": 0.5 * f + 0.5 * r}[merge]
    torch.testing.assert_close(network(X)[0], expected)
    rows_stand_alone(network, X, [7, 0, 3])


def test_concat_is_the_bidirectional_layer_and_directions_may_differ() -> None:
    both = rc.Recurrent("lstm", 4, 6, bidirectional=True, batch_first=True, backend="reference").double()
    network = two_way("lstm")
    weights = both.state_dict()
    names = (
        (k, k.replace("forwards.", "").replace("backwards.layers.0.forward", "layers.0.reverse"))
        for k in network.state_dict()
    )
    network.load_state_dict({ours: weights[theirs] for ours, theirs in names})
    torch.testing.assert_close(network(X, lengths=[7, 2, 4])[0], both(X, lengths=[7, 2, 4])[0])
    other = two_way("lstm", reverse="elman", reverse_size=3)
    assert other(X)[0].shape == (3, 7, 9)
    state = other(X)[1]
    torch.testing.assert_close(other(X, state)[0][:, :, 6:].flip(1), other.backwards(X.flip(1), state[1])[0])


@pytest.mark.parametrize("merge", MERGES)
def test_gradients_of_both_directions(merge: str) -> None:
    gradients_are_right(two_way("elman", merge), X[:2, :3], lengths=[3, 1])


@pytest.mark.parametrize("look_ahead", [None, 1, 2, 9])
@pytest.mark.parametrize("cell", KINDS)
def test_the_separable_network_equals_a_plain_loop(cell: str, look_ahead: int | None) -> None:
    network = separable(cell, look_ahead, output_size=5)
    past = outputs_of(network.past, X)
    for t in range(7):
        p = past[t - 1] if t else torch.zeros_like(past[0])
        ahead = X[:, t + 1 :] if look_ahead is None else X[:, t + 1 : t + 1 + look_ahead]
        f = outputs_of(network.future, ahead.flip(1))[-1] if ahead.shape[1] else torch.zeros_like(past[0])
        expected = torch.tanh(network.merge(torch.cat([p, X[:, t], f], 1)))
        torch.testing.assert_close(network(X)[0][:, t], expected)
    rows_stand_alone(network, X, [4, 0, 7])


@pytest.mark.parametrize("look_ahead", [1, 3, 9])
@pytest.mark.parametrize("cell", KINDS)
def test_with_a_look_ahead_it_streams_that_much_later(cell: str, look_ahead: int) -> None:
    network = separable(cell, look_ahead)
    assert network.delay == look_ahead
    late, state = streamed(network, X)
    rest, many = network.flush(state)
    whole = network(X)[0]
    begun = max(0, 7 - look_ahead)
    assert not late[:, :look_ahead].count_nonzero()
    torch.testing.assert_close(late[:, look_ahead:], whole[:, :begun])
    assert many.tolist() == [7 - begun] * 3
    torch.testing.assert_close(rest[:, : 7 - begun], whole[:, begun:])
    assert not rest[:, 7 - begun :].count_nonzero()


def test_streams_of_different_age_stand_side_by_side() -> None:
    network = separable("lstm", 2)
    old, young = streamed(network, X[:1, :5])[1], streamed(network, X[1:2, :1])[1]
    joined = tuple(
        tuple(torch.cat(pair, 1) for pair in zip(a, b, strict=True)) if isinstance(a, tuple) else torch.cat([a, b], 1)
        for a, b in zip(old, young, strict=True)
    )
    y, _ = network.step(torch.stack([X[0, 5], X[1, 1]]), joined)
    torch.testing.assert_close(y[0], network(X[:1, :6])[0][0, 3])
    assert not y[1].count_nonzero()
    rest, many = network.flush(joined)
    assert many.tolist() == [2, 1]
    torch.testing.assert_close(rest[0], network(X[:1, :5])[0][0, 3:])
    torch.testing.assert_close(rest[1, :1], network(X[1:2, :1])[0][0])


@pytest.mark.parametrize("look_ahead", [None, 2])
def test_gradients_of_the_separable_network(look_ahead: int | None) -> None:
    gradients_are_right(separable("elman", look_ahead, future="gru", future_size=3), X[:2, :4], lengths=[4, 2])


def matrix_power_weights(network: Sliced) -> None:
    """Give the levels above what makes a linear network the unsliced one."""
    first, *above = [level.get_submodule("layers.0.forward") for level in network.levels]
    u = first.get_parameter("weight_hh").data
    for cell, n in zip(above, network.slices, strict=True):
        u = torch.linalg.matrix_power(u, n)
        cell.get_parameter("weight_hh").data.copy_(u)
        cell.get_parameter("weight_ih").data.copy_(torch.eye(len(u)))
        cell.get_parameter("bias").data.zero_()


def test_a_linear_sliced_network_is_the_unsliced_one() -> None:
    network = sliced("linear_rnn", (5, 5, 5), (4, 3))
    matrix_power_weights(network)
    x = torch.randn(2, 36, 4, dtype=torch.float64)
    y, _ = network(x)
    torch.testing.assert_close(y, network.levels[0](x)[0][:, -1], rtol=1e-6, atol=1e-6)


def loop(network: Sliced, x: Tensor) -> Tensor:
    """One row `(1, T, I)`, slice after slice."""
    for level, n in zip(network.levels, (*network.slices, x.shape[1]), strict=True):
        x = torch.stack([level(x[:, k : k + n])[0][:, -1] for k in range(0, x.shape[1], n)], 1)
    return x[:, -1]


@pytest.mark.parametrize("cell", KINDS)
def test_the_sliced_network_equals_slice_after_slice(cell: str) -> None:
    network = sliced(cell)
    lengths = [7, 0, 4]
    x = X.clone()
    x[2, 4:] = torch.nan
    for n, given in ((7, X), (6, X[:, :6]), (1, X[:, :1])):
        torch.testing.assert_close(network(given)[0], torch.cat([loop(network, X[b : b + 1, :n]) for b in range(3)]))
    y = network(x, lengths=lengths)[0]
    assert not y[1].count_nonzero()
    for b in (0, 2):
        torch.testing.assert_close(y[b : b + 1], loop(network, X[b : b + 1, : lengths[b]]))


@pytest.mark.parametrize("cell", KINDS)
def test_the_sliced_network_streams(cell: str) -> None:
    network = sliced(cell, (6, 6, 6), (2, 2))
    steps, _ = streamed(network, X)
    for t in range(7):
        torch.testing.assert_close(steps[:, t], network(X[:, : t + 1])[0])


def test_gradients_of_the_sliced_network() -> None:
    network = sliced(["elman", "gru", "linear_rnn"], (3, 4, 2))
    assert network.output_size == 2
    gradients_are_right(network, X[:2], lengths=[7, 4])


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match="merge must be one of concat, sum, mean, gated, got 'max'"):
        two_way(merge="max")
    with pytest.raises(ArgumentError, match="'sum' needs both directions to be of one size, got 6 and 3"):
        two_way(merge="sum", reverse_size=3)
    with pytest.raises(ShapeError, match="TwoWay: expected a state of 2 parts, one for each direction, got a tensor"):
        two_way()(X, torch.zeros(2, 3, 6))
    with pytest.raises(ArgumentError, match="look_ahead must be at least 1 step, or None for the whole future, got 0"):
        separable(look_ahead=0)
    with pytest.raises(ArgumentError, match="reads all that comes after t, so it cannot run step by step"):
        separable().step(X[:, 0])
    with pytest.raises(ArgumentError, match="Separable answers 2 steps late"):
        Chain(separable("gru", 2)).step(X[:, 0])
    with pytest.raises(ShapeError, match=r"Separable: expected an input of shape \(B, T, 4\), got \(3, 7, 2\)"):
        separable()(X[:, :, :2])
    with pytest.raises(ArgumentError, match=r"each of 3 levels but the top, 2 numbers of at least 1, got \[3\]"):
        sliced(slices=(3,))
    with pytest.raises(ArgumentError, match="Sliced reads whole sequences from their beginning"):
        sliced()(X, (1,))
    with pytest.raises(ArgumentError, match="expected at least one step, got sequences of none"):
        sliced()(X[:, :0])
    with pytest.raises(ShapeError, match=r"lengths\[1\] is 9, but must be between 0"):
        sliced()(X, lengths=[1, 9, 1])

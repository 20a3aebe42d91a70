"""Stacks with ways around their layers, chains, and dropout between layers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from topology_laws import KINDS, gradients_are_right, rows_stand_alone, streams
from torch import Tensor

import recurra as rc
from recurra.core import Batch
from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks import LINKS, Chain, Deep, Dropping, Embedding, Readout, StreamingLayer, Synchronous, TwoWay

X = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


MIXED = ["elman", "lstm", "gru"]


def deep(cell: Any = "gru", links: str = "plain", sizes: tuple[int, ...] = (6, 6, 4), **options: Any) -> Deep:
    return Deep(cell, 4, sizes, links, backend="reference", **options).double()


@pytest.mark.parametrize("links", LINKS)
@pytest.mark.parametrize("cell", [*KINDS, MIXED], ids=str)
def test_a_stack_equals_a_plain_loop_over_its_layers(cell: Any, links: str) -> None:
    network = deep(cell, links, (6, 6, 4))
    below, outputs = X, [X]
    for k, layer in enumerate(network.layers):
        u = {"skip": torch.cat([below, X], 2) if k else X, "dense": torch.cat(outputs, 2)}.get(links, below)
        r = layer(u)[0]
        if links in ("add", "highway"):
            # The sizes are 4, 6, 6, 4: the middle layer alone needs no matrix around it.
            p = below if k == 1 else below @ network.around[k].get_parameter("weight").T
            g: Any = 1.0
            if links == "highway":
                gate = network.gates[k]
                g = torch.sigmoid(below @ gate.get_parameter("weight").T + gate.get_parameter("bias"))
                assert gate.get_parameter("bias").eq(-1).all()
                r = g * r + (1 - g) * p
            else:
                r = r + p
        below = r
        outputs.append(r)
    expected = torch.cat(outputs[1:], 2) if links in ("skip", "dense") else below
    torch.testing.assert_close(network(X)[0], expected)
    assert network.output_size == expected.shape[2]


@pytest.mark.parametrize("links", LINKS)
@pytest.mark.parametrize("cell", KINDS)
def test_stacks_stream_and_rows_stand_alone(links: str, cell: str) -> None:
    network = deep(cell, links)
    assert isinstance(network, StreamingLayer)
    streams(network, X)
    rows_stand_alone(network, X, [3, 0, 5])


@pytest.mark.parametrize("links", LINKS)
def test_gradients(links: str) -> None:
    gradients_are_right(deep("elman", links, (3, 2)), X[:, :3], lengths=[3, 1, 2])


def test_grids_go_through_all_links() -> None:
    def cell(i: int, h: int) -> rc.Cell:
        return rc.cells.get("conv_lstm")(i, h, grid=(2, 3))  # pyright: ignore[reportAttributeAccessIssue]

    x = torch.randn(2, 4, 4, 2, 3, dtype=torch.float64)
    for links in LINKS:
        network = deep(cell, links, (3, 2))
        streams(network, x)
        assert network(x)[0].shape == (2, 4, network.output_size, 2, 3)


def test_both_directions_refuse_to_step() -> None:
    network = deep(links="dense", bidirectional=True)
    assert network.output_size == 2 * (6 + 6 + 4)
    rows_stand_alone(network, X, [2, 5, 1])
    with pytest.raises(ArgumentError, match="a bidirectional network needs the whole sequence"):
        network.step(X[:, 0])


def test_rows_of_a_state_can_be_chosen_and_a_stack_serves_a_network() -> None:
    stack = deep("lstm", "add")
    network = Synchronous(Embedding(7, 4), stack, Readout(4, 7)).double()
    ids = torch.randint(0, 7, (3, 5))
    whole, state = network(Batch(ids))
    turned = rc.index_rows(state, [2, 0])
    one, _ = network.step(ids[[2, 0], 0], turned)
    torch.testing.assert_close(one, network.step(ids[:, 0], state)[0][[2, 0]])
    assert whole.shape == (3, 5, 7)


@pytest.mark.parametrize("over", ["units", "sequence", "layer"])
def test_what_is_dropped_together(over: str) -> None:
    dropping = Dropping(0.5, over)
    y = dropping(torch.ones(40, 6, 8))
    assert set(y.unique().tolist()) == {0.0, 2.0}
    assert bool((y == y[:, :1]).all()) == (over != "units")
    assert bool((y == y[:, :1, :1]).all()) == (over == "layer")
    assert torch.equal(dropping.eval()(y), y)
    assert torch.equal(dropping.step(y), y)
    dropping.train()
    if over == "units":
        assert 0 < dropping.step(torch.ones(400)).count_nonzero() < 400
    else:
        with pytest.raises(ArgumentError, match=r"one mask for a whole sequence.*call eval\(\) first"):
            dropping.step(y)


def test_a_dropped_layer_leaves_the_way_around_it() -> None:
    network = deep("elman", "add", (4, 4), dropout=0.9, dropped="layer")
    torch.manual_seed(1)
    y = network(X)[0]
    kept = (y != X).flatten(1).any(1)
    assert not kept.all()
    torch.testing.assert_close(y[~kept], X[~kept])
    assert not torch.equal(deep(dropout=0.5, dropped="sequence")(X)[0], deep()(X)[0])


def chain() -> Chain:
    made = Chain(
        rc.Recurrent("lstm", 4, 6, batch_first=True, backend="reference"), Deep(
            "gru", 6, [3, 3], "add", backend="reference"
        ),
    )  # fmt: skip
    return made.double()


def test_a_chain_is_its_parts() -> None:
    network = chain()
    assert (network.input_size, network.output_size) == (4, 3)
    below = network.parts[0](X)[0]
    torch.testing.assert_close(network(X)[0], network.parts[1](below)[0])
    streams(network, X)
    rows_stand_alone(network, X, [4, 1, 0])
    assert network.output_lengths([1, 2]) == [1, 2]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ArgumentError, match="expected one cell for each of 3 sizes, got 2 cells"):
        deep(["gru", "lstm"])
    with pytest.raises(ArgumentError, match="links must be one of plain, skip, add, highway, dense, got 'hop'"):
        deep(links="hop")
    with pytest.raises(ArgumentError, match="the hidden size of at least one layer"):
        deep(sizes=())
    with pytest.raises(ArgumentError, match="only links 'add' and 'highway' leave a way"):
        deep(dropped="layer")
    with pytest.raises(ShapeError, match=r"Deep: expected an input of shape \(B, T, 4\), got \(3, 5, 3\)"):
        deep()(X[:, :, :3])
    with pytest.raises(ShapeError, match="Deep: expected a state of 3 parts, one for each layer, got 2 parts"):
        deep()(X, (None, None))
    with pytest.raises(ArgumentError, match="Recurrent expects inputs of 5 features, but TwoWay below it gives 6"):
        Chain(TwoWay("gru", 4, 3), rc.Recurrent("gru", 5, 3, batch_first=True))
    with pytest.raises(ArgumentError, match="parts are batch first: give Recurrent batch_first=True"):
        Chain(rc.Recurrent("gru", 5, 3))
    with pytest.raises(ArgumentError, match="at least one part"):
        Chain()
    with pytest.raises(ArgumentError, match="reads from the right too"):
        Chain(TwoWay("gru", 4, 3)).step(X[:, 0].float())
    with pytest.raises(ArgumentError, match=r"Dropout has no `step`"):
        Chain(torch.nn.Dropout()).step(X[:, 0])
    with pytest.raises(ArgumentError, match=r"at least 0 and less than 1, got 1\.0"):
        Dropping(1.0)
    with pytest.raises(ArgumentError, match="one of units, sequence, layer, got 'time'"):
        Dropping(0.1, "time")


def test_fast_backends_agree_with_the_plain_loop() -> None:
    x = torch.randn(2, 6, 4)
    torch.manual_seed(3)
    fast = Deep("lstm", 4, [8, 8], "highway")
    plain = Deep("lstm", 4, [8, 8], "highway", backend="reference")
    plain.load_state_dict(fast.state_dict())
    outputs: list[Tensor] = [network(x, lengths=[6, 2])[0] for network in (fast, plain)]
    torch.testing.assert_close(*outputs)

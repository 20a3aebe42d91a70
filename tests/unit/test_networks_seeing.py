"""The two unusual stacks: states that see all steps of the layer below, or all layers of the step before; clocks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from topology_laws import KINDS, gradients_are_right, rows_stand_alone, streamed, streams
from torch import Tensor

import recurra as rc
from recurra import cells, wrappers
from recurra.core import StreamingNetwork
from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks import LOOKS, AllLayersCell, Deep, SeesAllBelow, SeesAllLayers

X = torch.randn(3, 5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def below(cell: Any = "gru", look: str = "attention", causal: bool = False, **options: Any) -> SeesAllBelow:
    return SeesAllBelow(cell, 4, options.pop("sizes", (6, 6, 5)), look, causal=causal, backend="reference").double()


def layers(cell: Any = "gru", gated: bool = False, sizes: tuple[int, ...] = (6, 6, 4)) -> SeesAllLayers:
    return SeesAllLayers(cell, 4, sizes, gated, backend="reference").double()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("cell", KINDS)
def test_every_step_sees_all_of_the_layer_below(cell: str, look: str, causal: bool) -> None:
    network = below(cell, look, causal)
    y = X
    for k, layer in enumerate(network.layers):
        if k:
            inputs: list[Tensor] = []
            for t in range(5):
                seen = y[:, : t + 1] if causal else y
                if look == "attention":
                    e = torch.einsum("bf,fg,bsg->bs", y[:, t], network.scores[k - 1], seen) / 6**0.5
                    c = (e.exp() / e.exp().sum(1, keepdim=True)).unsqueeze(2).mul(seen).sum(1)
                else:
                    c = seen.mean(1) if look == "mean" else seen.amax(1)
                inputs.append(torch.cat([y[:, t], c], 1))
            y = torch.stack(inputs, 1)
        y = layer(y)[0]
    torch.testing.assert_close(network(X)[0], y)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("cell", KINDS)
def test_rows_stand_alone_and_the_causal_form_streams(cell: str, look: str) -> None:
    sizes = (6, 6)
    rows_stand_alone(below(cell, look, sizes=sizes), X, [3, 0, 5])
    network = below(cell, look, causal=True, sizes=sizes)
    rows_stand_alone(network, X, [3, 0, 5])
    streams(network, X)


@pytest.mark.parametrize("look", LOOKS)
def test_streams_of_different_age_go_on_together(look: str) -> None:
    network = below("gru", look, causal=True)
    _, state = network(X, lengths=[1, 4, 0])
    later = torch.randn(3, 2, 4, dtype=torch.float64)
    y, final = network(later, state)
    torch.testing.assert_close(y[0], network(torch.cat([X[:1, :1], later[:1]], 1))[0][0, 1:])
    torch.testing.assert_close(y[1], network(torch.cat([X[1:2, :4], later[1:2]], 1))[0][0, 4:])
    torch.testing.assert_close(y[2], network(later[2:])[0][0])
    stepped, _ = streamed(network, later, state)
    torch.testing.assert_close(stepped, y)
    chosen = rc.index_rows(final, [2, 0])
    torch.testing.assert_close(network(X[:2], chosen)[0][1], network(X[1:2].expand(3, -1, -1), final)[0][0])


def test_attention_weights_are_seen_and_sum_to_one() -> None:
    weights = below(causal=True).weights(X, lengths=[5, 2, 0])
    assert [tuple(w.shape) for w in weights] == [(3, 5, 5)] * 2
    torch.testing.assert_close(weights[0][0].sum(1), torch.ones(5, dtype=torch.float64))
    assert not weights[0][0].triu(1).count_nonzero()
    assert not weights[1][1, :, 2:].count_nonzero()
    assert not weights[1][2].count_nonzero()
    assert below().weights(X)[0][0].count_nonzero() == 25
    with pytest.raises(ArgumentError, match="expected look 'attention' to have weights, got 'mean'"):
        below(look="mean").weights(X)


@pytest.mark.parametrize("look", LOOKS)
def test_gradients_through_all_steps(look: str) -> None:
    gradients_are_right(below("elman", look, sizes=(3, 2)), X[:2, :3], lengths=[3, 2])
    gradients_are_right(below("elman", look, True, sizes=(3, 2)), X[:2, :3], lengths=[3, 2])


def test_what_is_not_causal_cannot_step() -> None:
    with pytest.raises(ArgumentError, match=r"later ones too, so it cannot run step by step: make it with causal=True"):
        below().step(X[:, 0])
    with pytest.raises(ArgumentError, match="look must be one of attention, mean, max, got 'all'"):
        below(look="all")
    with pytest.raises(ShapeError, match=r"SeesAllBelow: expected an input of shape \(B, T, 4\), got \(3, 5, 2\)"):
        below()(X[:, :, :2])
    with pytest.raises(ShapeError, match="expected a state of 3 parts, one for each layer, got 1 parts"):
        below()(X, ((None,), ()))


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("kind", [*KINDS, ["elman", "lstm", "gru"]], ids=str)
def test_every_layer_sees_all_layers_of_the_step_before(kind: Any, gated: bool) -> None:
    network = layers(kind, gated)
    cell: Any = network.get_submodule("recurrent.layers.0.forward")
    assert isinstance(cell, AllLayersCell)
    states: list[Any] = [None] * 3
    before = [torch.zeros(3, size, dtype=torch.float64) for size in (6, 6, 4)]
    for t in range(5):
        y, now = X[:, t], list[Tensor]()
        for k in range(3):
            seen = before
            if gated:
                scores = [
                    y @ cell.gates_x[k][j] + torch.cat(before, 1) @ cell.gates_h[k][j] for j in range(3)
                ]  # fmt: skip
                seen = [b * torch.sigmoid(s).unsqueeze(1) for b, s in zip(before, scores, strict=True)]
            y, states[k] = cell.layers[k](torch.cat([y, *seen], 1), states[k])
            now.append(y)
        before = now
        torch.testing.assert_close(network(X)[0][:, t], y)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("cell", KINDS)
def test_the_stack_that_sees_layers_streams(cell: str, gated: bool) -> None:
    network = layers(cell, gated, (6, 6))
    assert isinstance(network, StreamingNetwork)
    streams(network, X)
    rows_stand_alone(network, X, [3, 0, 5])


def test_gradients_through_all_layers() -> None:
    gradients_are_right(layers(["elman", "gru"], True, (3, 2)), X[:2, :3], lengths=[3, 2])


def test_wrapped_layers_keep_their_contexts_apart() -> None:
    def dropped(i: int, h: int) -> rc.Cell:
        return wrappers.get("recurrent_dropout").of(cells.get("gru"), i, h, p=0.5)

    network = layers([dropped, dropped], sizes=(6, 6)).train()
    assert network(X)[0].shape == (3, 5, 6)
    streams(network.eval(), X)
    mixed = layers([dropped, "gru"], sizes=(6, 6)).train()
    with pytest.raises(ArgumentError, match=r"contexts of one form, all wrapped alike, got 1 \+ 0 entries, 0 \+ 0"):
        mixed(X)


def test_one_cell_of_layers_is_compiled_as_any() -> None:
    x = torch.randn(2, 6, 4)
    fast = SeesAllLayers("gru", 4, [8, 8], True)
    plain = SeesAllLayers("gru", 4, [8, 8], True, backend="reference")
    plain.load_state_dict(fast.state_dict())
    torch.testing.assert_close(fast(x)[0], plain(x)[0])
    assert "compiled" in str(rc.compile_report(fast))


def test_layers_have_clocks_of_different_rates() -> None:
    def slow(i: int, h: int) -> rc.Cell:
        return wrappers.get("clocked").of(cells.get("lstm"), i, h, period=3)

    network = Deep(["lstm", slow], 4, [4, 6], backend="reference").double()
    x = torch.randn(2, 8, 4, dtype=torch.float64)
    fast = network.layers[0](x)[0]
    inside: Any = network.get_submodule("layers.1.layers.0.forward.cell")
    state, held = None, None
    y = network(x)[0]
    for t in range(8):
        if t % 3 == 0:
            held, state = inside(fast[:, t], state)
        torch.testing.assert_close(y[:, t], held)
    streams(network, x)
    with pytest.raises(ArgumentError, match="the period must be at least 1 step, got 0"):
        wrappers.get("clocked").of(cells.get("lstm"), 2, 2, period=0)

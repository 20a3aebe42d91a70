"""A cell with attention, and a stack of layers, are cells like any other."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import recurra as rc
from recurra.core import Cell
from recurra.layers import Recurrent, cell_factory
from recurra.networks import (
    AttentionInputCell,
    AttentionOutputCell,
    Coverage,
    General,
    LocationAware,
    SoftAttention,
    stacked,
    with_attention,
)
from recurra.testing import check_cell

double = torch.float64


def test_layers_in_one_cell_equal_layers_upon_layers() -> None:
    one, many = Recurrent(stacked("lstm", 3), 3, 4).double(), Recurrent("lstm", 3, 4, 3).double()
    for target, source in zip(one.parameters(), many.parameters(), strict=True):
        target.data.copy_(source.data)
    x = torch.randn(5, 2, 3, dtype=double)
    y, (h0, c0, h1, *_) = one(x)
    expected, (h, c) = many(x)
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(torch.cat([h0, h1]), h[:2])
    torch.testing.assert_close(c0[0], c[0])


@pytest.mark.parametrize("form", [AttentionInputCell, AttentionOutputCell])
@pytest.mark.parametrize(
    "kind",
    [
        lambda q: SoftAttention(General(q, 5)),
        lambda q: Coverage(q, 5, 3, 7),
        lambda q: LocationAware(q, 5, 3, 7, filters=2, width=3),
    ],
    ids=["soft", "coverage", "location"],
)
def test_the_decoder_with_attention_is_a_cell_like_any(form: Any, kind: Any) -> None:
    """It streams, freezes at its rows' ends, may be cut anywhere, and runs under every backend."""
    layer = Recurrent(with_attention(stacked("gru", 2), kind, form), 3, 4, backend="reference").double()
    x, states = torch.randn(6, 3, 3, dtype=double), torch.randn(3, 5, 5, dtype=double)
    mask = torch.arange(5) < torch.tensor([5, 2, 0])[:, None]
    lengths = torch.tensor([6, 3, 4])
    y, final = layer(x, lengths=lengths, context=(states, mask))
    first, state = layer(x[:3], context=(states, mask))
    rest, state = layer(x[3:], state, lengths=lengths - 3, context=(states, mask))
    torch.testing.assert_close(torch.cat([first, rest]), y)
    torch.testing.assert_close(state, final)
    streamed, state = list[Tensor](), layer.initial_state(3)
    for t in range(6):
        now, state = layer.step(x[t], state, (states, mask), active=lengths > t)
        streamed.append(now)
    torch.testing.assert_close(torch.stack(streamed), y)
    torch.testing.assert_close(state, final)
    rows = [2, 0, 0]
    picked, _ = layer.step(x[0, rows], rc.index_rows(layer.initial_state(3), rows), (states[rows], mask[rows]))
    torch.testing.assert_close(picked, y[0, rows])
    layer.backend = "auto"
    torch.testing.assert_close(layer(x, lengths=lengths, context=(states, mask))[0], y)
    layer.backend = "hoisted"
    torch.testing.assert_close(layer(x, lengths=lengths, context=(states, mask))[0], y)


def test_it_keeps_every_law_of_a_cell_compiled_too() -> None:
    mask = torch.arange(5) < torch.tensor([5, 2, 0, 4, 1, 3])[:, None]

    def context(steps: int, batch: int) -> tuple[Tensor, Tensor]:
        return torch.randn(batch, 5, 6), mask[:batch]

    check_cell(with_attention("gru", lambda q: SoftAttention(General(q, 6))), 3, 4, context=context)


def test_zoneout_may_lie_around_and_within_the_attention() -> None:
    from recurra.wrappers import Zoneout

    def within(i: int, h: int) -> Cell:
        return Zoneout(cell_factory("gru")(i, h), 0.5)

    attending = with_attention(within, lambda q: SoftAttention(General(q, 5)))
    for cell in (attending, lambda i, h: Zoneout(attending(i, h), 0.5)):
        layer = Recurrent(cell, 3, 4)
        x, states = torch.randn(6, 3, 3), torch.randn(3, 5, 5)
        one, two = (layer(x, context=(states, None))[0] for _ in range(2))
        assert not torch.equal(one, two)
        layer.eval()
        assert torch.equal(*(layer(x, context=(states, None))[0] for _ in range(2)))

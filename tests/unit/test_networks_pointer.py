"""A decoder that may copy, beside the formula written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recurra import Batch
from recurra.core import Cell
from recurra.core.errors import ShapeError
from recurra.layers import Recurrent
from recurra.networks import (
    Additive,
    AttentionInputCell,
    CopyBridge,
    Decoder,
    Embedding,
    Encoder,
    EncoderDecoder,
    PointerCell,
    SoftAttention,
    UnknownBeyond,
    with_attention,
)

SYMBOLS, END, H = 6, 5, 4


def pointer_network(extra: int) -> EncoderDecoder:
    table = Embedding(SYMBOLS, 3)
    encoder = Encoder(UnknownBeyond(table, 0), Recurrent("gru", 3, H, batch_first=True), end=END)
    attending = with_attention("gru", lambda q: SoftAttention(Additive(q, H)))

    def cell(i: int, h: int) -> Cell:
        made = attending(i, h)
        assert isinstance(made, AttentionInputCell)
        return PointerCell(made, SYMBOLS, extra)

    layer = Recurrent(cell, 3, H, batch_first=True)
    decoder = Decoder(UnknownBeyond(table, 0), layer, nn.Identity(), end=END)
    return EncoderDecoder(encoder, decoder, start=CopyBridge(encoder.recurrent, layer)).double()


def test_a_pointer_mixes_choosing_and_copying() -> None:
    net = pointer_network(2)
    source = torch.tensor([[0, 6, 7, 6], [4, 4, 0, 0], [0, 0, 0, 0]])
    batch = Batch(source, torch.tensor([[6, 7], [4, 1], [2, 3]]), torch.tensor([4, 2, 0]))
    outputs, _ = net(batch)
    p = outputs.exp()
    torch.testing.assert_close(p.sum(-1), torch.ones_like(p[..., 0]))
    (cell,) = net.decoder.recurrent.layers[0].cells
    assert isinstance(cell, PointerCell)
    state, context = net.encode(batch)
    x = net.decoder.embed(torch.full((3,), END))
    flat = tuple(s[0] for s in state)
    done = cell.cell.attended(x, flat, (context[1], cell.cell.attention.prepare(context[1]), context[2]))
    for row, n in enumerate([4, 2, 0]):
        seen = torch.cat([done.y[row], done.context[row]])
        g = torch.sigmoid(cell.generate.weight[0] @ torch.cat([seen, x[row]]) + cell.generate.bias[0])
        expected = torch.cat([g * torch.softmax(cell.vocabulary(seen), 0), seen.new_zeros(2)])
        for j, symbol in enumerate([*source[row, :n].tolist(), END]):
            expected[symbol] += (1 - g) * done.weights[row, j]
        torch.testing.assert_close(p[row, 0], expected)
    assert p[1, 0, 6] < 1e-300
    with pytest.raises(ShapeError, match="from 0 to 7, got up to 8"):
        net(Batch(torch.tensor([[8]]), torch.tensor([[1]])))


def test_it_is_written_step_by_step_as_it_is_learned() -> None:
    net = pointer_network(1)
    batch = Batch(torch.tensor([[0, 6, 1], [4, 4, 0]]), torch.tensor([[6, 1], [4, 2]]), torch.tensor([3, 1]))
    outputs, _ = net(batch)
    expected, _ = net.expected(batch)
    state, context = net.encode(batch)
    symbols = torch.full((2,), END)
    for t in range(3):
        _, _, weights = net.attended_step(symbols, state, context)
        assert not bool(weights[1, 2:].any())
        scores, state = net.step(symbols, state, context)
        torch.testing.assert_close(scores, outputs[:, t])
        symbols = expected[:, t]

"""Encoder-decoder, with and without attention, over cells of all kinds, beside plain loops."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import recurra as rc
from recurra import Batch
from recurra.core import call_step
from recurra.core.errors import ArgumentError, ShapeError
from recurra.heads import Softmax
from recurra.layers import Recurrent, cell_factory
from recurra.networks import (
    Additive,
    AttentionInputCell,
    AttentionOutputCell,
    AttentionPooling,
    CopyBridge,
    Coverage,
    Decoder,
    Dot,
    Embedding,
    Encoder,
    EncoderDecoder,
    General,
    Joined,
    LastStep,
    LearnedBridge,
    MeanPooling,
    Readout,
    SoftAttention,
    TiedReadout,
    forced_steps,
    inverse_sigmoid_rate,
    stacked,
    with_attention,
)

SAMPLE = ["elman", "lstm", "gru", "clockwork", "neural_turing_machine"]
SYMBOLS, END, H = 6, 5, 4
SOURCE = torch.tensor([[0, 1, 2, 3], [4, 4, 0, 0], [0, 0, 0, 0]])
TARGET = torch.tensor([[2, 1, 0], [3, 0, 0], [1, 2, 3]])
BATCH = Batch(SOURCE, TARGET, torch.tensor([4, 2, 0]), target_lengths=torch.tensor([3, 0, 2]))
double = torch.float64


def network(
    cell: Any = "gru", *, context: str = "attention", reader: str = "gru", two_way: bool = False, **options: Any
) -> EncoderDecoder:
    """Return a network of the given context: attention, luong, copy, learned, all, every."""
    encoder = Encoder(Embedding(SYMBOLS, 3), Recurrent(reader, 3, H, bidirectional=two_way, batch_first=True), end=END)
    size = encoder.output_size
    pooled = {"all": MeanPooling, "every": LastStep.of}.get(context)
    every = LastStep.of(encoder.recurrent) if context == "every" else None
    if context in ("attention", "luong"):
        form = AttentionInputCell if context == "attention" else AttentionOutputCell
        cell = with_attention(cell, lambda q: SoftAttention(Additive(q, size, 3)), form)
    layer = Recurrent(cell, 3 + (every.output_size if every else 0), H, batch_first=True)
    bridge = None
    only = [0] if cell == "neural_turing_machine" else None  # Its weightings must stay weightings.
    if context == "copy":
        bridge = CopyBridge(encoder.recurrent, layer)
    elif context == "learned":
        bridge = LearnedBridge(LastStep.of(encoder.recurrent), layer, only)
    elif pooled is MeanPooling:
        bridge = LearnedBridge(AttentionPooling(size, 3), layer, only)
    decoder = Decoder(Embedding(SYMBOLS, 3), layer, Readout(layer.output_size, SYMBOLS), end=END, **options)
    return EncoderDecoder(encoder, decoder, start=bridge, every=every).to(double).eval()


def read(net: EncoderDecoder, ids: list[int]) -> tuple[list[Tensor], Any]:
    """Run the encoder's cell over one source and its end."""
    (cell,) = net.encoder.recurrent.layers[0].cells
    state, states = cell.initial_state(1, dtype=double), list[Tensor]()
    for i in [*ids, END]:
        h, state = cell.step(net.encoder.embed(torch.tensor([i])), state)
        states.append(h)
    return states, state


def written(net: EncoderDecoder, row: int, context: str) -> list[Tensor]:
    """Run encoder and decoder over one row of the batch, one plain step after another."""
    assert BATCH.lengths is not None
    assert BATCH.target_lengths is not None
    n, m = int(BATCH.lengths[row]), int(BATCH.target_lengths[row])
    states, final = read(net, SOURCE[row, :n].tolist())
    decoder = net.decoder
    (cell,) = decoder.recurrent.layers[0].cells
    inner = cell.cell if context in ("attention", "luong") else cell
    state = inner.initial_state(1, dtype=double)
    last = torch.zeros(1, *cell.output_shape, dtype=double)
    if context == "copy":
        state = final
    elif context in ("learned", "all"):
        c = (
            states[-1]
            if context == "learned"
            else net.start.pooling.pool(torch.stack(states, 1), torch.ones(1, n + 1) > 0)
        )
        maps = iter(net.start.maps)
        memory = len(state) > 3  # A neural Turing machine: only what it read is made by the bridge.
        state = tuple(
            torch.tanh(next(maps)(c)).view(s.shape) if s.is_floating_point() and not (k and memory) else s
            for k, s in enumerate(state)
        )
    outputs = []
    for i in [decoder.begin, *TARGET[row, :m].tolist()]:
        x = decoder.embed(torch.tensor([i]))
        if context == "every":
            x = torch.cat([x, states[-1]], 1)
        if context == "attention":
            e = torch.stack(
                [cell.attention.score(last, cell.attention.score.prepare(h[None])[0][None])[0, 0] for h in states]
            )
            a = torch.exp(e) / torch.exp(e).sum()
            c = sum(weight * h for weight, h in zip(a, states, strict=True))
            last, state = call_step(inner, torch.cat([x, c], 1), state, ())
            y = last
        elif context == "luong":
            h, state = call_step(inner, torch.cat([x, last], 1), state, ())
            e = torch.stack(
                [cell.attention.score(h, cell.attention.score.prepare(s[None])[0][None])[0, 0] for s in states]
            )
            a = torch.exp(e) / torch.exp(e).sum()
            c = sum(weight * s for weight, s in zip(a, states, strict=True))
            y = last = torch.tanh(cell.joined.weight @ torch.cat([c, h], 1)[0])[None]
        else:
            y, state = call_step(inner, x, state, ())
        outputs.append(decoder.readout(y)[0])
    return outputs


@pytest.mark.parametrize("context", ["attention", "luong", "learned", "all", "every", "copy"])
@pytest.mark.parametrize("cell", SAMPLE)
def test_every_context_over_every_cell_equals_a_plain_loop(cell: str, context: str) -> None:
    net = network(cell, context=context, reader=cell if context == "copy" else "gru")
    outputs, _ = net(BATCH)
    assert BATCH.target_lengths is not None
    for row, m in enumerate(BATCH.target_lengths.tolist()):
        torch.testing.assert_close(outputs[row, : m + 1], torch.stack(written(net, row, context)))


@pytest.mark.parametrize("context", ["attention", "luong", "learned", "every", "copy"])
def test_steps_equal_the_whole(context: str) -> None:
    net = network("lstm", context=context, reader="lstm")
    outputs, _ = net(BATCH)
    state, given = net.encode(BATCH)
    symbols = torch.full((3,), net.decoder.begin)
    expected, mask = net.expected(BATCH)
    for t in range(expected.shape[1]):
        scores, state = net.step(symbols, state, given)
        torch.testing.assert_close(scores[mask[:, t]], outputs[mask[:, t], t])
        symbols = expected[:, t]


def test_the_end_counts_and_padding_does_not() -> None:
    net = network()
    expected, mask = net.expected(BATCH)
    assert expected.tolist() == [[2, 1, 0, END], [END] * 4, [1, 2, END, END]]
    assert mask.sum(1).tolist() == [4, 1, 3]
    outputs, _ = net(BATCH)
    loss = Softmax().loss(outputs, expected, mask)
    by_hand = -sum(
        written(net, row, "attention")[t].log_softmax(-1)[symbol]
        for row, symbols in enumerate([[2, 1, 0, END], [END], [1, 2, END]])
        for t, symbol in enumerate(symbols)
    )
    torch.testing.assert_close(loss, by_hand)


def test_what_lies_in_the_padding_has_no_influence() -> None:
    net = network()
    other = Batch(
        torch.where(torch.arange(4) < torch.tensor([4, 2, 0])[:, None], SOURCE, 4), TARGET, BATCH.lengths,
        target_lengths=BATCH.target_lengths,
    )  # fmt: skip
    torch.testing.assert_close(net(BATCH)[0], net(other)[0], rtol=0, atol=0)
    wider = Batch(torch.cat([SOURCE, SOURCE], 1), TARGET, BATCH.lengths, target_lengths=BATCH.target_lengths)
    torch.testing.assert_close(net(BATCH)[0], net(wider)[0])


def test_the_keys_are_prepared_once_for_all_steps() -> None:
    net = network()
    (attention,) = net.decoder.attentions()
    calls: list[int] = []
    attention.get_submodule("score.key").register_forward_hook(lambda *_: calls.append(1))
    state, given = net.encode(BATCH)
    for _ in range(3):
        _, state = net.step(torch.zeros(3, dtype=torch.int64), state, given)
        net.attended_step(torch.zeros(3, dtype=torch.int64), state, given)
    assert len(calls) == 1


def test_rows_of_state_and_context_are_chosen_together() -> None:
    net = network("lstm")
    state, given = net.encode(BATCH)
    symbols, rows = torch.tensor([1, 2, 3]), [2, 0, 0, 1]
    whole, _ = net.step(symbols, state, given)
    some, _ = net.step(symbols[rows], rc.index_rows(state, rows), rc.index_rows(given, rows))
    torch.testing.assert_close(some, whole[rows])


def test_each_row_ends_with_its_own_end() -> None:
    net = network("lstm")
    outputs, final = net(BATCH)
    expected, mask = net.expected(BATCH)
    for row, n in enumerate(mask.sum(1).tolist()):
        state, given = net.encode(BATCH)
        symbols = torch.full((3,), net.decoder.begin)
        for t in range(n):
            _, state = net.step(symbols, state, given)
            symbols = expected[:, t]
        torch.testing.assert_close([s[:, row] for s in final], [s[:, row] for s in state])
    padding = net.decoder.readout(torch.zeros(H, dtype=double)).expand_as(outputs)
    torch.testing.assert_close(outputs[~mask], padding[~mask])


def test_a_reversed_source_is_the_source_reversed() -> None:
    net = network()
    back = network()
    back.load_state_dict(net.state_dict())
    back.encoder.backwards = True
    turned = Batch(torch.tensor([[3, 2, 1, 0], [4, 4, 1, 1], [2, 2, 2, 2]]), TARGET, BATCH.lengths)
    torch.testing.assert_close(back(Batch(SOURCE, TARGET, BATCH.lengths))[0], net(turned)[0])


def test_without_feedback_the_decoder_does_not_hear_the_symbols() -> None:
    net = network(feedback=False)
    other = Batch(SOURCE, TARGET.flip(1), BATCH.lengths, target_lengths=BATCH.target_lengths)
    torch.testing.assert_close(net(BATCH)[0], net(other)[0], rtol=0, atol=0)
    heard = network()
    assert not torch.allclose(heard(BATCH)[0], heard(other)[0])


def test_forcing_ranges_from_the_true_symbols_to_the_networks_own() -> None:
    net = network()
    batch = Batch(SOURCE, TARGET, BATCH.lengths)
    whole, _ = net(batch)
    torch.testing.assert_close(net(batch, torch.ones(3, 4, dtype=torch.bool))[0], whole)
    own, _ = net(batch, torch.zeros(3, 4, dtype=torch.bool))
    state, context = net.encode(batch)
    symbols = torch.full((3,), END)
    for t in range(4):
        scores, state = net.step(symbols, state, context)
        torch.testing.assert_close(own[:, t], scores)
        symbols = scores.argmax(-1)
    with pytest.raises(ShapeError, match=r"bool tensor of shape \(3, 4\)"):
        net(batch, torch.ones(3, 3, dtype=torch.bool))
    assert forced_steps(50, 40, 0.3, torch.Generator().manual_seed(0)).double().mean().item() == pytest.approx(
        0.3, abs=0.03
    )
    rates = [inverse_sigmoid_rate(k, 100.0) for k in (0, 460, 2000)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > 0.98
    assert rates[1] == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ArgumentError, match="probability"):
        forced_steps(1, 1, 1.5)


@pytest.mark.parametrize(("reader", "layers"), [("lstm", 1), ("elman", 2), ("clockwork", 1)])
def test_a_bridge_joins_different_cells_depths_and_directions(reader: str, layers: int) -> None:
    encoder = Encoder(
        Embedding(SYMBOLS, 3), Recurrent(reader, 3, 6, layers, bidirectional=True, batch_first=True), end=END
    )
    layer = Recurrent("lstm", 2, 5, 2, batch_first=True)
    bridge = LearnedBridge(Joined(12, 5), layer)
    decoder = Decoder(Embedding(SYMBOLS, 2), layer, Readout(5, SYMBOLS), end=END)
    net = EncoderDecoder(encoder, decoder, start=bridge).to(double)
    outputs, (h, c) = net(BATCH)
    assert outputs.shape == (3, 4, SYMBOLS)
    assert h.shape == c.shape == (2, 3, 5)
    outputs.sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in bridge.parameters())


def test_copying_needs_equal_states() -> None:
    encoder = Recurrent("lstm", 3, 4, 2, batch_first=True)
    attending = with_attention(stacked("lstm", 2), lambda q: SoftAttention(Dot(q, 4)))
    CopyBridge(encoder, Recurrent(attending, 3, 4, batch_first=True))
    with pytest.raises(ShapeError, match=r"CopyBridge: .*\(4,\).*\(5,\).*LearnedBridge"):
        CopyBridge(encoder, Recurrent("lstm", 3, 5, 2, batch_first=True))
    with pytest.raises(ShapeError, match="LearnedBridge"):
        CopyBridge(encoder, Recurrent("lstm", 3, 4, batch_first=True))


def test_the_first_query_is_the_bridges_state() -> None:
    net = network("elman", context="attention", reader="elman")
    layer = net.decoder.recurrent
    net.start = CopyBridge(net.encoder.recurrent, layer)
    state, context = net.encode(BATCH)
    h, last = state
    torch.testing.assert_close(h, last)
    _, _, weights = net.attended_step(torch.full((3,), END), state, context)
    (cell,) = layer.layers[0].cells
    _, expected = cell.attention(last[0], context[1], context[2])
    torch.testing.assert_close(weights, expected)


def test_a_tied_table_serves_at_both_ends() -> None:
    table = Embedding(SYMBOLS, 3, 0.1)
    encoder = Encoder(Embedding(SYMBOLS, 3), Recurrent("gru", 3, H, batch_first=True), end=END)
    layer = Recurrent("gru", 3, H, batch_first=True)
    decoder = Decoder(table, layer, TiedReadout(H, table), end=END, begin=0)
    net = EncoderDecoder(encoder, decoder, start=CopyBridge(encoder.recurrent, layer))
    shapes = [tuple(v.shape) for k, v in net.state_dict().items() if k.startswith("decoder.") and "recurrent" not in k]
    assert shapes.count((SYMBOLS, 3)) == 1
    assert net.decoder.begin == 0
    assert net(BATCH)[0].shape == (3, 4, SYMBOLS)


def test_weights_are_returned_for_drawing() -> None:
    net = network()
    weights = net.attention(BATCH)
    assert weights.shape == (3, 4, 5)
    torch.testing.assert_close(weights[0].sum(1), torch.ones(4, dtype=double))
    assert not bool(weights[0, :, 5:].any())
    assert not bool(weights[1, 1:].any())
    assert not bool(weights[1, 0, 3:].any())
    with pytest.raises(ArgumentError, match="weights are to be had"):
        network(context="copy").attention(BATCH)


@pytest.mark.parametrize("context", ["attention", "luong", "learned", "every", "copy"])
def test_gradients_are_right(context: str) -> None:
    net = network(context=context)
    table = net.encoder.embed.get_parameter("weight")

    def run(values: Tensor) -> Tensor:
        return torch.func.functional_call(net, {"encoder.embed.weight": values}, (BATCH,))[0]

    assert torch.autograd.gradcheck(run, table.detach().requires_grad_(), fast_mode=True)


def test_sizes_that_do_not_fit_are_named() -> None:
    encoder = Encoder(Embedding(SYMBOLS, 3), Recurrent("gru", 3, H, batch_first=True), end=END)
    plain = Recurrent("gru", 3, H, batch_first=True)
    embed, readout = Embedding(SYMBOLS, 2), Readout(H, SYMBOLS)
    with pytest.raises(ArgumentError, match="nothing of the source"):
        EncoderDecoder(encoder, Decoder(embed, plain, readout, end=END))
    short = EncoderDecoder(encoder, Decoder(embed, plain, readout, end=END), start=CopyBridge(encoder.recurrent, plain))
    with pytest.raises(ShapeError, match="takes inputs of 3, but a symbol's vector has 2 and c 0"):
        short(BATCH)
    attending = Recurrent(with_attention("gru", lambda q: SoftAttention(General(q, 7))), 2, H, batch_first=True)
    with pytest.raises(ShapeError, match="encoder states of 7, but the encoder gives 4"):
        EncoderDecoder(encoder, Decoder(embed, attending, readout, end=END))
    with pytest.raises(ShapeError, match="pools 9 features, but the encoder gives 4"):
        EncoderDecoder(encoder, Decoder(embed, plain, readout, end=END), every=MeanPooling(9))
    with pytest.raises(ArgumentError, match="needs the encoder's states"):
        attending(torch.zeros(1, 2, 2))
    with pytest.raises(ShapeError, match="queries of 3, but GRUCell gives outputs of 4"):
        AttentionInputCell(2, cell_factory("gru")(6, 4), SoftAttention(General(3, 4)))
    with pytest.raises(ShapeError, match="must take inputs of 6"):
        AttentionInputCell(2, cell_factory("gru")(5, 4), SoftAttention(General(4, 4)))
    short_sighted = Recurrent(with_attention("gru", lambda q: Coverage(q, H, 3, 4)), 2, H, batch_first=True)
    with pytest.raises(ShapeError, match="Coverage: expected at most positions=4 encoder states, got 5: give more"):
        EncoderDecoder(encoder, Decoder(embed, short_sighted, readout, end=END))(BATCH)
    with pytest.raises(ArgumentError, match="int64 ids"):
        encoder(torch.zeros(2, 3, 3))


def test_it_draws_itself() -> None:
    for context in ("attention", "every", "copy"):
        assert "<svg" in rc.draw(network(context=context), steps=3).svg
    assert "<svg" in rc.draw(network().decoder.recurrent.layers[0].cells[0]).svg

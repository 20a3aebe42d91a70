"""Beam search beside greedy choice and exhaustive enumeration; free running from a state; the repetition penalty."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recurra import Batch
from recurra.core.errors import ArgumentError
from recurra.decoding import BeamOptions, Greedy, Hypothesis, RepetitionPenalty, beam_search, cut_at, run_on
from recurra.layers import Recurrent
from recurra.networks import (
    Additive,
    CopyBridge,
    Decoder,
    Embedding,
    Encoder,
    EncoderDecoder,
    OneToMany,
    Readout,
    SoftAttention,
    with_attention,
)

SYMBOLS, END, H = 4, 0, 5
SOURCE = Batch(torch.tensor([[1, 2, 3], [3, 3, 1], [2, 1, 1]]), lengths=torch.tensor([3, 1, 2]))


def network(seed: int = 0) -> EncoderDecoder:
    """Return a network whose choices are far from even."""
    torch.manual_seed(seed)
    encoder = Encoder(Embedding(SYMBOLS, 3), Recurrent("gru", 3, H, batch_first=True), end=END)
    attending = with_attention("gru", lambda q: SoftAttention(Additive(q, H)))
    layer = Recurrent(attending, 3, H, batch_first=True, backend="reference")
    decoder = Decoder(Embedding(SYMBOLS, 3), layer, Readout(H, SYMBOLS), end=END)
    net = EncoderDecoder(encoder, decoder, start=CopyBridge(encoder.recurrent, layer)).double().eval()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(2.5)
    return net


def search(net: EncoderDecoder, options: BeamOptions, *, weights: bool = False) -> list[list[Hypothesis]]:
    state, context = net.encode(SOURCE)
    first = torch.full((3,), net.decoder.begin)
    step = net.attended_step if weights else net.step
    return beam_search(step, first, state, end=END, context=context, mask=context[2], options=options)


@torch.no_grad()
def enumerate_all(net: EncoderDecoder, row: int, options: BeamOptions) -> list[Hypothesis]:
    """Score every sequence of one row that the options allow, each by one teacher-forced call."""
    assert SOURCE.lengths is not None
    source = SOURCE.inputs[row : row + 1, : int(SOURCE.lengths[row])]
    found = []
    for n in range(options.min_length, options.max_length + 1):
        for ids in itertools.product(range(1, SYMBOLS), repeat=n):
            if set(ids) & set(options.forbidden) or any(t >= n or ids[t] != i for t, i in options.forced.items()):
                continue
            batch = Batch(source, torch.tensor([ids], dtype=torch.int64).reshape(1, n))
            log_p = net(batch)[0][0].log_softmax(-1)
            total = sum(float(log_p[t, i]) for t, i in enumerate([*ids, END]))
            covered = 0.0
            if options.coverage_penalty:
                seen = net.attention(batch)[0].sum(0)
                covered = sum(math.log(min(float(s), 1.0)) for s in seen)
            length = ((5 + n + 1) / 6) ** options.length_penalty
            found.append(Hypothesis(ids, total / length + options.coverage_penalty * covered, total))
    return sorted(found, key=lambda h: -h.score)


@pytest.mark.parametrize(
    "options",
    [
        BeamOptions(),
        BeamOptions(length_penalty=1.0),
        BeamOptions(length_penalty=2.5, n_best=4),
        BeamOptions(length_penalty=-1.0, n_best=3),
        BeamOptions(coverage_penalty=0.7, length_penalty=0.6, n_best=3),
        BeamOptions(min_length=2, n_best=5),
        BeamOptions(forbidden=(2,), n_best=3),
        BeamOptions(forced={0: 3, 1: 1}, n_best=2),
        BeamOptions(max_length=0),
    ],
    ids=str,
)
def test_full_width_equals_exhaustive_search(options: BeamOptions) -> None:
    net = network()
    wide = BeamOptions(**{**vars(options), "width": 3**3, "max_length": min(options.max_length, 3)})
    found = search(net, wide, weights=bool(options.coverage_penalty))
    for row in range(3):
        expected = enumerate_all(net, row, wide)[: wide.n_best]
        assert [h.ids for h in found[row]] == [h.ids for h in expected]
        for one, other in zip(found[row], expected, strict=True):
            assert one.score == pytest.approx(other.score, rel=1e-9)
            assert one.log_probability == pytest.approx(other.log_probability, rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_width_one_equals_greedy(seed: int) -> None:
    net = network(seed)
    found = search(net, BeamOptions(width=1, max_length=9))
    state, context = net.encode(SOURCE)
    greedy = run_on(net.step, torch.full((3,), END), state, 9, Greedy(), context=context, stop=END)
    assert [list(h.ids) for (h,) in found] == cut_at(greedy, END)


@pytest.mark.parametrize("alpha", [0.0, 1.0])
def test_stopping_early_changes_nothing(alpha: float, monkeypatch: pytest.MonkeyPatch) -> None:
    options = BeamOptions(width=3, n_best=2, max_length=12, length_penalty=alpha)
    early = [search(network(seed), options) for seed in range(6)]
    monkeypatch.setattr("recurra.decoding.beam._done", lambda *_: False)
    late = [search(network(seed), options) for seed in range(6)]
    assert [[[h.ids for h in row] for row in rows] for rows in early] == [
        [[h.ids for h in row] for row in rows] for rows in late
    ]


def test_it_stops_early() -> None:
    calls = 0

    def step(ids: Tensor, state: Any, context: Any) -> tuple[Tensor, Any]:
        nonlocal calls
        calls += 1
        return torch.tensor([[5.0, 0.0, 0.0]]).expand(len(ids), 3), state

    (best,) = beam_search(step, torch.zeros(1, dtype=torch.int64), (), end=0, options=BeamOptions(max_length=50))
    assert best[0].ids == ()
    assert calls == 1


def test_what_is_long_may_still_overtake_what_ended_early() -> None:
    def step(ids: Tensor, state: Tensor, context: Any) -> tuple[Tensor, Tensor]:
        # Half of all ends at once; the other half writes 1, 1, 1, 1, 1 for sure.
        p = torch.where(state[0] == 0, torch.tensor([0.6, 0.4]), torch.tensor([1e-9, 1.0]))
        p = torch.where(state[0] == 5, torch.tensor([1.0, 1e-9]), p)
        return p.log(), state + 1

    def best(alpha: float) -> Hypothesis:
        options = BeamOptions(width=2, max_length=9, length_penalty=alpha)
        first, state = torch.zeros(1, dtype=torch.int64), torch.zeros(1, 1, 1)
        return beam_search(step, first, state, end=0, options=options)[0][0]

    assert best(0.0).ids == ()
    assert best(1.0).ids == (1, 1, 1, 1, 1)
    assert best(1.0).score == pytest.approx(math.log(0.4) / (11 / 6), abs=1e-6)


def test_rows_do_not_hear_each_other() -> None:
    net, options = network(), BeamOptions(width=3, n_best=3, max_length=6, length_penalty=0.8)
    together = search(net, options)
    assert SOURCE.lengths is not None
    for row in range(3):
        state, context = net.encode(Batch(SOURCE.inputs[row : row + 1], lengths=SOURCE.lengths[row : row + 1]))
        (alone,) = beam_search(net.step, torch.tensor([END]), state, end=END, context=context, options=options)
        assert [h.ids for h in alone] == [h.ids for h in together[row]]


def test_a_wider_beam_finds_what_greedy_misses() -> None:
    # 1 looks better at first, but only 2 leads to a sure end.
    table = torch.tensor([[0.0, 0.55, 0.45, 0.0], [0.4, 0.0, 0.0, 0.6], [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])

    def step(ids: Tensor, state: Any, context: Any) -> tuple[Tensor, Any]:
        return table[ids].log(), state

    def found(width: int) -> tuple[int, ...]:
        first = torch.zeros(1, dtype=torch.int64)
        return beam_search(step, first, (), end=0, options=BeamOptions(width=width, max_length=5))[0][0].ids

    assert found(1) == (1, 3)
    assert found(2) == (2,)


def test_what_cannot_be_is_refused() -> None:
    for options in ({"width": 0}, {"n_best": 0}, {"min_length": 3, "max_length": 2}):
        with pytest.raises(ArgumentError, match="min_length <= max_length"):
            BeamOptions(**options)
    with pytest.raises(ArgumentError, match="both forced and forbidden"):
        BeamOptions(forbidden=(1, 2), forced={0: 2})
    with pytest.raises(ArgumentError, match="penalties"):
        BeamOptions(coverage_penalty=-1.0)
    with pytest.raises(ArgumentError, match=r"returns \(scores, state, weights\)"):
        search(network(), BeamOptions(coverage_penalty=0.5))


def test_one_to_many_runs_freely_until_its_end() -> None:
    rnn = Recurrent("gru", 3, H, batch_first=True)
    net = OneToMany(nn.Identity(), rnn, nn.Linear(H, SYMBOLS), 6)
    x = torch.randn(4, 3)
    with torch.no_grad():
        expected = net(Batch(x))[0].argmax(-1)
    ids = run_on(lambda _, state, __: net.step(x, state), torch.zeros(4), net.initial_state(4), 6, Greedy(), stop=END)
    wanted = [row[: row.index(END)] if END in row else row for row in expected.tolist()]
    assert cut_at(ids, END) == wanted
    assert list(run_on(lambda *_: (), x, (), 0, Greedy())) == []


def test_the_repetition_penalty_makes_what_was_chosen_less_likely() -> None:
    scores = torch.tensor([[2.0, 1.9, -1.0], [-0.5, -0.9, -0.7]])
    choose = RepetitionPenalty(Greedy(), 1.5)
    assert choose(scores).tolist() == [0, 0]
    assert choose(scores).tolist() == [1, 2]  # 2 / 1.5 < 1.9; -0.5 * 1.5 < -0.7
    assert choose(scores).tolist() == [0, 0]  # 2 / 1.5 > 1.9 / 1.5; -0.75 > -0.9
    seen = RepetitionPenalty(Greedy(), 1.5, torch.tensor([[0], [1]]))
    assert seen(scores).tolist() == [1, 0]
    same = RepetitionPenalty(Greedy(), 1.0)
    assert [same(scores).tolist() for _ in range(2)] == [[0, 0]] * 2
    with pytest.raises(ArgumentError, match="above 0"):
        RepetitionPenalty(Greedy(), 0.0)

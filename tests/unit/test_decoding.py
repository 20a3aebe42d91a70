"""Choosing symbols, free running, and stopping at a text."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from recurra.core import Batch
from recurra.core.errors import ArgumentError
from recurra.decoding import Greedy, Sampler, free_run, until
from recurra.layers import Recurrent
from recurra.networks import Embedding, Readout, Synchronous


def by_hand(scores: list[float], temperature: float, top_k: int, top_p: float) -> list[float]:
    weights = [math.exp((score - max(scores)) / temperature) for score in scores]
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))
    kept = order[:top_k] if top_k else order
    total = sum(weights[i] for i in kept)
    nucleus, reached = [], 0.0
    for i in kept:
        if reached >= top_p:
            break
        nucleus.append(i)
        reached += weights[i] / total
    total = sum(weights[i] for i in nucleus)
    return [weights[i] / total if i in nucleus else 0.0 for i in range(len(scores))]


@given(
    st.lists(st.sampled_from([-2.0, -0.5, 0.0, 0.25, 1.0, 1.5, 3.0]), min_size=1, max_size=6),
    st.sampled_from([0.3, 1.0, 2.0]),
    st.integers(0, 7),
    st.sampled_from([0.011, 0.347, 0.613, 0.923, 1.0]),
)
def test_the_distribution_equals_brute_force(scores: list[float], temperature: float, top_k: int, top_p: float) -> None:
    p = Sampler(temperature, top_k, top_p).probabilities(torch.tensor([scores, scores[::-1]]))
    for row, given_scores in zip(p.tolist(), (scores, scores[::-1]), strict=True):
        assert row == pytest.approx(by_hand(given_scores, temperature, top_k, top_p), abs=1e-9)


def test_draws_follow_the_distribution() -> None:
    scores = torch.tensor([[0.0, 1.0, 2.0, -1.0]])
    sampler = Sampler(0.7, top_k=3, seed=1)
    drawn = sampler(scores.expand(20_000, 4))
    frequencies = torch.bincount(drawn, minlength=4) / 20_000
    torch.testing.assert_close(frequencies.double(), sampler.probabilities(scores)[0], atol=0.015, rtol=0)
    assert frequencies[3] == 0


def test_extremes_equal_the_greedy_choice() -> None:
    scores = torch.tensor([[1.0, 5.0, 5.0, 2.0], [9.0, 9.0, 9.0, 9.0]])
    for sampler in (Sampler(1e-300), Sampler(top_k=1), Sampler(top_p=1e-12)):
        if sampler.temperature == 1.0:
            assert sampler(scores).tolist() == Greedy()(scores).tolist() == [1, 0]
        assert bool(torch.isfinite(sampler.probabilities(scores)).all())


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0}, {"temperature": math.inf}, {"temperature": math.nan}, {"top_k": -1}, {"top_p": 0.0},
        {"top_p": 1.1}, {"seed": -1}, {"seed": 2**63},
    ],
    ids=str,
)  # fmt: skip
def test_values_outside_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ArgumentError, match=r"must be"):
        Sampler(**options)  # type: ignore[arg-type]


def network(symbols: int = 7) -> Synchronous:
    return Synchronous(Embedding(symbols, 4), Recurrent("gru", 4, 5, 2, batch_first=True), Readout(5, symbols)).eval()


def test_free_running_feeds_its_own_choice_back() -> None:
    net, prompt = network(), torch.tensor([[1, 2, 3], [6, 5, 4]])
    ids = torch.stack(list(free_run(net, prompt, 9, Greedy())), 1)
    whole = torch.cat([prompt, ids], 1)
    with torch.no_grad():
        outputs, _ = net(Batch(whole))
    assert outputs.argmax(-1)[:, 2:-1].tolist() == ids.tolist()


def test_a_row_that_ended_repeats_its_end_and_the_run_ends_with_the_last() -> None:
    turn = iter([[1, 3], [0, 3], [2, 3], [5, 0], [4, 4]])
    found = free_run(network(), torch.ones(2, 1, dtype=torch.int64), 9, lambda _: torch.tensor(next(turn)), stop=0)
    assert [ids.tolist() for ids in found] == [[1, 3], [0, 3], [0, 3], [0, 0]]


def test_an_empty_prompt_is_refused_and_no_mode_leaks() -> None:
    with pytest.raises(ArgumentError, match="at least one symbol"):
        next(free_run(network(), torch.ones(1, 0, dtype=torch.int64), 3, Greedy()))
    next(free_run(network(), torch.ones(1, 1, dtype=torch.int64), 3, Greedy()))
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


@given(st.text("ab", max_size=12), st.text("ab", min_size=1, max_size=4), st.lists(st.integers(0, 12), max_size=5))
@example("ab", "ab", [1])
@example("baab", "aab", [3])
@example("aabab", "abab", [1, 2, 3, 4])
def test_until_is_exact_wherever_the_pieces_end(text: str, stop: str, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    pieces = [text[a:b] for a, b in pairwise(edges)]
    assert "".join(until(pieces, stop)) == text.split(stop)[0]


def test_until_holds_back_no_more_than_it_must() -> None:
    assert list(until(["one", " tw", "o"], "twice")) == ["one", " ", "two"]

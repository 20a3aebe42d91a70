"""The n-gram model against counting by hand."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recurra.core.errors import ArgumentError
from recurra.data import NGram, StreamReader

SIZE = 4
texts = st.lists(st.lists(st.integers(0, SIZE - 1), max_size=15), min_size=1, max_size=4)


def by_hand(train: list[list[int]], history: list[int], token: int) -> float:
    """Witten-Bell, straight from its definition: the history is taken whole and shortened from its old end."""
    counts: Counter[int] = Counter()
    for text in train:
        for place in range(1, len(text)):
            before = text[:place]
            if len(before) >= len(history) and before[len(before) - len(history) :] == history:
                counts[text[place]] += 1
    lower = by_hand(train, history[1:], token) if history else 1 / SIZE
    total, kinds = sum(counts.values()), len(counts)
    return (counts[token] + kinds * lower) / (total + kinds) if total else lower


def arrays(documents: list[list[int]]) -> list[np.ndarray]:
    return [np.array(document, dtype=np.int64) for document in documents]


@settings(max_examples=60, deadline=None)
@given(texts, texts, st.integers(1, 4))
def test_the_score_is_what_counting_by_hand_gives(train, test, order):
    model = NGram(order, SIZE).fit(arrays(train))
    wanted = [
        by_hand(train, text[max(0, place - order + 1) : place], text[place])
        for text in test
        for place in range(1, len(text))
    ]
    nats, tokens = model.nats(arrays(test))
    assert tokens == len(wanted)
    assert nats == pytest.approx(-math.fsum(map(math.log, wanted)), rel=1e-9, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(texts, st.lists(st.integers(0, SIZE - 1), max_size=6), st.integers(1, 4))
def test_probabilities_are_those_by_hand_and_add_up_to_one(train, history, order):
    given_history = history[max(0, len(history) - order + 1) :]
    probability = NGram(order, SIZE).fit(arrays(train)).probabilities(history)
    assert probability.sum() == pytest.approx(1)
    assert probability.tolist() == pytest.approx([by_hand(train, given_history, token) for token in range(SIZE)])


@given(st.lists(st.integers(0, 20), min_size=1, max_size=5).filter(lambda sizes: max(sizes) > 1))
def test_it_scores_as_many_tokens_as_the_streams_predict(sizes):
    documents = [np.zeros(size, dtype=np.int64) for size in sizes]
    assert NGram(2, 2).fit(documents).nats(documents)[1] == StreamReader(documents, 3, 4).predictions


def test_a_large_vocabulary_and_a_high_order_do_not_overflow():
    text = np.random.default_rng(0).integers(0, 100_000, 2000)
    model = NGram(8, 100_000).fit([text])
    nats, tokens = model.nats([text])
    assert 0 < nats / tokens < math.log(100_000) / 2


def test_samples_go_on_as_the_text_did_and_repeat_with_the_seed():
    text = np.tile([0, 1, 2, 3], 500)
    model = NGram(3, SIZE).fit([text])
    written = model.sample([0, 1], 200, np.random.default_rng(1))
    assert written.shape == (200,)
    assert np.mean((np.diff(written) - 1) % SIZE == 0) > 0.95
    assert written[0] == 2
    assert np.array_equal(written, model.sample([0, 1], 200, np.random.default_rng(1)))
    assert len(model.sample([], 5, np.random.default_rng(1))) == 5
    assert len(model.sample([2], 0, np.random.default_rng(1))) == 0


def test_samples_follow_the_probabilities():
    model = NGram(1, 3).fit([np.array([0, 1, 1, 1, 2, 2])])
    drawn = model.sample([], 4000, np.random.default_rng(5))
    assert np.bincount(drawn, minlength=3) / 4000 == pytest.approx(model.probabilities([]), abs=0.03)


def test_fitting_again_starts_anew():
    one, two = np.array([0, 1, 0, 1]), np.array([2, 3, 3])
    assert NGram(2, SIZE).fit([one]).fit([two]).nats([two]) == NGram(2, SIZE).fit([two]).nats([two])


def test_bad_arguments_are_refused():
    for order, size in ((0, 3), (2, 0)):
        with pytest.raises(ArgumentError, match="at least 1"):
            NGram(order, size)
    with pytest.raises(ArgumentError, match="fit"):
        NGram(2, 3).nats([np.array([0, 1])])
    with pytest.raises(ArgumentError, match="from 0 to 2, got 0 to 3"):
        NGram(2, 3).fit([np.array([0, 3])])

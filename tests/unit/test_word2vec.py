"""word2vec's examples beside what its definition says of them, and its loss by hand."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from recurra.data.word_pairs import WordPairs
from recurra.networks import Word2Vec

LINES = [[0, 1, 2, 3], [4], [], [5, 0, 5]]
COUNTS = [2, 1, 1, 1, 1, 2]


def pairs(lines: list[list[int]] = LINES, counts: list[int] = COUNTS, **given: Any) -> WordPairs:
    chosen: dict[str, Any] = {"method": "skipgram", "window": 1, "negatives": 2, "subsample": 0.0, "batch_size": 3}
    return WordPairs(lines, counts, **{**chosen, **given})


def test_a_window_of_one_gives_every_two_neighbours_of_a_line_both_ways() -> None:
    found = [(int(a[0]), int(b[0])) for e in pairs().batches(0, 0) for a, b in zip(e.inputs, e.targets, strict=True)]
    assert sorted(found) == sorted([(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2), (5, 0), (0, 5), (0, 5), (5, 0)])
    assert [len(e.inputs) for e in pairs().batches(0, 0)] == [3, 3, 3, 1]


def test_cbow_gives_all_around_a_word_and_asks_for_it() -> None:
    examples = list(pairs(method="cbow").batches(0, 0))
    rows = [
        (sorted(i for i in a.tolist() if i >= 0), int(b[0]))
        for e in examples
        for a, b in zip(e.inputs, e.targets, strict=True)
    ]
    assert sorted(rows, key=str) == sorted(
        [([1], 0), ([0, 2], 1), ([1, 3], 2), ([2], 3), ([0], 5), ([5, 5], 0), ([0], 5)], key=str
    )


def test_nearer_neighbours_are_met_more_often() -> None:
    size = 20_000
    (batch,) = pairs([list(range(size))], [1] * size, window=3, batch_size=10**6).batches(0, 0)
    found = np.bincount(np.abs(batch.inputs[:, 0] - batch.targets[:, 0]))
    # So many places, from both sides, and a reach of 1 to 3 is at least `far` with probability (4 - far) / 3.
    expected = [2 * (size - far) * (4 - far) / 3 for far in (1, 2, 3)]
    assert found[0] == 0
    np.testing.assert_allclose(found[1:], expected, rtol=0.03)


def test_an_epoch_goes_on_where_it_stopped_and_every_epoch_is_another() -> None:
    many = [[i % 50 for i in range(start, start + 40)] for start in range(4000)]  # More than one block.
    made = pairs(many, [1] * 50, window=2, batch_size=5000, subsample=0.1)
    whole = list(made.batches(1, 2))
    for start in (0, 1, len(whole) // 2, len(whole) - 1, len(whole)):
        rest = list(itertools.islice(made.batches(1, 2, start), 3))
        assert len(rest) == min(3, len(whole) - start)
        for a, b in zip(rest, whole[start:], strict=False):
            np.testing.assert_array_equal(a.inputs, b.inputs)
            np.testing.assert_array_equal(a.targets, b.targets)
    assert not np.array_equal(next(made.batches(1, 3)).targets, whole[0].targets)


def test_frequent_words_are_left_out_and_random_ones_drawn_by_their_counts() -> None:
    counts = [810, 90, 90, 10]
    draw = np.random.default_rng(99)
    line = draw.choice(4, 40_000, p=np.array(counts) / 1000).tolist()
    (batch,) = pairs([line], counts, subsample=0.05, negatives=1, batch_size=10**6).batches(0, 0)
    kept = np.bincount(batch.inputs[:, 0], minlength=4) / 2  # A window of one: each kept word has two neighbours.
    f = np.array(counts) / 1000
    expected = np.minimum(1, np.sqrt(0.05 / f) + 0.05 / f) * np.bincount(line, minlength=4)
    np.testing.assert_allclose(kept, expected, rtol=0.05)
    drawn = np.bincount(batch.targets[:, 1], minlength=4) / len(batch.targets)
    np.testing.assert_allclose(drawn, np.array(counts) ** 0.75 / (np.array(counts) ** 0.75).sum(), rtol=0.1)


def test_the_loss_by_hand() -> None:
    torch.manual_seed(0)
    model = Word2Vec(5, 3).double()
    with torch.no_grad():
        model.outputs.weight.normal_()
    given, asked = torch.tensor([[1, 2], [3, -1]]), torch.tensor([[0, 4, 0], [2, 1, 3]])
    v, u = model.inputs.weight.detach().numpy(), model.outputs.weight.detach().numpy()

    def minus_log_sigma(x: float) -> float:
        return math.log1p(math.exp(-x))

    mean = (v[1] + v[2]) / 2
    first = minus_log_sigma(u[0] @ mean) + minus_log_sigma(-u[4] @ mean)  # The third is the true word again.
    second = minus_log_sigma(u[2] @ v[3]) + minus_log_sigma(-u[1] @ v[3]) + minus_log_sigma(-u[3] @ v[3])
    assert model.loss(given, asked).tolist() == pytest.approx([first, second])
    assert float(Word2Vec(5, 3).loss(given[:1], asked[1:]).detach()) == pytest.approx(3 * math.log(2))

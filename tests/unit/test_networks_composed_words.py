"""Words composed of their characters: each spelling as if it were alone, and as it is written down."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recurra import Recurrent
from recurra.core.errors import ArgumentError
from recurra.networks import (
    AveragedCharacters,
    ColumnEmbedding,
    ComposedWords,
    ConvolvedCharacters,
    Embedding,
    RecurrentCharacters,
)

WORDS = torch.tensor([[[1, 3, 2, 5], [2, 4, 0, 0]], [[0, 0, 0, 0], [1, 3, 2, 5]]])


def made(kind: str) -> ComposedWords:
    torch.manual_seed(0)
    embed, table = Embedding(7, 3), ColumnEmbedding([4], [2])
    if kind == "ngrams":
        return ComposedWords(table, AveragedCharacters(embed))
    if kind == "cnn":
        return ComposedWords(table, ConvolvedCharacters(embed, 5))
    return ComposedWords(
        table, RecurrentCharacters(embed, Recurrent("gru", 3, 2, bidirectional=True, batch_first=True))
    )


def by_hand(composed: ComposedWords, characters: list[int]) -> Tensor:
    """Compose one word, alone and without padding."""
    size = composed.characters.size
    if not characters:
        return torch.zeros(size)
    vectors = composed.characters.embed.weight[characters]
    if isinstance(composed.characters, AveragedCharacters):
        return vectors.mean(0)
    if isinstance(composed.characters, RecurrentCharacters):
        y, _ = composed.characters.recurrent(vectors[None])
        return torch.cat([y[0, -1, : size // 2], y[0, 0, size // 2 :]])
    filters, zero = composed.characters.filters, torch.zeros(1, 3)
    wide = torch.cat([zero, vectors, zero])
    answers = [torch.einsum("oik,ki->o", filters.weight, wide[t : t + 3]) + filters.bias for t in range(len(vectors))]
    return torch.stack(answers).amax(0)


@pytest.mark.parametrize("kind", ["rnn", "cnn", "ngrams"])
def test_every_word_is_composed_as_if_it_were_alone(kind: str) -> None:
    composed = made(kind)
    found = composed(WORDS)
    assert found.shape == (2, 2, composed.size)
    for row in range(2):
        for t in range(2):
            number, *characters = WORDS[row, t].tolist()
            expected = [composed.table.columns[0].weight[number], by_hand(composed, [c for c in characters if c])]
            torch.testing.assert_close(found[row, t], torch.cat(expected))
    longer = torch.cat([WORDS, torch.zeros(2, 2, 3, dtype=torch.int64)], -1)
    torch.testing.assert_close(composed(longer), found)


@pytest.mark.parametrize("kind", ["rnn", "cnn", "ngrams"])
def test_a_spelling_that_is_there_twice_learns_twice(kind: str) -> None:
    composed = made(kind)
    weights = list(composed.parameters())
    both = torch.autograd.grad(composed(WORDS[:, [0, 1, 0]]).square().sum(), weights)
    parts = [torch.autograd.grad(composed(WORDS[:, t : t + 1]).square().sum(), weights) for t in (0, 1, 0)]
    for whole, *single in zip(both, *parts, strict=True):
        torch.testing.assert_close(whole, sum(single))


def test_the_layer_must_take_rows_first() -> None:
    with pytest.raises(ArgumentError, match="batch_first"):
        RecurrentCharacters(Embedding(3, 2), Recurrent("gru", 2, 2))

"""The network of a tagger: words in, a score for every tag at every step, and the head on them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recurra.core import Batch, Cell, Steps
from recurra.core.errors import ArgumentError
from recurra.data import Span, legal
from recurra.data.tag_names import TagNames
from recurra.heads import CRF, UNLABELLED, Softmax
from recurra.layers import Recurrent
from recurra.networks import (
    AveragedCharacters,
    ColumnEmbedding,
    ComposedWords,
    ConvolvedCharacters,
    Embedding,
    Readout,
    RecurrentCharacters,
    Synchronous,
    WordComposer,
)
from recurra.tasks.contract import starting_anew
from recurra.tasks.text.pretrained import learned_table

__all__ = ["Tagger", "count_known"]

_SPAN_SIZE = 10
"""Numbers of the vector that tells of a span in the dictionary."""


class Tagger(nn.Module):
    """Embedding, a stack of any cell in one direction or both, and the head, which may have weights of its own.

    names: what the tokens, their features and the tags are. characters: how a word's vector is composed of its
    characters, if at all (`names` has their numbers then): `rnn` by the same cell in both directions, `cnn` by filters,
    `ngrams` as the mean of the vectors of several characters each. character_size: numbers of such a vector, units of
    each direction, or filters. one_hot: words are unit
    vectors.
    """

    def __init__(
        self,
        names: TagNames,
        cell: type[Cell],
        *,
        embedding_size: int,
        hidden_size: int,
        layers: int,
        dropout: float,
        token_dropout: float,
        head: Literal["crf", "softmax"],
        one_way: bool,
        characters: Literal["none", "rnn", "cnn", "ngrams"],
        character_size: int,
        one_hot: bool = False,
    ) -> None:
        super().__init__()
        more, size = names.features.sizes, len(names.tags)
        looked_up = (*names.dictionary.sizes, *names.lexicon.sizes)
        sizes = [embedding_size, *names.features.widths(embedding_size), *[_SPAN_SIZE] * len(looked_up)]
        table = ColumnEmbedding(
            [names.tokens.size, *more, *looked_up], sizes, dropout=dropout, unknown=token_dropout, one_hot=one_hot
        )
        embed = table
        if characters != "none":
            embed = ComposedWords(table, _composer(characters, names, cell, character_size))
        recurrent = Recurrent(
            cell, embed.size, hidden_size, layers,
            bidirectional=not one_way, dropout=dropout if layers > 1 else 0.0, batch_first=True,
        )  # fmt: skip
        self.scores = Synchronous(embed, recurrent, Readout(recurrent.output_size, size, dropout))
        self.head: CRF | Softmax = CRF(size, legal(names.tags, names.scheme)) if head == "crf" else Softmax()

    @property
    def words(self) -> Embedding:
        """The table of the words' own vectors. Raises ArgumentError where they are unit vectors."""
        embed = self.scores.embed
        table = embed.table if isinstance(embed, ComposedWords) else embed
        assert isinstance(table, ColumnEmbedding)
        return learned_table(table.columns[0])

    def forward(self, batch: Batch) -> tuple[Tensor, Any]:
        """Return the scores `(B, T, K)` and the state."""
        return self.scores(batch)

    def steps(self, batch: Batch) -> Steps:
        """Return sentences step by step. Raises ArgumentError for a CRF, which has no loss of a step by itself."""
        if not isinstance(self.head, Softmax):
            raise ArgumentError(
                "the head crf scores whole sentences, and every learning rule but bptt needs a loss at each step by "
                "itself: give --head softmax, or --learning bptt"
            )
        anew = replace(batch, resets=starting_anew(batch))
        return Steps(self.scores, anew, self.head.loss, count_known(batch))

    def probabilities(
        self, outputs: Tensor, tags: Tensor, found: Sequence[Span]
    ) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the probability of each tag, and that of the tags of each span together. outputs: `(1, T, K)`."""
        if not len(tags):
            return (), ()
        if not isinstance(self.head, CRF):
            own = outputs[0].softmax(-1).gather(1, tags[:, None])[:, 0]
            return tuple(own.tolist()), tuple(float(own[s.start : s.end].prod()) for s in found)
        (own,), (links,) = (part.tolist() for part in self.head.along(outputs, tags[None]))
        return tuple(own), tuple(math.prod(links[s.start : s.end - 1]) * own[s.end - 1] for s in found)


def count_known(batch: Batch) -> int:
    """Return how many tokens of a batch have a tag that is known, at least one."""
    assert batch.targets is not None
    assert batch.lengths is not None
    inside = torch.arange(batch.targets.shape[1]) < batch.lengths[:, None]
    return max(1, int((inside & (batch.targets != UNLABELLED)).sum()))


def _composer(kind: Literal["rnn", "cnn", "ngrams"], names: TagNames, cell: type[Cell], size: int) -> WordComposer:
    assert names.characters is not None
    embed = Embedding(names.characters.size + 1, size, std=0.5)  # One more than numbers: padding.
    if kind == "ngrams":
        return AveragedCharacters(embed)
    if kind == "cnn":
        return ConvolvedCharacters(embed, size)
    return RecurrentCharacters(embed, Recurrent(cell, size, size, bidirectional=True, batch_first=True))

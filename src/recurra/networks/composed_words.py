"""A word's vector out of its characters, beside the one it has in a table: for words that were seen too rarely."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.layers import Recurrent
from recurra.networks.columns import ColumnEmbedding
from recurra.networks.embedding import Embedding
from recurra.networks.pooling import LastStep, MaxPooling

__all__ = ["AveragedCharacters", "ComposedWords", "ConvolvedCharacters", "RecurrentCharacters", "WordComposer"]


class ComposedWords(nn.Module):
    """e(word) = [its vectors in the table; composed of its characters]: `(..., columns + W)` int64 -> `(..., size)`.

    table: of a word and its features; they come first, then the numbers of the word's W characters, 0 where there are
    no more. characters: `(N, W)` -> `(N, characters.size)`, one of the three below.
    """

    def __init__(self, table: ColumnEmbedding, characters: WordComposer) -> None:
        super().__init__()
        self.table = table
        self.characters = characters
        self.symbols = table.symbols
        self.size = table.size + characters.size

    def forward(self, ids: Tensor) -> Tensor:
        """Look up and compose; each different spelling of the batch once."""
        columns = len(self.table.columns)
        spellings, place = ids[..., columns:].flatten(0, -2).unique(dim=0, return_inverse=True)
        spellings = spellings[:, : max(1, int((spellings > 0).sum(1).max()))]
        composed = self.characters(spellings).index_select(0, place)
        own = ids[..., :columns] if columns > 1 else ids[..., 0]
        return torch.cat([self.table(own), composed.view(*ids.shape[:-1], self.characters.size)], -1)


class RecurrentCharacters(nn.Module):
    """The last outputs of both directions of a layer over the characters (Lample et al. 2016, arXiv 1603.01360v3).

    embed: characters as vectors, 0 is padding; recurrent: in both directions, `batch_first=True`.
    """

    def __init__(self, embed: Embedding, recurrent: Recurrent) -> None:
        super().__init__()
        if not recurrent.batch_first:
            raise ArgumentError("RecurrentCharacters expects a Recurrent with batch_first=True, got batch_first=False")
        self.embed = embed
        self.recurrent = recurrent
        self.last = LastStep.of(recurrent)
        self.size = recurrent.output_size

    def forward(self, ids: Tensor) -> Tensor:
        """Return `(N, size)` for N spellings `(N, W)`; zeros for one without characters."""
        mask = ids > 0
        y, _ = self.recurrent(self.embed(ids), lengths=mask.sum(1))
        return self.last(y, mask)


class ConvolvedCharacters(nn.Module):
    """The largest answer of each of `size` filters, three characters wide, anywhere in the word (Ma and Hovy 2016,
    arXiv 1603.01354v5; without their dropout on the characters).

    embed: characters as vectors, 0 is padding: before the first and behind the last there are zeros.
    """

    def __init__(self, embed: Embedding, size: int) -> None:
        super().__init__()
        self.embed = embed
        self.filters = nn.Conv1d(embed.size, size, 3, padding=1)
        self.largest = MaxPooling(size)
        self.size = size

    def forward(self, ids: Tensor) -> Tensor:
        """Return `(N, size)` for N spellings `(N, W)`; zeros for one without characters."""
        mask = ids > 0
        vectors = torch.where(mask.unsqueeze(2), self.embed(ids), 0)
        return self.largest(self.filters(vectors.transpose(1, 2)).transpose(1, 2), mask)


class AveragedCharacters(nn.Module):
    """The mean of the vectors of a word's characters: to be given the numbers of n-grams, which know their neighbours
    (Bojanowski et al. 2017, arXiv 1607.04606v2, whose vectors are summed, and added to the word's own).

    embed: n-grams as vectors, 0 is padding.
    """

    def __init__(self, embed: Embedding) -> None:
        super().__init__()
        self.embed = embed
        self.size = embed.size

    def forward(self, ids: Tensor) -> Tensor:
        """Return `(N, size)` for N spellings `(N, W)`; zeros for one without characters."""
        mask = (ids > 0).unsqueeze(2)
        return torch.where(mask, self.embed(ids), 0).sum(1) / mask.sum(1).clamp(min=1)


WordComposer = RecurrentCharacters | ConvolvedCharacters | AveragedCharacters
"""What makes a vector of a word's characters."""

"""word2vec: a vector for each word, learned by telling its neighbours from words drawn at random."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.networks.embedding import Embedding

__all__ = ["Word2Vec"]


class Word2Vec(nn.Module):
    """score(o | given) = u_o · mean of v_i over the given words i  (Mikolov et al. 2013, arXiv 1310.4546v1).

    words: how many; size: of a vector. The v, in `inputs`, are what a word's vector is in the end; they begin from
    U(-1/2, 1/2) / size and the u at zero, as in the authors' program. There is no recurrence in it.
    """

    def __init__(self, words: int, size: int) -> None:
        super().__init__()
        self.inputs = Embedding(words, size)
        self.outputs = Embedding(words, size)
        nn.init.uniform_(self.inputs.weight, -0.5 / size, 0.5 / size)
        nn.init.zeros_(self.outputs.weight)

    def forward(self, given: Tensor, asked: Tensor) -> Tensor:
        """Return the scores `(N, A)` of the asked words `(N, A)` beside the given ones `(N, C)`, -1 where fewer."""
        there = given >= 0
        vectors = torch.where(there.unsqueeze(2), self.inputs(given.clamp(min=0)), 0).sum(1)
        vectors = vectors / there.sum(1, keepdim=True).clamp(min=1)
        return (self.outputs(asked) @ vectors.unsqueeze(2)).squeeze(2)

    def loss(self, given: Tensor, asked: Tensor) -> Tensor:
        """Return -log σ(score of the first) - sum log σ(-score of the others), in nats, of each example `(N,)`.

        A random word that happens to be the true one does not count.
        """
        scores = self(given, asked)
        other = F.logsigmoid(-scores[:, 1:]).masked_fill(asked[:, 1:] == asked[:, :1], 0)
        return -F.logsigmoid(scores[:, 0]) - other.sum(1)

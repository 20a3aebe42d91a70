"""From a network's features to scores: a linear layer, or the embedding's own table."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.networks.embedding import Embedding

__all__ = ["Readout", "TiedReadout"]


class Readout(nn.Module):
    """o_t = V y_t + c, with dropout on y_t: `(..., features)` -> `(..., outputs)`."""

    def __init__(self, features: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        self.linear = nn.Linear(features, outputs)

    def forward(self, y: Tensor) -> Tensor:
        """Return the scores."""
        return self.linear(F.dropout(y, self.dropout, self.training))


class TiedReadout(nn.Module):
    """o_t = E (P y_t) + c, where E is the embedding's table, so that a symbol's vector serves at both ends.

    P projects the features to the embedding's size where the two differ, and is absent where they do not.
    Source: Press and Wolf, "Using the output embedding to improve language models" (2017).
    """

    def __init__(self, features: int, embedding: Embedding, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = dropout
        # In a tuple, so that the table is registered (and saved) once, by the network that embeds with it.
        self._embedding = (embedding,)
        self.bias = nn.Parameter(torch.zeros(embedding.symbols))
        self.project = nn.Linear(features, embedding.size, bias=False) if features != embedding.size else nn.Identity()

    def forward(self, y: Tensor) -> Tensor:
        """Return the scores."""
        (embedding,) = self._embedding
        return F.linear(self.project(F.dropout(y, self.dropout, self.training)), embedding.weight, self.bias)

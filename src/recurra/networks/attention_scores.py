"""How well a decoder's state and an encoder's state fit together: one number for each pair."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError

__all__ = ["Additive", "Concat", "Dot", "General", "ScaledDot", "Score"]


class Score(nn.Module):
    """e_j = score(q, h_j). A subclass writes `forward`, and in `prepare` what of it does not need the query.

    query_size, key_size: of q, the decoder's state, and of h_j, the encoder's.
    """

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__()
        if min(query_size, key_size) < 1:
            raise ArgumentError(f"expected sizes of at least 1, got query_size={query_size}, key_size={key_size}")
        self.query_size = query_size
        self.key_size = key_size

    def prepare(self, keys: Tensor) -> Tensor:
        """Return what `forward` takes in place of the keys `(B, S, key_size)`: computed once a call, not at every
        step.
        """
        return keys

    def forward(self, query: Tensor, prepared: Tensor) -> Tensor:
        """Return the scores `(B, S)` of the query `(B, query_size)`."""
        raise NotImplementedError


class Additive(Score):
    """e_j = v tanh(W q + U h_j + b).

    size: of the hidden layer, the query's if None. Source: Bahdanau, Cho and Bengio, "Neural machine translation by
    jointly learning to align and translate", ICLR (2015). Deviation: none; b is U's.
    """

    def __init__(self, query_size: int, key_size: int, size: int | None = None) -> None:
        super().__init__(query_size, key_size)
        hidden = size or query_size
        self.query = nn.Linear(query_size, hidden, bias=False)
        self.key = nn.Linear(key_size, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def prepare(self, keys: Tensor) -> Tensor:
        """Return U h_j + b."""
        return self.key(keys)

    def forward(self, query: Tensor, prepared: Tensor) -> Tensor:
        """Return the scores `(B, S)`."""
        return self.score(torch.tanh(self.query(query).unsqueeze(1) + prepared)).squeeze(-1)


class Concat(Score):
    """e_j = v tanh(W [q; h_j]): Luong's form, without bias, which is the additive one with W cut in two.

    Source: Luong, Pham and Manning, "Effective approaches to attention-based neural machine translation", EMNLP (2015).
    """

    def __init__(self, query_size: int, key_size: int, size: int | None = None) -> None:
        super().__init__(query_size, key_size)
        hidden = size or query_size
        self.joined = nn.Linear(query_size + key_size, hidden, bias=False)
        self.score = nn.Linear(hidden, 1, bias=False)

    def prepare(self, keys: Tensor) -> Tensor:
        """Return the part of W that sees h_j, times h_j."""
        return keys @ self.joined.weight[:, self.query_size :].T

    def forward(self, query: Tensor, prepared: Tensor) -> Tensor:
        """Return the scores `(B, S)`."""
        seen = query @ self.joined.weight[:, : self.query_size].T
        return self.score(torch.tanh(seen.unsqueeze(1) + prepared)).squeeze(-1)


class Dot(Score):
    """e_j = q h_j, for a query and keys of one size (Luong et al. 2015)."""

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        _require_equal(self, query_size, key_size)

    def forward(self, query: Tensor, prepared: Tensor) -> Tensor:
        """Return the scores `(B, S)`."""
        return (prepared @ query.unsqueeze(2)).squeeze(2)


class ScaledDot(Score):
    """e_j = q h_j / sqrt(size), for a query and keys of one size, so that large sizes do not saturate the softmax.

    Source: Vaswani et al., "Attention is all you need", NeurIPS (2017).
    """

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        _require_equal(self, query_size, key_size)

    def forward(self, query: Tensor, prepared: Tensor) -> Tensor:
        """Return the scores `(B, S)`."""
        return (prepared @ query.unsqueeze(2)).squeeze(2) / math.sqrt(self.key_size)


class General(Score):
    """e_j = q W h_j (Luong et al. 2015)."""

    def __init__(self, query_size: int, key_size: int) -> None:
        super().__init__(query_size, key_size)
        self.weight = nn.Linear(key_size, query_size, bias=False)

    def prepare(self, keys: Tensor) -> Tensor:
        """Return W h_j."""
        return self.weight(keys)

    def forward(self, query: Tensor, prepared: Tensor) -> Tensor:
        """Return the scores `(B, S)`."""
        return (prepared @ query.unsqueeze(2)).squeeze(2)


def _require_equal(score: Score, query_size: int, key_size: int) -> None:
    if query_size != key_size:
        raise ArgumentError(
            f"{type(score).__name__} multiplies query and keys, which must have one size, got query_size={query_size} "
            f"and key_size={key_size}: use General, ScaledDot within MultiHead, or Additive"
        )

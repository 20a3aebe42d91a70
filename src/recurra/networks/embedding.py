"""Symbols as vectors: one-hot, or a learned table."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core.errors import ArgumentError

__all__ = ["Embedding", "OneHot", "UnknownBeyond"]


class OneHot(nn.Module):
    """Each symbol is a unit vector: `(...)` int64 -> `(..., symbols)`. It knows no similarity."""

    def __init__(self, symbols: int) -> None:
        super().__init__()
        self.symbols = symbols
        self.size = symbols
        self.register_buffer("unit", torch.ones(()), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Return the unit vectors, in the dtype the module was moved to."""
        return F.one_hot(ids, self.symbols).to(self.get_buffer("unit").dtype)


class Embedding(nn.Module):
    """Each symbol is a row of a learned table: `(...)` int64 -> `(..., size)`.

    Rows start from N(0, 1) as in `torch.nn.Embedding`; for a table tied to the output layer give `std`, say 0.1, since
    logits that large would start the loss far above that of the uniform distribution.
    """

    def __init__(self, symbols: int, size: int, std: float = 1.0) -> None:
        super().__init__()
        if size < 1:
            raise ArgumentError(f"the embedding's size must be at least 1, got {size}")
        self.symbols = symbols
        self.size = size
        self.weight = nn.Parameter(torch.empty(symbols, size).normal_(0.0, std))

    def forward(self, ids: Tensor) -> Tensor:
        """Look the rows up."""
        return F.embedding(ids, self.weight)


class UnknownBeyond(nn.Module):
    """Embeds ids that a table lacks (symbols of one source, which can only be copied) as the unknown symbol."""

    def __init__(self, embedding: Embedding | OneHot, unknown: int) -> None:
        super().__init__()
        if not 0 <= unknown < embedding.symbols:
            raise ArgumentError(f"unknown must be one of the {embedding.symbols} symbols, got {unknown}")
        self.embedding = embedding
        self.unknown = unknown
        self.size = embedding.size

    def forward(self, ids: Tensor) -> Tensor:
        """Look the rows up."""
        return self.embedding(torch.where(ids < self.embedding.symbols, ids, self.unknown))

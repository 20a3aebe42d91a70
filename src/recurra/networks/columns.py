"""Symbols that come with features of theirs: every one is embedded, and the vectors stand side by side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks.embedding import Embedding, OneHot

__all__ = ["ColumnEmbedding"]


class ColumnEmbedding(nn.Module):
    """x = [E_0 i_0, E_1 i_1, ...]: `(..., columns)` int64 -> `(..., size)`; or of a single column, `(...)` int64.

    symbols: how many symbols each column has; sizes: the size of each one's vectors, which begin from N(0, std^2);
    dropout: on the vectors, while training; unknown: how probable it is, while training, that a step's symbols are all
    taken for 0, the unknown ones, so that no single one is relied upon (word dropout: Iyyer et al. 2015); one_hot: the
    first column is of unit vectors, whatever its size was to be.
    """

    def __init__(
        self,
        symbols: Sequence[int],
        sizes: Sequence[int],
        *,
        std: float = 0.1,
        dropout: float = 0.0,
        unknown: float = 0.0,
        one_hot: bool = False,
    ) -> None:
        super().__init__()
        if not symbols or len(symbols) != len(sizes):
            raise ArgumentError(
                f"expected a size for each of at least one column, got {len(sizes)} sizes for {len(symbols)} columns"
            )
        columns = [
            OneHot(n) if one_hot and not i else Embedding(n, size, std)
            for i, (n, size) in enumerate(zip(symbols, sizes, strict=True))
        ]
        self.columns = nn.ModuleList(columns)
        self.dropout = nn.Dropout(dropout)
        self.unknown = unknown
        self.symbols = symbols[0]
        self.size = sum(column.size for column in columns)

    def forward(self, ids: Tensor) -> Tensor:
        """Look all columns up."""
        alone = len(self.columns) == 1
        if not alone and ids.shape[-1] != len(self.columns):
            raise ShapeError(f"expected ids of shape (..., {len(self.columns)}), got {tuple(ids.shape)}")
        if self.training and self.unknown:
            steps = ids.shape if alone else (*ids.shape[:-1], 1)
            ids = ids.masked_fill(torch.rand(steps, device=ids.device) < self.unknown, 0)
        if alone:
            return self.dropout(self.columns[0](ids))
        return self.dropout(torch.cat([column(i) for column, i in zip(self.columns, ids.unbind(-1), strict=True)], -1))

"""Contiguous streams for truncated backpropagation through time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
import torch

from recurra.core import Batch
from recurra.core.errors import ArgumentError, DataError
from recurra.data.tokens import as_tokens

__all__ = ["StreamReader"]


@final
class StreamReader:
    """Reads documents as B parallel streams of windows, so that a state can be carried from batch to batch.

    A document of n tokens is n - 1 predictions: token i + 1 from token i and what came before. It is cut into
    windows of T predictions, its last one shorter where they do not come out even. The windows of all documents
    stand in one line; row b of the batch takes the b-th of B stretches of it, which differ by at most one
    window. From this follows, whatever the sizes:

    - in an epoch every prediction of every document is made once, and none across a border of documents;
    - a row's window goes on exactly where its last one ended, or starts anew: then `resets` is True. It is
      True at a document's start, and at a row's own start, where a document may have been cut in two;
    - a border falls only at a window's start: what remains of a shorter window lies beyond `lengths`;
    - in the first batch every row that has data resets;
    - batch k is found without reading the k before it.

    documents: arrays of token numbers, `(n,)` integers; batch_size: B rows; window: T steps.
    """

    def __init__(self, documents: Sequence[np.ndarray], batch_size: int, window: int) -> None:
        for name, size in (("batch_size", batch_size), ("window", window)):
            if size < 1:
                raise ArgumentError(f"{name} must be at least 1, got {size}")
        tokens = [as_tokens(document) for document in documents]
        sizes = np.array([array.size for array in tokens], dtype=np.int64)
        predictions = np.maximum(sizes - 1, 0)
        windows = -(-predictions // window)
        total = int(windows.sum())
        if total == 0:
            raise DataError("expected a document of at least 2 tokens, got none: there is nothing to predict")
        self.batch_size = batch_size
        self.window = window
        self.predictions = int(predictions.sum())
        # Window w of all lies `within[w]` windows into its document.
        within = np.arange(total) - np.repeat(np.cumsum(windows) - windows, windows)
        self._starts = np.repeat(np.cumsum(sizes) - sizes, windows) + within * window
        self._lengths = np.minimum(np.repeat(predictions, windows) - within * window, window)
        self._opens = within == 0
        self._rows = np.arange(batch_size + 1, dtype=np.int64) * total // batch_size
        # The last window may be short, and yet all T + 1 places of it are read.
        self._tokens = np.concatenate([*tokens, np.zeros(window, dtype=np.int64)])

    def __len__(self) -> int:
        """Return how many batches an epoch has."""
        return int(np.diff(self._rows).max())

    def batches(self, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of one epoch from number `start` on.

        inputs and targets: `(B, T)` int64, zero beyond a row's length; lengths: `(B,)` int64, zero for a row that has
        run out, or None if all are T; resets: `(B,)` bool, or None if there are none.
        """
        if not 0 <= start <= len(self):
            raise ArgumentError(f"start must be a batch number from 0 to {len(self)}, got {start}")
        return (self._batch(number) for number in range(start, len(self)))

    def _batch(self, number: int) -> Batch:
        at = self._rows[:-1] + number
        alive = at < self._rows[1:]
        at = np.where(alive, at, 0)
        lengths = np.where(alive, self._lengths[at], 0)
        resets = alive & (self._opens[at] | (number == 0))
        places = self._starts[at, None] + np.arange(self.window + 1)
        tokens = self._tokens[places]
        valid = np.arange(self.window) < lengths[:, None]
        return Batch(
            inputs=torch.from_numpy(np.where(valid, tokens[:, :-1], 0)),
            targets=torch.from_numpy(np.where(valid, tokens[:, 1:], 0)),
            lengths=None if valid.all() else torch.from_numpy(lengths),
            resets=torch.from_numpy(resets) if resets.any() else None,
        )

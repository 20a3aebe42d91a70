"""A document as numbers."""

from __future__ import annotations

import numpy as np

from recurra.core.errors import ArgumentError

__all__ = ["as_tokens"]


def as_tokens(document: np.ndarray, size: int | None = None) -> np.ndarray:
    """Return a document's token numbers as `(n,)` int64, after looking at them.

    Raises ArgumentError where they are not one line of integers, or not all from 0 to `size` - 1 (if given).
    """
    tokens = np.asarray(document)
    if tokens.ndim != 1 or (tokens.size and tokens.dtype.kind not in "iu"):
        raise ArgumentError(f"a document must be (n,) integers, got {tokens.shape} of {tokens.dtype}: encode the text")
    if size is not None and tokens.size and (tokens.min() < 0 or tokens.max() >= size):
        raise ArgumentError(
            f"token numbers must be from 0 to {size - 1}, got {tokens.min()} to {tokens.max()}: "
            "encode with the vocabulary that the model was made for"
        )
    return tokens.astype(np.int64)

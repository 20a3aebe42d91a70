"""What to learn from first: windows that grow, and batches of rows of about one length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError

__all__ = ["bucket_batches", "growing_window"]


def growing_window(step: int, first: int, last: int, over: int) -> int:
    """Return the window's length at an update: from `first` to `last` by equal factors over `over` updates."""
    if not 1 <= first <= last or over < 1 or step < 0:
        raise ArgumentError(
            f"expected 1 <= first <= last, over >= 1 and step >= 0, got {first}, {last}, {over} and {step}"
        )
    return round(first * (last / first) ** min(step / over, 1.0))


def bucket_batches(
    lengths: Tensor | Sequence[int], batch_size: int, generator: torch.Generator | None = None
) -> list[Tensor]:
    """Return the rows of each batch of an epoch, `(rows,)` each, every row once and rows of about one length together.

    Rows are put in a random order, then in order of length; the batches come in a random order. Each row is in one
    batch of an epoch, and every batch but one is full: with the summed loss of a batch divided by `batch_size`, the
    sum of an epoch's gradients is that of any other batching, and the expected gradient is that of the whole data.
    """
    if batch_size < 1:
        raise ArgumentError(f"batch_size must be at least 1, got {batch_size}")
    size = torch.as_tensor(lengths)
    shuffled = torch.randperm(len(size), generator=generator)
    order = shuffled[size[shuffled].argsort(stable=True)]
    batches = list(order.split(batch_size))
    return [batches[k] for k in torch.randperm(len(batches), generator=generator).tolist()]

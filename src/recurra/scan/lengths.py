"""Sequences of different lengths: checking, ordering rows, reversing only the valid part."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.core.errors import ShapeError

__all__ = ["Rows", "check_lengths", "reverse_valid"]


def check_lengths(lengths: Tensor | Sequence[int] | None, steps: int, batch: int) -> tuple[int, ...] | None:
    """Return lengths as Python integers, or None where every row has all `steps`.

    lengths: `(B,)` integers from 0 to T in any order, on any device. Raises ShapeError otherwise.
    """
    if lengths is None:
        return None
    given = torch.as_tensor(lengths)
    if given.dtype.is_floating_point or given.dtype.is_complex or given.dtype == torch.bool:
        if given.numel():
            raise ShapeError(f"lengths must be integers, got {given.dtype}")
        given = given.long()
    if tuple(given.shape) != (batch,):
        raise ShapeError(f"lengths must have shape ({batch},), one for each row of the batch, got {tuple(given.shape)}")
    values: list[int] = given.tolist()
    for row, n in enumerate(values):
        if not 0 <= n <= steps:
            raise ShapeError(f"lengths[{row}] is {n}, but must be between 0 and the number of steps, {steps}")
    return None if all(n == steps for n in values) else tuple(values)


def reverse_valid(v: Tensor, lengths: Sequence[int] | None) -> Tensor:
    """Turn the first `lengths[b]` steps of each row of `v` `(T, B, ...)` around; the padding stays. Its own inverse."""
    if lengths is None:
        return v.flip(0)
    T, B = v.shape[:2]
    n = torch.tensor(lengths, device=v.device)
    t = torch.arange(T, device=v.device).unsqueeze(1)
    source = torch.where(t < n, n - 1 - t, t)
    return v[source, torch.arange(B, device=v.device)]


class Rows:
    """The rows of a batch in order of falling length, so that the running ones are always the first n.

    running: how many rows are still running at each step, up to the last step at which any is. At least one step is
    listed where there is time at all, so that shapes and the graph come from the cell even if all rows are empty.
    """

    def __init__(self, lengths: Sequence[int] | None, steps: int, batch: int, device: torch.device) -> None:
        self._batch = batch
        self._order: Tensor | None = None
        if lengths is None:
            self.running = [batch] * steps
            return
        counts = [sum(n > t for n in lengths) for t in range(max(lengths, default=0))]
        self.running = counts or [0] * min(steps, 1)
        if list(lengths) != sorted(lengths, reverse=True):
            order = sorted(range(batch), key=lambda b: -lengths[b])
            self._order = torch.tensor(order, device=device)
            self._inverse = self._order.argsort()

    def sort(self, v: Tensor, dim: int) -> Tensor:
        """Put the rows of a tensor, which lie in dimension `dim`, in order."""
        return v if self._order is None else v.index_select(dim, self._order)

    def unsort(self, v: Tensor, dim: int) -> Tensor:
        """Undo `sort`."""
        return v if self._order is None else v.index_select(dim, self._inverse)

    def pad(self, v: Tensor) -> Tensor:
        """Append zero rows to `(n, ...)` until there are as many as in the batch."""
        missing = self._batch - v.shape[0]
        return torch.cat([v, v.new_zeros(missing, *v.shape[1:])]) if missing else v

"""All the vectors that a stream has seen so far, in rows of different age."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from recurra.core import PerLayer

__all__ = ["append", "no_memory"]


def no_memory(batch: int, features: int, like: Tensor) -> PerLayer:
    """Return the memory of nothing: vectors `(B, 0, F)`, and how many each row has, `(B,)` int64."""
    count = torch.zeros(batch, device=like.device, dtype=torch.int64)
    return PerLayer((like.new_zeros(batch, 0, features), count))


def append(memory: PerLayer, y: Tensor, mask: Tensor | None) -> PerLayer:
    """Return the memory with the valid vectors of y `(B, T, F)` behind what each row has; mask: `(B, T)`, or None."""
    old, count = memory
    B, T = y.shape[:2]
    place = count.unsqueeze(1) + torch.arange(T, device=y.device)
    if mask is None:
        total = count + T
        mask = torch.ones(B, T, device=y.device, dtype=torch.bool)
    else:
        total = count + mask.sum(1)
    size = int(total.max()) if B else 0
    # What is not valid goes to one place more than there is, which is cut off.
    place = torch.where(mask, place, size).unsqueeze(-1).expand(-1, -1, y.shape[2])
    room = F.pad(old, (0, 0, 0, size + 1 - old.shape[1]))
    return PerLayer((room.scatter(1, place, y)[:, :size], total))

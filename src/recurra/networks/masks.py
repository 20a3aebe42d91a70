"""Which steps of a batch of sequences are valid."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recurra.scan.lengths import check_lengths

__all__ = ["valid_steps"]


def valid_steps(lengths: Tensor | Sequence[int] | None, batch: int, steps: int, device: torch.device) -> Tensor:
    """Return the mask `(B, T)`, True at the first `lengths[b]` steps of row b, everywhere if lengths is None.

    Raises ShapeError for lengths that do not fit.
    """
    valid = check_lengths(lengths, steps, batch)
    counts = torch.full((batch,), steps) if valid is None else torch.tensor(valid, dtype=torch.int64)
    return torch.arange(steps, device=device) < counts.to(device).unsqueeze(1)

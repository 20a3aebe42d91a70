"""Softmax over what is valid."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["masked_softmax"]


def masked_softmax(scores: Tensor, mask: Tensor) -> Tensor:
    """Return softmax over the last dimension where the mask is True, and exactly 0 where it is False.

    scores: `(..., S)`; mask: bool, of a shape that broadcasts to it. Where nothing is valid, all weights are 0: no NaN,
    neither in values nor in gradients. What the scores hold under the mask has no influence.
    """
    lowest = torch.finfo(scores.dtype).min
    return torch.where(mask, torch.softmax(torch.where(mask, scores, lowest), -1), 0)

"""Initial values for a cell's parameters."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["orthogonal_gates_", "uniform_"]


def uniform_(parameters: Iterable[Tensor], hidden_size: int) -> None:
    """Fill every tensor from U(-k, k), k = 1 / sqrt(hidden_size): what torch.nn's recurrent layers do."""
    bound = 1.0 / math.sqrt(hidden_size)
    for parameter in parameters:
        nn.init.uniform_(parameter, -bound, bound)


@torch.no_grad()
def orthogonal_gates_(weight: Tensor, gates: int) -> None:
    """Make each gate's square block of a recurrent weight `(gates * H, H)` orthogonal (Saxe et al. 2014).

    An orthogonal block keeps the length of what it multiplies, so that neither states nor gradients
    shrink or grow by the weights alone at the first steps of training.
    """
    for block in weight.chunk(gates, 0):
        nn.init.orthogonal_(block)

"""A linear layer over features, which for grids are channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core.initialisers import uniform_

__all__ = ["ChannelLinear"]


class ChannelLinear(nn.Module):
    """W x + b over dimension `dim` of x, alike at every place of a grid: for vectors `nn.Linear`, for grids a 1 x 1
    convolution.

    Weights: `weight (outputs, inputs)`, `bias (outputs,)`.
    """

    def __init__(self, inputs: int, outputs: int, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))
        self.bias = nn.Parameter(torch.empty(outputs)) if bias else None
        uniform_(self.parameters(), inputs)

    def forward(self, x: Tensor, dim: int) -> Tensor:
        """Map dimension `dim`."""
        return F.linear(x.movedim(dim, -1), self.weight, self.bias).movedim(-1, dim)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, bias={self.bias is not None}"

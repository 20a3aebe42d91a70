"""Dropout between layers: anew at every step, one mask a sequence, or whole layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core.errors import ArgumentError

__all__ = ["DROPPED", "Dropping"]

DROPPED = ("units", "sequence", "layer")
"""What one draw leaves out: a unit at one step, a unit at all steps of a sequence, or a layer for a sequence."""


class Dropping(nn.Module):
    """Dropout of features over time, while training; what is kept is divided by 1 - p.

    over: "units": each unit at each step by itself (Zaremba, Sutskever and Vinyals 2014); "sequence": one mask for all
    steps of a sequence (Gal and Ghahramani 2016); "layer": all units at all steps of a sequence together (stochastic
    depth: Huang et al. 2016), for layers around which there is a way.
    """

    def __init__(self, p: float = 0.0, over: str = "units") -> None:
        super().__init__()
        if not 0.0 <= p < 1.0:
            raise ArgumentError(f"dropout must be a probability of at least 0 and less than 1, got {p}")
        if over not in DROPPED:
            raise ArgumentError(f"what is dropped must be one of {', '.join(DROPPED)}, got {over!r}")
        self.p = p
        self.over = over

    def forward(self, x: Tensor) -> Tensor:
        """Drop out of x `(B, T, ...)`."""
        if not (self.training and self.p):
            return x
        if self.over == "units":
            return F.dropout(x, self.p)
        shape = (x.shape[0], 1, *x.shape[2:]) if self.over == "sequence" else (x.shape[0], *(1,) * (x.dim() - 1))
        return x * torch.empty(shape, device=x.device, dtype=x.dtype).bernoulli_(1 - self.p) / (1 - self.p)

    def step(self, x: Tensor) -> Tensor:
        """Drop out of one step `(B, ...)`. Raises ArgumentError where the mask of a whole sequence is needed."""
        if not (self.training and self.p):
            return x
        if self.over != "units":
            raise ArgumentError(
                f"dropout over {self.over!r} draws one mask for a whole sequence, so training cannot go step by step: "
                "give whole sequences, or call eval() first"
            )
        return F.dropout(x, self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}, over={self.over!r}"

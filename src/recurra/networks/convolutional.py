"""A plain convolutional network for pictures and, in one dimension, sequences: the memoryless baseline (卷积网络)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import Batch
from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks.ragged import valid_steps

__all__ = ["CNN"]

Pool = Literal["max", "average", "none"]


class CNN(nn.Module):
    """Convolution and pooling in turn, one pooling over all places, then a fully connected layer.

        h = pool(relu(conv(h))) for every size in `channels`;   o = V (largest, or mean, of h over all places) + c

    channels: of the input, then of each convolution. dimensions: 2 for pictures `(B, C, height, width)`, 1 for
    sequences `(B, T, C)`, which may have lengths. pool: what follows each convolution, over windows of 2: "max",
    "average" or "none"; last: "max" or "average" over all places. circular: whether the input is seen as a ring.
    Convolutions have 3 places in each dimension and step by 1; zeros (or the ring) lie around.

    With circular=True, pool="none" and last="max" the outputs do not change when the input is shifted around the ring;
    pooling over windows of 2 keeps that for even shifts of even sizes only.
    Raises ShapeError where sizes do not fit.
    """

    topology = "cnn"

    def __init__(
        self,
        channels: Sequence[int],
        outputs: int,
        *,
        dimensions: Literal[1, 2] = 2,
        pool: Pool = "max",
        last: Literal["max", "average"] = "max",
        circular: bool = False,
    ) -> None:
        super().__init__()
        if len(channels) < 2 or dimensions not in (1, 2) or pool not in ("max", "average", "none"):
            raise ArgumentError(
                "CNN: expected the input's channels and at least one more, dimensions 1 or 2, and pool 'max', "
                f"'average' or 'none', got channels={tuple(channels)}, dimensions={dimensions}, pool={pool!r}"
            )
        if last not in ("max", "average"):
            raise ArgumentError(f"CNN: last must be 'max' or 'average', got {last!r}")
        self.dimensions, self.pool, self.last, self.circular = dimensions, pool, last, circular
        self.channels = tuple(channels)
        convolution = nn.Conv1d if dimensions == 1 else nn.Conv2d
        self.convolutions = nn.ModuleList(
            convolution(a, b, 3, padding=1, padding_mode="circular" if circular else "zeros")
            for a, b in pairwise(channels)
        )
        self.linear = nn.Linear(channels[-1], outputs)

    def forward(self, batch: Batch) -> tuple[Tensor, Any]:
        """Return the outputs `(B, outputs)`, and an empty state: nothing is carried from call to call."""
        h, mask = self._input(batch)
        for convolution in self.convolutions:
            h = torch.where(mask, torch.relu(convolution(h)), 0)
            h, mask = self._pooled(h, mask)
        if self.last == "average":
            pooled = h.flatten(2).sum(-1) / mask.flatten(2).sum(-1).clamp(min=1)
        else:
            pooled = h.flatten(2).amax(-1)  # Nothing is below zero, which is what lies in the padding.
        return self.linear(pooled), ()

    def draw_on(self, diagram: Any, steps: int) -> None:
        """Draw the network over one dimension: convolution and pooling in turn, the pooling over all places, the fully
        connected layer."""
        below, row = [diagram.vector(t, 0, f"x_{t}", "input") for t in range(1, steps + 1)], 0
        for k in range(1, len(self.channels)):
            prime, row = "'" * (k - 1), row + 1
            here = [diagram.vector(v.column, row, f"h{prime}_{t}") for t, v in enumerate(below, 1)]
            for t, h in enumerate(here):
                for d in (-1, 0, 1):
                    if 0 <= t + d < len(below):
                        diagram.arrow(below[t + d], h, f"W{prime}")
            below = here
            if self.pool != "none":
                pairs, row = [here[t : t + 2] for t in range(0, len(here), 2)], row + 1
                middles = [sum(v.column for v in pair) / len(pair) for pair in pairs]
                below = [diagram.vector(m, row, f"p{prime}_{t}", "context") for t, m in enumerate(middles, 1)]
                for pair, pooled in zip(pairs, below, strict=True):
                    for h in pair:
                        diagram.arrow(h, pooled, self.pool)
        whole = diagram.vector((steps + 1) / 2, row + 1, "c", "context")
        for h in below:
            diagram.arrow(h, whole, self.last)
        diagram.arrow(whole, diagram.vector((steps + 1) / 2, row + 2, "y", "output"), "V")

    def _input(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the input with its channels first, zero in the padding, and the mask of places `(B, 1, ...)`."""
        x = batch.inputs
        if self.dimensions == 1 and x.dim() == 3:
            x = x.transpose(1, 2)
        if x.dim() != 2 + self.dimensions or x.shape[1] != self.channels[0] or not x[0].numel():
            form = f"(B, T, {self.channels[0]})" if self.dimensions == 1 else f"(B, {self.channels[0]}, height, width)"
            raise ShapeError(f"CNN: expected an input of shape {form}, none of them 0, got {tuple(batch.inputs.shape)}")
        if batch.lengths is None:
            return x, torch.ones((), dtype=torch.bool, device=x.device).expand(x.shape[0], 1, *x.shape[2:])
        if self.dimensions == 2 or self.circular:
            raise ArgumentError("CNN: lengths are for sequences (dimensions=1) that are no ring (circular=False)")
        mask = valid_steps(batch.lengths, x.shape[0], x.shape[2], x.device).unsqueeze(1)
        return torch.where(mask, x, 0), mask

    def _pooled(self, h: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pool over windows of 2; at an end that is cut off, over what is there."""
        if self.pool == "none":
            return h, mask
        highest = F.max_pool1d if self.dimensions == 1 else F.max_pool2d
        there = highest(mask.to(h.dtype), 2, ceil_mode=True)
        if self.pool == "max":
            return highest(h, 2, ceil_mode=True), there > 0
        mean = F.avg_pool1d if self.dimensions == 1 else F.avg_pool2d
        share = mean(mask.to(h.dtype), 2, ceil_mode=True)
        return mean(h, 2, ceil_mode=True) / torch.where(share > 0, share, 1), there > 0

"""One of K classes at every position."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from recurra.heads.crf import UNLABELLED

__all__ = ["Softmax"]


class Softmax:
    """p = softmax(o);  loss = -log p[target], in nats."""

    def loss(self, outputs: Tensor, targets: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the summed loss. outputs: `(..., K)` scores; targets: `(...)`; mask: `(...)` bool, True = counts.

        A position whose target is `UNLABELLED` does not count.
        """
        if mask is not None:
            targets = targets.masked_fill(~mask, UNLABELLED)
        return F.cross_entropy(outputs.flatten(0, -2), targets.flatten(), ignore_index=UNLABELLED, reduction="sum")

    def log_probabilities(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return log p[target] `(...)` of every position, in nats."""
        return outputs.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)

    def predict(self, outputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the most likely class `(...)`; 0 where `mask` is False."""
        best = outputs.argmax(-1)
        return best if mask is None else best.masked_fill(~mask, 0)

"""Probabilities that mean what they say: the scores of a softmax divided by one number, fitted on held-out data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recurra.core.errors import ShapeError

__all__ = ["fit_temperature"]

_HALVINGS = 60


@torch.no_grad()
def fit_temperature(outputs: Tensor, targets: Tensor) -> float:
    """Return the T from 0.01 to 100 under which p = softmax(outputs / T) makes the targets most probable.

    outputs: `(N, K)` scores of texts that were not learned from; targets: `(N,)` classes. The order of the classes
    stays, and so does accuracy. Source: Guo et al. (2017, arXiv 1706.04599v2); our deviation: a share of 1 / (N + 1) of
    each target is spread over all classes, much as Platt (1999) did, so that a few targets that are all right do not
    make the answers certain. The mean loss is convex in 1 / T, and its derivative is brought to zero by halving.
    """
    if outputs.dim() != 2 or targets.shape != outputs.shape[:1] or not len(outputs):
        raise ShapeError(
            "expected scores (N, K) and targets (N,) of at least one, "
            f"got {tuple(outputs.shape)} and {tuple(targets.shape)}"
        )
    scores = outputs.double()
    unsure = 1 / (len(scores) + 1)
    wanted = (1 - unsure) * scores.gather(1, targets[:, None])[:, 0] + unsure * scores.mean(1)
    low, high = math.log(0.01), math.log(100.0)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2  # The logarithm of 1 / T.
        p = (scores * math.exp(middle)).softmax(1)
        too_sure = float(((p * scores).sum(1) - wanted).sum()) > 0
        low, high = (low, middle) if too_sure else (middle, high)
    return math.exp(-(low + high) / 2)

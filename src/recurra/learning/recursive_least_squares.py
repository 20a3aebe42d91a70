"""Recursive least squares: a linear readout that learns from one sample after the other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError, ShapeError
from recurra.learning.ridge import as_rows, readout

__all__ = ["RecursiveLeastSquares"]


class RecursiveLeastSquares:
    """Ridge regression online: after every sample the readout is the best for all samples so far.

        k = P x / (forgetting + x^T P x)
        W = W + k (y - W^T x)^T
        P = (P - k x^T P) / forgetting,    P = I / penalty at first

    With `forgetting = 1` it equals `Ridge(penalty)` of the same samples, after every one of them; below 1, a sample's
    weight falls by that factor with each one that follows, and the readout keeps up with what changes. The last feature
    is the constant 1, whose weight is the bias. Kept in float64.

    Source: Jaeger, "Adaptive nonlinear system identification with echo state networks", NIPS (2002).
    """

    def __init__(self, features: int, targets: int, penalty: float = 1e-3, forgetting: float = 1.0) -> None:
        if features < 1 or targets < 1:
            raise ArgumentError(f"expected at least 1 feature and 1 target, got {features} and {targets}")
        if not penalty > 0.0:
            raise ArgumentError(f"penalty must be above 0, got {penalty}")
        if not 0.0 < forgetting <= 1.0:
            raise ArgumentError(f"forgetting must be above 0 and at most 1, got {forgetting}")
        self.forgetting = forgetting
        self._weights = torch.zeros(features + 1, targets, dtype=torch.float64)
        self._inverse = torch.eye(features + 1, dtype=torch.float64) / penalty
        self._dtype = torch.get_default_dtype()

    def update(self, features: Tensor, targets: Tensor) -> Tensor:
        """Learn from samples in order, features `(..., F)`, targets `(..., O)`; return the errors `(..., O)`.

        An error is the target less what was predicted before the sample was learned: an honest forecast.
        Raises ShapeError where sizes do not fit.
        """
        x, y = as_rows(features, targets)
        if (x.shape[1], y.shape[1]) != tuple(self._weights.shape):
            expected = (self._weights.shape[0] - 1, self._weights.shape[1])
            raise ShapeError(
                f"expected {expected[0]} features and {expected[1]} targets, got {x.shape[1] - 1} and {y.shape[1]}"
            )
        self._dtype = features.dtype
        self._weights, self._inverse = self._weights.to(x.device), self._inverse.to(x.device)
        errors = [self._learn(sample, wanted) for sample, wanted in zip(x, y, strict=True)]
        made = torch.stack(errors) if errors else y
        return made.to(targets.dtype).reshape(targets.shape)

    def solve(self) -> nn.Linear:
        """Return the readout as it is now, in the features' dtype."""
        return readout(self._weights, self._dtype)

    def _learn(self, x: Tensor, y: Tensor) -> Tensor:
        error = y - x @ self._weights
        seen = self._inverse @ x
        gain = seen / (self.forgetting + x @ seen)
        self._weights = self._weights + torch.outer(gain, error)
        inverse = (self._inverse - torch.outer(gain, seen)) / self.forgetting
        # Rounding would make it lose its symmetry, and then its sign.
        self._inverse = (inverse + inverse.T) / 2
        return error

"""Ridge regression: a linear readout in closed form, without a step of gradient descent."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError, ShapeError

__all__ = ["Ridge", "as_rows", "readout"]


class Ridge:
    """The linear map from features to targets with the least squared error, small weights being preferred.

        W = Y^T X (X^T X + penalty I)^-1,    X with a column of ones

        readout = Ridge(1e-6).add(states, targets).solve()          # an nn.Linear
        predictions = readout(states)

    Sums over samples are kept in float64, so that any number of calls of `add`, batch after batch, gives what one
    would; no features are stored. The bias is the weight of the column of ones, and is penalised like all others.

    Source: Jaeger (2001); Lukosevicius, "A practical guide to applying echo state networks" (2012), equation 9.
    """

    def __init__(self, penalty: float = 1e-6) -> None:
        if not penalty >= 0.0:
            raise ArgumentError(f"penalty must not be negative, got {penalty}")
        self.penalty = penalty
        self._features: Tensor | None = None
        self._targets: Tensor | None = None
        self._dtype = torch.float64

    def add(self, features: Tensor, targets: Tensor) -> Self:
        """Take in samples: features `(..., F)`, targets `(..., O)`. Raises ShapeError where sizes do not fit."""
        x, y = as_rows(features, targets)
        if self._features is None or self._targets is None:
            self._features = x.new_zeros(x.shape[1], x.shape[1])
            self._targets = x.new_zeros(x.shape[1], y.shape[1])
            self._dtype = features.dtype
        if (x.shape[1], y.shape[1]) != tuple(self._targets.shape):
            expected = (self._targets.shape[0] - 1, self._targets.shape[1])
            raise ShapeError(
                f"expected {expected[0]} features and {expected[1]} targets as before, "
                f"got {x.shape[1] - 1} and {y.shape[1]}"
            )
        self._features = self._features + x.T @ x
        self._targets = self._targets + x.T @ y
        return self

    def solve(self) -> nn.Linear:
        """Return the readout, in the features' dtype and on their device. Raises ArgumentError before any sample."""
        if self._features is None or self._targets is None:
            raise ArgumentError("there is nothing to fit yet: call add(features, targets) first")
        unit = torch.eye(len(self._features), dtype=self._features.dtype, device=self._features.device)
        weights, failed = torch.linalg.solve_ex(self._features + self.penalty * unit, self._targets)
        if failed.item():
            raise ArgumentError("the features depend on one another, so that a penalty above 0 is needed")
        return readout(weights, self._dtype)


def as_rows(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return samples as rows in float64, the features with a column of ones: `(n, F + 1)` and `(n, O)`."""
    if features.shape[:-1] != targets.shape[:-1] or features.dim() < 1:
        raise ShapeError(
            f"expected a target for each sample, got features {tuple(features.shape)} "
            f"and targets {tuple(targets.shape)}"
        )
    x = features.detach().flatten(0, -2) if features.dim() > 1 else features.detach()[None]
    y = targets.detach().flatten(0, -2) if targets.dim() > 1 else targets.detach()[None]
    return torch.cat([x, x.new_ones(len(x), 1)], 1).double(), y.double()


def readout(weights: Tensor, dtype: torch.dtype) -> nn.Linear:
    """Return weights `(F + 1, O)`, the bias last, as a layer."""
    with torch.device("meta"):
        linear = nn.Linear(weights.shape[0] - 1, weights.shape[1], dtype=dtype)
    linear = linear.to_empty(device=weights.device)
    with torch.no_grad():
        linear.weight.copy_(weights[:-1].T)
        linear.bias.copy_(weights[-1])
    return linear

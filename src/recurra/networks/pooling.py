"""From all steps of a sequence to one vector: the last, the mean, the largest, the joined, the attended."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn

from recurra.core import State
from recurra.core.errors import ArgumentError, ShapeError
from recurra.layers import Recurrent
from recurra.networks.masked import masked_softmax

__all__ = ["AttentionPooling", "Joined", "LastStep", "MaxPooling", "MeanPooling", "Pooling"]


class Pooling(nn.Module):
    """Maps `(B, T, features)` and a mask of valid steps to `(B, output_size)`; a row without valid steps gives zeros.

    A subclass writes `pool` and, since a sequence may also come step by step, the same as a fold: `initial` and `step`.
    Carried tensors are `(1, B, ...)`, so that `recurra.index_rows` finds their rows where a layer's state has them.
    """

    def __init__(self, features: int, output_size: int) -> None:
        super().__init__()
        self.features = features
        self.output_size = output_size

    def forward(self, y: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled vectors. mask: `(B, T)` bool. Raises ShapeError where sizes do not fit."""
        if y.dim() != 3 or y.shape[2] != self.features or y.shape[:2] != mask.shape:
            raise ShapeError(
                f"{type(self).__name__}: expected (B, T, {self.features}) and a mask (B, T), "
                f"got {tuple(y.shape)} and {tuple(mask.shape)}"
            )
        if not y.shape[1]:
            return y.new_zeros(y.shape[0], self.output_size)
        return self.pool(torch.where(mask.unsqueeze(2), y, 0), mask)

    def pool(self, y: Tensor, mask: Tensor) -> Tensor:
        """Return the pooled vectors of at least one step; y is zero where the mask is False."""
        raise NotImplementedError

    def initial(self, batch: int, like: Tensor) -> State:
        """Return what is carried before the first step, in the dtype and on the device of `like`."""
        raise NotImplementedError

    def step(self, y: Tensor, carried: State) -> tuple[Tensor, State]:
        """Return what pooling gives if the sequence ends with this step `(B, features)`, and what is carried on."""
        raise NotImplementedError


class LastStep(Pooling):
    """The last valid output of each row; of a reverse direction its own end, which is the first step.

    features: of one step; reverse: how many of them, the last ones, come from a reverse direction.
    """

    def __init__(self, features: int, reverse: int = 0) -> None:
        super().__init__(features, features)
        if not 0 <= reverse <= features:
            raise ArgumentError(f"LastStep: reverse must be from 0 to the {features} features, got {reverse}")
        self.reverse = reverse

    @classmethod
    def of(cls, recurrent: Recurrent) -> Self:
        """Return the one that knows a layer's directions."""
        size = recurrent.output_size
        return cls(size, size // 2 if recurrent.bidirectional else 0)

    def pool(self, y: Tensor, mask: Tensor) -> Tensor:
        """Take each direction's last output."""
        last = (mask.sum(1) - 1).clamp(min=0)
        end = y[torch.arange(len(y), device=y.device), last]
        return torch.cat([end[:, : self.features - self.reverse], y[:, 0, self.features - self.reverse :]], 1)

    def initial(self, batch: int, like: Tensor) -> State:
        """Return nothing: nothing has to be carried."""
        return ()

    def step(self, y: Tensor, carried: State) -> tuple[Tensor, State]:
        """Return the output itself. Raises ArgumentError where there is a reverse direction."""
        if self.reverse:
            raise ArgumentError("LastStep: a reverse direction ends at the first step, so it cannot run step by step")
        return y, ()


class MeanPooling(Pooling):
    """The mean of the outputs of all valid steps."""

    def __init__(self, features: int) -> None:
        super().__init__(features, features)

    def pool(self, y: Tensor, mask: Tensor) -> Tensor:
        """Sum and divide by the number of valid steps."""
        return y.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)

    def initial(self, batch: int, like: Tensor) -> State:
        """Return a sum and a count."""
        return like.new_zeros(1, batch, self.features), like.new_zeros(1, batch, 1)

    def step(self, y: Tensor, carried: State) -> tuple[Tensor, State]:
        """Return the mean so far."""
        total, count = carried[0] + y, carried[1] + 1
        return (total / count)[0], (total, count)


class MaxPooling(Pooling):
    """The largest value of each feature over all valid steps."""

    def __init__(self, features: int) -> None:
        super().__init__(features, features)

    def pool(self, y: Tensor, mask: Tensor) -> Tensor:
        """Take the largest of each feature."""
        largest = torch.where(mask.unsqueeze(2), y, -torch.inf).amax(1)
        return torch.where(mask.any(1, keepdim=True), largest, 0)

    def initial(self, batch: int, like: Tensor) -> State:
        """Return the largest so far: minus infinity."""
        return (like.new_full((1, batch, self.features), -torch.inf),)

    def step(self, y: Tensor, carried: State) -> tuple[Tensor, State]:
        """Return the largest so far."""
        largest = torch.maximum(carried[0], y)
        return largest[0], (largest,)


class AttentionPooling(Pooling):
    """c = sum of a_t y_t,  a = softmax over valid t of v tanh(W y_t + b): the steps that matter weigh most.

    size: of the hidden layer. Source: Yang et al., "Hierarchical attention networks" (2016).
    """

    def __init__(self, features: int, size: int) -> None:
        super().__init__(features, features)
        self.hidden = nn.Linear(features, size)
        self.score = nn.Linear(size, 1, bias=False)

    def weights(self, y: Tensor, mask: Tensor) -> Tensor:
        """Return the weights `(B, T)`, zero where the mask is False."""
        return masked_softmax(self.score(torch.tanh(self.hidden(y))).squeeze(-1), mask)

    def pool(self, y: Tensor, mask: Tensor) -> Tensor:
        """Add the steps up, each times its weight."""
        return (self.weights(y, mask).unsqueeze(1) @ y).squeeze(1)

    def initial(self, batch: int, like: Tensor) -> State:
        """Return the largest score so far, the sum of weights, and the weighted sum."""
        least = like.new_full((1, batch, 1), torch.finfo(like.dtype).min)
        return least, like.new_zeros(1, batch, 1), like.new_zeros(1, batch, self.features)

    def step(self, y: Tensor, carried: State) -> tuple[Tensor, State]:
        """Return the weighted sum so far."""
        # The softmax of a sequence that is not over: sums are kept relative to the largest score so far.
        before, total, weighted = carried
        score = self.score(torch.tanh(self.hidden(y))).unsqueeze(0)
        largest = torch.maximum(before, score)
        shrink, weight = torch.exp(before - largest), torch.exp(score - largest)
        total, weighted = total * shrink + weight, weighted * shrink + weight * y
        return (weighted / total)[0], (largest, total, weighted)


class Joined(Pooling):
    """The outputs of all steps, one after another: `(B, max_length * features)`, zero after a row's last valid step.

    A classifier on it has weights of its own for every step. Raises ShapeError for more than `max_length` steps.
    """

    def __init__(self, features: int, max_length: int) -> None:
        super().__init__(features, features * max_length)
        if max_length < 1:
            raise ArgumentError(f"Joined: max_length must be at least 1, got {max_length}")
        self.max_length = max_length

    def pool(self, y: Tensor, mask: Tensor) -> Tensor:
        """Put the steps side by side."""
        longest = int(mask.sum(1).max()) if mask.numel() else 0
        self._check(longest)
        y = y[:, : self.max_length]
        return torch.cat([y, y.new_zeros(y.shape[0], self.max_length - y.shape[1], self.features)], 1).flatten(1)

    def initial(self, batch: int, like: Tensor) -> State:
        """Return the outputs so far and their number."""
        return like.new_zeros(1, batch, self.max_length, self.features), like.new_zeros(1, batch, dtype=torch.int64)

    def step(self, y: Tensor, carried: State) -> tuple[Tensor, State]:
        """Return the outputs so far. Raises ShapeError where there are too many."""
        joined, t = carried
        self._check(int(t.max()) + 1 if t.numel() else 0)
        here = torch.arange(self.max_length, device=y.device) == t.unsqueeze(-1)
        joined = torch.where(here.unsqueeze(-1), y.unsqueeze(1), joined)
        return joined[0].flatten(1), (joined, t + 1)

    def _check(self, steps: int) -> None:
        if steps > self.max_length:
            raise ShapeError(
                f"Joined: expected at most max_length={self.max_length} steps, got {steps}: "
                "give a larger max_length, or shorter sequences"
            )

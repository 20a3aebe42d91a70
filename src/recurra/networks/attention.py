"""Attention: what a decoder looks at, c = sum of a_j h_j with weights a that it chooses at every step (注意力)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from recurra.core import State, StateShape
from recurra.core.errors import ArgumentError, ShapeError
from recurra.networks.attention_scores import Score
from recurra.networks.masked import masked_softmax

__all__ = ["Attended", "Attention", "MultiHead", "SoftAttention", "weigh"]

Attended = tuple[Tensor, Tensor, State]
"""The context vector `(B, output_size)`, the weights `(B, S)`, and what the next step needs."""


class Attention(nn.Module):
    """Weighs the encoder's states by a query: the base of every kind.

    query_size, key_size: of the query and of one encoder state; output_size: of the context vector, key_size mostly.
    A subclass writes `attend`, and in `prepare` what does not need the query. What is carried from step to step (the
    weights before, the coverage) is declared in `state_shapes`, and begins as `first_state` says. Sizes are static,
    so a kind that carries weights has a largest S, its `positions`. All of it is plain, pure torch: it runs inside a
    cell.
    """

    def __init__(self, query_size: int, key_size: int, output_size: int | None = None) -> None:
        super().__init__()
        self.query_size = query_size
        self.key_size = key_size
        self.output_size = output_size or key_size

    def forward(self, query: Tensor, keys: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return `(context, weights)` of one query `(B, query_size)` over keys `(B, S, key_size)`, from the first
        state.

        mask: `(B, S)` bool, True = valid, all if None. Weights under the mask are exactly 0, a row without valid keys
        gives zeros, and what the keys hold there has no influence. Raises ShapeError where sizes do not fit.
        """
        if mask is None:
            mask = torch.ones((), dtype=torch.bool, device=keys.device).expand(keys.shape[:2])
        self.check(keys, mask)
        if query.shape != (keys.shape[0], self.query_size):
            raise ShapeError(
                f"{type(self).__name__}: expected a query of shape ({keys.shape[0]}, {self.query_size}), "
                f"got {tuple(query.shape)}"
            )
        keys = torch.where(mask.unsqueeze(2), keys, 0)
        state = self.first_state(query.shape[0], device=query.device, dtype=query.dtype)
        context, weights, _ = self.attend(query, keys, self.prepare(keys), mask, state)
        return context, weights

    def check(self, keys: Tensor, mask: Tensor) -> None:
        """Raise ShapeError unless keys and mask have the sizes that were declared."""
        if keys.dim() != 3 or keys.shape[2] != self.key_size or mask.shape != keys.shape[:2]:
            raise ShapeError(
                f"{type(self).__name__}: expected encoder states (B, S, {self.key_size}) and a mask (B, S), "
                f"got {tuple(keys.shape)} and {tuple(mask.shape)}"
            )
        positions: int | None = getattr(self, "positions", None)
        if positions is not None and keys.shape[1] > positions:
            raise ShapeError(
                f"{type(self).__name__}: expected at most positions={positions} encoder states, got {keys.shape[1]}: "
                "give more positions"
            )

    def prepare(self, keys: Tensor) -> Tensor:
        """Return what `attend` takes as `prepared`: computed once a call from the keys, `(B, S, ...)`."""
        return keys

    def state_shapes(self) -> tuple[StateShape, ...]:
        """Return what is carried, declared as a cell declares its state; nothing by default."""
        return ()

    def first_state(self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None) -> State:
        """Return what is carried into the first step."""
        return ()

    def attend(self, query: Tensor, keys: Tensor, prepared: Tensor, mask: Tensor, state: State) -> Attended:
        """Return `(context, weights, new state)`; keys are zero where the mask is False."""
        raise NotImplementedError


class SoftAttention(Attention):
    """a = softmax over valid j of score(q, h_j),  c = sum of a_j h_j; score: one of `attention_scores`."""

    def __init__(self, score: Score) -> None:
        super().__init__(score.query_size, score.key_size)
        self.score = score

    def prepare(self, keys: Tensor) -> Tensor:
        """Return what the score prepares."""
        return self.score.prepare(keys)

    def attend(self, query: Tensor, keys: Tensor, prepared: Tensor, mask: Tensor, state: State) -> Attended:
        """Weigh, and add up."""
        weights = masked_softmax(self.score(query, prepared), mask)
        return weigh(weights, keys), weights, ()


class MultiHead(Attention):
    """Several scaled dot products side by side, each over projections of its own; their sums joined and projected.

        a^k = softmax_j (Q^k q)(K^k h_j) / sqrt(d),   c = O [sum_j a^1_j V^1 h_j; ...; sum_j a^n_j V^n h_j]

    size: of all heads together, a multiple of `heads`; c has it too. The weights that are returned are the mean over
    the heads; `head_weights` gives each head's. Source: Vaswani et al. (2017).
    """

    def __init__(self, query_size: int, key_size: int, size: int, heads: int) -> None:
        super().__init__(query_size, key_size, size)
        if heads < 1 or size % heads:
            raise ArgumentError(f"MultiHead: size {size} must be a multiple of heads, got {heads} heads")
        self.heads = heads
        self.query = nn.Linear(query_size, size)
        self.key = nn.Linear(key_size, 2 * size)
        self.output = nn.Linear(size, size)

    def prepare(self, keys: Tensor) -> Tensor:
        """Return the projections K h_j and V h_j."""
        return self.key(keys)

    def head_weights(self, query: Tensor, prepared: Tensor, mask: Tensor) -> Tensor:
        """Return the weights of each head `(B, heads, S)`."""
        q = self.query(query).unflatten(-1, (self.heads, -1)).unsqueeze(2)
        k = prepared.chunk(2, -1)[0].unflatten(-1, (self.heads, -1)).transpose(1, 2)
        scores = (q @ k.transpose(2, 3)).squeeze(2) / math.sqrt(self.output_size // self.heads)
        return masked_softmax(scores, mask.unsqueeze(1))

    def attend(self, query: Tensor, keys: Tensor, prepared: Tensor, mask: Tensor, state: State) -> Attended:
        """Weigh in each head, join, project; without valid keys zeros, as in every other kind."""
        weights = self.head_weights(query, prepared, mask)
        v = prepared.chunk(2, -1)[1].unflatten(-1, (self.heads, -1)).transpose(1, 2)
        joined = self.output((weights.unsqueeze(2) @ v).flatten(1))
        return torch.where(mask.any(1, keepdim=True), joined, 0), weights.mean(1), ()


def weigh(weights: Tensor, values: Tensor) -> Tensor:
    """Return the sum of values `(B, S, V)`, each times its weight `(B, S)`."""
    return (weights.unsqueeze(1) @ values).squeeze(1)

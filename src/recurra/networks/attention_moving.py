"""Attention that moves along the source: monotonic, and within a window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import State, StateShape
from recurra.core.errors import ArgumentError
from recurra.networks.attention import Attended, Attention, weigh
from recurra.networks.attention_scores import Score
from recurra.networks.masked import masked_softmax

__all__ = ["LocalWindow", "MonotonicAttention"]


class MonotonicAttention(Attention):
    """Reads the source from left to right, stopping where it likes, never going back.

        p_ij = sigmoid(g score(q_i, h_j) + r)        the probability to stop at j
        a_ij = p_ij (a_{i-1,j} + (1 - p_{i,j-1}) a_{i,j-1} / p_{i,j-1})

    a_i are the expected weights, which learn by gradients; they add up to at most 1, the rest being the probability of
    running past the end. Before the first step all weight is on the first state.
    score: one of `attention_scores`; positions: the largest S. Carried: a_{i-1} `(B, positions)`.
    Source: Raffel, Luong, Liu, Weiss and Eck, "Online and linear-time attention by enforcing monotonic alignments",
    ICML (2017), equation 11. Deviation: no noise before the sigmoid (a step draws no random numbers), g and r are
    plain parameters that begin at 1 and -1; the recursion is a product over S x S places rather than a division by a
    product that underflows.
    """

    def __init__(self, score: Score, positions: int) -> None:
        super().__init__(score.query_size, score.key_size)
        if positions < 1:
            raise ArgumentError(f"MonotonicAttention: positions must be at least 1, got {positions}")
        self.positions = positions
        self.score = score
        self.gain = nn.Parameter(torch.ones(()))
        self.offset = nn.Parameter(-torch.ones(()))

    def prepare(self, keys: Tensor) -> Tensor:
        """Return what the score prepares."""
        return self.score.prepare(keys)

    def state_shapes(self) -> tuple[StateShape, ...]:
        """Return one vector: the weights before."""
        return ((self.positions,),)

    def first_state(self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None) -> State:
        """Return all weight on the first place."""
        first = torch.zeros(batch, self.positions, device=device, dtype=dtype)
        first[:, 0] = 1
        return (first,)

    def attend(self, query: Tensor, keys: Tensor, prepared: Tensor, mask: Tensor, state: State) -> Attended:
        """Move on, and remember where to."""
        steps = keys.shape[1]
        energy = self.gain * torch.where(mask, self.score(query, prepared), 0) + self.offset
        stop = torch.where(mask, torch.sigmoid(energy), 0)
        # log of the probability to pass by a place; from k to j one passes k, ..., j - 1.
        passing = torch.where(mask, F.logsigmoid(-energy), 0).cumsum(1)
        before = passing - torch.where(mask, F.logsigmoid(-energy), 0)
        reach = before.unsqueeze(1) - before.unsqueeze(2)
        ahead = torch.ones(steps, steps, dtype=torch.bool, device=keys.device).triu()
        way = torch.where(ahead, torch.exp(torch.where(ahead, reach, 0)), 0)
        weights = stop * (state[0][:, :steps].unsqueeze(1) @ way).squeeze(1)
        return weigh(weights, keys), weights, (F.pad(weights, (0, self.positions - steps)),)


class LocalWindow(Attention):
    """Looks only near one place of the source, most at its middle (Luong's local attention).

        p_i = n sigmoid(v tanh(W q_i))  predicted, or p_i = i  going along
        a_ij = softmax over valid |j - p_i| <= reach of score(q_i, h_j),   times exp(-(j - p_i)^2 / (2 (reach / 2)^2))

    n is the number of valid states less one; j and i are counted from 0. The Gaussian is there with a predicted place
    only, through which it learns; going along, the weights add up to 1, or to 0 where the window lies behind the end.
    score: one of `attention_scores`. Carried: i `(B,)` int64.
    Source: Luong, Pham and Manning, EMNLP (2015), local-p and local-m. Deviation: n is the last place, not the length.
    """

    def __init__(self, score: Score, reach: int, predicted: bool = True) -> None:
        super().__init__(score.query_size, score.key_size)
        if reach < 1:
            raise ArgumentError(f"LocalWindow: reach must be at least 1, got {reach}")
        self.score = score
        self.reach = reach
        self.place = nn.Sequential(
            nn.Linear(score.query_size, score.query_size, bias=False),
            nn.Tanh(),
            nn.Linear(score.query_size, 1, bias=False),
        ) if predicted else None  # fmt: skip

    def prepare(self, keys: Tensor) -> Tensor:
        """Return what the score prepares."""
        return self.score.prepare(keys)

    def state_shapes(self) -> tuple[StateShape, ...]:
        """Return one integer: the step."""
        return (((), torch.int64),)

    def first_state(self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None) -> State:
        """Return zeros."""
        return (torch.zeros(batch, dtype=torch.int64, device=device),)

    def attend(self, query: Tensor, keys: Tensor, prepared: Tensor, mask: Tensor, state: State) -> Attended:
        """Weigh within the window."""
        (i,) = state
        places = torch.arange(keys.shape[1], device=keys.device, dtype=keys.dtype)
        if self.place is None:
            away = places - i.to(keys.dtype).unsqueeze(1)
        else:
            last = (mask.sum(1, keepdim=True) - 1).to(keys.dtype)
            away = places - last * torch.sigmoid(self.place(query))
        weights = masked_softmax(self.score(query, prepared), mask & (away.abs() <= self.reach))
        if self.place is not None:
            weights = weights * torch.exp(-2 * (away / self.reach) ** 2)
        return weigh(weights, keys), weights, (i + 1,)

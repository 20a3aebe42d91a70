"""Attention that knows where it has looked: by location, and by coverage."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recurra.core import State, StateShape
from recurra.core.errors import ArgumentError
from recurra.networks.attention import Attended, Attention, weigh
from recurra.networks.attention_scores import Additive
from recurra.networks.masked import masked_softmax

__all__ = ["Coverage", "LocationAware", "coverage_loss"]


class LocationAware(Attention):
    """e_ij = v tanh(W q_i + U h_j + F f_ij + b),  f_i = convolution of a_{i-1}: it can move on from where it was.

    size: of the hidden layer; positions: the largest S; filters, width: of the convolution, the width odd.
    Carried: a_{i-1} `(B, positions)`, zero at first.
    Source: Chorowski, Bahdanau, Serdyuk, Cho and Bengio, "Attention-based models for speech recognition", NeurIPS
    (2015).
    Deviation: no sharpening and no smoothing; the first weights before are zero.
    """

    def __init__(
        self, query_size: int, key_size: int, size: int, positions: int, *, filters: int = 8, width: int = 7
    ) -> None:
        super().__init__(query_size, key_size)
        if width % 2 == 0 or min(width, filters, positions) < 1:
            raise ArgumentError(
                f"LocationAware: expected an odd width and at least one filter and position, got width={width}, "
                f"filters={filters}, positions={positions}"
            )
        self.positions, self.width = positions, width
        self.score = Additive(query_size, key_size, size)
        self.location = nn.Linear(width, filters, bias=False)
        self.features = nn.Linear(filters, size, bias=False)

    def prepare(self, keys: Tensor) -> Tensor:
        """Return U h_j + b."""
        return self.score.prepare(keys)

    def state_shapes(self) -> tuple[StateShape, ...]:
        """Return one vector: the weights before."""
        return ((self.positions,),)

    def first_state(self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None) -> State:
        """Return zeros."""
        return (torch.zeros(batch, self.positions, device=device, dtype=dtype),)

    def attend(self, query: Tensor, keys: Tensor, prepared: Tensor, mask: Tensor, state: State) -> Attended:
        """Weigh by state and place, and remember the weights."""
        steps, half = keys.shape[1], self.width // 2
        around = F.pad(state[0][:, :steps], (half, half))
        # A convolution as one product: each place beside its neighbours.
        near = torch.stack([around[:, d : d + steps] for d in range(self.width)], -1)
        scores = self.score(query, prepared + self.features(self.location(near)))
        weights = masked_softmax(scores, mask)
        return weigh(weights, keys), weights, (F.pad(weights, (0, self.positions - steps)),)


class Coverage(Attention):
    """e_ij = v tanh(W q_i + U h_j + w k_ij + b),  k_i = sum of all weights before: it knows what was said already.

    size: of the hidden layer; positions: the largest S. Carried: k `(B, positions)`, zero at first.
    `coverage_loss` is what keeps it from looking twice.
    Source: See, Liu and Manning, "Get to the point: summarization with pointer-generator networks", ACL (2017), after
    Tu et al. (2016). Deviation: none.
    """

    def __init__(self, query_size: int, key_size: int, size: int, positions: int) -> None:
        super().__init__(query_size, key_size)
        if positions < 1:
            raise ArgumentError(f"Coverage: positions must be at least 1, got {positions}")
        self.positions = positions
        self.score = Additive(query_size, key_size, size)
        self.covered = nn.Linear(1, size, bias=False)

    def prepare(self, keys: Tensor) -> Tensor:
        """Return U h_j + b."""
        return self.score.prepare(keys)

    def state_shapes(self) -> tuple[StateShape, ...]:
        """Return one vector: the coverage."""
        return ((self.positions,),)

    def first_state(self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None) -> State:
        """Return zeros."""
        return (torch.zeros(batch, self.positions, device=device, dtype=dtype),)

    def attend(self, query: Tensor, keys: Tensor, prepared: Tensor, mask: Tensor, state: State) -> Attended:
        """Weigh by state and coverage, and add the weights to the coverage."""
        steps = keys.shape[1]
        covered = state[0][:, :steps]
        weights = masked_softmax(self.score(query, prepared + self.covered(covered.unsqueeze(2))), mask)
        return weigh(weights, keys), weights, (state[0] + F.pad(weights, (0, self.positions - steps)),)


def coverage_loss(weights: Tensor, mask: Tensor) -> Tensor:
    """Return the sum over valid steps i and all j of min(a_ij, k_ij), k_i = sum of a before i (See et al. 2017).

    weights: `(B, T, S)`; mask: `(B, T)` bool, the decoder's valid steps.
    """
    before = weights.cumsum(1) - weights
    return torch.where(mask, torch.minimum(weights, before).sum(2), 0).sum()

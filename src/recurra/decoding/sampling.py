"""Choosing the next symbol: the best one, or a draw from the tempered and truncated distribution."""

from __future__ import annotations

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError

__all__ = ["Greedy", "Sampler"]


class Greedy:
    """The most likely symbol, the first of equals."""

    def __call__(self, scores: Tensor) -> Tensor:
        """Return ids `(B,)` for scores `(B, symbols)`."""
        return scores.argmax(-1)


class Sampler:
    """A draw from softmax(scores / temperature), cut to the likeliest symbols.

    temperature: above 0; 1 is the network's own distribution. top_k: only the k likeliest symbols, the first of equals
    (0: all). top_p: only the likeliest symbols that together reach the probability p (1: all), but at least one.
    The cuts are made in this order: temperature, top-k, top-p ("nucleus": Holtzman et al. 2020).
    seed: of the sampler's own generator, so that nothing else that draws numbers changes what is drawn here.
    Raises ArgumentError for values outside these ranges.
    """

    def __init__(self, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, seed: int = 0) -> None:
        if not 0.0 < temperature < float("inf"):
            raise ArgumentError(f"temperature must be above 0, got {temperature}: for the likeliest symbol use greedy")
        if top_k < 0:
            raise ArgumentError(f"top-k must be at least 1, or 0 for no limit, got {top_k}")
        if not 0.0 < top_p <= 1.0:
            raise ArgumentError(f"top-p must be above 0 and at most 1, got {top_p}")
        if not 0 <= seed < 2**63:
            raise ArgumentError(f"seed must be from 0 to 2**63 - 1, got {seed}")
        self.temperature = temperature
        self.top_k = top_k
        self.top_p = top_p
        self._generator = torch.Generator().manual_seed(seed)

    def probabilities(self, scores: Tensor) -> Tensor:
        """Return the distribution that is drawn from, `(B, symbols)`."""
        scores = scores.double()
        # The best score becomes 0, so that a tiny temperature divides none to infinity.
        scores = (scores - scores.amax(-1, keepdim=True)) / self.temperature
        ordered, order = scores.sort(dim=-1, descending=True, stable=True)
        if self.top_k:
            ordered[..., self.top_k :] = -torch.inf
        p = ordered.softmax(-1)
        if self.top_p < 1.0:
            # A symbol stays if those before it have not reached top_p: the first always does.
            p = p.masked_fill(p.cumsum(-1) - p >= self.top_p, 0.0)
            p = p / p.sum(-1, keepdim=True)
        return torch.zeros_like(p).scatter(-1, order, p)

    def __call__(self, scores: Tensor) -> Tensor:
        """Return ids `(B,)` for scores `(B, symbols)`."""
        return (
            torch.multinomial(self.probabilities(scores).cpu(), 1, generator=self._generator)
            .squeeze(-1)
            .to(scores.device)
        )

"""A choice that shuns what was chosen before."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError

__all__ = ["RepetitionPenalty"]


class RepetitionPenalty:
    """Makes symbols that were chosen already less likely: their scores are divided by the penalty, or, below zero,
    multiplied by it; then `choose` decides.

    choose: `Greedy()`, a `Sampler`, any `scores -> ids`; penalty: above 1 shuns, 1 changes nothing; seen: ids `(B,
    P)` of a prompt that count as chosen. It remembers one run: take a new one for the next.
    Source: Keskar et al., "CTRL: a conditional transformer language model" (2019), section 4.1. Deviation: scores below
    zero are multiplied, since dividing would make them more likely.
    """

    def __init__(self, choose: Callable[[Tensor], Tensor], penalty: float = 1.2, seen: Tensor | None = None) -> None:
        if not 0.0 < penalty < float("inf"):
            raise ArgumentError(f"the repetition penalty must be above 0, got {penalty}")
        self.choose = choose
        self.penalty = penalty
        self._seen = seen

    def __call__(self, scores: Tensor) -> Tensor:
        """Return ids `(B,)` for scores `(B, symbols)`."""
        if self.penalty == 1.0:
            return self.choose(scores)
        if self._seen is not None:
            given = scores.gather(1, self._seen)
            scores = scores.scatter(1, self._seen, torch.where(given > 0, given / self.penalty, given * self.penalty))
        ids = self.choose(scores)
        now = ids.unsqueeze(1)
        self._seen = now if self._seen is None else torch.cat([self._seen, now], 1)
        return ids

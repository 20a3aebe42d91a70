"""Scheduled sampling: from the true symbols to the network's own, little by little."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError

__all__ = ["forced_steps", "inverse_sigmoid_rate"]


def forced_steps(rows: int, steps: int, rate: float, generator: torch.Generator | None = None) -> Tensor:
    """Return a mask `(B, M)` that is True with probability `rate`: where the next input is the true symbol.

    It is what `EncoderDecoder.forward` takes as `forced`; draw it anew for every batch. Raises ArgumentError for a rate
    that is no probability.
    Source: Bengio, Vinyals, Jaitly and Shazeer, "Scheduled sampling for sequence prediction with recurrent neural
    networks", NeurIPS (2015). Deviation: the network's own symbol is its likeliest, not a draw.
    """
    if not 0.0 <= rate <= 1.0:
        raise ArgumentError(f"rate must be a probability from 0 to 1, got {rate}")
    return torch.rand(rows, steps, generator=generator) < rate


def inverse_sigmoid_rate(update: int, pace: float) -> float:
    """Return the rate pace / (pace + exp(update / pace)): near 1 at first, one half after about pace log(pace)
    updates.
    """
    if pace < 1:
        raise ArgumentError(f"pace must be at least 1, got {pace}")
    return pace / (pace + math.exp(min(update / pace, 700.0)))

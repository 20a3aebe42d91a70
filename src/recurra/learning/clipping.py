"""Gradient clipping: by value, element for element, and by the norm of the whole (Pascanu et al. 2013)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from recurra.core.errors import ArgumentError

__all__ = ["clip_gradients", "gradient_norm"]


def gradient_norm(parameters: Iterable[Tensor]) -> Tensor:
    """Return the Euclidean norm of all gradients taken together: a scalar, 0 where there are none."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    return torch.nn.utils.get_total_norm(gradients)


def clip_gradients(parameters: Iterable[Tensor], *, norm: float = 0.0, value: float = 0.0) -> Tensor:
    """Clip the gradients in place and return their norm as it was before.

    value: every element is cut to [-value, value]. norm: then all gradients are scaled by
    `min(1, norm / (their norm + 1e-6))`, as torch does. Zero turns either off.
    """
    if not (norm >= 0 and value >= 0):
        raise ArgumentError(f"expected clipping bounds of zero (off) or above, got norm={norm} and value={value}")
    own = [p for p in parameters if p.grad is not None]
    before = gradient_norm(own)
    if value:
        torch.nn.utils.clip_grad_value_(own, value)
    if norm:
        torch.nn.utils.clip_grads_with_norm_(own, norm, gradient_norm(own) if value else before)
    return before

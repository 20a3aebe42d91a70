"""Gradient clipping: by value, by the norm of the whole (Pascanu et al. 2013), of each layer or unit, and in the
recurrence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from recurra.core.errors import ArgumentError
from recurra.learning.state_form import map_state

__all__ = ["clip_adaptively", "clip_by_layer", "clip_gradients", "clip_state_gradient", "gradient_norm"]


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


def clip_by_layer(network: nn.Module, norm: float) -> dict[str, Tensor]:
    """Clip the gradient of each module that holds parameters of its own to `norm`; return the norms before, by name."""
    _check(norm, "norm")
    before: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        own = [p for p in module.parameters(recurse=False) if p.grad is not None]
        if own:
            before[name] = clip_gradients(own, norm=norm)
    return before


def clip_adaptively(parameters: Iterable[Tensor], factor: float = 0.01, least: float = 1e-3) -> None:
    """Clip each unit's gradient (a row of a parameter) to `factor` times the norm of its weights, at least `least`.

    Source: Brock, De, Smith and Simonyan, "High-performance large-scale image recognition without normalization"
    (2021), arXiv v1.
    """
    _check(factor, "factor")
    with torch.no_grad():
        for p in parameters:
            if p.grad is None:
                continue
            rows = tuple(range(1, p.dim()))
            weight, gradient = (
                (v.norm(dim=rows, keepdim=True) if rows else v.abs()) for v in (p, p.grad)
            )  # fmt: skip
            allowed = factor * weight.clamp_min(least)
            p.grad.mul_((allowed / gradient.clamp_min(1e-30)).clamp_max(1.0))


def clip_state_gradient(state: Any, value: float) -> Any:
    """Return the state, whose gradient will be cut to [-value, value] element for element on its way back.

    Clipping inside the recurrence: applied to the state between steps, it bounds what a step hands to the one before.
    Source: Graves, "Generating sequences with recurrent neural networks" (2013), arXiv v5, section 2.1.
    """
    _check(value, "value")
    return map_state(state, _clipper(value))


def _clipper(value: float) -> Callable[[Tensor], Tensor]:
    def clip(tensor: Tensor) -> Tensor:
        if not tensor.requires_grad:
            return tensor
        passed = tensor.view_as(tensor)  # not the tensor itself, whose other uses are not to be clipped
        passed.register_hook(lambda g: g.clamp(-value, value))
        return passed

    return clip


def _check(bound: float, name: str) -> None:
    if not bound > 0:
        raise ArgumentError(f"expected a {name} above zero to clip to, got {bound}")

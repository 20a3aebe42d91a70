"""Teacher forcing: the true outputs in place of those that a cell remembers of itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recurra.core.errors import ShapeError

__all__ = ["teacher_forcing"]


def teacher_forcing(
    given: tuple[Any, ...], expected: tuple[int, ...]
) -> tuple[tuple[Tensor, Tensor] | None, tuple[Any, ...]]:
    """Take the teacher off the front of a call's context: `((targets, forced), rest)`, or `(None, rest)` without one.

    given: `(targets, ...)` or `(targets, forced, ...)`; None in place of the targets, or nothing, forces nothing.
    expected: the targets' shape `(T, B, ...)`. Returns forced as `(T, B, 1)` booleans, True everywhere if not given.
    Raises ShapeError where the targets have another shape.
    """
    if not given or given[0] is None:
        return None, given[1:]
    targets, *rest = given
    if tuple(targets.shape) != expected:
        raise ShapeError(f"teacher forcing expects targets of shape {expected}, got {tuple(targets.shape)}")
    forced = torch.ones((), device=targets.device, dtype=torch.bool).expand(expected[:2])
    if rest and isinstance(rest[0], Tensor) and rest[0].dtype == torch.bool:
        forced, *rest = rest
    return (targets, forced.unsqueeze(-1)), tuple(rest)

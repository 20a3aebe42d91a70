"""Sequences of different lengths, batch first: what is valid, what is padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from recurra.core import PerLayer
from recurra.core.errors import ArgumentError, ShapeError
from recurra.scan.lengths import check_lengths, reverse_valid

__all__ = [
    "Lengths",
    "check_parts",
    "check_sequences",
    "choose_rows",
    "last_valid",
    "over_rows",
    "reversed_rows",
    "valid",
    "valid_steps",
    "zeroed",
]

Lengths = Tensor | Sequence[int] | None
"""The valid steps of each row, `(B,)`, or None where all are."""


def check_sequences(name: str, x: Tensor, features: int) -> None:
    """Raise ShapeError unless x is `(B, T, features, ...)`."""
    if x.dim() < 3 or x.shape[2] != features:
        raise ShapeError(f"{name}: expected an input of shape (B, T, {features}), got {tuple(x.shape)}")


def check_parts(name: str, state: Sequence[object] | None, count: int, what: str) -> Sequence[object]:
    """Return a state as `count` parts, so many None for None; raise ShapeError where it has another number."""
    if state is None:
        return [None] * count
    if isinstance(state, Tensor) or len(state) != count:
        got = "a tensor" if isinstance(state, Tensor) else f"{len(state)} parts"
        raise ShapeError(f"{name}: expected a state of {count} parts, {what}, got {got}")
    return state


def valid_steps(lengths: Lengths, batch: int, steps: int, device: torch.device) -> Tensor:
    """Return the mask `(B, T)`, True at the first `lengths[b]` steps of row b, everywhere if lengths is None.

    Raises ShapeError for lengths that do not fit.
    """
    counts = check_lengths(lengths, steps, batch) or (steps,) * batch
    n = torch.tensor(counts, device=device, dtype=torch.int64)
    return torch.arange(steps, device=device) < n.unsqueeze(1)


def valid(lengths: Lengths, x: Tensor) -> Tensor | None:
    """Return `valid_steps` of x `(B, T, ...)`; None where all are, so that nothing has to be masked.

    Raises ShapeError for lengths that do not fit.
    """
    counts = check_lengths(lengths, x.shape[1], x.shape[0])
    return None if counts is None else valid_steps(counts, x.shape[0], x.shape[1], x.device)


def zeroed(x: Tensor, mask: Tensor | None) -> Tensor:
    """Return x with zeros wherever the mask is False, whatever lies there, NaN included."""
    return x if mask is None else torch.where(over_rows(mask, x), x, 0.0)


def over_rows(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask over the leading dimensions of `like` in a shape that goes over its other ones."""
    return mask.reshape(*mask.shape, *(1,) * (like.dim() - mask.dim()))


def reversed_rows(x: Tensor, lengths: Lengths) -> Tensor:
    """Turn the valid part of each row of x `(B, T, ...)` around; its own inverse."""
    counts = check_lengths(lengths, x.shape[1], x.shape[0])
    return reverse_valid(x.transpose(0, 1), counts).transpose(0, 1)


def last_valid(y: Tensor, lengths: Lengths) -> Tensor:
    """Return the entry of y `(B, T, ...)` at each row's last valid step; zeros for a row that has none."""
    counts = check_lengths(lengths, y.shape[1], y.shape[0])
    if y.shape[1] == 0:
        if counts is None and y.shape[0]:
            raise ArgumentError("expected at least one step, got sequences of none")
        return y.new_zeros(y.shape[0], *y.shape[2:])
    if counts is None:
        return y[:, -1]
    n = torch.tensor(counts, device=y.device)
    return zeroed(y[torch.arange(len(counts), device=y.device), (n - 1).clamp(min=0)], n > 0)


def choose_rows(mask: Tensor, one: Any, other: Any) -> Any:
    """Return the state that has the rows of `one` where the mask `(B,)` is True, and those of `other` elsewhere."""
    if isinstance(one, PerLayer):
        return PerLayer(torch.where(over_rows(mask, a), a, b) for a, b in zip(one, other, strict=True))
    if isinstance(one, Tensor):
        return torch.where(over_rows(mask, one[0]), one, other)
    return tuple(choose_rows(mask, a, b) for a, b in zip(one, other, strict=True))
